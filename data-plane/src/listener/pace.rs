//! How fast a caller takes its answer. One who keeps an HTTP/2 window shut, or a TCP one, would otherwise hold a place,
//! a backend's connection and what is buffered for as long as it likes.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::Executor;
use prometheus::IntCounter;
use tokio::time::{Instant, Sleep, sleep_until};

use super::client_io::HeadClock;

/// What a caller has to take, and until when. Nothing is due while the backend is the one who is waited for.
#[derive(Default)]
pub(crate) struct Pace {
    due: Cell<Option<Instant>>,
    total: Cell<Option<Instant>>,
}

impl Pace {
    /// The caller got something to take.
    pub(crate) fn offered(&self, write_timeout: Duration) {
        self.due.set(Some(Instant::now() + write_timeout));
    }

    /// It took all there is.
    pub(crate) fn taken(&self) {
        self.due.set(None);
    }

    /// By when it must have the whole answer.
    pub(crate) fn whole_by(&self, deadline: Option<std::time::Instant>) {
        self.total.set(deadline.map(Into::into));
    }

    pub(crate) fn end(&self) {
        self.due.set(None);
        self.total.set(None);
    }

    fn due(&self) -> Option<Instant> {
        self.due.get().into_iter().chain(self.total.get()).min()
    }
}

/// Watches a caller's pace. Poll it after what writes to the caller, in the same task.
pub(super) struct Watch {
    clock: Rc<HeadClock>,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Watch {
    pub(super) fn new(clock: Rc<HeadClock>) -> Self {
        Self { clock, alarm: None }
    }

    /// Ready: the caller is too slow.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(due) = self.clock.pace.due() {
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if alarm.deadline() > due {
                alarm.as_mut().reset(due);
            }
            ready!(alarm.as_mut().poll(cx));
            // It was set before the caller last took something.
            alarm.as_mut().reset(due);
        }
        Poll::Pending
    }
}

/// Runs HTTP/2's streams on this thread; resets those whose callers are too slow.
#[derive(Clone)]
pub(super) struct Streamer {
    /// Of the stream that is about to be run: hyper calls the service and then runs what comes of it.
    next: Rc<RefCell<Option<Rc<HeadClock>>>>,
    working: Rc<Cell<usize>>,
    cut: IntCounter,
}

impl Streamer {
    /// `cut` counts those that were reset.
    pub(super) fn new(cut: &IntCounter) -> Self {
        Self { next: Rc::default(), working: Rc::default(), cut: cut.clone() }
    }

    /// The clock for the stream whose request just came.
    pub(super) fn begin(&self) -> Rc<HeadClock> {
        let clock = Rc::<HeadClock>::default();
        *self.next.borrow_mut() = Some(clock.clone());
        clock
    }

    /// Streams that the service has not handed over whole.
    pub(super) fn working(&self) -> usize {
        self.working.get()
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Streamer {
    fn execute(&self, stream: F) {
        let mut watch = Watch::new(self.next.take().unwrap_or_default());
        let (working, cut) = (Working::begin(&self.working), self.cut.clone());
        tokio::task::spawn_local(async move {
            let mut stream = pin!(stream);
            poll_fn(|cx| {
                if stream.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                watch.poll_late(cx).map(|()| cut.inc())
            })
            .await;
            drop(working);
        });
    }
}

struct Working(Rc<Cell<usize>>);

impl Working {
    fn begin(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(count.clone())
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
