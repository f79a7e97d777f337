//! Which traces of a stage's calls nodes keep: decided at the head of a call, and again once it is over.

use std::collections::HashSet;

use plan::RouteKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Result};

/// The most rules of a stage.
pub const SAMPLING_RULES_MAX: usize = 50;
/// The largest reservoir, in traces a second.
pub const RESERVOIR_MAX: i32 = 10_000;
/// The longest bound on how long a call takes.
pub const SLOWER_THAN_MILLIS_MAX: i32 = 3_600_000;
/// In the place of a route key: every route, and calls that found none.
pub const EVERY_ROUTE: &str = "*";

/// Which traces of a route's calls are kept. The first rule of a stage that names the route decides; a call that
/// none names has one trace a second and 5 % of the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SamplingRule {
    /// `GET /pets/{id}`, `$default`, or `*` for every call.
    pub route_key: String,
    /// So many traces a second are kept on each node before `rate` counts; at most 10,000.
    #[serde(default)]
    pub reservoir_per_second: i32,
    /// The share of the rest that is kept, from 0 to 1.
    pub rate: f64,
    /// Keeps the trace of a call that was answered with a status of 500 or above.
    #[serde(default)]
    pub keep_errors: bool,
    /// Keeps the trace of a call that took longer, from its head to the last byte of its answer.
    pub keep_slower_than_millis: Option<i32>,
}

/// Checks every rule; an error names the rule by its position, and the field in it.
pub fn checked(rules: Vec<SamplingRule>) -> Result<Vec<SamplingRule>> {
    if rules.len() > SAMPLING_RULES_MAX {
        let rule = format!("a stage has at most {SAMPLING_RULES_MAX} sampling rules");
        return Err(Error::bad_request("samplingRules", rule));
    }
    let mut named = HashSet::new();
    let rules = rules.into_iter().enumerate().map(|(at, rule)| {
        let rule = rule.checked().and_then(|rule| {
            if named.contains(EVERY_ROUTE) {
                return Err(Error::bad_request("routeKey", "no rule can stand after *"));
            }
            if !named.insert(rule.route_key.clone()) {
                return Err(Error::bad_request("routeKey", "an earlier rule names this route"));
            }
            Ok(rule)
        });
        rule.map_err(|error| error.within(&format!("samplingRules[{at}]")))
    });
    rules.collect()
}

impl SamplingRule {
    fn checked(self) -> Result<Self> {
        let wrong = |field: &str, rule: String| Err(Error::bad_request(field, rule));
        let route_key = if self.route_key == EVERY_ROUTE {
            self.route_key
        } else {
            let key = RouteKey::parse_key(&self.route_key);
            key.map_err(|error| Error::bad_request("routeKey", error.to_string()))?.to_string()
        };
        if !(0..=RESERVOIR_MAX).contains(&self.reservoir_per_second) {
            return wrong("reservoirPerSecond", format!("must be from 0 to {RESERVOIR_MAX}"));
        }
        if !(0.0..=1.0).contains(&self.rate) {
            return wrong("rate", "must be from 0 to 1".to_owned());
        }
        let bound = self.keep_slower_than_millis;
        if bound.is_some_and(|bound| !(1..=SLOWER_THAN_MILLIS_MAX).contains(&bound)) {
            let rule = format!("must be from 1 to {SLOWER_THAN_MILLIS_MAX}");
            return wrong("keepSlowerThanMillis", rule);
        }
        Ok(Self { route_key, ..self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(route_key: &str) -> SamplingRule {
        SamplingRule {
            route_key: route_key.to_owned(),
            reservoir_per_second: 1,
            rate: 0.05,
            keep_errors: true,
            keep_slower_than_millis: Some(500),
        }
    }

    #[test]
    fn a_wrong_field_is_named_with_the_position_of_its_rule() {
        let good = vec![rule("GET /pets/{id}"), rule("$default"), rule("*")];
        assert_eq!(checked(good.clone()).unwrap(), good);
        let edges = SamplingRule { reservoir_per_second: 0, rate: 1.0, ..rule("ANY /") };
        assert!(checked(vec![edges]).is_ok());

        let second = |wrong| vec![rule("GET /a"), wrong];
        let rate = |rate| second(SamplingRule { rate, ..rule("*") });
        let reservoir =
            |reservoir_per_second| second(SamplingRule { reservoir_per_second, ..rule("*") });
        let slower =
            |bound| second(SamplingRule { keep_slower_than_millis: Some(bound), ..rule("*") });
        let many = (0..=SAMPLING_RULES_MAX).map(|at| rule(&format!("GET /r{at}"))).collect();
        for (rules, param) in [
            (second(rule("")), "samplingRules[1].routeKey"),
            (second(rule("/pets")), "samplingRules[1].routeKey"),
            (second(rule("get /pets")), "samplingRules[1].routeKey"),
            (second(rule("GET pets")), "samplingRules[1].routeKey"),
            (second(rule("GET /a")), "samplingRules[1].routeKey"),
            (vec![rule("*"), rule("GET /a")], "samplingRules[1].routeKey"),
            (rate(-0.1), "samplingRules[1].rate"),
            (rate(1.1), "samplingRules[1].rate"),
            (rate(f64::NAN), "samplingRules[1].rate"),
            (reservoir(-1), "samplingRules[1].reservoirPerSecond"),
            (reservoir(RESERVOIR_MAX + 1), "samplingRules[1].reservoirPerSecond"),
            (slower(0), "samplingRules[1].keepSlowerThanMillis"),
            (slower(SLOWER_THAN_MILLIS_MAX + 1), "samplingRules[1].keepSlowerThanMillis"),
            (many, "samplingRules"),
        ] {
            let shown = format!("{rules:?}");
            assert_eq!(checked(rules).unwrap_err().param(), Some(param), "{shown}");
        }
    }
}
