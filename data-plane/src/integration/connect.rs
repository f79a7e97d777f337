//! A connection for a request: one that waits, or a new one through the guard.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use egress::{Checked, ConnectError, Policy, Target};

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
    let endpoint = &place.endpoint;
    let left = || deadline.saturating_duration_since(Instant::now());
    if !fresh && let Some(line) = endpoint.take(policy) {
        return Ok(line);
    }
    let addresses = if let Some(addresses) = endpoint.addresses(policy) {
        addresses
    } else {
        let addresses = node.connector.resolve(target, policy, left()).await?;
        endpoint.remember(policy, &addresses);
        if !fresh && let Some(line) = endpoint.take(policy) {
            return Ok(line);
        }
        addresses
    };
    let mut last = ConnectError::Timeout;
    for (tried, address) in addresses.iter().enumerate() {
        let share = left() / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match open(node, target, *address, share).await {
            Ok(line) => return Ok(line),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn open(
    node: &Node,
    target: &Target,
    address: Checked,
    limit: Duration,
) -> Result<Line, ConnectError> {
    let began = Instant::now();
    let stream = node.connector.connect(target, address, limit).await?;
    node.metrics.phase(Phase::UpstreamConnect, began.elapsed());
    node.shared.metrics.upstream_connects.inc();
    Ok(Line::new(stream, address))
}
