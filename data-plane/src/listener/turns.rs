//! Refusals go one by one while a flood of them lasts, and between two of them the thread looks after everybody else.
//!
//! A thread serves whoever is ready in the order of arrival. A tenant over its limit whose callers ask again at once would
//! be ready hundreds of times before another tenant's one call, which then waits for as many refusals. So a refusal that
//! comes right after another takes its turn: one at each round of the thread's event loop, in which all that arrived
//! meanwhile is served first. Its connection is read no further until then, which slows the flood down to that pace. Where
//! nobody else has anything to do a round is short, and nothing is lost.
//!
//! That alone lets a flood fill the thread's core, and then the kernel makes everybody wait: for the node's other threads, by
//! milliseconds. And where the calls that are let through fill it, rounds are long, and one refusal at each is none too
//! many. So while calls are let through beside them, refusals have a pace of their own: one in each [`STEP`], and at each
//! round as many as its length makes.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, Semaphore},
    task::yield_now,
    time::sleep,
};

/// Refusals that are further apart than this are no flood.
const APART: Duration = Duration::from_micros(20);
/// While others are served, a thread refuses one call in this time.
const STEP: Duration = Duration::from_micros(100);
/// The refusals of this time may go one right after another: a sleep is up to 2 ms long.
const BURST: Duration = Duration::from_millis(2);
/// Others are served if a call was let through within this time.
const SERVED: Duration = Duration::from_millis(100);

/// One thread's; nothing here is seen by another.
pub(crate) struct Turns {
    given: Semaphore,
    waiting: Cell<usize>,
    /// When the last refusal went.
    last: Cell<Option<Instant>>,
    /// When the pace allows the next.
    due: Cell<Option<Instant>>,
    /// When a call was last let through.
    served: Cell<Option<Instant>>,
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
            due: Cell::default(),
            served: Cell::default(),
            called: Notify::new(),
        }
    }
}

impl Turns {
    /// Waits for a refusal's turn. Where `waiting_max` wait already it does not: that bounds what they hold.
    pub(crate) async fn next(&self, waiting_max: usize) {
        let now = Instant::now();
        let is_alone = self.waiting.get() == 0
            && self.last.get().is_none_or(|last| now.duration_since(last) >= APART)
            && self.is_due(now);
        if is_alone || self.waiting.get() >= waiting_max {
            self.last.set(Some(now));
            self.goes(now, now);
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
                if !self.is_due(Instant::now()) {
                    sleep(Duration::from_millis(1)).await;
                    continue;
                }
                let began = Instant::now();
                // Until the event loop has looked for what came, and run what was ready.
                yield_now().await;
                self.given.add_permits(self.take_due(began, Instant::now()));
            }
            // Of those who left.
            self.given.forget_permits(self.given.available_permits());
        }
    }

    /// A call is let through, which began then.
    pub(crate) fn serves(&self, began: Instant) {
        self.served.set(Some(began));
    }

    /// Whether others are served, beside whom refusals keep a pace.
    fn is_paced(&self, now: Instant) -> bool {
        self.served.get().is_some_and(|at| now.saturating_duration_since(at) < SERVED)
    }

    /// Whether a refusal may go now.
    fn is_due(&self, now: Instant) -> bool {
        !self.is_paced(now) || self.due.get().is_none_or(|due| due <= now)
    }

    /// How many of those that wait go after this round: one, and what the pace makes of a long round beside others.
    fn take_due(&self, began: Instant, now: Instant) -> usize {
        self.goes(began, now);
        let mut count = 1;
        while count < self.waiting.get() && self.is_paced(now) && self.is_due(now) {
            self.goes(began, now);
            count += 1;
        }
        count
    }

    /// A refusal goes. Of the time in which none went, a burst's or the round's adds up; and nobody owes for more than one.
    fn goes(&self, round_began: Instant, now: Instant) {
        let earliest = now.checked_sub(BURST).unwrap_or(now).min(round_began);
        let due = self.due.get().unwrap_or(earliest).clamp(earliest, now);
        self.due.set(Some(due + STEP));
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

    /// Refusals that may go at this time, of so many.
    fn due_of(turns: &Turns, count: usize, now: Instant) -> usize {
        (0..count).take_while(|_| turns.is_due(now).then(|| turns.goes(now, now)).is_some()).count()
    }

    #[test]
    fn while_others_are_served_refusals_keep_a_pace() {
        let (turns, start) = (Turns::default(), Instant::now() + SERVED);
        assert_eq!(due_of(&turns, 1000, start), 1000, "nobody else is there");
        let later = start + BURST * 2;
        turns.serves(later);
        assert_eq!(due_of(&turns, 1000, later), 21, "a burst, and the one that is due");
        assert_eq!(due_of(&turns, 1000, later + STEP / 2), 0);
        assert_eq!(due_of(&turns, 1000, later + STEP * 3), 3);
        assert_eq!(due_of(&turns, 1000, later + SERVED), 1000, "nobody else is there any more");
    }

    #[test]
    fn after_a_long_round_as_many_go_as_the_pace_makes_of_it() {
        let (turns, start) = (Turns::default(), Instant::now() + BURST);
        turns.waiting.set(1000);
        turns.serves(start);
        assert_eq!(turns.take_due(start, start), 21, "a burst, and the one that is due");
        assert_eq!(turns.take_due(start, start + STEP * 5), 5);
        let later = start + SERVED / 2;
        assert_eq!(turns.take_due(later, later), 21, "of a pause no more than a burst");
        assert_eq!(turns.take_due(later, later + STEP * 300), 300, "and all of a round");
        turns.waiting.set(3);
        let (began, later) = (later + STEP * 300, later + STEP * 600);
        turns.serves(later);
        assert_eq!(turns.take_due(began, later), 3, "no more than wait");
        assert_eq!(turns.take_due(began, later + SERVED), 1, "one where nobody else is served");
    }

    #[tokio::test]
    async fn a_flood_beside_others_goes_on() {
        let work = async {
            let (turns, order) = (given_out(), Rc::default());
            let theirs = turns.clone();
            let served = spawn_local(async move {
                loop {
                    theirs.serves(Instant::now());
                    yield_now().await;
                }
            });
            for refusal in
                flood(&turns, usize::MAX, &order).into_iter().chain(flood(&turns, 3, &order))
            {
                refusal.await.unwrap();
            }
            served.abort();
            assert_eq!((turns.waiting.get(), order.borrow().len()), (0, 2 * REFUSALS));
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
