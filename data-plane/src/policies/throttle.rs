//! Token buckets: the key's on its usage plan for this route, the key's on its plan, the stage's.

use futures_util::future::join_all;
use http::header::RETRY_AFTER;
use proto::redis_keys;

use super::limiter::{Limit, Taken, Unavailable};
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    node::Node,
    snapshot::served::Bucket,
};

/// One bucket that a call takes from.
pub(crate) struct Throttle {
    /// What `RateLimit` calls it.
    pub(crate) name: &'static str,
    pub(crate) redis_key: String,
    pub(crate) bucket: Bucket,
}

/// How long a caller of a bucket that never fills is told to wait.
const NEVER_SECONDS: u64 = 3600;

/// Takes a token from each bucket, or from none. Gives those it took from, for a later policy to give back.
pub(super) async fn apply(
    node: &Node,
    exchange: &mut Exchange,
) -> Result<Vec<Throttle>, GatewayResponse> {
    let throttles = throttles(exchange);
    if throttles.is_empty() {
        return Ok(throttles);
    }
    if throttles.iter().any(|throttle| throttle.bucket.burst == 0) {
        return Err(refusal(NEVER_SECONDS));
    }
    let answers = join_all(throttles.iter().map(|throttle| node.limiter.take(throttle))).await;
    let limits = answers.iter().zip(&throttles).filter_map(|(answer, throttle)| {
        answer.as_ref().ok().map(|taken| Limit::of_bucket(throttle, taken))
    });
    exchange.limits.extend(limits);

    let wait = answers.iter().flatten().filter_map(Taken::refused_for_ms).max();
    let unavailable = answers.iter().any(Result::is_err);
    let took =
        answers.iter().map(|answer| matches!(answer, Ok(taken) if taken.allowed && taken.shared));
    let took = throttles.into_iter().zip(took).filter(|(_, took)| *took);
    let took: Vec<Throttle> = took.map(|(throttle, _)| throttle).collect();
    if wait.is_none() && !unavailable {
        return Ok(took);
    }
    node.limiter.give_back(took);
    Err(wait
        .map_or_else(Unavailable::refusal, |ms| refusal(ms.div_ceil(1000).clamp(1, NEVER_SECONDS))))
}

/// The buckets of a call, the narrowest first.
fn throttles(exchange: &Exchange) -> Vec<Throttle> {
    let Some(stage) = &exchange.stage else { return Vec::new() };
    let mut throttles = Vec::new();
    if let (Some(caller), Some(route)) = (&exchange.caller, exchange.route()) {
        let (plan, key) = (&caller.plan, &caller.key);
        let of_route = plan
            .stage(&stage.api_id, &stage.name)
            .and_then(|stage| stage.route_throttles.get(&route.key));
        if let Some(bucket) = of_route {
            let redis_key = redis_keys::route_throttle(
                &plan.id,
                &key.id,
                &stage.api_id,
                &stage.name,
                &route.name,
            );
            throttles.push(Throttle { name: "route", redis_key, bucket: *bucket });
        }
        if let Some(bucket) = plan.throttle {
            let redis_key = redis_keys::key_throttle(&plan.id, &key.id);
            throttles.push(Throttle { name: "key", redis_key, bucket });
        }
    }
    if let Some(bucket) = stage.throttle {
        let redis_key = redis_keys::stage_throttle(&stage.api_id, &stage.name);
        throttles.push(Throttle { name: "stage", redis_key, bucket });
    }
    throttles
}

fn refusal(retry_after_seconds: u64) -> GatewayResponse {
    Kind::Throttled
        .because("Too many requests; slow down.")
        .with(RETRY_AFTER, retry_after_seconds.to_string())
}
