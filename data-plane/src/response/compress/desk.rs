//! Whose piece a data thread compresses next, or unpacks of a request's body (`integration::decompress`). In one round of all that it has to do a thread compresses
//! [`ROUND_BYTES`] at most, so that a call beside many large answers waits for one piece and not for all of them; tenants
//! take turns, and so do a tenant's answers.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use super::body::PIECE_BYTES_MAX;
use crate::integration::function::memory::{Held, Memory};

/// What is compressed before all else had its turn.
const ROUND_BYTES: usize = PIECE_BYTES_MAX;
/// A shorter piece counts as this: to begin and to end one costs as much.
const PIECE_COUNTS_MIN: usize = 1 << 10;

/// One thread's: what its encoders hold, within bounds for all and for each tenant, and their order.
#[derive(Default)]
pub(crate) struct Codecs {
    memory: Memory,
    desk: Rc<Desk>,
}

/// An answer's place among those that are compressed, or a request's among those that are unpacked.
pub(crate) struct Place {
    tenant: Arc<str>,
    waiter: Rc<Waiter>,
    desk: Rc<Desk>,
    held: Held,
}

struct Desk(RefCell<Round>);

struct Round {
    /// How much may still be compressed in it.
    left: usize,
    /// Whether the next one comes by itself.
    runs: bool,
    /// Nobody twice; the next first. None is empty.
    tenants: VecDeque<(Arc<str>, VecDeque<Rc<Waiter>>)>,
}

#[derive(Default)]
struct Waiter {
    /// `None`: it does not wait, or is gone.
    waker: RefCell<Option<Waker>>,
    /// Its turn came, and it did not take it yet.
    called: Cell<bool>,
}

impl Codecs {
    /// `None`: as much is held as may be.
    pub(crate) fn enter(&self, tenant: &Arc<str>, held_bytes: usize) -> Option<Place> {
        let mut held = self.memory.enter(tenant);
        held.grow(held_bytes).ok()?;
        Some(Place { tenant: tenant.clone(), waiter: Rc::default(), desk: self.desk.clone(), held })
    }

    /// Each second.
    pub(crate) fn sweep(&self) {
        self.memory.sweep();
    }
}

impl Place {
    /// How much it may compress now; whoever did says so by [`Place::spend`].
    pub(crate) fn poll_turn(&self, cx: &mut Context<'_>) -> Poll<usize> {
        let mut round = self.desk.0.borrow_mut();
        if round.left > 0 {
            let called = self.waiter.called.take();
            if called || round.tenants.is_empty() {
                return Poll::Ready(round.left);
            }
        }
        let waits = self.waiter.waker.borrow_mut().replace(cx.waker().clone()).is_some();
        if !waits {
            round.queue(&self.tenant, &self.waiter);
        }
        Poll::Pending
    }

    /// It holds so many bytes now; false: that is more than may be.
    pub(crate) fn hold(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.held.bytes());
        more == 0 || self.held.grow(more).is_ok()
    }

    /// It compressed so many bytes. The next round begins when all else had its turn.
    pub(crate) fn spend(&self, bytes: usize) {
        let mut round = self.desk.0.borrow_mut();
        round.left = round.left.saturating_sub(bytes.max(PIECE_COUNTS_MIN));
        if round.left > 0 {
            round.call();
        }
        if !std::mem::replace(&mut round.runs, true) {
            let desk = self.desk.clone();
            tokio::task::spawn_local(async move {
                loop {
                    tokio::task::yield_now().await; // until the thread has looked at its sockets too
                    if !desk.begin() {
                        return;
                    }
                }
            });
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.waiter.waker.borrow_mut() = None;
    }
}

impl Default for Desk {
    fn default() -> Self {
        Self(RefCell::new(Round { left: ROUND_BYTES, runs: false, tenants: VecDeque::new() }))
    }
}

impl Desk {
    /// Begins a round; gives whether anyone was waiting for it.
    fn begin(&self) -> bool {
        let mut round = self.0.borrow_mut();
        round.left = ROUND_BYTES;
        round.runs = round.call();
        round.runs
    }
}

impl Round {
    fn queue(&mut self, tenant: &Arc<str>, waiter: &Rc<Waiter>) {
        match self.tenants.iter_mut().find(|(known, _)| known == tenant) {
            Some((_, waiting)) => waiting.push_back(waiter.clone()),
            None => self.tenants.push_back((tenant.clone(), VecDeque::from([waiter.clone()]))),
        }
    }

    /// Calls who is next, unless nobody is. Whoever does not come, as its caller takes nothing, keeps nobody waiting.
    fn call(&mut self) -> bool {
        while let Some((tenant, mut waiting)) = self.tenants.pop_front() {
            let next = waiting.pop_front();
            if !waiting.is_empty() {
                self.tenants.push_back((tenant, waiting));
            }
            let Some(waiter) = next else { continue };
            if let Some(waker) = waiter.waker.borrow_mut().take() {
                waiter.called.set(true);
                waker.wake();
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker;

    use super::*;
    use crate::response::compress::{Coding, body::held_bytes_max};

    fn place(codecs: &Codecs, tenant: &str) -> Place {
        codecs.enter(&tenant.into(), held_bytes_max(Coding::Gzip)).unwrap()
    }

    /// Whether it may compress now.
    fn has_turn(place: &Place) -> bool {
        place.poll_turn(&mut Context::from_waker(&noop_waker())).is_ready()
    }

    fn spent() -> Codecs {
        let codecs = Codecs::default();
        let mut round = codecs.desk.0.borrow_mut();
        (round.left, round.runs) = (0, true);
        drop(round);
        codecs
    }

    #[test]
    fn in_one_round_no_more_is_compressed_than_a_piece() {
        let codecs = Codecs::default();
        codecs.desk.0.borrow_mut().runs = true;
        let (first, second) = (place(&codecs, "acme"), place(&codecs, "acme"));
        assert!(has_turn(&first));
        first.spend(PIECE_BYTES_MAX - 1);
        assert!(has_turn(&second));
        second.spend(1);
        assert!(!has_turn(&first));
        assert!(codecs.desk.begin());
        assert!(has_turn(&first));
    }

    #[test]
    fn tenants_take_turns_however_many_answers_one_of_them_has() {
        let codecs = spent();
        let many: Vec<Place> = (0..5).map(|_| place(&codecs, "acme")).collect();
        let one = place(&codecs, "globex");
        assert!(many.iter().all(|place| !has_turn(place)) && !has_turn(&one));
        assert!(codecs.desk.begin());
        assert!(has_turn(&many[0]));
        many[0].spend(ROUND_BYTES);
        assert!(!has_turn(&many[0]), "it is the last of its tenant's now");
        assert!(codecs.desk.begin());
        assert!(!has_turn(&place(&codecs, "late")), "nobody passes those who wait");
        assert!(has_turn(&one) && !has_turn(&many[1]));
    }

    #[test]
    fn whoever_leaves_or_does_not_come_keeps_nobody_waiting() {
        let codecs = spent();
        let (gone, slow, next) =
            (place(&codecs, "acme"), place(&codecs, "acme"), place(&codecs, "acme"));
        assert!(!has_turn(&gone) && !has_turn(&slow) && !has_turn(&next));
        drop(gone);
        assert!(codecs.desk.begin(), "the slow one is called");
        assert!(codecs.desk.begin(), "and the next one");
        assert!(has_turn(&next));
        assert!(!codecs.desk.begin());
    }

    #[test]
    fn what_a_tenants_encoders_hold_is_bounded_and_free_again() {
        let codecs = Codecs::default();
        let tenant = "acme".into();
        let mut places = Vec::new();
        while let Some(place) = codecs.enter(&tenant, held_bytes_max(Coding::Brotli)) {
            places.push(place);
            assert!(places.len() < 1000);
        }
        assert!(codecs.enter(&"globex".into(), held_bytes_max(Coding::Brotli)).is_some());
        drop(places);
        assert!(codecs.enter(&tenant, held_bytes_max(Coding::Brotli)).is_some());
    }
}
