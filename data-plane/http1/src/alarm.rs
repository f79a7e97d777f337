//! A time limit that moves on with every byte, at no cost while it does.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use tokio::time::Sleep;

/// A timer that is set when something first keeps one waiting, and set anew only when it goes off too early: a limit
/// that is put off for every request is told to the runtime once in its length.
#[derive(Debug, Default)]
pub struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready when `due` has passed.
    pub fn poll_due(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        loop {
            let sleep =
                self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            if sleep.deadline() > due.into() {
                sleep.as_mut().reset(due.into());
            }
            std::task::ready!(sleep.as_mut().poll(cx));
            if due <= tokio::time::Instant::now().into_std() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use super::*;

    #[tokio::test]
    async fn it_goes_off_at_the_time_asked_for_last_be_that_earlier_or_later() {
        let mut alarm = Alarm::default();
        let (soon, later) = (Duration::from_millis(20), Duration::from_hours(1));
        for (asked, wanted) in [(later, soon), (soon, 2 * soon)] {
            let began = Instant::now();
            let early = poll_fn(|cx| Poll::Ready(alarm.poll_due(cx, began + asked))).await;
            assert!(early.is_pending());
            poll_fn(|cx| alarm.poll_due(cx, began + wanted)).await;
            assert!(began.elapsed() >= wanted);
        }
    }
}
