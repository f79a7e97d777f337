//! How calls are spread among the targets of a VPC link, in both directions.

use async_graphql::{Enum, InputObject, SimpleObject};

use crate::domain::vpc_link as domain;
use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::Algorithm")]
pub enum BalancingAlgorithm {
    /// One after the other, by weight.
    RoundRobin,
    /// The one with the fewest calls in progress from a node, by weight.
    LeastConnections,
    /// The same one for the same key, by weight; where a target goes, only its own keys move.
    ConsistentHash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::HashSource")]
pub enum HashSource {
    Header,
    Cookie,
    /// The client's address.
    SourceIp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::HealthCheckProtocol")]
pub enum HealthCheckProtocol {
    Http,
    Https,
    /// A connection is enough.
    Tcp,
}

#[derive(SimpleObject, InputObject)]
#[graphql(input_name = "BalancingInput")]
pub struct Balancing {
    /// 1 to 100.
    targets: Vec<VpcTarget>,
    #[graphql(default_with = "BalancingAlgorithm::RoundRobin")]
    algorithm: BalancingAlgorithm,
    /// `CONSISTENT_HASH`, which needs it. A call that has none goes to the targets in turn.
    hash_key: Option<HashKey>,
    /// Left out: targets are not asked.
    health_check: Option<HealthCheck>,
    /// Left out: a target gets its calls however it answers them.
    ejection: Option<Ejection>,
}

/// Where calls connect to. The `Host` field and TLS name the host of the integration's URI.
#[derive(SimpleObject, InputObject)]
#[graphql(input_name = "VpcTargetInput")]
pub struct VpcTarget {
    /// A name or an IP address.
    host: String,
    /// 1 to 65535.
    port: i32,
    /// 0 to 1000: its part of the calls beside the others' weights; 0: it gets no new ones.
    #[graphql(default = 1)]
    weight: i32,
}

#[derive(SimpleObject, InputObject)]
#[graphql(input_name = "HashKeyInput")]
pub struct HashKey {
    source: HashSource,
    /// Of the header or the cookie; empty for `SOURCE_IP`.
    #[graphql(default)]
    name: String,
}

/// Each node asks each target, on its own.
#[derive(SimpleObject, InputObject)]
#[graphql(input_name = "HealthCheckInput")]
pub struct HealthCheck {
    #[graphql(default_with = "HealthCheckProtocol::Http")]
    protocol: HealthCheckProtocol,
    /// `HTTP`, `HTTPS`: what is asked for by GET.
    #[graphql(default = "/")]
    path: String,
    /// `HTTP`, `HTTPS`: of the `Host` field, and of TLS; empty: the target's own.
    #[graphql(default)]
    host: String,
    /// 500 to 300000, a tenth of it more or less at random.
    #[graphql(default = 10000)]
    interval_ms: i32,
    /// 100 to 120000, and less than `intervalMs`.
    #[graphql(default = 5000)]
    timeout_ms: i32,
    /// So many good answers one after another make a target healthy: 1 to 10.
    #[graphql(default = 2)]
    healthy_threshold: i32,
    /// So many failures one after another make it unhealthy: 1 to 10.
    #[graphql(default = 3)]
    unhealthy_threshold: i32,
    /// `HTTP`, `HTTPS`: which answers are good, at most 16 ranges; none: 200 to 299.
    #[graphql(default)]
    statuses: Vec<StatusRange>,
}

#[derive(SimpleObject, InputObject)]
#[graphql(input_name = "StatusRangeInput")]
pub struct StatusRange {
    /// 100 to 599.
    from: i32,
    /// Included; not below `from`.
    to: i32,
}

/// A target whose calls fail, by answers of 500 to 599 or by none, is left for a while.
#[derive(SimpleObject, InputObject)]
#[graphql(input_name = "EjectionInput")]
pub struct Ejection {
    /// So many one after another, counted by each node: 1 to 1000.
    #[graphql(default = 5)]
    consecutive_failures: i32,
    /// 1000 to 600000.
    #[graphql(default = 30000)]
    eject_ms: i32,
    /// Of the targets, so many percent may be ejected at a time: 1 to 100. One may be where there is another.
    #[graphql(default = 50)]
    max_percent: i32,
}

impl From<&domain::Balancing> for Balancing {
    fn from(balancing: &domain::Balancing) -> Self {
        let target = |target: &domain::VpcTarget| VpcTarget {
            host: target.host.clone(),
            port: target.port.cast_signed(),
            weight: target.weight.cast_signed(),
        };
        Self {
            targets: balancing.targets.iter().map(target).collect(),
            algorithm: balancing.algorithm.into(),
            hash_key: balancing
                .hash_key
                .as_ref()
                .map(|key| HashKey { source: key.source.into(), name: key.name.clone() }),
            health_check: balancing.health_check.as_ref().map(Into::into),
            ejection: balancing.ejection.as_ref().map(|ejection| Ejection {
                consecutive_failures: ejection.consecutive_failures.cast_signed(),
                eject_ms: ejection.eject_ms.cast_signed(),
                max_percent: ejection.max_percent.cast_signed(),
            }),
        }
    }
}

impl From<&domain::HealthCheck> for HealthCheck {
    fn from(check: &domain::HealthCheck) -> Self {
        let range = |range: &domain::StatusRange| StatusRange {
            from: range.from.into(),
            to: range.to.into(),
        };
        Self {
            protocol: check.protocol.into(),
            path: check.path.clone(),
            host: check.host.clone(),
            interval_ms: check.interval_ms.cast_signed(),
            timeout_ms: check.timeout_ms.cast_signed(),
            healthy_threshold: check.healthy_threshold.cast_signed(),
            unhealthy_threshold: check.unhealthy_threshold.cast_signed(),
            statuses: check.statuses.iter().map(range).collect(),
        }
    }
}

impl TryFrom<Balancing> for domain::Balancing {
    type Error = Error;

    fn try_from(input: Balancing) -> Result<Self> {
        let target = |(at, target): (usize, VpcTarget)| {
            Ok(domain::VpcTarget {
                port: count(&format!("targets[{at}].port"), target.port)?,
                weight: count(&format!("targets[{at}].weight"), target.weight)?,
                host: target.host,
            })
        };
        let ejection = |ejection: Ejection| {
            Ok::<_, Error>(domain::Ejection {
                consecutive_failures: count(
                    "ejection.consecutiveFailures",
                    ejection.consecutive_failures,
                )?,
                eject_ms: count("ejection.ejectMs", ejection.eject_ms)?,
                max_percent: count("ejection.maxPercent", ejection.max_percent)?,
            })
        };
        Ok(Self {
            targets: input.targets.into_iter().enumerate().map(target).collect::<Result<_>>()?,
            algorithm: input.algorithm.into(),
            hash_key: input
                .hash_key
                .map(|key| domain::HashKey { source: key.source.into(), name: key.name }),
            health_check: input.health_check.map(TryInto::try_into).transpose()?,
            ejection: input.ejection.map(ejection).transpose()?,
        })
    }
}

impl TryFrom<HealthCheck> for domain::HealthCheck {
    type Error = Error;

    fn try_from(input: HealthCheck) -> Result<Self> {
        let of = |field: &str, value| count(&format!("healthCheck.{field}"), value);
        let status = |at: usize, field: &str, value: i32| {
            let param = format!("balancing.healthCheck.statuses[{at}].{field}");
            u16::try_from(value).map_err(|_| Error::bad_request(param, "must be from 100 to 599"))
        };
        let range = |(at, range): (usize, StatusRange)| {
            Ok(domain::StatusRange {
                from: status(at, "from", range.from)?,
                to: status(at, "to", range.to)?,
            })
        };
        Ok(Self {
            protocol: input.protocol.into(),
            interval_ms: of("intervalMs", input.interval_ms)?,
            timeout_ms: of("timeoutMs", input.timeout_ms)?,
            healthy_threshold: of("healthyThreshold", input.healthy_threshold)?,
            unhealthy_threshold: of("unhealthyThreshold", input.unhealthy_threshold)?,
            statuses: input.statuses.into_iter().enumerate().map(range).collect::<Result<_>>()?,
            path: input.path,
            host: input.host,
        })
    }
}

fn count(field: &str, value: i32) -> Result<u32> {
    u32::try_from(value)
        .map_err(|_| Error::bad_request(format!("balancing.{field}"), "must not be below 0"))
}
