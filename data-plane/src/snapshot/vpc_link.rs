//! VPC links, as nodes hold them: the targets among which calls are spread.

use std::{sync::Arc, time::Duration};

use egress::{Scheme, Target};
use http::{HeaderName, HeaderValue, uri::PathAndQuery};
use proto::config::v1::{self as message, hash_key};

use super::messages::Compiled;
use crate::integration::balance::Standing;

/// More than a tenant may have, for a later release: the tries of a call are counted in a word.
pub(crate) const TARGETS_MAX: usize = 128;

/// A change of it is another one, that takes what is known of its targets over.
pub struct VpcLink {
    pub id: Arc<str>,
    pub tenant_id: Arc<str>,
    /// Never none.
    pub(crate) targets: Box<[LinkTarget]>,
    pub(crate) algorithm: Algorithm,
    pub(crate) health_check: Option<HealthCheck>,
    pub(crate) ejection: Option<Ejection>,
    pub(crate) turn: Arc<std::sync::atomic::AtomicU64>,
}

pub(crate) struct LinkTarget {
    /// What calls connect to. Its scheme means nothing: the integration's URI has one.
    pub(crate) target: Target,
    pub(crate) weight: u32,
    /// Of the name and the port, the same over the fleet.
    pub(crate) seed: u64,
    /// What this node knows of it.
    pub(crate) standing: Arc<Standing>,
}

pub(crate) enum Algorithm {
    RoundRobin,
    LeastConnections,
    ConsistentHash(HashKey),
}

pub(crate) enum HashKey {
    Header(HeaderName),
    Cookie(Box<str>),
    SourceIp,
}

pub(crate) struct HealthCheck {
    pub(crate) protocol: CheckProtocol,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) healthy_threshold: u32,
    pub(crate) unhealthy_threshold: u32,
}

pub(crate) enum CheckProtocol {
    Tcp,
    Http {
        scheme: Scheme,
        path: PathAndQuery,
        /// `None`: the target's own.
        host: Option<(Target, HeaderValue)>,
        /// First and last.
        statuses: Box<[(u16, u16)]>,
    },
}

#[derive(Clone, Copy)]
pub(crate) struct Ejection {
    pub(crate) consecutive_failures: u32,
    pub(crate) eject_ms: u64,
    pub(crate) max_percent: u32,
}

/// `before`: what it is a change of.
pub(super) fn vpc_link(message: &message::VpcLink, before: Option<&VpcLink>) -> Compiled<VpcLink> {
    if message.targets.is_empty() || message.targets.len() > TARGETS_MAX {
        return Err(format!("it has {} targets", message.targets.len()));
    }
    let targets = message.targets.iter().map(|target| link_target(target, before));
    Ok(VpcLink {
        id: message.id.as_str().into(),
        tenant_id: message.tenant_id.as_str().into(),
        targets: targets.collect::<Compiled<_>>()?,
        algorithm: algorithm(message)?,
        health_check: message.health_check.as_ref().map(health_check).transpose()?,
        ejection: message.ejection.as_ref().map(|given| Ejection {
            consecutive_failures: given.consecutive_failures.max(1),
            eject_ms: u64::from(given.eject_ms.max(1)),
            max_percent: given.max_percent.min(100),
        }),
        turn: before.map(|before| before.turn.clone()).unwrap_or_default(),
    })
}

fn link_target(message: &message::VpcLinkTarget, before: Option<&VpcLink>) -> Compiled<LinkTarget> {
    let host = message.host.as_str();
    let port = u16::try_from(message.port).map_err(|_| format!("{} is no port", message.port))?;
    let authority = authority(host, port);
    let target = Target::from_authority(Scheme::Http, &authority)
        .map_err(|error| format!("{authority} {error}"))?;
    let same = |known: &&LinkTarget| known.target == target;
    let known = before.and_then(|before| before.targets.iter().find(same));
    Ok(LinkTarget {
        seed: crate::integration::balance::hash(authority.as_bytes()),
        target,
        weight: message.weight,
        standing: known.map(|known| known.standing.clone()).unwrap_or_default(),
    })
}

/// `host:port`, with brackets around an IPv6 address.
fn authority(host: &str, port: u16) -> String {
    let is_v6 = host.contains(':') && !host.starts_with('[');
    if is_v6 { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn algorithm(message: &message::VpcLink) -> Compiled<Algorithm> {
    use message::BalancingAlgorithm::{ConsistentHash, LeastConnections, RoundRobin, Unspecified};
    match message::BalancingAlgorithm::try_from(message.algorithm) {
        Ok(Unspecified | RoundRobin) => Ok(Algorithm::RoundRobin),
        Ok(LeastConnections) => Ok(Algorithm::LeastConnections),
        Ok(ConsistentHash) => {
            let of = message.hash_key.as_ref().and_then(|key| key.of.as_ref());
            let key = match of.ok_or("its key is unknown to this node")? {
                hash_key::Of::Header(name) => {
                    let named = HeaderName::try_from(name.as_str());
                    HashKey::Header(named.map_err(|_| format!("{name} is no field's name"))?)
                }
                hash_key::Of::Cookie(name) => HashKey::Cookie(name.as_str().into()),
                hash_key::Of::SourceIp(_) => HashKey::SourceIp,
            };
            Ok(Algorithm::ConsistentHash(key))
        }
        Err(_) => Err("its algorithm is unknown to this node".to_owned()),
    }
}

fn health_check(message: &message::HealthCheck) -> Compiled<HealthCheck> {
    use message::HealthCheckProtocol::{Http, Https, Tcp, Unspecified};
    let http = |scheme| {
        let path = PathAndQuery::try_from(message.path.as_str())
            .map_err(|_| format!("{} is no path", message.path))?;
        let host = match message.host.as_str() {
            "" => None,
            host => {
                let target = Target::from_authority(scheme, host)
                    .map_err(|error| format!("{host} {error}"))?;
                let field =
                    HeaderValue::try_from(host).map_err(|_| format!("{host} is no host"))?;
                Some((target, field))
            }
        };
        let status = |code: u32| u16::try_from(code).unwrap_or(u16::MAX);
        let statuses = message.statuses.iter().map(|it| (status(it.from), status(it.to)));
        Compiled::Ok(CheckProtocol::Http { scheme, path, host, statuses: statuses.collect() })
    };
    let protocol = match message::HealthCheckProtocol::try_from(message.protocol) {
        Ok(Unspecified | Http) => http(Scheme::Http)?,
        Ok(Https) => http(Scheme::Https)?,
        Ok(Tcp) => CheckProtocol::Tcp,
        Err(_) => return Err("its check's protocol is unknown to this node".to_owned()),
    };
    Ok(HealthCheck {
        protocol,
        interval: Duration::from_millis(message.interval_ms.max(100).into()),
        timeout: Duration::from_millis(message.timeout_ms.max(1).into()),
        healthy_threshold: message.healthy_threshold.max(1),
        unhealthy_threshold: message.unhealthy_threshold.max(1),
    })
}
