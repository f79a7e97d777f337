//! How calls are spread among the targets of a VPC link.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::integration::Reach;
use crate::error::{Error, Result};

const TARGETS_MAX: usize = 100;
const WEIGHT_MAX: u32 = 1000;
const HOST_BYTES_MAX: usize = 253;
const NAME_BYTES_MAX: usize = 256;
const PATH_BYTES_MAX: usize = 1024;
const STATUSES_MAX: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Balancing {
    /// 1 to 100.
    pub targets: Vec<VpcTarget>,
    #[serde(default)]
    pub algorithm: Algorithm,
    /// `CONSISTENT_HASH`, which needs it. A call that has none goes to the targets in turn.
    #[serde(default)]
    pub hash_key: Option<HashKey>,
    /// Left out: targets are not asked.
    #[serde(default)]
    pub health_check: Option<HealthCheck>,
    /// Left out: a target gets its calls however it answers them.
    #[serde(default)]
    pub ejection: Option<Ejection>,
}

/// Where calls connect to. The `Host` field and TLS name the host of the integration's URI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VpcTarget {
    /// A name or an IP address. What it resolves to must be within what the tenant may reach.
    pub host: String,
    /// 1 to 65535.
    pub port: u32,
    /// 0 to 1000: its part of the calls beside the others' weights; 0: it gets no new ones.
    #[serde(default = "one")]
    pub weight: u32,
}

const fn one() -> u32 {
    1
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Algorithm {
    /// One after the other, by weight.
    #[default]
    RoundRobin,
    /// The one with the fewest calls in progress from a node, by weight.
    LeastConnections,
    /// The same one for the same key, by weight; where a target goes, only its own keys move.
    ConsistentHash,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HashKey {
    pub source: HashSource,
    /// Of the header or the cookie; empty for `SOURCE_IP`.
    #[serde(default)]
    pub name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HashSource {
    Header,
    Cookie,
    /// The client's address.
    SourceIp,
}

/// Each node asks each target, on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheck {
    #[serde(default)]
    pub protocol: HealthCheckProtocol,
    /// `HTTP`, `HTTPS`: what is asked for by GET.
    #[serde(default = "root")]
    pub path: String,
    /// `HTTP`, `HTTPS`: of the `Host` field, and of TLS; empty: the target's own.
    #[serde(default)]
    pub host: String,
    /// 500 to 300000, a tenth of it more or less at random.
    #[serde(default = "interval_ms")]
    pub interval_ms: u32,
    /// 100 to 120000, and less than `intervalMs`.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u32,
    /// So many good answers one after another make a target healthy: 1 to 10.
    #[serde(default = "healthy_threshold")]
    pub healthy_threshold: u32,
    /// So many failures one after another make it unhealthy: 1 to 10.
    #[serde(default = "unhealthy_threshold")]
    pub unhealthy_threshold: u32,
    /// `HTTP`, `HTTPS`: which answers are good, at most 16 ranges; none: 200 to 299.
    #[serde(default)]
    pub statuses: Vec<StatusRange>,
}

fn root() -> String {
    "/".to_owned()
}

const fn interval_ms() -> u32 {
    10_000
}

const fn timeout_ms() -> u32 {
    5_000
}

const fn healthy_threshold() -> u32 {
    2
}

const fn unhealthy_threshold() -> u32 {
    3
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HealthCheckProtocol {
    #[default]
    Http,
    Https,
    /// A connection is enough.
    Tcp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StatusRange {
    /// 100 to 599.
    pub from: u16,
    /// Included; not below `from`.
    pub to: u16,
}

/// A target whose calls fail, by answers of 500 to 599 or by none, is left for a while. When that is over, its next call that
/// fails ejects it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ejection {
    /// So many one after another, counted by each node: 1 to 1000.
    #[serde(default = "consecutive_failures")]
    pub consecutive_failures: u32,
    /// 1000 to 600000.
    #[serde(default = "eject_ms")]
    pub eject_ms: u32,
    /// Of the targets, so many percent may be ejected at a time: 1 to 100. One may be where there is another.
    #[serde(default = "max_percent")]
    pub max_percent: u32,
}

const fn consecutive_failures() -> u32 {
    5
}

const fn eject_ms() -> u32 {
    30_000
}

const fn max_percent() -> u32 {
    50
}

impl Balancing {
    /// Checks every field; an error names it, below `balancing`.
    pub fn check(&self, reach: &Reach) -> Result<()> {
        self.checked(reach).map_err(|error| error.within("balancing"))
    }

    fn checked(&self, reach: &Reach) -> Result<()> {
        if self.targets.is_empty() || self.targets.len() > TARGETS_MAX {
            return refused("targets", format!("must be 1 to {TARGETS_MAX}"));
        }
        let mut known = BTreeSet::new();
        for (at, target) in self.targets.iter().enumerate() {
            target.check(reach).map_err(|error| error.within(&format!("targets[{at}]")))?;
            if !known.insert((target.host.to_ascii_lowercase(), target.port)) {
                return refused(&format!("targets[{at}].host"), "is there twice with this port");
            }
        }
        if self.targets.iter().all(|target| target.weight == 0) {
            return refused("targets[0].weight", "must be above 0 for one of the targets at least");
        }
        match (self.algorithm, &self.hash_key) {
            (Algorithm::ConsistentHash, None) => {
                refused("hashKey", "is needed by CONSISTENT_HASH")?;
            }
            (Algorithm::ConsistentHash, Some(key)) => {
                key.check().map_err(|error| error.within("hashKey"))?;
            }
            (_, Some(_)) => refused("hashKey", "belongs to algorithm CONSISTENT_HASH")?,
            (_, None) => {}
        }
        if let Some(check) = &self.health_check {
            check.check().map_err(|error| error.within("healthCheck"))?;
        }
        if let Some(ejection) = &self.ejection {
            ejection.check().map_err(|error| error.within("ejection"))?;
        }
        Ok(())
    }
}

impl VpcTarget {
    fn check(&self, reach: &Reach) -> Result<()> {
        within("port", self.port, (1, 65_535))?;
        within("weight", self.weight, (0, WEIGHT_MAX))?;
        let authority = format!("{}:{}", host("host", &self.host)?, self.port);
        reach.check(&format!("http://{authority}/")).or_else(|reason| refused("host", reason))
    }
}

impl HashKey {
    fn check(&self) -> Result<()> {
        match self.source {
            HashSource::SourceIp if self.name.is_empty() => Ok(()),
            HashSource::SourceIp => refused("name", "belongs to source HEADER or COOKIE"),
            // Both are tokens (RFC 9110 §5.6.2, RFC 6265 §4.1.1).
            HashSource::Header | HashSource::Cookie => {
                let is_token =
                    |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
                if self.name.is_empty()
                    || self.name.len() > NAME_BYTES_MAX
                    || !self.name.bytes().all(is_token)
                {
                    let rule = format!(
                        "must have 1 to {NAME_BYTES_MAX} characters of those that names have"
                    );
                    return refused("name", rule);
                }
                Ok(())
            }
        }
    }
}

impl HealthCheck {
    fn check(&self) -> Result<()> {
        within("intervalMs", self.interval_ms, (500, 300_000))?;
        within("timeoutMs", self.timeout_ms, (100, 120_000))?;
        if self.timeout_ms >= self.interval_ms {
            return refused("timeoutMs", "must be less than intervalMs");
        }
        within("healthyThreshold", self.healthy_threshold, (1, 10))?;
        within("unhealthyThreshold", self.unhealthy_threshold, (1, 10))?;
        if self.protocol == HealthCheckProtocol::Tcp {
            for (param, set) in [
                ("path", self.path != "/"),
                ("host", !self.host.is_empty()),
                ("statuses", !self.statuses.is_empty()),
            ] {
                if set {
                    return refused(param, "belongs to protocol HTTP or HTTPS");
                }
            }
            return Ok(());
        }
        let is_path = |byte: u8| byte.is_ascii_graphic() && !b"\\#\"<>^`{|}".contains(&byte);
        let path = &self.path;
        if !path.starts_with('/') || path.len() > PATH_BYTES_MAX || !path.bytes().all(is_path) {
            let rule =
                format!("must start with / and have at most {PATH_BYTES_MAX} characters of a URI");
            return refused("path", rule);
        }
        if !self.host.is_empty() {
            // It is named, and not connected to.
            let named = host("host", &self.host)?;
            egress::Target::parse(&format!("http://{named}/"))
                .map_err(|why| Error::bad_request("host", why.to_string()))?;
        }
        if self.statuses.len() > STATUSES_MAX {
            return refused("statuses", format!("must be at most {STATUSES_MAX} ranges"));
        }
        for (at, range) in self.statuses.iter().enumerate() {
            let param = |field| format!("statuses[{at}].{field}");
            within(&param("from"), range.from.into(), (100, 599))?;
            within(&param("to"), range.to.into(), (range.from.into(), 599))?;
        }
        Ok(())
    }
}

impl Ejection {
    fn check(&self) -> Result<()> {
        within("consecutiveFailures", self.consecutive_failures, (1, 1000))?;
        within("ejectMs", self.eject_ms, (1000, 600_000))?;
        within("maxPercent", self.max_percent, (1, 100))
    }
}

/// The host as it stands in a URI.
fn host(param: &str, host: &str) -> Result<String> {
    if host.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("[{host}]"));
    }
    let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if host.is_empty() || host.len() > HOST_BYTES_MAX || !host.bytes().all(is_of_a_name) {
        return Err(Error::bad_request(param, "must be a host's name or an IP address, alone"));
    }
    Ok(host.to_owned())
}

fn within(param: &str, value: u32, (min, max): (u32, u32)) -> Result<()> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    refused(param, format!("must be from {min} to {max}"))
}

fn refused(param: &str, rule: impl Into<String>) -> Result<()> {
    Err(Error::bad_request(param, rule.into()))
}
