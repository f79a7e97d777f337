//! A node's side: the permits of one limit that it may hand out, in atomics that all threads of the node share.
//!
//! The caller gives the time: µs on a clock that counts suspend (`CLOCK_BOOTTIME`), read after the call came in.

use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
};

use crate::{IDLE_US, PACE_US, RENEW_US, TTL_US};

/// How long after the sending of a declaration what it was answered may be handed out.
const GOOD_US: u64 = TTL_US / 100 * 95;
/// Of the permits in use, what part a node asks for beside those that are waited for.
const SPARE: u32 = 4;
/// The state's lower 32 bits are the permits in use, the upper the allowance.
const ALLOWED: u64 = 1 << 32;

/// Permits of one limit that this node may hand out without asking, and those that it handed out.
///
/// No lock, no allocation; a call that comes in is one compare-and-swap, and so is its end.
#[derive(Debug)]
pub struct Permits {
    /// How many are in use and how many the node may hold: read together by a declaration.
    state: AtomicU64,
    /// Until when those that are free may be handed out.
    deadline: AtomicU64,
    /// Where none is free, it is not asked for more before.
    again_at: AtomicU64,
    /// When the last call was refused.
    refused_at: AtomicU64,
    /// When the last declaration was sent.
    sent_at: AtomicU64,
    /// How many the store counts; all there are, where nobody knows.
    counted: AtomicU32,
    /// The limit, as the last call had it, and as it was last declared.
    limit: AtomicU32,
    declared_limit: AtomicU32,
    /// So many have been free ever since the last look.
    idle: AtomicU32,
    /// So many free ones may stay, where a call's end leaves more.
    keep: AtomicU32,
    /// Permits that nobody held when the store last answered.
    left: AtomicU32,
    /// A question is under way. Whoever set it owns what follows.
    asking: AtomicBool,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Enter {
    /// It is in progress, until [`Permits::leave`].
    Entered,
    /// There is none here, and nobody knows whether there is in the store: ask, and try again.
    Dry,
    Refused,
}

/// What a node tells the store, and asks of it, as [`DECLARE`](crate::script::DECLARE) takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declaration {
    pub number: u64,
    pub limit: u32,
    /// Permits in use, and those that lie free.
    pub holds: u32,
    /// Permits that are wanted beside them.
    pub want: u32,
    /// Calls that wait for the answer; each of them wants one.
    pub waiting: u32,
    /// The node's time before it was sent.
    pub sent: u64,
    /// The store should know an earlier one.
    live: bool,
}

/// What the store says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the node may hold. `None`: the number was lower than the last; nothing was applied.
    may: Option<u32>,
    known: bool,
    /// Permits that nobody holds.
    left: u32,
}

/// What there is to do after an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credited {
    /// The node may hold less than it declared, and does: the store is to be told, at once.
    pub lowered: bool,
    /// The store did not know a declaration that it should: it lost its memory, or its clock jumped.
    pub lost: bool,
}

impl Answer {
    /// What [`DECLARE`](crate::script::DECLARE) gives.
    pub fn from_store([may, known, left]: [i64; 3]) -> Self {
        let left = u32::try_from(left.max(0)).unwrap_or(u32::MAX);
        Self { may: u32::try_from(may).ok(), known: known == 1, left }
    }
}

#[cfg(test)]
impl Declaration {
    pub(crate) fn for_test(number: u64, limit: u32, [holds, want, waiting]: [u32; 3]) -> Self {
        Self { number, limit, holds, want, waiting, sent: 0, live: false }
    }
}

impl Permits {
    /// None yet.
    pub fn new() -> Self {
        Self {
            state: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            again_at: AtomicU64::new(0),
            refused_at: AtomicU64::new(0),
            sent_at: AtomicU64::new(0),
            counted: AtomicU32::new(0),
            limit: AtomicU32::new(0),
            declared_limit: AtomicU32::new(0),
            idle: AtomicU32::new(0),
            keep: AtomicU32::new(0),
            left: AtomicU32::new(0),
            asking: AtomicBool::new(false),
        }
    }

    /// Hands a permit to a call, where there is one.
    pub fn enter(&self, limit: u32, now: u64) -> Enter {
        if self.limit.load(Relaxed) != limit {
            self.limit.store(limit, Relaxed);
        }
        let mut state = self.state.load(Acquire);
        loop {
            if !self.has_free(state, limit, now) {
                return if self.refused_by(state, limit, now) {
                    self.refuse(now);
                    Enter::Refused
                } else {
                    Enter::Dry
                };
            }
            match self.state.compare_exchange_weak(state, state + 1, SeqCst, Acquire) {
                Ok(_) => {
                    let free = free(state) - 1;
                    if free < self.idle.load(Relaxed) {
                        self.idle.fetch_min(free, Relaxed);
                    }
                    return Enter::Entered;
                }
                Err(seen) => state = seen,
            }
        }
    }

    /// Whether a call would be refused without asking. It takes nothing.
    pub fn refuses(&self, limit: u32, now: u64) -> bool {
        self.refused_by(self.state.load(Acquire), limit, now)
    }

    fn refused_by(&self, state: u64, limit: u32, now: u64) -> bool {
        let asked = self.declared_limit.load(Relaxed) == limit;
        let known = asked && now < self.again_at.load(Acquire);
        used(state) >= limit || (known && !self.has_free(state, limit, now))
    }

    /// A limit that was lowered is told to the store first: of what this node may hold some may be too many.
    fn has_free(&self, state: u64, limit: u32, now: u64) -> bool {
        free(state) > 0
            && used(state) < limit
            && limit >= self.declared_limit.load(Relaxed)
            && now < self.deadline.load(Acquire)
    }

    /// A call was refused by what [`Permits::refuses`] said.
    pub fn refuse(&self, now: u64) {
        self.refused_at.fetch_max(now, Relaxed);
    }

    /// Lets a call in beside what this node may hold, while the store cannot be asked, if fewer than so many are in progress
    /// here. It counts as the others do, and the store is told of it when it can be.
    pub fn enter_beside(&self, most: u32) -> bool {
        let next = |state| (used(state) < most).then(|| state + 1);
        let entered = self.state.try_update(SeqCst, Acquire, next).is_ok();
        self.idle.store(0, Relaxed);
        entered
    }

    /// A call that entered has ended. Gives whether its permit should go back at once: [`Permits::settle`].
    pub fn leave(&self, now: impl FnOnce() -> u64) -> bool {
        let state = self.state.fetch_sub(1, AcqRel) - 1;
        free(state) > self.keep.load(Relaxed) && !self.is_sought(now())
    }

    /// A call was refused here a moment ago: the next one will want what is free.
    fn is_sought(&self, now: u64) -> bool {
        now.saturating_sub(self.refused_at.load(Relaxed)) < IDLE_US
    }

    /// Calls in progress here.
    pub fn in_use(&self) -> u32 {
        used(self.state.load(SeqCst))
    }

    /// Nothing is in use, nothing is free, and the store knows it or has forgotten what it counted.
    pub fn is_over(&self, now: u64) -> bool {
        let counted = self.counted.load(Relaxed) > 0
            && now.saturating_sub(self.sent_at.load(Relaxed)) < TTL_US;
        !counted && !self.is_asking() && self.state.load(SeqCst) == 0
    }

    /// How many more may be in progress, as far as this node knows: its own, and what nobody held when the store last answered.
    pub fn remaining(&self, limit: u32, now: u64) -> u32 {
        let state = self.state.load(Acquire);
        let mine = if now < self.deadline.load(Acquire) { free(state) } else { 0 };
        mine.saturating_add(self.left.load(Relaxed)).min(limit.saturating_sub(used(state)))
    }

    /// A question is under way, and its answer is worth waiting for.
    pub fn is_asking(&self) -> bool {
        self.asking.load(Acquire)
    }

    /// Starts a question for calls that wait; `None`: one is under way. `number` is higher than any that this node gave
    /// before.
    pub fn ask(&self, now: u64, number: u64, waiting: u32) -> Option<Declaration> {
        self.start()?;
        let spare = self.in_use() / SPARE + 1;
        let want = waiting.saturating_add(spare);
        Some(Declaration { want, waiting, ..self.started(now, number, 0) })
    }

    /// Gives back at once what a call's end left beyond what may stay; `None` where that is nothing, or somebody here wants
    /// it.
    pub fn settle(&self, now: u64, number: u64) -> Option<Declaration> {
        let surplus = self.surplus(now);
        if surplus == 0 {
            return None;
        }
        self.start()?;
        Some(self.started(now, number, surplus))
    }

    /// What there is to be told every [`IDLE_US`]: permits that lay free since the last look go back, a node that holds some
    /// says so again in time, and what the store counts too many is put right.
    pub fn tend(&self, now: u64, number: u64) -> Option<Declaration> {
        let state = self.state.load(Acquire);
        let idle = self.idle.swap(free(state), AcqRel).max(self.surplus(now));
        let due = now.saturating_sub(self.sent_at.load(Relaxed)) >= RENEW_US
            || self.limit.load(Relaxed) != self.declared_limit.load(Relaxed);
        let less = held(state) < self.counted.load(Relaxed);
        if idle == 0 && !less && !(due && held(state) > 0) {
            return None;
        }
        self.start()?;
        Some(self.started(now, number, idle))
    }

    /// Gives back all that is free, as the node ends; `None`: there is nothing, or a question is under way.
    pub fn give_back(&self, now: u64, number: u64) -> Option<Declaration> {
        if allowed(self.state.load(Acquire)) == 0 {
            return None;
        }
        self.start()?;
        Some(self.started(now, number, u32::MAX))
    }

    /// Tells the store how much less is held, after an answer that said so.
    pub fn tell(&self, now: u64, number: u64) -> Option<Declaration> {
        self.start()?;
        Some(self.started(now, number, 0))
    }

    fn surplus(&self, now: u64) -> u32 {
        let free = free(self.state.load(Acquire));
        let beyond = free.saturating_sub(self.keep.load(Relaxed));
        if beyond == 0 || self.is_sought(now) { 0 } else { beyond }
    }

    fn start(&self) -> Option<()> {
        (!self.asking.swap(true, AcqRel)).then_some(())
    }

    /// Takes so many free permits out of the allowance, and says what is held then.
    fn started(&self, now: u64, number: u64, back: u32) -> Declaration {
        let over = now >= self.deadline.load(Acquire);
        // Those that nobody may hand out any more may be others' already.
        let out = |state: u64| if over { free(state) } else { back.min(free(state)) };
        let next = |state: u64| Some(state - u64::from(out(state)) * ALLOWED);
        let before = self.state.try_update(AcqRel, Acquire, next).unwrap_or_default();
        let state = before - u64::from(out(before)) * ALLOWED;
        self.sent_at.store(now, Relaxed);
        let (limit, holds) = (self.limit.load(Relaxed), held(state));
        Declaration { number, limit, holds, want: 0, waiting: 0, sent: now, live: !over }
    }

    /// Takes in the answer of a store that so many nodes share. The declaration must be the one under way.
    pub fn credit(&self, told: &Declaration, answer: &Answer, nodes: u32, now: u64) -> Credited {
        let deadline = told.sent + GOOD_US;
        let (Some(may), true) = (answer.may, now < deadline) else {
            self.give_up(); // what it brought nobody may hand out; the next declaration says what is held
            return Credited::default();
        };
        let next = |state| Some(u64::from(may) * ALLOWED + u64::from(used(state)));
        let before = self.state.try_update(AcqRel, Acquire, next).unwrap_or_default();
        self.deadline.fetch_max(deadline, Release);
        self.counted.store(may.max(told.holds), Relaxed);
        self.declared_limit.store(told.limit, Relaxed);
        self.left.store(answer.left, Relaxed);
        let free = may.saturating_sub(used(before));
        let keep = match nodes {
            0 | 1 => u32::MAX, // nobody else wants them
            nodes => answer.left.saturating_add(free) / (2 * nodes),
        };
        self.keep.store(keep, Relaxed);
        let short = told.waiting > may.saturating_sub(told.holds);
        if short {
            self.again_at.store(now + PACE_US, Release);
        } else if told.want > 0 || answer.left > 0 {
            self.again_at.store(0, Release);
        }
        let lowered = may.max(used(before)) < told.holds;
        let lost = told.live && !answer.known;
        self.asking.store(false, Release);
        Credited { lowered, lost }
    }

    /// No answer came, and none that comes will be taken in.
    pub fn give_up(&self) {
        self.counted.store(u32::MAX, Relaxed);
        self.asking.store(false, Release);
    }
}

impl Default for Permits {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn used(state: u64) -> u32 {
    state as u32
}

fn allowed(state: u64) -> u32 {
    (state / ALLOWED) as u32
}

/// Permits in use and those that lie free; more are in use than it may hold where calls came in beside them.
fn held(state: u64) -> u32 {
    allowed(state).max(used(state))
}

/// Permits that no call has.
fn free(state: u64) -> u32 {
    allowed(state).saturating_sub(used(state))
}
