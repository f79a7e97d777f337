//! Calls that a thread took from quotas ahead, so that a busy key's calls ask Redis once for many.
//!
//! **Exactly the limit passes.** What is taken ahead is counted in Redis at once, so no two nodes can make the same call. A
//! thread takes as many as its key made in the last [`HORIZON_US`], twice as many as the time before at most, and no more
//! than a thirty-second of what is left for each live node: where little is left, each call asks by itself. It asks again
//! with a quarter of them left, so it never holds more than five quarters of what it was last given. What nobody
//! used within [`KEPT_US`] goes back, and so does all of it when the node ends, the plan's quota changes or the key is granted
//! more. A call that is refused while another node still holds some is told to come again in a second.
//!
//! **None is made in a period that it was not taken from.** A thread knows Redis's clock by the last answer: that it was no
//! later than the second which it named, and one, when it came. What is left when the period may have ended is not used.
//!
//! **What is not known is lost to the key, never given twice.** Of a question whose answer never came, and of a node that
//! was killed, the calls stay counted. Redis keeps how many were taken ahead and are not *settled*, that is, of which no
//! node has said yet that they were made or brought back; `reconciliation` takes as many of the count for uncertain.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use proto::inquiry::v1::How;

use super::{
    quota::Claim,
    spending::{Asked, Spending, Spent},
};

/// A thread takes what its key uses in this time.
const HORIZON_US: u64 = 500_000;
/// What was taken ahead and not used since goes back after this time, or twice it.
const KEPT_US: u64 = 1_000_000;
/// A refusal stands as long, unless the quota changes.
const REFUSED_US: u64 = 100_000;
const SIZE_MAX: u64 = 10_000;
/// Keys on plans for which calls are taken ahead at once.
const KEYS_MAX: usize = 20_000;
/// What goes back and is not told yet.
const RETURNS_MAX: usize = 4 * KEYS_MAX;

/// One thread's.
#[derive(Default)]
pub(super) struct Ahead {
    batches: RefCell<HashMap<Rc<str>, Batch, foldhash::fast::RandomState>>,
    returns: RefCell<VecDeque<Return>>,
}

/// What a thread has of one quota.
struct Batch {
    claim: Claim,
    /// The last answer, and when it was asked for.
    answer: Spent,
    period: Rc<str>,
    asked_at: u64,
    /// Taken ahead and not used.
    left: u64,
    /// Taken ahead, and Redis does not know yet what became of them; those that are left among them.
    unsettled: u64,
    /// How many were last asked for, or given where those were fewer, when, and the calls since.
    size: u64,
    sized_at: u64,
    made: u64,
    /// A question for more is on its way.
    asking: bool,
}

/// What is to be told of a batch that is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Return {
    pub(super) key: Rc<str>,
    pub(super) claim: Claim,
    pub(super) period: Rc<str>,
    pub(super) limit: u64,
    pub(super) back: u64,
    pub(super) settled: u64,
}

/// How a call is decided.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Here {
    /// From what the thread has.
    Spent(Spent),
    /// The same; more is to be asked for, beside the call.
    Refill(Spent, Asked),
    /// Redis is to be asked.
    Ask(Asked),
}

impl Ahead {
    /// Takes a call from what this thread has, or says what to ask for.
    pub(super) fn take(&self, key: &str, claim: &Claim, now: u64) -> Here {
        let mut batches = self.batches.borrow_mut();
        let Some(batch) = batches.get_mut(key) else { return Here::Ask(Asked::ONE) };
        if batch.claim != *claim || batch.has_ended(now) {
            if let Some((key, batch)) = batches.remove_entry(key) {
                self.give_up(key, batch);
            }
            return Here::Ask(Asked::ONE);
        }
        if let Some(spent) = batch.refused(now) {
            return Here::Spent(spent);
        }
        batch.made += 1;
        if batch.left == 0 {
            return Here::Ask(batch.ask(true, now));
        }
        batch.left -= 1;
        let spent = batch.spent(now);
        if batch.left <= batch.size / 4 && batch.left > 0 && !batch.asking {
            return Here::Refill(spent, batch.ask(false, now));
        }
        Here::Spent(spent)
    }

    /// Redis answered, in time or late.
    pub(super) fn answered(
        &self,
        key: &str,
        claim: &Claim,
        asked: &Asked,
        Spending(spent, line): &Spending,
        asked_at: u64,
    ) {
        let mut batches = self.batches.borrow_mut();
        let period = &line.known.period;
        let ahead = line.ahead + u64::from(!asked.waits && spent.allowed);
        let full = batches.len() >= KEYS_MAX;
        match batches.get_mut(key) {
            Some(batch) if batch.claim == *claim && batch.period == *period => {
                batch.left += ahead;
                batch.unsettled = batch.unsettled.saturating_sub(asked.settled) + ahead;
                if asked.sizes {
                    batch.asking = false;
                    batch.size = batch.size.min(line.ahead + 1);
                }
                // A refusal says nothing of those that are left.
                if batch.asked_at <= asked_at && (spent.allowed || batch.left == 0) {
                    (batch.answer, batch.asked_at) = (*spent, asked_at);
                }
            }
            Some(batch) if asked.sizes && batch.asked_at <= asked_at => {
                let stale = std::mem::replace(batch, Batch::new(claim, spent, period, asked_at));
                self.give_up(key.into(), stale);
                (batch.left, batch.unsettled) = (ahead, ahead);
            }
            None if !full => {
                let mut batch = Batch::new(claim, spent, period, asked_at);
                (batch.left, batch.unsettled) = (ahead, ahead);
                batches.insert(key.into(), batch);
            }
            _ if ahead > 0 => {
                let (key, claim, period) = (key.into(), claim.clone(), period.clone());
                let limit = spent.limit;
                self.bring(Return { key, claim, period, limit, back: ahead, settled: ahead });
            }
            _ => {}
        }
    }

    /// No answer came to a question, if it was sent.
    pub(super) fn unanswered(&self, key: &str, asked: &Asked, sent: bool) {
        if let Some(batch) = self.batches.borrow_mut().get_mut(key) {
            batch.asking &= !asked.sizes;
            if sent {
                // It may have been heard: what is settled twice would stand for another's.
                batch.unsettled = batch.unsettled.saturating_sub(asked.settled).max(batch.left);
            }
        }
    }

    /// Gives up what was not used lately of the quotas that can be told. Each second.
    pub(super) fn sweep(&self, which: impl Fn(&str) -> bool, now: u64) {
        let old = |key: &Rc<str>, batch: &mut Batch| {
            now.saturating_sub(batch.sized_at) >= KEPT_US && !batch.asking && which(key)
        };
        let given_up: Vec<_> = self.batches.borrow_mut().extract_if(old).collect();
        for (key, batch) in given_up {
            self.give_up(key, batch);
        }
    }

    /// Gives up everything.
    pub(super) fn end(&self) {
        for (key, batch) in self.batches.take() {
            self.give_up(key, batch);
        }
    }

    /// What is to be told of the quotas that can be.
    pub(super) fn returns(&self, which: impl Fn(&str) -> bool) -> Vec<Return> {
        let mut returns = self.returns.borrow_mut();
        let (told, kept) = returns.drain(..).partition(|it| which(&it.key));
        *returns = kept;
        VecDeque::into(told)
    }

    fn give_up(&self, key: Rc<str>, batch: Batch) {
        let Batch { claim, period, left: back, unsettled: settled, .. } = batch;
        if settled > 0 {
            let limit = batch.answer.limit;
            self.bring(Return { key, claim, period, limit, back, settled });
        }
    }

    fn bring(&self, it: Return) {
        let mut returns = self.returns.borrow_mut();
        if returns.len() < RETURNS_MAX {
            returns.push_back(it);
        }
    }
}

impl Batch {
    fn new(claim: &Claim, answer: &Spent, period: &Rc<str>, asked_at: u64) -> Self {
        Self {
            claim: claim.clone(),
            answer: *answer,
            period: period.clone(),
            asked_at,
            left: 0,
            unsettled: 0,
            size: 1,
            sized_at: asked_at,
            made: 0,
            asking: false,
        }
    }

    /// Seconds since Redis answered, rounded up: its clock shows no more than the second of the answer and these.
    fn since_s(&self, now: u64) -> u64 {
        now.saturating_sub(self.asked_at) / 1_000_000 + 1
    }

    fn has_ended(&self, now: u64) -> bool {
        self.since_s(now) >= self.answer.resets_in_s
    }

    fn spent(&self, now: u64) -> Spent {
        let resets_in_s = self.answer.resets_in_s - (self.since_s(now) - 1);
        Spent { allowed: true, resets_in_s, counted: None, ..self.answer }.with(self.left)
    }

    /// The last answer, where it was a refusal that still stands.
    fn refused(&self, now: u64) -> Option<Spent> {
        let stands = !self.answer.allowed
            && self.left == 0
            && now.saturating_sub(self.asked_at) < REFUSED_US;
        let how = How::Remembered;
        stands.then(|| Spent { allowed: false, how, ..self.spent(now) })
    }

    /// One question at a time asks for more than its call.
    fn ask(&mut self, waits: bool, now: u64) -> Asked {
        if self.asking {
            return Asked::ONE;
        }
        let settled = self.unsettled - self.left;
        let passed = u128::from(now.saturating_sub(self.sized_at).max(1));
        let demand = u128::from(self.made) * u128::from(HORIZON_US) / passed;
        let demand = u64::try_from(demand).unwrap_or(u64::MAX);
        self.size = demand.min(2 * self.size).clamp(1, SIZE_MAX);
        (self.sized_at, self.made, self.asking) = (now, 0, true);
        Asked { waits, sizes: true, ahead: self.size - 1, settled }
    }
}

#[cfg(test)]
mod tests {
    use plan::Unit;

    use super::*;
    use crate::policies::recall::{Known, Line, Restored};

    const SECOND: u64 = 1_000_000;

    fn claim() -> Claim {
        Claim::calendar(1_000_000, Unit::Day)
    }

    /// An answer of Redis in a period that ends so many seconds later.
    fn answer(allowed: bool, ahead: u64, resets_in_s: u64) -> Spending {
        let known = Known { period: "day1".into(), born_us: 1, used: 9, taken: 9, base: 0 };
        let (from_s, until_s, at_s) = (0, 86_400, 1);
        let (whole, shut, restored) = (true, false, Restored::default());
        let line = Line { known, from_s, until_s, at_s, whole, shut, restored, ahead, held: ahead };
        let spent = Spent {
            allowed,
            over: !allowed,
            remaining: 100,
            limit: 1000,
            resets_in_s,
            period_s: 86_400,
            held: 0,
            how: How::Exact,
            counted: Some(line.counted()),
        };
        Spending(spent, line)
    }

    /// A thread whose Redis has what is asked for, or as many at once as are given.
    struct Thread {
        ahead: Ahead,
        claim: Claim,
        given_max: u64,
        asked: Vec<Asked>,
    }

    impl Thread {
        fn new() -> Self {
            let (ahead, claim) = (Ahead::default(), claim());
            Self { ahead, claim, given_max: u64::MAX, asked: Vec::new() }
        }

        fn call(&mut self, now: u64) {
            match self.ahead.take("key", &self.claim, now) {
                Here::Spent(spent) => assert!(spent.allowed),
                Here::Refill(_, asked) | Here::Ask(asked) => {
                    self.asked.push(asked);
                    let given = asked.ahead.min(self.given_max);
                    let answer = answer(true, given, 86_399);
                    self.ahead.answered("key", &self.claim, &asked, &answer, now);
                }
            }
        }

        fn holds(&self) -> u64 {
            self.ahead.batches.borrow().values().map(|batch| batch.left).sum()
        }

        fn returns(&self) -> Vec<(u64, u64)> {
            self.ahead.returns(|_| true).iter().map(|it| (it.back, it.settled)).collect()
        }
    }

    #[test]
    fn a_busy_key_asks_once_for_many_and_a_seldom_one_each_time() {
        let mut busy = Thread::new();
        for call in 0..10_000 {
            busy.call(call * 100); // ten thousand in a second
        }
        // Twice as many each time, then half a second's.
        let sizes: Vec<_> = busy.asked.iter().map(|asked| asked.ahead + 1).collect();
        assert_eq!(sizes[..8], [1, 2, 4, 8, 16, 32, 64, 128]);
        assert!((14..=16).contains(&sizes.len()), "{sizes:?}");
        assert!(sizes.iter().all(|size| *size <= 5_000), "{sizes:?}");
        assert!(busy.asked[4..].iter().all(|asked| !asked.waits), "nobody waits: {:?}", busy.asked);

        let mut seldom = Thread::new();
        (0..10).for_each(|call| seldom.call(call * SECOND / 2));
        assert_eq!(seldom.asked.len(), 10);
        assert!(seldom.asked.iter().all(|asked| asked.ahead == 0 && asked.waits));
    }

    #[test]
    fn a_thread_never_holds_more_than_five_quarters_of_what_it_is_given_at_once() {
        let mut thread = Thread { given_max: 40, ..Thread::new() };
        for call in 0..10_000 {
            thread.call(call * 100); // whose demand is five thousand
            assert!(thread.holds() <= 41 * 5 / 4, "{} after call {call}", thread.holds());
        }
        let asked = thread.asked.len();
        assert!((10_000 / 41..10_000 / 30).contains(&asked), "asked {asked} times");
    }

    #[test]
    fn what_was_made_is_settled_with_the_next_question_and_all_of_it_in_the_end() {
        let mut thread = Thread::new();
        (0..1000).for_each(|call| thread.call(call * 100));
        thread.ahead.end();
        let [(back, settled)] = thread.returns()[..] else { panic!("one batch") };
        let told: u64 = thread.asked.iter().map(|asked| asked.settled).sum();
        let ahead: u64 =
            thread.asked.iter().map(|asked| asked.ahead + u64::from(!asked.waits)).sum();
        let waited = thread.asked.iter().filter(|asked| asked.waits).count() as u64;
        assert_eq!(told + settled, ahead, "each is settled once");
        assert_eq!(waited + ahead - back, 1000, "and was made or goes back");
        assert_eq!(thread.returns(), []);
    }

    #[test]
    fn what_nobody_uses_goes_back_and_what_cannot_be_told_waits() {
        let mut thread = Thread::new();
        (0..20).for_each(|call| thread.call(call * 100));
        let later = 3000 + KEPT_US;
        thread.ahead.sweep(|_| true, 3000);
        assert_eq!(thread.returns(), []);
        thread.ahead.sweep(|_| false, later);
        assert_eq!(thread.returns(), []);
        thread.ahead.sweep(|_| true, later);
        assert!(thread.ahead.returns(|_| false).is_empty());
        let [(back, settled)] = thread.returns()[..] else { panic!("one batch") };
        assert!(0 < back && back <= settled, "{back} of {settled}");
        thread.call(later);
        assert_eq!(thread.asked.last(), Some(&Asked::ONE), "from the beginning");
    }

    #[test]
    fn nothing_is_used_of_a_changed_quota_or_when_the_period_may_have_ended() {
        let mut thread = Thread::new();
        (0..20).for_each(|call| thread.call(call * 100));
        thread.claim.quota.limit += 1;
        thread.call(2000);
        assert_eq!(thread.asked.last(), Some(&Asked::ONE));
        let [(back, _)] = thread.returns()[..] else { panic!("one batch") };
        assert!(back > 0);

        let asked = Asked { sizes: true, ahead: 9, ..Asked::ONE };
        let ahead = Ahead::default();
        ahead.answered("key", &thread.claim, &asked, &answer(true, 9, 3), 0);
        // Redis named a second that had three more; it may have been over nearly.
        assert!(matches!(ahead.take("key", &thread.claim, 2 * SECOND - 1), Here::Spent(_)));
        assert_eq!(ahead.take("key", &thread.claim, 2 * SECOND), Here::Ask(Asked::ONE));
    }

    #[test]
    fn a_refusal_stands_for_a_moment_unless_the_quota_changes() {
        let (ahead, mut claim) = (Ahead::default(), claim());
        ahead.answered("key", &claim, &Asked::ONE, &answer(false, 0, 60), 0);
        let Here::Spent(spent) = ahead.take("key", &claim, REFUSED_US - 1) else { panic!("asked") };
        assert_eq!((spent.allowed, spent.how, spent.resets_in_s), (false, How::Remembered, 60));
        assert!(matches!(ahead.take("key", &claim, REFUSED_US), Here::Ask(_)));
        ahead.answered("key", &claim, &Asked::ONE, &answer(false, 0, 60), REFUSED_US);
        claim.quota.limit += 1;
        assert!(matches!(ahead.take("key", &claim, REFUSED_US), Here::Ask(_)));
    }

    #[test]
    fn what_is_left_is_used_though_there_is_no_more() {
        let (ahead, claim) = (Ahead::default(), claim());
        let asked = Asked { sizes: true, ahead: 2, ..Asked::ONE };
        ahead.answered("key", &claim, &asked, &answer(true, 2, 60), 0);
        let more = Asked { waits: false, ..asked };
        ahead.answered("key", &claim, &more, &answer(false, 0, 60), 1);
        for _ in 0..2 {
            let Here::Spent(spent) = ahead.take("key", &claim, 2) else { panic!("asked") };
            assert!(spent.allowed && !spent.over, "{spent:?}");
        }
        assert!(matches!(ahead.take("key", &claim, 2), Here::Ask(_)));
    }

    #[test]
    fn a_question_without_an_answer_leaves_room_for_the_next() {
        let (ahead, claim) = (Ahead::default(), claim());
        ahead.answered("key", &claim, &Asked::ONE, &answer(true, 0, 60), 0);
        let ask = |now| match ahead.take("key", &claim, now) {
            Here::Ask(asked) => asked,
            other => panic!("{other:?}"),
        };
        let first = ask(1000);
        assert_eq!((first.sizes, first.ahead), (true, 1));
        assert_eq!(ask(1001), Asked::ONE, "one asks for more");
        ahead.unanswered("key", &first, true);
        assert!(ask(1002).sizes);
    }
}
