//! The quota of a key on its usage plan: so many calls in a calendar period, in UTC.

use http::header::RETRY_AFTER;
use proto::redis_keys;

use super::limiter::{Limit, Unavailable};
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    node::Node,
};

/// Takes one call from the period, if any is left.
pub(super) async fn apply(node: &Node, exchange: &mut Exchange) -> Result<(), GatewayResponse> {
    let Some(caller) = &exchange.caller else { return Ok(()) };
    let Some(quota) = caller.plan.quota else { return Ok(()) };
    let redis_key = redis_keys::quota(&caller.plan.id, &caller.key.id);
    let spent = node.limiter.spend(&redis_key, quota).await.map_err(|_| Unavailable::refusal())?;
    exchange.limits.push(Limit::of_quota(quota, &spent));
    if spent.allowed {
        return Ok(());
    }
    let wait = spent.resets_in_s.max(1);
    Err(Kind::QuotaExceeded
        .because("The quota of this key is used up until its period ends.")
        .with(RETRY_AFTER, wait.to_string()))
}
