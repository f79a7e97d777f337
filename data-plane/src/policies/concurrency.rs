//! How many calls are in progress at once: the key's on its usage plan, the route's, the stage's.
//!
//! A call holds its permits until the last byte of its answer. Those in shadow refuse nobody, and no caller is shown them:
//! as with throttles, they are asked of calls that all others let through, and a call beyond one counts as none in progress
//! there, as it would not be if the limit were enforced.

use std::rc::Rc;

use http::header::RETRY_AFTER;
use proto::inquiry::v1::{self as message, How, limit::Figures};

use super::{
    desk::now_us,
    found::{Found, Kind as Of, Name},
    gates::{Gate, Permit},
    limit_metrics::Decision,
    limiter::{Limit, Unavailable},
};
use crate::{
    exchange::Exchange,
    explain::Decision as Decided,
    gateway_response::{GatewayResponse, Kind},
    node::Node,
    snapshot::served::ConcurrencyLimit,
};

/// A call's permits, one for each of its limits. Dropping one gives it back.
pub(crate) type Held = [Option<Permit>; LEVELS];

/// Key, route, stage.
const LEVELS: usize = 3;

/// IANA's name of what is counted, as draft-ietf-httpapi-ratelimit-headers (10) registers it.
const UNIT: &str = "concurrent-requests";

/// The limits of a call, the narrowest first.
pub(super) struct Limits([Option<Asked>; LEVELS]);

/// One limit that a call needs a permit of.
pub(super) struct Asked {
    /// What `RateLimit` calls it.
    name: &'static str,
    /// So many calls may be in progress.
    pub(super) most: u32,
    shadow: bool,
    pub(super) found: Rc<Found<Gate>>,
}

impl Asked {
    pub(super) fn decision(&self, admitted: bool) -> Decision {
        match (admitted, self.shadow) {
            (true, _) => Decision::Admitted,
            (false, false) => Decision::Refused,
            (false, true) => Decision::Shadowed,
        }
    }

    fn decided(&self, how: How) -> Decided {
        let max_in_flight = self.most;
        Decided {
            name: self.name.into(),
            level: self.found.level(),
            figures: Figures::Concurrency(message::Concurrency { max_in_flight }),
            how,
            remaining: 0,
            retry_after_s: RETRY_AFTER_S,
        }
    }

    /// As callers are told of it. It has no window: a permit is free again when its call ends, which no clock says.
    fn told(&self) -> Limit {
        Limit {
            name: self.name.into(),
            quota: self.most.into(),
            window_s: None,
            unit: Some(UNIT),
            remaining: self.found.held.permits.remaining(self.most, now_us()).into(),
            resets_in_s: None,
        }
    }
}

/// Takes a permit of each enforced limit, or of none.
pub(super) async fn enforce(
    node: &Node,
    limits: &Limits,
    exchange: &mut Exchange,
) -> Result<(), GatewayResponse> {
    let limiter = &node.limiter;
    // First a look at all: a call that one refuses takes nothing from another.
    if let Some(full) = limits.of(false).map(|(_, it)| it).find(|it| limiter.refuses_at_once(it)) {
        exchange.limits.push(full.told());
        exchange.decision = Some(full.decided(How::Remembered));
        return Err(refusal());
    }
    for (level, asked) in limits.of(false) {
        let entered = limiter.enter(asked).await;
        exchange.limits.extend(entered.is_ok().then(|| asked.told()));
        match entered {
            Ok(Ok(permit)) => exchange.permits[level] = Some(permit),
            refused => {
                give_back(exchange);
                let how = refused.map_or(How::Unavailable, |known| known.err().unwrap_or_default());
                exchange.decision = Some(asked.decided(how));
                let is_known = how != How::Unavailable;
                return Err(if is_known { refusal() } else { Unavailable::refusal() });
            }
        }
    }
    Ok(())
}

/// Takes a permit of each limit in shadow that has one, and notes which have none. One that cannot be asked refuses nobody
/// either.
pub(super) async fn observe(node: &Node, limits: &Limits, exchange: &mut Exchange) {
    for (level, asked) in limits.of(true) {
        match node.limiter.enter(asked).await {
            Ok(Ok(permit)) => exchange.permits[level] = Some(permit),
            Ok(Err(_)) => exchange.shadow_throttled_by.push(asked.name.into()),
            Err(Unavailable) => {}
        }
    }
}

/// Another policy refuses the call after all.
pub(super) fn give_back(exchange: &mut Exchange) {
    exchange.permits = Held::default();
}

impl Limits {
    pub(super) fn of_call(node: &Node, exchange: &Exchange) -> Self {
        let Some(stage) = &exchange.stage else { return Self(Default::default()) };
        let ask = |name, limit: ConcurrencyLimit, kind, parts| Asked {
            name,
            most: limit.max_in_flight,
            shadow: limit.shadow,
            found: node.limiter.gates.desk.find(&Name { kind, parts }),
        };
        let key = exchange.caller.as_ref().and_then(|caller| {
            let parts = [&*caller.plan.id, &*caller.key.id, "", "", ""];
            Some(ask("key-concurrency", caller.plan.concurrency_limit?, Of::Key, parts))
        });
        let route = exchange.route().and_then(|route| {
            let limit = stage.route_concurrency_limits.get(&route.key)?;
            let parts = [&*stage.api_id, &*stage.name, &*route.name, "", ""];
            Some(ask("route-concurrency", *limit, Of::Route, parts))
        });
        let of_stage = stage.concurrency_limit.map(|limit| {
            let parts = [&*stage.api_id, &*stage.name, "", "", ""];
            ask("stage-concurrency", limit, Of::Stage, parts)
        });
        Self([key, route, of_stage])
    }

    /// Those in shadow, or those that are enforced.
    fn of(&self, shadow: bool) -> impl Iterator<Item = (usize, &Asked)> {
        let asked = self.0.iter().enumerate().filter_map(|(at, it)| Some((at, it.as_ref()?)));
        asked.filter(move |(_, asked)| asked.shadow == shadow)
    }
}

/// Nobody knows when a call ends. A second is as soon as a header can say.
const RETRY_AFTER_S: u64 = 1;

fn refusal() -> GatewayResponse {
    Kind::Throttled
        .because("Too many requests are in progress at once; try again when some have ended.")
        .with(RETRY_AFTER, RETRY_AFTER_S.to_string())
}
