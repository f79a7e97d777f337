//! What must hold before a call reaches its integration.

mod ahead;
pub(crate) mod api_key;
mod client;
mod clients;
pub(crate) mod concurrency;
mod concurrency_metrics;
pub(crate) mod cors;
pub(crate) mod desk;
mod found;
pub(crate) mod gates;
pub(crate) mod leased;
pub(crate) mod limit_metrics;
pub(crate) mod limit_state;
pub(crate) mod limiter;
pub(crate) mod outage;
pub(crate) mod quota;
pub(crate) mod recall;
mod restriction;
mod seed;
pub(crate) mod spending;
pub(crate) mod store;
pub(crate) mod throttle;

use std::time::Instant;

use crate::{
    exchange::Exchange, gateway_response::GatewayResponse, node::Node, snapshot::Snapshot,
    telemetry::Phase,
};

/// The one order in which policies run, and why.
pub(crate) async fn apply(
    node: &Node,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
) -> Result<(), GatewayResponse> {
    restriction::apply(snapshot, exchange)?; // first: what this node cannot enforce, nobody may pass
    let began = Instant::now();
    let known = api_key::apply(snapshot, exchange); // finds the usage plan that throttle and quota read
    let known_at = Instant::now();
    node.metrics.phase(Phase::Auth, known_at - began);
    known?;
    let limited = limit(node, snapshot, exchange).await;
    node.metrics.phase(Phase::Limit, known_at.elapsed());
    limited
}

async fn limit(
    node: &Node,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
) -> Result<(), GatewayResponse> {
    let permits = concurrency::Limits::of_call(node, exchange);
    // Before the throttles: a permit is given back by this node alone, and at once. A token may have come from Redis, and a
    // flood of calls that find no permit would take as many there and bring them back.
    concurrency::enforce(node, &permits, exchange).await?;
    let throttles = match throttle::apply(node, snapshot, exchange).await {
        Ok(throttles) => throttles,
        Err(refusal) => {
            concurrency::give_back(exchange);
            return Err(refusal);
        }
    };
    // In shadow: of calls that every enforced one lets through, as with throttles.
    concurrency::observe(node, &permits, exchange).await;
    // Last: a call that anything else refuses takes nothing from it.
    let outcome = quota::apply(node, exchange).await;
    if outcome.is_err() {
        node.limiter.give_back(throttles);
        concurrency::give_back(exchange);
    }
    outcome
}
