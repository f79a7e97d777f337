//! Refusals go one by one while a flood of them lasts, and between two of them the thread looks after everybody else.
//!
//! A thread serves whoever is ready in the order of arrival. A tenant over its limit whose callers ask again at once would
//! be ready hundreds of times before another tenant's one call, which then waits for as many refusals. So a refusal that
//! comes right after another takes its turn: one at each round of the thread's event loop, in which all that arrived
//! meanwhile is served first. Its connection is read no further until then, which slows the flood down to that pace. Where
//! nobody else has anything to do a round is short, and nothing is lost.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, Semaphore},
    task::yield_now,
};

/// Refusals that are further apart than this are no flood.
const APART: Duration = Duration::from_micros(20);

/// One thread's; nothing here is seen by another.
pub(crate) struct Turns {
    given: Semaphore,
    waiting: Cell<usize>,
    /// When the last refusal went.
    last: Cell<Option<Instant>>,
    called: Notify,
}

/// Counts one that waits, until it is dropped: its caller may leave.
struct Waiting<'a>(&'a Cell<usize>);

impl Default for Turns {
    fn default() -> Self {
        Self {
            given: Semaphore::new(0),
            waiting: Cell::default(),
            last: Cell::default(),
            called: Notify::new(),
        }
    }
}

impl Turns {
    /// Waits for a refusal's turn. Where `waiting_max` wait already it does not: that bounds what they hold.
    pub(crate) async fn next(&self, waiting_max: usize) {
        let now = Instant::now();
        let is_alone = self.waiting.get() == 0
            && self.last.get().is_none_or(|last| now.duration_since(last) >= APART);
        if is_alone || self.waiting.get() >= waiting_max {
            self.last.set(Some(now));
            return;
        }
        let waiting = Waiting::begin(&self.waiting);
        self.called.notify_one();
        // It is never closed.
        if let Ok(turn) = self.given.acquire().await {
            turn.forget();
        }
        drop(waiting);
        self.last.set(Some(Instant::now()));
    }

    /// Gives the turns out, for as long as the thread serves.
    pub(crate) async fn give_out(&self) {
        loop {
            self.called.notified().await;
            while self.waiting.get() > 0 {
                // Until the event loop has looked for what came, and run what was ready.
                yield_now().await;
                self.given.add_permits(1);
            }
            // Of those who left.
            self.given.forget_permits(self.given.available_permits());
        }
    }
}

impl<'a> Waiting<'a> {
    fn begin(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use tokio::task::{JoinHandle, LocalSet, spawn_local};

    use super::*;

    const REFUSALS: usize = 20;

    /// Refusals in a row, each of which writes `true` when it goes.
    fn flood(
        turns: &Rc<Turns>,
        waiting_max: usize,
        order: &Rc<RefCell<Vec<bool>>>,
    ) -> Vec<JoinHandle<()>> {
        let refusal = |_| {
            let (turns, order) = (turns.clone(), order.clone());
            spawn_local(async move {
                turns.last.set(Some(Instant::now())); // however slow this machine is
                turns.next(waiting_max).await;
                order.borrow_mut().push(true);
            })
        };
        (0..REFUSALS).map(refusal).collect()
    }

    fn given_out() -> Rc<Turns> {
        let turns = Rc::<Turns>::default();
        let giver = turns.clone();
        spawn_local(async move { giver.give_out().await });
        turns
    }

    #[tokio::test]
    async fn between_two_refusals_of_a_flood_everyone_else_has_a_go() {
        let work = async {
            let (turns, order) = (given_out(), Rc::<RefCell<Vec<bool>>>::default());
            let others = order.clone();
            let other = spawn_local(async move {
                loop {
                    others.borrow_mut().push(false);
                    yield_now().await;
                }
            });
            for refusal in flood(&turns, usize::MAX, &order) {
                refusal.await.unwrap();
            }
            other.abort();
            let order = order.take();
            assert_eq!(order.iter().filter(|refused| **refused).count(), REFUSALS);
            assert!(!order.windows(2).any(|two| two == [true, true]), "{order:?}");
        };
        LocalSet::new().run_until(work).await;
    }

    #[tokio::test]
    async fn a_refusal_that_comes_alone_does_not_wait() {
        let turns = Turns::default();
        turns.next(0).await; // nobody gives turns out here
        turns.last.set(Instant::now().checked_sub(APART));
        turns.next(usize::MAX).await;
    }

    #[tokio::test]
    async fn who_leaves_while_it_waits_takes_no_turn_with_it() {
        let work = async {
            let (turns, order) = (given_out(), Rc::default());
            let refusals = flood(&turns, usize::MAX, &order);
            yield_now().await;
            for refusal in refusals.iter().step_by(2) {
                refusal.abort();
            }
            let mut went = 0;
            for refusal in refusals {
                went += usize::from(refusal.await.is_ok());
            }
            assert!(went >= REFUSALS / 2, "only {went} went");
            assert_eq!(turns.waiting.get(), 0);
        };
        LocalSet::new().run_until(work).await;
    }

    #[tokio::test]
    async fn beyond_what_may_wait_refusals_go_at_once() {
        let work = async {
            // Nobody gives turns out.
            let (turns, order) = (Rc::<Turns>::default(), Rc::default());
            let refusals = flood(&turns, 5, &order);
            for refusal in &refusals[5..] {
                while !refusal.is_finished() {
                    yield_now().await;
                }
            }
            assert_eq!((turns.waiting.get(), order.borrow().len()), (5, REFUSALS - 5));
        };
        LocalSet::new().run_until(work).await;
    }
}
