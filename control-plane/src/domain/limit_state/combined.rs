//! What nodes know of limits, each by itself and over all of them.

use chrono::{DateTime, TimeDelta, Utc};
use proto::inquiry::v1::limit::Figures;
use proto::inquiry::v1::limit_state::Standing;
use proto::inquiry::v1::{self as message, Seen, Tokens};

use super::{Answered, LimitCounting, LimitInUse, LimitOnNode};
use crate::domain::explanation::LimitLevel;
use crate::ids::NodeId;

/// Which of two answers of Redis came first is not known from nodes that answered at other moments: of those that lie so
/// close together the least stands.
const TOGETHER_MS: u64 = 100;

/// One limit as one process of a node knows it.
struct Known<'a> {
    node: NodeId,
    level: LimitLevel,
    counting: LimitCounting,
    limit: &'a message::Limit,
    state: &'a message::LimitState,
    figures: &'a Figures,
    standing: &'a Standing,
}

impl<'a> Known<'a> {
    /// None where it is no sound one: a node of another release may say what this one does not know.
    fn of(node: NodeId, state: &'a message::LimitState) -> Option<Self> {
        let limit = state.limit.as_ref()?;
        let (figures, standing) = (limit.figures.as_ref()?, state.standing.as_ref()?);
        let fits = matches!(
            (figures, standing),
            (Figures::Throttle(_), Standing::Tokens(_))
                | (Figures::Concurrency(_), Standing::InProgress(_))
                | (Figures::Quota(_), Standing::Used(_))
        );
        let (level, counting) =
            (LimitLevel::of(limit.level())?, LimitCounting::of(state.counting())?);
        fits.then_some(Self { node, level, counting, limit, state, figures, standing })
    }

    /// The narrowest come first.
    fn place(&self) -> (u8, &'a str, &'a str, &'a str, &'a str) {
        let wide = u8::from(self.level != LimitLevel::KeyRoute);
        let state = self.state;
        (wide, &self.limit.name, &state.api_id, &state.stage, &state.route)
    }

    fn tokens(&self) -> Option<&'a Tokens> {
        match self.standing {
            Standing::Tokens(tokens) => Some(tokens),
            _ => None,
        }
    }

    fn on_node(&self, now: DateTime<Utc>) -> LimitOnNode {
        let alone = InUse::of(std::slice::from_ref(self), now);
        let remaining = match (self.figures, self.standing) {
            // What is in progress elsewhere it does not know.
            (_, Standing::InProgress(_)) => None,
            // As it was, beside when that was.
            (Figures::Throttle(of), Standing::Tokens(tokens)) => {
                let seen = tokens.seen.map(|seen| seen.left);
                let sum = tokens.in_hand.into_iter().chain(seen).reduce(u64::saturating_add);
                sum.map(|sum| sum.min(of.burst_limit.into()))
            }
            _ => alone.remaining,
        };
        LimitOnNode {
            node_id: self.node.to_string(),
            counting: self.counting,
            remaining,
            in_flight: alone.in_flight,
            as_of: alone.as_of,
        }
    }
}

/// What is reckoned over nodes.
#[derive(Default)]
struct InUse {
    remaining: Option<u64>,
    in_flight: Option<u64>,
    used: Option<u64>,
    as_of: Option<DateTime<Utc>>,
}

impl InUse {
    /// Of one limit, as some know it.
    fn of(known: &[Known<'_>], now: DateTime<Utc>) -> Self {
        match known.first().map(|first| first.figures) {
            Some(Figures::Throttle(of)) => Self::of_bucket(*of, known, now),
            Some(Figures::Concurrency(of)) => Self::of_permits(*of, known, now),
            Some(Figures::Quota(of)) => Self::of_quota(*of, known),
            Some(Figures::Share(_)) | None => Self::default(),
        }
    }

    /// What nodes hold is in the bucket no more. What is in it others may have, and it refills.
    fn of_bucket(of: message::Throttle, known: &[Known<'_>], now: DateTime<Utc>) -> Self {
        let tokens = || known.iter().filter_map(Known::tokens);
        let in_hand = tokens().filter_map(|it| it.in_hand).reduce(u64::saturating_add);
        let seen = || tokens().filter_map(|it| it.seen);
        let newest_ms = seen().map(|seen| seen.age_ms).min();
        let of_last = |seen: &Seen| {
            newest_ms.is_some_and(|newest| seen.age_ms <= newest.saturating_add(TOGETHER_MS))
        };
        let left = seen().filter(of_last).map(|seen| refilled(of, seen)).min();
        let sum = in_hand.into_iter().chain(left).reduce(u64::saturating_add);
        let ago =
            |ms| now.checked_sub_signed(TimeDelta::try_milliseconds(i64::try_from(ms).ok()?)?);
        Self {
            remaining: sum.map(|sum| sum.min(of.burst_limit.into())),
            as_of: newest_ms.map_or_else(|| in_hand.map(|_| now), ago),
            ..Self::default()
        }
    }

    fn of_permits(of: message::Concurrency, known: &[Known<'_>], now: DateTime<Utc>) -> Self {
        let in_flight = known.iter().map(|known| match known.standing {
            Standing::InProgress(it) => it.in_flight,
            _ => 0,
        });
        let in_flight = in_flight.fold(0, u64::saturating_add);
        Self {
            remaining: Some(u64::from(of.max_in_flight).saturating_sub(in_flight)),
            in_flight: Some(in_flight),
            as_of: Some(now),
            ..Self::default()
        }
    }

    /// All nodes share one count: the later by the clock of Redis stands.
    fn of_quota(of: message::Quota, known: &[Known<'_>]) -> Self {
        let counts = known.iter().filter_map(|known| match known.standing {
            Standing::Used(used) => Some((used.at_s, used.used)),
            _ => None,
        });
        let Some((at_s, used)) = counts.max() else { return Self::default() };
        Self {
            remaining: Some(of.limit.saturating_sub(used)),
            used: Some(used),
            as_of: DateTime::from_timestamp(at_s, 0),
            ..Self::default()
        }
    }
}

/// What the bucket has by now, as nobody who answered took from it since.
fn refilled(of: message::Throttle, seen: Seen) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "an age")]
    let came = of.rate_limit * seen.age_ms as f64 / 1000.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a saturating cast is meant"
    )]
    let came = came as u64;
    seen.left.saturating_add(came).min(of.burst_limit.into())
}

pub(super) fn limits(answers: &[Answered], now: DateTime<Utc>) -> Vec<LimitInUse> {
    let each = answers.iter().flat_map(|answered| {
        answered.limits.iter().filter_map(|state| Known::of(answered.node, state))
    });
    let mut all: Vec<Known<'_>> = each.collect();
    all.sort_by(|one, other| (one.place(), one.node).cmp(&(other.place(), other.node)));
    let same = |one: &Known<'_>, other: &Known<'_>| one.place() == other.place();
    all.chunk_by(same).filter_map(|known| limit(known, now)).collect()
}

/// While nodes take over another setting, one by one, the first node's is told.
fn limit(known: &[Known<'_>], now: DateTime<Utc>) -> Option<LimitInUse> {
    let first = known.first()?;
    let InUse { remaining, in_flight, used, as_of } = InUse::of(known, now);
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let mut told = LimitInUse {
        name: first.limit.name.clone(),
        level: first.level,
        enforced: !first.state.shadow,
        api_id: some(&first.state.api_id),
        stage: some(&first.state.stage),
        route: some(&first.state.route),
        rate_limit: None,
        burst_limit: None,
        max_in_flight: None,
        quota_limit: None,
        quota_period_seconds: None,
        resets_at: None,
        remaining,
        in_flight,
        used,
        as_of,
        nodes: known.iter().map(|known| known.on_node(now)).collect(),
    };
    match *first.figures {
        Figures::Throttle(of) => {
            told.rate_limit = Some(of.rate_limit);
            told.burst_limit = Some(of.burst_limit);
        }
        Figures::Concurrency(of) => told.max_in_flight = Some(of.max_in_flight.into()),
        Figures::Quota(of) => {
            told.quota_limit = Some(of.limit);
            told.quota_period_seconds = Some(of.period_s).filter(|it| *it > 0);
            let rest = i64::try_from(of.resets_in_s).ok().and_then(TimeDelta::try_seconds);
            told.resets_at = rest.and_then(|rest| now.checked_add_signed(rest));
        }
        Figures::Share(_) => return None, // no key's
    }
    Some(told)
}

#[cfg(test)]
mod tests {
    use proto::inquiry::v1::{Counting, InProgress, Level, Limit, LimitState, Used};

    use super::*;
    use crate::ids::Rng;

    fn state(name: &str, figures: Figures, counting: Counting, standing: Standing) -> LimitState {
        let (level, figures) = (Level::Key.into(), Some(figures));
        LimitState {
            limit: Some(Limit { name: name.to_owned(), level, figures }),
            counting: counting.into(),
            standing: Some(standing),
            ..LimitState::default()
        }
    }

    fn throttle(counting: Counting, in_hand: Option<u64>, seen: Option<(u64, u64)>) -> LimitState {
        let figures = Figures::Throttle(message::Throttle { rate_limit: 2.0, burst_limit: 10 });
        let seen = seen.map(|(left, age_ms)| Seen { left, age_ms });
        state("key", figures, counting, Standing::Tokens(Tokens { in_hand, seen }))
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000, 0).unwrap()
    }

    fn combined(of_nodes: Vec<Vec<LimitState>>) -> Vec<LimitInUse> {
        let answers: Vec<Answered> =
            of_nodes.into_iter().map(|limits| Answered { node: Rng.id(), limits }).collect();
        limits(&answers, now())
    }

    /// What is left of one throttle, and since how many milliseconds that is known.
    fn left(of_nodes: Vec<LimitState>) -> (Option<u64>, Option<i64>) {
        let all = combined(of_nodes.into_iter().map(|state| vec![state]).collect());
        let [one] = &all[..] else { panic!("{all:?}") };
        (one.remaining, one.as_of.map(|at| (now() - at).num_milliseconds()))
    }

    #[test]
    fn of_a_throttle_what_nodes_hold_is_added_to_what_redis_last_had() {
        use Counting::{Exact, Fallback, Leased, Local};
        let leased = |in_hand, seen| throttle(Leased, Some(in_hand), Some(seen));
        assert_eq!(left(vec![leased(1, (5, 400)), leased(2, (3, 0))]), (Some(6), Some(0)));
        // It refills by its rate, and holds no more than its burst.
        assert_eq!(left(vec![leased(0, (3, 1600))]), (Some(6), Some(1600)));
        assert_eq!(left(vec![leased(2, (3, 60_000))]), (Some(10), Some(60_000)));
        // Which of two came first is not known.
        let exact = |seen| throttle(Exact, None, Some(seen));
        assert_eq!(left(vec![exact((4, 3)), exact((3, 9))]), (Some(3), Some(3)));
        assert_eq!(left(vec![exact((4, 3)), exact((3, 3 + TOGETHER_MS + 1))]), (Some(4), Some(3)));
        // Shares are beside each other, and beside what the others have.
        let share = |counting, tokens| throttle(counting, Some(tokens), None);
        assert_eq!(left(vec![share(Local, 2), share(Local, 3)]), (Some(5), Some(0)));
        assert_eq!(left(vec![share(Fallback, 2), leased(1, (3, 0))]), (Some(6), Some(0)));
        assert_eq!(left(vec![throttle(Leased, None, None)]), (None, None));
    }

    #[test]
    fn of_requests_in_progress_the_sum_and_of_a_quota_the_latest_count_are_told() {
        let permits = |in_flight| {
            let figures = Figures::Concurrency(message::Concurrency { max_in_flight: 5 });
            let standing = Standing::InProgress(InProgress { in_flight });
            state("key-concurrency", figures, Counting::Leased, standing)
        };
        let quota = |at_s, used| {
            let of = message::Quota { limit: 9, period_s: 86_400, resets_in_s: 60 };
            let standing = Standing::Used(Used { used, at_s });
            LimitState {
                shadow: true,
                ..state("quota", Figures::Quota(of), Counting::Exact, standing)
            }
        };
        let all = combined(vec![
            vec![permits(1), quota(1_899_999_990, 7)],
            vec![permits(2), quota(1_899_999_991, 6)],
        ]);
        let [calls, quota] = &all[..] else { panic!("{all:?}") };
        assert_eq!(
            (calls.in_flight, calls.remaining, calls.max_in_flight),
            (Some(3), Some(2), Some(5))
        );
        let mut on_nodes: Vec<_> =
            calls.nodes.iter().map(|it| (it.in_flight, it.remaining)).collect();
        on_nodes.sort_unstable();
        assert_eq!(on_nodes, [(Some(1), None), (Some(2), None)]);
        assert!(calls.enforced && !quota.enforced);
        assert_eq!((quota.used, quota.remaining, quota.quota_limit), (Some(6), Some(3), Some(9)));
        assert_eq!(quota.as_of, DateTime::from_timestamp(1_899_999_991, 0));
        assert_eq!(quota.resets_at, DateTime::from_timestamp(1_900_000_060, 0));
    }

    #[test]
    fn what_a_newer_node_says_and_nobody_here_knows_is_left_out() {
        let known = throttle(Counting::Leased, Some(1), None);
        let mut strange = [known.clone(), known.clone(), known.clone()];
        strange[0].counting = 99;
        strange[1].standing = Some(Standing::InProgress(InProgress::default()));
        strange[2].limit = None;
        let all = combined(vec![strange.into(), vec![known]]);
        assert_eq!((all.len(), all[0].nodes.len()), (1, 1), "{all:?}");
    }

    #[test]
    fn routes_come_first_and_each_by_itself() {
        let of_route = |route: &str| {
            let mut state = throttle(Counting::Leased, Some(1), None);
            route.clone_into(&mut state.route);
            let limit = state.limit.as_mut().unwrap();
            (limit.name, limit.level) = ("key-route".to_owned(), Level::KeyRoute.into());
            state
        };
        let of_key = throttle(Counting::Leased, Some(1), None);
        let all = combined(vec![vec![of_key, of_route("GET /b")], vec![of_route("GET /a")]]);
        let names: Vec<_> = all.iter().map(|it| (&*it.name, it.route.as_deref())).collect();
        assert_eq!(
            names,
            [("key-route", Some("GET /a")), ("key-route", Some("GET /b")), ("key", None)]
        );
    }
}
