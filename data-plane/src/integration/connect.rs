//! A connection for a request: one that waits, or a new one through the guard.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use egress::{Checked, ConnectError, Identity, Policy, Protocol, Stream, Target};

use super::pool::{Line, Place};
use crate::{node::Node, telemetry::Phase};

/// One that waits, unless `fresh`, else a new one, by `deadline`.
pub(super) async fn connect(
    node: &Node,
    place: &Place,
    target: &Target,
    policy: &Arc<Policy>,
    deadline: Instant,
    fresh: bool,
) -> Result<Line, ConnectError> {
    if !fresh && let Some(line) = place.endpoint.take(policy) {
        return Ok(line);
    }
    // On the heap: most calls find one that waits, and carry no room for this.
    let anew = Box::pin(async {
        let endpoint = &place.endpoint;
        let known = endpoint.addresses(policy).is_some();
        let addresses = addresses(node, place, target, policy, deadline).await?;
        if !fresh
            && !known
            && let Some(line) = endpoint.take(policy)
        {
            return Ok(line);
        }
        let identity = place.endpoint.identity.as_deref();
        let (stream, address) =
            dial(node, target, identity, &addresses, Protocol::Http1, deadline).await?;
        Ok(Line::new(stream, address))
    });
    anew.await
}

/// What the backend resolves to: what is known is used for a while.
pub(super) async fn addresses(
    node: &Node,
    place: &Place,
    target: &Target,
    policy: &Arc<Policy>,
    deadline: Instant,
) -> Result<Vec<Checked>, ConnectError> {
    let endpoint = &place.endpoint;
    if let Some(addresses) = endpoint.addresses(policy) {
        return Ok(addresses);
    }
    let addresses = node.connector.resolve(place.dials(target), policy, left(deadline)).await?;
    endpoint.remember(policy, &addresses);
    Ok(addresses)
}

/// A new connection, to the first address that answers.
pub(super) async fn dial(
    node: &Node,
    target: &Target,
    identity: Option<&Identity>,
    addresses: &[Checked],
    protocol: Protocol,
    deadline: Instant,
) -> Result<(Stream, Checked), ConnectError> {
    let mut last = ConnectError::Timeout;
    for (tried, address) in addresses.iter().enumerate() {
        let share = left(deadline) / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match open(node, target, identity, *address, protocol, share).await {
            Ok(stream) => return Ok((stream, *address)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

async fn open(
    node: &Node,
    target: &Target,
    identity: Option<&Identity>,
    address: Checked,
    protocol: Protocol,
    limit: Duration,
) -> Result<Stream, ConnectError> {
    let began = Instant::now();
    let stream = node.connector.connect(target, identity, address, protocol, limit).await?;
    node.metrics.phase(Phase::UpstreamConnect, began.elapsed());
    node.shared.metrics.upstream_connects.inc();
    Ok(stream)
}
