//! Token buckets: the key's on its usage plan for this route, the key's on its plan, the client's, the route's, the stage's,
//! the tenant's.
//!
//! Those in shadow refuse nobody, and no caller is shown them. They are asked of calls that all others let through, and
//! each for itself: what each tells is which of today's calls it would refuse if it were enforced.

use std::{borrow::Borrow, rc::Rc, sync::Arc};

use http::header::RETRY_AFTER;
use proto::inquiry::v1::{self as message, How, limit::Figures};

use super::{
    client,
    desk::Held,
    found::{Found, Kind as Of, Name},
    limit_metrics::{By, Decision},
    limiter::{Back, Limit, Limiter, Taken, Unavailable},
};
use crate::{
    config::{LimiterMode, LimiterOutage},
    exchange::Exchange,
    explain::Decision as Decided,
    gateway_response::{GatewayResponse, Kind},
    node::Node,
    snapshot::{
        Snapshot,
        served::{self, Bucket},
    },
};

/// What `RateLimit` and the log call a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// Of what it belongs to.
    Level(&'static str),
    /// As the tenant calls it.
    Given(Arc<str>),
}

/// One bucket that a call takes from.
pub(crate) struct Throttle {
    pub(crate) name: Label,
    pub(crate) bucket: Bucket,
    shadow: bool,
    /// How it is counted, and what holds while Redis is away, where it says so itself.
    pub(super) mode: Option<LimiterMode>,
    pub(super) outage: Option<LimiterOutage>,
    pub(super) found: Rc<Found>,
}

/// The buckets of a call, the narrowest first.
#[derive(Default)]
struct Throttles {
    enforced: Vec<Throttle>,
    shadow: Vec<Throttle>,
}

impl Throttle {
    /// One of a bucket that belongs to nothing here.
    pub(crate) fn alone(name: &'static str, redis_key: String, bucket: Bucket) -> Self {
        Self::new(name.into(), bucket, Found::alone(redis_key))
    }

    /// One of a client of a stage.
    #[cfg(test)]
    pub(crate) fn of_client(
        limiter: &Limiter,
        [tenant, stage, client]: [&str; 3],
        bucket: Bucket,
    ) -> Self {
        let parts = [tenant, "apiaaaaaaa", stage, "throttle", client];
        let found = limiter.desk.find(&Name { kind: Of::Client, parts });
        Self::new("client".into(), bucket, found)
    }

    /// The same with a mode and an outage policy of its own.
    #[cfg(test)]
    pub(crate) fn counted(self, mode: LimiterMode, outage: LimiterOutage) -> Self {
        Self { mode: Some(mode), outage: Some(outage), ..self }
    }

    fn new(name: Label, bucket: Bucket, found: Rc<Found>) -> Self {
        Self { name, bucket, shadow: false, mode: None, outage: None, found }
    }

    pub(super) fn decision(&self, admitted: bool) -> Decision {
        match (admitted, self.shadow) {
            (true, _) => Decision::Admitted,
            (false, false) => Decision::Refused,
            (false, true) => Decision::Shadowed,
        }
    }

    fn decided(&self, how: How, remaining: u64, retry_after_s: u64) -> Decided {
        let Bucket { rate: rate_limit, burst: burst_limit } = self.bucket;
        Decided {
            name: self.name.clone(),
            level: self.found.level(),
            figures: Figures::Throttle(message::Throttle { rate_limit, burst_limit }),
            how,
            remaining,
            retry_after_s,
        }
    }

    pub(super) fn redis_key(&self) -> &str {
        &self.held().redis_key
    }

    pub(super) fn held(&self) -> &Arc<Held> {
        &self.found.held
    }

    /// Redis is asked about it.
    pub(super) fn asked(&self) {
        if let Some(asks) = &self.found.asks {
            asks.asked(self.bucket);
        }
    }
}

impl Label {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Level(name) => name,
            Self::Given(name) => name,
        }
    }
}

impl From<&'static str> for Label {
    fn from(name: &'static str) -> Self {
        Self::Level(name)
    }
}

impl Borrow<str> for Label {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

/// How long a caller of a bucket that never fills is told to wait.
const NEVER_SECONDS: u64 = 3600;

/// Takes a token from each enforced bucket, or from none, and then from those in shadow. Gives what it took, for a later
/// policy to give back.
pub(super) async fn apply(
    node: &Node,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
) -> Result<Vec<(Throttle, Back)>, GatewayResponse> {
    let Throttles { enforced, shadow } = throttles(node, snapshot, exchange);
    let mut took = enforce(&node.limiter, enforced, exchange).await?;
    if !shadow.is_empty() {
        took.extend(observe(&node.limiter, shadow, exchange).await);
    }
    Ok(took)
}

async fn enforce(
    limiter: &Limiter,
    throttles: Vec<Throttle>,
    exchange: &mut Exchange,
) -> Result<Vec<(Throttle, Back)>, GatewayResponse> {
    if throttles.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(closed) = throttles.iter().find(|throttle| throttle.bucket.burst == 0) {
        exchange.decision = Some(closed.decided(How::Setting, 0, NEVER_SECONDS));
        return Err(refusal(NEVER_SECONDS));
    }
    let answers = limiter.take_all(&throttles).await;
    let limits = answers.iter().zip(&throttles).filter_map(|(answer, throttle)| {
        answer.as_ref().ok().map(|taken| Limit::of_bucket(throttle, taken))
    });
    exchange.limits.extend(limits);

    exchange.decision = decision(&throttles, &answers);
    let refused = exchange.decision.as_ref().map(|by| (by.how, by.retry_after_s));
    let back = answers.into_iter().map(|answer| answer.map_or(Back::Nothing, |taken| taken.back));
    let took: Vec<_> = throttles.into_iter().zip(back).collect();
    let Some((how, retry_after_s)) = refused else { return Ok(took) };
    limiter.give_back(took);
    Err(if how == How::Unavailable { Unavailable::refusal() } else { refusal(retry_after_s) })
}

/// Of those that refuse, the one that is waited for longest, the narrowest of several; else one that cannot be asked.
fn decision(throttles: &[Throttle], answers: &[Result<Taken, Unavailable>]) -> Option<Decided> {
    let refused = answers.iter().zip(throttles).rev().filter_map(|(answer, throttle)| {
        let taken = answer.as_ref().ok()?;
        Some((taken.refused_for_ms()?, taken, throttle))
    });
    if let Some((ms, taken, throttle)) = refused.max_by_key(|(ms, ..)| *ms) {
        let retry_after_s = ms.div_ceil(1000).clamp(1, NEVER_SECONDS);
        return Some(throttle.decided(taken.how, taken.remaining, retry_after_s));
    }
    let (_, away) = answers.iter().zip(throttles).find(|(answer, _)| answer.is_err())?;
    Some(away.decided(How::Unavailable, 0, 1))
}

/// Takes a token from each bucket that has one, and notes which have none. One that cannot be asked refuses nobody either.
async fn observe(
    limiter: &Limiter,
    throttles: Vec<Throttle>,
    exchange: &mut Exchange,
) -> Vec<(Throttle, Back)> {
    // A share of a bucket that holds nothing would hold one.
    let (asked, empty): (Vec<_>, Vec<_>) =
        throttles.into_iter().partition(|throttle| throttle.bucket.burst > 0);
    for throttle in empty {
        limiter.counts.decided(Decision::Shadowed, By::Nothing);
        exchange.shadow_throttled_by.push(throttle.name.clone());
    }
    let answers = limiter.take_each(&asked).await;
    let took = asked.into_iter().zip(answers).filter_map(|(throttle, answer)| {
        let taken = answer.ok()?;
        if !taken.allowed {
            exchange.shadow_throttled_by.push(throttle.name.clone());
        }
        Some((throttle, taken.back))
    });
    took.collect()
}

fn throttles(node: &Node, snapshot: &Snapshot, exchange: &Exchange) -> Throttles {
    let mut throttles = Throttles::default();
    let Some(stage) = &exchange.stage else { return throttles };
    let tenant = snapshot.tenant(&stage.tenant_id);
    let mut add = |name: Label, throttle: served::Throttle, kind, parts: [&str; 5]| {
        let found = node.limiter.desk.find(&Name { kind, parts });
        let served::Throttle { bucket, shadow, mode, outage } = throttle;
        let of = if shadow { &mut throttles.shadow } else { &mut throttles.enforced };
        of.push(Throttle { name, bucket, shadow, mode, outage, found });
    };
    if let (Some(caller), Some(route)) = (&exchange.caller, exchange.route()) {
        let (plan, key) = (&caller.plan, &caller.key);
        let of_route = plan
            .stage(&stage.api_id, &stage.name)
            .and_then(|stage| stage.route_throttles.get(&route.key));
        if let Some(throttle) = of_route {
            let parts = [&plan.id, &key.id, &stage.api_id, &stage.name, &route.name];
            add("key-route".into(), *throttle, Of::KeyRoute, parts.map(AsRef::as_ref));
        }
        if let Some(throttle) = plan.throttle {
            add("key".into(), throttle, Of::Key, [&plan.id, &key.id, "", "", ""]);
        }
    }
    for of_client in stage.client_throttles_of(exchange.route()) {
        let pepper = tenant.map_or(&[][..], |tenant| &tenant.key_pepper);
        if let Some(client) = client::digest(&of_client.key, pepper, exchange) {
            let parts =
                [&*stage.tenant_id, &*stage.api_id, &*stage.name, &*of_client.name, &*client];
            add(Label::Given(of_client.name.clone()), of_client.throttle, Of::Client, parts);
        }
    }
    if let Some(route) = exchange.route()
        && let Some(throttle) = stage.route_throttles.get(&route.key)
    {
        let parts = [&*stage.api_id, &*stage.name, &*route.name, "", ""];
        add("route".into(), *throttle, Of::Route, parts);
    }
    if let Some(throttle) = stage.throttle {
        let parts = [&*stage.api_id, &*stage.name, "", "", ""];
        add("stage".into(), throttle, Of::Stage, parts);
    }
    if let Some(throttle) = tenant.and_then(|tenant| tenant.throttle) {
        let parts = [&*stage.tenant_id, "", "", "", ""];
        add("tenant".into(), throttle, Of::Tenant, parts);
    }
    throttles
}

fn refusal(retry_after_seconds: u64) -> GatewayResponse {
    Kind::Throttled
        .because("Too many requests; slow down.")
        .with(RETRY_AFTER, retry_after_seconds.to_string())
}
