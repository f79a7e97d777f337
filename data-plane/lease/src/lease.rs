//! A node's side: tokens of one bucket that were taken in advance, in atomics that all threads of the node share.
//!
//! The caller gives the time: µs on a clock that counts suspend (`CLOCK_BOOTTIME`), read after the call came in.

use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crate::{Bucket, DEMAND_US, IDLE_US, PACE_MAX_US, TTL_US};

/// How long after the sending of an ask what it granted may be spent.
const GOOD_US: u64 = TTL_US / 100 * 95;
/// A lease that is used is renewed when it has only so long to go.
const RENEW_US: u64 = TTL_US / 2;
/// Buckets of so many tokens are told of each one that was spent, as soon as their refill stops for it.
const SMALL: u32 = 8;
/// Of a call.
const PARTS: u32 = 256;
/// So few calls in [`DEMAND_US`] need no pace: they do not ask more often than it would.
const FEW: u32 = 3;
/// The state's lower 32 bits are the tokens, the next 20 those that are undecided, and 12 the generation.
const UNDECIDED: u64 = 1 << 32;
const GENERATION: u64 = 1 << 52;

/// Tokens of one bucket that this node may spend without asking.
///
/// No lock, no allocation; a take is one compare-and-swap, and so is what becomes of it. It is not a subtraction that is
/// undone where there was nothing left: between the two, a report would say fewer than there are.
#[derive(Debug)]
pub struct Lease {
    /// How many tokens there are, how many were taken by calls that may yet be refused, and how often all were replaced:
    /// read together by a report.
    state: AtomicU64,
    /// Until when the tokens may be spent.
    deadline: AtomicU64,
    /// No earlier than the last token went.
    dry_at: AtomicU64,
    /// A dry lease is not asked for before.
    again_at: AtomicU64,
    /// One that is not dry is not asked for before.
    hint_at: AtomicU64,
    /// When there should be a token; what refused callers are told.
    due_at: AtomicU64,
    /// Below so many tokens it asks for more.
    low: AtomicU32,
    /// Calls refused since the last ask.
    refused: AtomicU32,
    /// A question is under way. Whoever set it owns what follows.
    asking: AtomicBool,
    /// Tokens there would be, had none been spent since the last ask.
    supply: AtomicU32,
    /// Calls in the last [`DEMAND_US`], more or less, in parts of [`PARTS`].
    recent: AtomicU32,
    asked_at: AtomicU64,
    /// What came too late to be spent and goes back with the next ask.
    to_return: AtomicU32,
    /// What the bucket had left when it last answered.
    left: AtomicU32,
    /// The bucket had too little for what was asked, and nothing after it.
    scarce: AtomicBool,
    /// Answers in a row that brought nothing.
    zeros: AtomicU32,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    Taken(Token),
    /// There is nothing here, and nobody knows whether there is in the store: ask, and try again.
    Dry,
    /// The bucket is empty; there should be a token at this time.
    Refused {
        due_at: u64,
    },
}

/// A token taken from a lease. Until [`Lease::spend`] or [`Lease::give_back`] says what became of it, the lease counts it
/// as one that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Token {
    generation: u64,
    /// More should be asked for, by whoever can do so without keeping its caller waiting.
    pub ask: bool,
}

/// A question to the store, as [`EXCHANGE`](crate::script::EXCHANGE) takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    pub number: u64,
    /// What the lease held when it was asked, and what was taken from it and undecided.
    pub unspent: u32,
    /// What was taken out of the lease to be returned.
    pub back: u32,
    pub want: u32,
    /// Calls that wait for the answer.
    pub waiting: u32,
    /// How long ago at least the last token went; 0: some are left.
    pub dry_us: u64,
    /// The node's time before it was sent.
    pub sent: u64,
    /// The store should know the lease.
    live: bool,
    /// Tokens spent since the report before.
    spent: u32,
}

/// What the store says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `None`: the number was lower than the last; nothing was applied.
    granted: Option<u32>,
    /// What of the unspent tokens it still counts.
    held: u32,
    known: bool,
    /// Whole tokens left in the bucket.
    left: u32,
    /// Until there is a token; `None`: never.
    next_us: Option<u64>,
    /// Until the refill stops for want of room; `None`: never.
    stop_us: Option<u64>,
}

/// What is to be done after an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credited {
    /// It came too late: [`Lease::return_idle`] sends back what it brought, at once.
    pub late: bool,
    /// The store did not know a lease that it should: it lost its memory, or its clock jumped. So many tokens were spent
    /// since the report before, at most so many of them beyond the bound.
    pub lost: Option<u32>,
    /// The bucket is small, and its refill stops until what is spent is reported: [`Lease::report`] in so long.
    pub report_in_us: Option<u64>,
}

impl Answer {
    /// What [`EXCHANGE`](crate::script::EXCHANGE) gives.
    pub fn from_store([granted, held, known, left, next, stop]: [i64; 6]) -> Self {
        let tokens = |value: i64| u32::try_from(value.max(0)).unwrap_or(u32::MAX);
        Self {
            granted: u32::try_from(granted).ok(),
            held: tokens(held),
            known: known == 1,
            left: tokens(left),
            next_us: u64::try_from(next).ok(),
            stop_us: u64::try_from(stop).ok(),
        }
    }

    /// Whole tokens left in the bucket.
    pub fn left(&self) -> u32 {
        self.left
    }
}

#[cfg(test)]
impl Ask {
    pub(crate) fn for_test(
        number: u64,
        (unspent, back): (u32, u32),
        (want, waiting): (u32, u32),
        dry_us: u64,
    ) -> Self {
        Self { number, unspent, back, want, waiting, dry_us, sent: 0, live: false, spent: 0 }
    }
}

impl Lease {
    /// Nothing yet.
    pub fn new(now: u64) -> Self {
        Self {
            state: AtomicU64::new(0),
            deadline: AtomicU64::new(0),
            dry_at: AtomicU64::new(now),
            again_at: AtomicU64::new(0),
            hint_at: AtomicU64::new(0),
            due_at: AtomicU64::new(0),
            low: AtomicU32::new(0),
            refused: AtomicU32::new(0),
            asking: AtomicBool::new(false),
            supply: AtomicU32::new(0),
            recent: AtomicU32::new(0),
            asked_at: AtomicU64::new(now),
            to_return: AtomicU32::new(0),
            left: AtomicU32::new(0),
            scarce: AtomicBool::new(false),
            zeros: AtomicU32::new(0),
        }
    }

    /// Takes a token for a call.
    pub fn take(&self, now: u64) -> Take {
        let mut state = self.state.load(Acquire);
        loop {
            let tokens = tokens(state);
            let deadline = self.deadline.load(Acquire);
            if tokens == 0 || now >= deadline {
                return match self.refusal(now) {
                    Some(due_at) => {
                        self.refuse();
                        Take::Refused { due_at }
                    }
                    None => Take::Dry,
                };
            }
            if tokens == 1 {
                // Before it goes: a report that sees it gone sees this too.
                self.dry_at.fetch_max(now, Release);
            }
            let taken = state - 1 + UNDECIDED;
            if let Err(seen) = self.state.compare_exchange_weak(state, taken, AcqRel, Acquire) {
                state = seen;
                continue;
            }
            let wanted = tokens <= self.low.load(Relaxed) || now + RENEW_US > deadline;
            let ask = wanted && !self.is_asking() && now >= self.hint_at.load(Relaxed);
            return Take::Taken(Token { generation: generation(state), ask });
        }
    }

    /// When there should be a token, where a call would be refused without asking. Takes nothing.
    pub fn refuses(&self, now: u64) -> Option<u64> {
        let spendable = tokens(self.state.load(Acquire)) > 0 && now < self.deadline.load(Acquire);
        if spendable { None } else { self.refusal(now) }
    }

    /// A call was refused by what [`Lease::refuses`] said.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    fn refusal(&self, now: u64) -> Option<u64> {
        (now < self.again_at.load(Acquire)).then(|| self.due_at.load(Acquire))
    }

    /// Its call used the token.
    pub fn spend(&self, token: Token) {
        self.decide(token, 0);
    }

    /// Puts a token back that its call did not use after all. Where the lease was replaced meanwhile, it is nobody's.
    pub fn give_back(&self, token: Token) {
        self.decide(token, 1);
    }

    fn decide(&self, token: Token, back: u64) {
        let next =
            |state| (generation(state) == token.generation).then(|| state - UNDECIDED + back);
        let _ = self.state.try_update(AcqRel, Acquire, next);
    }

    /// Some calls that took a token may yet be refused.
    pub fn is_undecided(&self) -> bool {
        undecided(self.state.load(Acquire)) > 0
    }

    /// What this node knows to be left: its own tokens, and what the bucket had when it last answered.
    pub fn remaining(&self, now: u64) -> u32 {
        self.spendable(now).saturating_add(self.left.load(Relaxed))
    }

    /// Tokens that this node may spend without asking.
    pub fn spendable(&self, now: u64) -> u32 {
        let spendable = now < self.deadline.load(Acquire);
        if spendable { tokens(self.state.load(Acquire)) } else { 0 }
    }

    /// There is nothing in it that could be spent or returned.
    pub fn is_empty(&self, now: u64) -> bool {
        let spendable = now < self.deadline.load(Acquire);
        let held = unspent(self.state.load(Acquire)) > 0;
        !(held && spendable) && self.to_return.load(Acquire) == 0
    }

    /// A question is under way, and its answer is worth waiting for.
    pub fn is_asking(&self) -> bool {
        self.asking.load(Acquire)
    }

    /// Starts a question for calls that wait, or for those to come; `None`: one is under way. `number` is higher than
    /// any that this node gave before.
    pub fn ask(&self, now: u64, number: u64, waiting: u32) -> Option<Ask> {
        self.start()?;
        let mut ask = self.started(now, number);
        let recent = self.recent.load(Relaxed).div_ceil(PARTS);
        ask.waiting = waiting;
        let held = tokens(self.state.load(Acquire));
        ask.want = recent.saturating_sub(held).max(waiting).max(1);
        self.low.store(recent / 2, Relaxed);
        Some(ask)
    }

    /// Tells the store what was spent, where that is news.
    pub fn report(&self, now: u64, number: u64) -> Option<Ask> {
        if unspent(self.state.load(Acquire)) == self.supply.load(Relaxed) {
            return None;
        }
        self.start()?;
        Some(self.started(now, number))
    }

    /// Takes what stands unspent out of the lease, to be returned; `None` where that is nothing.
    pub fn return_idle(&self, now: u64, number: u64) -> Option<Ask> {
        let late = self.to_return.load(Acquire) > 0;
        let since = now.saturating_sub(self.asked_at.load(Relaxed));
        let state = self.state.load(Acquire);
        let held = tokens(state);
        let over = now >= self.deadline.load(Acquire);
        let spent = self.supply.load(Relaxed).saturating_sub(unspent(state));
        let keep = if over { 0 } else { decayed(0, since, spent).div_ceil(PARTS) };
        let idle = held > 0 && since >= IDLE_US && held / 2 >= keep;
        if !late && !idle {
            return None;
        }
        self.take_out(now, number, idle.then_some(keep))
    }

    /// Takes everything out of the lease, to be returned; `None` where that is nothing, or a question is under way.
    pub fn return_all(&self, now: u64, number: u64) -> Option<Ask> {
        if self.is_empty(now) {
            return None;
        }
        self.take_out(now, number, Some(0))
    }

    /// Starts the return of what came too late and, where that is said, of all tokens but some.
    fn take_out(&self, now: u64, number: u64, keep: Option<u32>) -> Option<Ask> {
        self.start()?;
        let mut taken = 0;
        if let Some(keep) = keep {
            // As part of the report that says so: it must not be spent meanwhile.
            let out = |state: u64| Some(state - u64::from(tokens(state).saturating_sub(keep)));
            let before = self.state.try_update(AcqRel, Acquire, out).unwrap_or_default();
            taken = tokens(before).saturating_sub(keep);
            self.supply.fetch_sub(taken.min(self.supply.load(Relaxed)), Relaxed);
            self.dry_at.fetch_max(now, Release);
        }
        let mut ask = self.started(now, number);
        ask.back = ask.back.saturating_add(taken);
        ask.dry_us = 0;
        self.again_at.store(0, Release); // a call that comes now waits, and asks for what went back
        self.low.store(self.recent.load(Relaxed) / PARTS / 2, Relaxed);
        Some(ask)
    }

    fn start(&self) -> Option<()> {
        (!self.asking.swap(true, AcqRel)).then_some(())
    }

    /// From here on what is spent is not in the report.
    fn started(&self, now: u64, number: u64) -> Ask {
        let back = self.to_return.swap(0, AcqRel);
        let unspent = unspent(self.state.load(Acquire));
        let since = now.saturating_sub(self.asked_at.swap(now, Relaxed));
        let spent = self.supply.swap(unspent, Relaxed).saturating_sub(unspent);
        let calls = spent.saturating_add(self.refused.swap(0, Relaxed));
        self.recent.store(decayed(self.recent.load(Relaxed), since, calls), Relaxed);
        let dry = unspent == 0 && back == 0;
        let dry_us = if dry { now.saturating_sub(self.dry_at.load(Acquire)) / 100 * 99 } else { 0 };
        let live = now < self.deadline.load(Acquire);
        Ask { number, unspent, back, want: 0, waiting: 0, dry_us, sent: now, live, spent }
    }

    /// Takes in the answer. The question must be the one under way.
    pub fn credit(&self, ask: &Ask, answer: &Answer, bucket: Bucket, now: u64) -> Credited {
        let Some(granted) = answer.granted else {
            self.give_up();
            return Credited::default();
        };
        let void = answer.held < ask.unspent;
        let deadline = ask.sent + GOOD_US;
        let mut credited = Credited {
            lost: (ask.live && !answer.known).then_some(ask.spent),
            ..Credited::default()
        };
        if now >= deadline {
            // Nobody may spend it any more; while the store counts it, it can go back.
            let left = self.replace(0, now);
            let back = granted + if void { 0 } else { left };
            self.to_return.store(back, Release);
            credited.late = back > 0;
        } else if void {
            self.replace(granted, now);
            self.deadline.fetch_max(deadline, Release);
        } else {
            self.supply.fetch_add(granted, Relaxed);
            self.state.fetch_add(u64::from(granted), AcqRel);
            self.deadline.fetch_max(deadline, Release);
        }
        self.left.store(answer.left, Relaxed);
        self.pace(ask, answer, granted, bucket, now);
        // Where an empty bucket is asked again before its refill stops, that question is a report too.
        let scarce = self.scarce.load(Relaxed);
        let silent = if scarce { self.again_at.load(Relaxed).saturating_sub(now) } else { TTL_US };
        // What a full bucket could not take is no loss; in a small one each token is.
        let low = answer.left < bucket.burst.div_ceil(2) || bucket.burst <= SMALL;
        credited.report_in_us = answer.stop_us.filter(|stop| low && *stop < silent.min(TTL_US));
        self.asking.store(false, Release);
        credited
    }

    /// No answer came, and none that comes will be taken in.
    pub fn give_up(&self) {
        self.asking.store(false, Release);
    }

    /// Puts these tokens in the place of those there were, and of those that were taken: nobody can put them back any more.
    fn replace(&self, granted: u32, now: u64) -> u32 {
        let next = |state| Some(generation(state).wrapping_add(GENERATION) | u64::from(granted));
        let before = self.state.try_update(AcqRel, Acquire, next).unwrap_or_default();
        self.supply.store(granted, Relaxed);
        self.dry_at.fetch_max(now, Release);
        tokens(before)
    }

    /// Until when a dry lease is refused without asking.
    fn pace(&self, ask: &Ask, answer: &Answer, granted: u32, bucket: Bucket, now: u64) {
        if ask.want == 0 {
            return; // it was no question
        }
        let short = granted < ask.want;
        let nothing = granted == 0 && answer.left == 0;
        let zeros = if nothing { self.zeros.load(Relaxed) + 1 } else { 0 };
        self.zeros.store(zeros, Relaxed);
        let (there, plenty) = (answer.left.saturating_add(granted), bucket.plenty());
        if !short || there >= plenty {
            self.scarce.store(false, Relaxed);
        } else if answer.left == 0 || there < plenty / 8 * 3 {
            // Before it is empty, too: where all others keep the pace it never is, and one would have most of it.
            self.scarce.store(true, Relaxed);
        }
        let pace = if self.scarce.load(Relaxed) && ask.want > FEW {
            (bucket.pace_us() << zeros.min(8)).min(PACE_MAX_US)
        } else {
            0
        };
        let due = if answer.left == 0 { answer.next_us.unwrap_or(u64::MAX / 2) } else { 0 };
        self.due_at.store(now + due.max(pace), Release);
        // Others may return tokens, and the bucket may be changed: no longer than a lease.
        let wait = due.min(TTL_US).max(pace);
        self.again_at.store(now + wait, Release);
        // It has its share for now, and others have theirs.
        let hint = if short { bucket.pace_us() } else { 0 };
        self.hint_at.store(now + wait.max(hint), Release);
    }
}

/// Calls in the last [`DEMAND_US`], from what they were before and how many there were since; all but the calls in parts
/// of [`PARTS`], or asking often would round often.
fn decayed(recent: u32, since: u64, calls: u32) -> u32 {
    let (recent, calls) = (u64::from(recent), u64::from(calls) * u64::from(PARTS));
    let now = match DEMAND_US.checked_sub(since) {
        Some(rest) => recent * rest / DEMAND_US + calls,
        None => calls * DEMAND_US / since,
    };
    u32::try_from(now).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn tokens(state: u64) -> u32 {
    state as u32
}

fn undecided(state: u64) -> u32 {
    tokens((state % GENERATION) / UNDECIDED)
}

/// Tokens that may yet be spent, or are.
fn unspent(state: u64) -> u32 {
    tokens(state).saturating_add(undecided(state))
}

/// In its place.
fn generation(state: u64) -> u64 {
    state - state % GENERATION
}
