//! Which traces of a stage's calls are kept.

use async_graphql::{InputObject, SimpleObject};

use crate::domain;

/// Which traces of a route's calls are kept. The first rule of a stage that names the route decides; a call that
/// none names has one trace a second and 5 % of the rest.
#[derive(SimpleObject)]
pub struct SamplingRule {
    /// `GET /pets/{id}`, `$default`, or `*` for every call.
    route_key: String,
    /// So many traces a second are kept on each node before `rate` counts.
    reservoir_per_second: i32,
    /// The share of the rest that is kept, from 0 to 1.
    rate: f64,
    /// Keeps the trace of a call that was answered with a status of 500 or above.
    keep_errors: bool,
    /// Keeps the trace of a call that took longer, from its head to the last byte of its answer.
    keep_slower_than_millis: Option<i32>,
}

impl From<domain::sampling::SamplingRule> for SamplingRule {
    fn from(rule: domain::sampling::SamplingRule) -> Self {
        Self {
            route_key: rule.route_key,
            reservoir_per_second: rule.reservoir_per_second,
            rate: rule.rate,
            keep_errors: rule.keep_errors,
            keep_slower_than_millis: rule.keep_slower_than_millis,
        }
    }
}

#[derive(InputObject)]
pub struct SamplingRuleInput {
    /// `GET /pets/{id}`, `$default`, or `*` for every call. No rule can stand after `*`.
    route_key: String,
    /// So many traces a second are kept on each node before `rate` counts: from 0 to 10,000.
    #[graphql(default)]
    reservoir_per_second: i32,
    /// The share of the rest that is kept, from 0 to 1.
    rate: f64,
    /// Keeps the trace of a call that was answered with a status of 500 or above.
    #[graphql(default)]
    keep_errors: bool,
    /// Keeps the trace of a call that took longer: from 1 to 3,600,000.
    keep_slower_than_millis: Option<i32>,
}

/// Unchecked; the domain's operation checks it.
impl From<SamplingRuleInput> for domain::sampling::SamplingRule {
    fn from(input: SamplingRuleInput) -> Self {
        Self {
            route_key: input.route_key,
            reservoir_per_second: input.reservoir_per_second,
            rate: input.rate,
            keep_errors: input.keep_errors,
            keep_slower_than_millis: input.keep_slower_than_millis,
        }
    }
}
