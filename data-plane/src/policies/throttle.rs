//! Token buckets: the key's on its usage plan for this route, the key's on its plan, the route's, the stage's, the tenant's.

use std::rc::Rc;

use http::header::RETRY_AFTER;

use super::{
    desk::{Found, Held, Kind as Of, Name},
    limiter::{Back, Limit, Taken, Unavailable},
};
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    node::Node,
    snapshot::{Snapshot, served::Bucket},
};

/// One bucket that a call takes from.
pub(crate) struct Throttle {
    /// What `RateLimit` calls it.
    pub(crate) name: &'static str,
    pub(crate) bucket: Bucket,
    pub(super) found: Rc<Found>,
}

impl Throttle {
    /// One of a bucket that belongs to nothing here.
    pub(crate) fn alone(name: &'static str, redis_key: String, bucket: Bucket) -> Self {
        Self { name, bucket, found: Found::alone(redis_key) }
    }

    pub(super) fn redis_key(&self) -> &str {
        &self.held().redis_key
    }

    pub(super) fn held(&self) -> &std::sync::Arc<Held> {
        &self.found.held
    }
}

/// How long a caller of a bucket that never fills is told to wait.
const NEVER_SECONDS: u64 = 3600;

/// Takes a token from each bucket, or from none. Gives what it took, for a later policy to give back.
pub(super) async fn apply(
    node: &Node,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
) -> Result<Vec<(Throttle, Back)>, GatewayResponse> {
    let throttles = throttles(node, snapshot, exchange);
    if throttles.is_empty() {
        return Ok(Vec::new());
    }
    if throttles.iter().any(|throttle| throttle.bucket.burst == 0) {
        return Err(refusal(NEVER_SECONDS));
    }
    let answers = node.limiter.take_all(&throttles).await;
    let limits = answers.iter().zip(&throttles).filter_map(|(answer, throttle)| {
        answer.as_ref().ok().map(|taken| Limit::of_bucket(throttle, taken))
    });
    exchange.limits.extend(limits);

    let wait = answers.iter().flatten().filter_map(Taken::refused_for_ms).max();
    let unavailable = answers.iter().any(Result::is_err);
    let back = answers.into_iter().map(|answer| answer.map_or(Back::Nothing, |taken| taken.back));
    let took: Vec<_> = throttles.into_iter().zip(back).collect();
    if wait.is_none() && !unavailable {
        return Ok(took);
    }
    node.limiter.give_back(took);
    Err(wait
        .map_or_else(Unavailable::refusal, |ms| refusal(ms.div_ceil(1000).clamp(1, NEVER_SECONDS))))
}

/// The buckets of a call, the narrowest first.
fn throttles(node: &Node, snapshot: &Snapshot, exchange: &Exchange) -> Vec<Throttle> {
    let Some(stage) = &exchange.stage else { return Vec::new() };
    let throttle = |name, bucket, kind, parts| Throttle {
        name,
        bucket,
        found: node.limiter.desk.find(&Name { kind, parts }),
    };
    let mut throttles = Vec::new();
    if let (Some(caller), Some(route)) = (&exchange.caller, exchange.route()) {
        let (plan, key) = (&caller.plan, &caller.key);
        let of_route = plan
            .stage(&stage.api_id, &stage.name)
            .and_then(|stage| stage.route_throttles.get(&route.key));
        if let Some(bucket) = of_route {
            let parts = [&plan.id, &key.id, &stage.api_id, &stage.name, &route.name];
            throttles.push(throttle("key-route", *bucket, Of::KeyRoute, parts.map(AsRef::as_ref)));
        }
        if let Some(bucket) = plan.throttle {
            throttles.push(throttle("key", bucket, Of::Key, [&plan.id, &key.id, "", "", ""]));
        }
    }
    if let Some(route) = exchange.route()
        && let Some(bucket) = stage.route_throttles.get(&route.key)
    {
        let parts = [&*stage.api_id, &*stage.name, &*route.name, "", ""];
        throttles.push(throttle("route", *bucket, Of::Route, parts));
    }
    if let Some(bucket) = stage.throttle {
        let parts = [&*stage.api_id, &*stage.name, "", "", ""];
        throttles.push(throttle("stage", bucket, Of::Stage, parts));
    }
    if let Some(bucket) = snapshot.tenant(&stage.tenant_id).and_then(|tenant| tenant.throttle) {
        let parts = [&*stage.tenant_id, "", "", "", ""];
        throttles.push(throttle("tenant", bucket, Of::Tenant, parts));
    }
    throttles
}

fn refusal(retry_after_seconds: u64) -> GatewayResponse {
    Kind::Throttled
        .because("Too many requests; slow down.")
        .with(RETRY_AFTER, retry_after_seconds.to_string())
}
