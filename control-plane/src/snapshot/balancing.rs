//! What nodes get of a VPC link.

use proto::config::v1::{
    self as message, BalancingAlgorithm, Resource, VpcLink, VpcLinkTarget, hash_key, resource::Kind,
};

use crate::domain::vpc_link::{
    Algorithm, HashKey, HashSource, HealthCheck, HealthCheckProtocol as Protocol,
};
use crate::store::snapshot::VpcLinkRow;

pub(super) fn vpc_link_message(row: &VpcLinkRow) -> Resource {
    let balancing = &row.balancing.0;
    let target = |target: &crate::domain::vpc_link::VpcTarget| VpcLinkTarget {
        host: target.host.clone(),
        port: target.port,
        weight: target.weight,
    };
    let algorithm = match balancing.algorithm {
        Algorithm::RoundRobin => BalancingAlgorithm::RoundRobin,
        Algorithm::LeastConnections => BalancingAlgorithm::LeastConnections,
        Algorithm::ConsistentHash => BalancingAlgorithm::ConsistentHash,
    };
    Kind::VpcLink(VpcLink {
        id: row.id.clone(),
        tenant_id: row.tenant_id.to_string(),
        targets: balancing.targets.iter().map(target).collect(),
        algorithm: algorithm.into(),
        hash_key: balancing.hash_key.as_ref().map(hash_key),
        health_check: balancing.health_check.as_ref().map(health_check),
        ejection: balancing.ejection.as_ref().map(|ejection| message::Ejection {
            consecutive_failures: ejection.consecutive_failures,
            eject_ms: ejection.eject_ms,
            max_percent: ejection.max_percent,
        }),
    })
    .into()
}

fn hash_key(key: &HashKey) -> message::HashKey {
    let of = match key.source {
        HashSource::Header => hash_key::Of::Header(key.name.clone()),
        HashSource::Cookie => hash_key::Of::Cookie(key.name.clone()),
        HashSource::SourceIp => hash_key::Of::SourceIp(true),
    };
    message::HashKey { of: Some(of) }
}

fn health_check(check: &HealthCheck) -> message::HealthCheck {
    let protocol = match check.protocol {
        Protocol::Http => message::HealthCheckProtocol::Http,
        Protocol::Https => message::HealthCheckProtocol::Https,
        Protocol::Tcp => message::HealthCheckProtocol::Tcp,
    };
    message::HealthCheck {
        protocol: protocol.into(),
        path: check.path.clone(),
        host: check.host.clone(),
        interval_ms: check.interval_ms,
        timeout_ms: check.timeout_ms,
        healthy_threshold: check.healthy_threshold,
        unhealthy_threshold: check.unhealthy_threshold,
        statuses: check
            .statuses
            .iter()
            .map(|range| message::StatusRange { from: range.from.into(), to: range.to.into() })
            .collect(),
    }
}
