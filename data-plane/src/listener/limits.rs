//! Bounds on a request: its head and how many are in progress before anything is looked up, its body and how many of
//! its tenant are in progress once its Api is known.

use proto::inquiry::v1::Level;

use crate::{
    exchange::Exchange,
    explain::Decision,
    gateway_response::{GatewayResponse, Kind},
    node::Node,
    telemetry::Bound,
};

pub(crate) fn check(node: &Node, exchange: &Exchange) -> Result<(), GatewayResponse> {
    let limits = &node.shared.config.limits;
    if node.in_flight.get() > limits.in_flight_max {
        node.metrics.shed(Bound::Node);
        return Err(Kind::Overloaded
            .because("This node has too many requests in progress.")
            .with(http::header::RETRY_AFTER, "1"));
    }
    let target = exchange.head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > limits.uri_bytes_max {
        return Err(Kind::UriTooLong.because("The path and query are too long."));
    }
    let fields = exchange.head.headers.iter();
    let bytes: usize = fields.map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > limits.header_bytes_max {
        return Err(Kind::HeadersTooLarge.because("The header fields are too large."));
    }
    Ok(())
}

/// What a tenant has in progress here is its own share of what may be: a backend that hangs fills that, and no
/// other tenant's.
pub(crate) fn check_share(exchange: &mut Exchange) -> Result<(), GatewayResponse> {
    if exchange.enter_share() {
        return Ok(());
    }
    exchange.node.metrics.shed(Bound::Tenant);
    let max = exchange.node.shared.config.limits.tenant_in_flight_max;
    exchange.decision = Some(Decision::of_share("tenant-share", Level::Tenant, max));
    Err(Kind::TenantOverloaded
        .because("This API's owner has too many requests in progress on this node.")
        .with(http::header::RETRY_AFTER, "1"))
}

/// What a client declares too large for its Api is refused before a byte of it is read.
pub(crate) fn check_body(exchange: &Exchange) -> Result<(), GatewayResponse> {
    let declared = exchange.head.headers.get(http::header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|bytes| bytes > body_bytes_max(exchange)) {
        return Err(
            Kind::RequestTooLarge.because("The request's body is larger than this API takes.")
        );
    }
    Ok(())
}

/// The most bytes of a body that may come, declared or not.
pub(crate) fn body_bytes_max(exchange: &Exchange) -> u64 {
    let node_max = exchange.node.shared.config.limits.body_bytes_max;
    exchange.dialect().body_bytes_max.map_or(node_max, |max| max.min(node_max))
}
