//! Which traces a stage's rules keep: decided once the route is known, and again once the call is over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use proto::config::v1 as message;

use crate::snapshot::served::Deployment;

/// In the place of a route key: every route, and calls that found none.
const EVERY_ROUTE: &str = "*";
/// Of calls that no rule names, as AWS X-Ray has it.
const DEFAULT_RESERVOIR: u32 = 1;
const DEFAULT_RATE: f64 = 0.05;

/// What a stage's rules decided at the head of a call. A span that is begun finds it in its context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    Keep,
    /// Recorded, and kept only if the call turns out to be one of these.
    Watch(Tail),
    Drop,
}

/// The calls whose traces are kept whatever was decided at their head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    errors: bool,
    slower_than: Option<Duration>,
}

/// A stage's rules, compiled upon the routes of its deployment.
pub struct Sampling {
    /// As they came; after them, what holds for calls that none of them names.
    rules: Vec<Rule>,
    /// Positions in `rules`, by the positions of the deployment's routes.
    by_route: Vec<usize>,
    /// For calls that found no route.
    unrouted: usize,
}

pub(crate) struct Rule {
    route_key: Box<str>,
    per_second: u32,
    rate: f64,
    tail: Tail,
    reservoir: Arc<Reservoir>,
}

/// What was taken in the present second, by all threads of a node. It outlives changes of the configuration.
struct Reservoir {
    began: Instant,
    /// The second since `began` in the upper half, what was taken in it in the lower.
    state: AtomicU64,
}

impl Sampling {
    /// A rule goes on with the reservoir that it had in `previous`.
    pub(crate) fn compile(
        message: &message::Tracing,
        deployment: Option<&Deployment>,
        previous: Option<&Self>,
    ) -> Result<Self, String> {
        let default = message::SamplingRule {
            reservoir_per_second: DEFAULT_RESERVOIR,
            rate: DEFAULT_RATE,
            ..message::SamplingRule::default()
        };
        let compiled = message.rules.iter().chain([&default]).map(|rule| {
            if !(0.0..=1.0).contains(&rule.rate) {
                return Err(format!("sampling rule {}: {} is no rate", rule.route_key, rule.rate));
            }
            let before = previous.and_then(|before| {
                before.rules.iter().find(|before| *before.route_key == *rule.route_key)
            });
            Ok(Rule {
                route_key: rule.route_key.as_str().into(),
                per_second: rule.reservoir_per_second,
                rate: rule.rate,
                tail: Tail {
                    errors: rule.keep_errors,
                    slower_than: rule
                        .keep_slower_than_ms
                        .map(|bound| Duration::from_millis(bound.into())),
                },
                reservoir: before.map_or_else(
                    || Arc::new(Reservoir { began: Instant::now(), state: AtomicU64::new(0) }),
                    |before| before.reservoir.clone(),
                ),
            })
        });
        let rules = compiled.collect::<Result<Vec<_>, String>>()?;
        let named = |name: &str| {
            let rule =
                rules.iter().position(|rule| [name, EVERY_ROUTE].contains(&&*rule.route_key));
            rule.unwrap_or(rules.len() - 1)
        };
        let routes = deployment.map(|deployment| &*deployment.routes).unwrap_or_default();
        let by_route = routes.iter().map(|route| named(&route.name)).collect();
        let unrouted = named(EVERY_ROUTE);
        Ok(Self { rules, by_route, unrouted })
    }

    /// The first rule that names the route at this position of the deployment.
    pub(crate) fn rule(&self, route: Option<usize>) -> &Rule {
        let rule = route.and_then(|route| self.by_route.get(route).copied());
        &self.rules[rule.unwrap_or(self.unrouted)]
    }
}

impl Rule {
    /// `caller`: what the caller decided, where that is followed. `now`: when the call began.
    pub(crate) fn head(&self, caller: Option<bool>, now: Instant) -> Head {
        let kept = caller.unwrap_or_else(|| {
            self.reservoir.take(self.reservoir.second(now), self.per_second)
                || takes(self.rate, rand::random())
        });
        if kept {
            Head::Keep
        } else if self.tail == Tail::default() {
            Head::Drop
        } else {
            Head::Watch(self.tail)
        }
    }
}

/// `drawn`: evenly from 0 to below 1, so that a rate of 0 takes nothing and one of 1 all.
fn takes(rate: f64, drawn: f64) -> bool {
    drawn < rate
}

impl Reservoir {
    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs()
    }

    /// Whether one more of `size` is left in this second. Once none is, this writes nothing.
    fn take(&self, second: u64, size: u32) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            // A call that began before another thread's goes by the later second.
            let (at, taken) = match state >> 32 {
                at if at < second => (second, 0),
                at => (at, state & u64::from(u32::MAX)),
            };
            if taken >= u64::from(size) {
                return false;
            }
            let next = at << 32 | (taken + 1);
            let order = Ordering::Relaxed;
            match self.state.compare_exchange_weak(state, next, order, order) {
                Ok(_) => return true,
                Err(other) => state = other,
            }
        }
    }
}

impl Tail {
    /// What the call is kept for, once it is over.
    pub(super) fn keeps(self, status: u16, took: Duration) -> Option<&'static str> {
        if self.errors && status >= 500 {
            return Some("error");
        }
        self.slower_than.is_some_and(|bound| took > bound).then_some("latency")
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    fn rule(route_key: &str, reservoir_per_second: u32, rate: f64) -> message::SamplingRule {
        let route_key = route_key.to_owned();
        message::SamplingRule { route_key, reservoir_per_second, rate, ..Default::default() }
    }

    fn compile(rules: &[message::SamplingRule], previous: Option<&Sampling>) -> Sampling {
        let message = message::Tracing { rules: rules.to_vec() };
        Sampling::compile(&message, None, previous).unwrap()
    }

    #[test]
    fn a_rate_keeps_its_share() {
        const DRAWS: u32 = 100_000;
        let seed = rand::random();
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        for rate in [0.0, 0.05, 0.5, 0.95, 1.0] {
            let taken = (0..DRAWS).filter(|_| takes(rate, random.random())).count();
            let taken = f64::from(u32::try_from(taken).unwrap());
            let expected = f64::from(DRAWS) * rate;
            // Six standard deviations: one run in 500 million is outside by chance.
            let bound = 6.0 * (expected * (1.0 - rate)).sqrt();
            assert!((taken - expected).abs() <= bound, "{taken} at {rate}, seed {seed}");
        }
    }

    #[test]
    fn a_reservoir_gives_its_number_in_each_second_to_all_threads_together() {
        let reservoir = Reservoir { began: Instant::now(), state: AtomicU64::new(0) };
        let taken = |second, times: usize| (0..times).filter(|_| reservoir.take(second, 3)).count();
        assert_eq!(taken(0, 2), 2);
        assert_eq!(taken(0, 9), 1);
        assert_eq!(taken(1, 9), 3);
        assert_eq!(taken(0, 9), 0, "a late call takes from the present second");
        assert_eq!(taken(7, 1), 1);
        assert!(!reservoir.take(8, 0));

        let second = reservoir.second(reservoir.began + Duration::from_millis(9_999));
        assert_eq!(second, 9);
        let by_threads = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| taken(second, 1000))).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(by_threads, 3);
    }

    #[test]
    fn a_reservoir_outlives_a_change_of_its_rule() {
        let now = Instant::now();
        let before = compile(&[rule("*", 1, 0.0)], None);
        assert_eq!(before.rule(None).head(None, now), Head::Keep);
        let after = compile(&[rule("GET /a", 1, 0.0), rule("*", 1, 0.0)], Some(&before));
        assert_eq!(after.rule(None).head(None, now), Head::Drop);
        let larger = compile(&[rule("*", 2, 0.0)], Some(&after));
        assert_eq!(larger.rule(None).head(None, now), Head::Keep);
    }

    #[test]
    fn the_first_rule_that_names_a_route_decides() {
        let route = |method: &str, path: &str| message::Route {
            id: format!("{method}{path}"),
            method: method.to_owned(),
            path: path.to_owned(),
            integration_id: "mock".to_owned(),
            ..message::Route::default()
        };
        let mock = message::Mock { status: 200, ..message::Mock::default() };
        let deployment = message::Deployment {
            api: Some(message::Api {
                protocol: message::Protocol::Http.into(),
                dialect: message::Dialect::Native.into(),
                ..message::Api::default()
            }),
            routes: vec![route("GET", "/a/{id}"), route("ANY", "/b"), route("", "$default")],
            integrations: vec![message::Integration {
                id: "mock".to_owned(),
                kind: Some(message::integration::Kind::Mock(mock)),
            }],
            ..message::Deployment::default()
        };
        let deployment = crate::snapshot::messages::deployment(&deployment).unwrap();
        let decides = |rules: &[message::SamplingRule]| {
            let message = message::Tracing { rules: rules.to_vec() };
            let sampling = Sampling::compile(&message, Some(&deployment), None).unwrap();
            [Some(0), Some(1), Some(2), None]
                .map(|route| sampling.rule(route).route_key.to_string())
        };
        let rules = ["$default", "GET /a/{id}", "GET /b", "*"].map(|key| rule(key, 0, 0.0));
        assert_eq!(decides(&rules), ["GET /a/{id}", "*", "$default", "*"]);
        assert_eq!(decides(&rules[..3]), ["GET /a/{id}", "", "$default", ""]);
        assert_eq!(decides(&[rules[3].clone(), rules[0].clone()]), ["*"; 4]);
    }

    #[test]
    fn without_a_rule_one_trace_a_second_is_kept_and_a_twentieth_of_the_rest() {
        let none = compile(&[], None);
        let rule = none.rule(None);
        assert_eq!(rule.per_second, 1);
        assert!((rule.rate - 0.05).abs() < f64::EPSILON);
        assert_eq!(rule.tail, Tail::default());
    }

    #[test]
    fn a_callers_decision_goes_before_the_rule_and_the_tail_holds_still() {
        let now = Instant::now();
        let all = compile(&[rule("*", 0, 1.0)], None);
        assert_eq!(all.rule(None).head(None, now), Head::Keep);
        assert_eq!(all.rule(None).head(Some(false), now), Head::Drop);
        let errors = message::SamplingRule { keep_errors: true, ..rule("*", 9, 1.0) };
        let errors = compile(&[errors], None);
        let tail = Tail { errors: true, slower_than: None };
        assert_eq!(errors.rule(None).head(Some(false), now), Head::Watch(tail));
        assert_eq!(errors.rule(None).head(Some(true), now), Head::Keep);
        let none = compile(&[rule("*", 0, 0.0)], None);
        assert_eq!(none.rule(None).head(None, now), Head::Drop);
        assert_eq!(none.rule(None).head(Some(true), now), Head::Keep);
    }

    #[test]
    fn a_tail_keeps_errors_and_what_took_longer_than_its_bound() {
        let ms = Duration::from_millis;
        let errors = Tail { errors: true, slower_than: None };
        assert_eq!(errors.keeps(500, ms(0)), Some("error"));
        assert_eq!(errors.keeps(504, ms(0)), Some("error"));
        assert_eq!(errors.keeps(499, ms(100_000)), None);
        assert_eq!(errors.keeps(0, ms(0)), None, "a caller that went is no error");
        let slow = Tail { errors: false, slower_than: Some(ms(250)) };
        assert_eq!(slow.keeps(200, ms(250)), None);
        assert_eq!(slow.keeps(200, ms(251)), Some("latency"));
        assert_eq!(slow.keeps(500, ms(0)), None);
        assert_eq!(Tail::default().keeps(500, ms(100_000)), None);
    }

    #[test]
    fn a_rate_that_is_no_share_is_refused() {
        for rate in [-0.1, 1.1, f64::NAN] {
            let message = message::Tracing { rules: vec![rule("*", 0, rate)] };
            assert!(Sampling::compile(&message, None, None).is_err(), "{rate}");
        }
    }
}
