//! The compiled forms that requests are answered from. All of it is immutable and shared by pointer.

mod integration;

use std::{sync::Arc, time::Duration};

use egress::Policy;
use hashbrown::HashMap;
use http::HeaderName;
use ipnet::IpNet;
use plan::{
    Cors, KeyLocation, OriginPattern, Periods, RouteKey, Router, media::BinaryMediaTypes,
    path::Normalization,
};
use subtle::ConstantTimeEq;

use super::sharded::Sharded;
pub use super::{client_certificate::ClientCertificate, secret::Secret, vpc_link::VpcLink};
use crate::{
    config::{LimiterMode, LimiterOutage},
    dialect::Dialect,
    response::restyle::Restyled,
    trace::sampling::Sampling,
};
pub use integration::*;

/// What a node serves at one moment. A change makes another one, which shares what did not change.
#[derive(Clone, Default)]
pub struct Snapshot {
    /// Whether any configuration was loaded; until then a node is not ready.
    pub loaded: bool,
    /// Each cell's version.
    pub(super) versions: Arc<[(Box<str>, u64)]>,
    /// Ranges that every tenant may reach beside public addresses: the node's own setting.
    pub(super) egress_allow: Arc<[IpNet]>,
    pub(super) tenants: Sharded<Arc<str>, Arc<Tenant>>,
    pub(super) apis: Sharded<Arc<str>, Arc<Api>>,
    pub(super) deployments: Sharded<Arc<str>, Arc<Deployment>>,
    pub(super) usage_plans: Sharded<Arc<str>, Arc<UsagePlan>>,
    /// By tenant and digest; a key that was rotated stands here by its previous digest too.
    pub(super) api_keys: Sharded<(Arc<str>, [u8; 32]), Arc<ApiKey>>,
    pub(super) api_keys_by_id: Sharded<Arc<str>, Arc<ApiKey>>,
    pub(super) secrets: Sharded<Arc<str>, Arc<Secret>>,
    pub(super) vpc_links: Sharded<Arc<str>, Arc<VpcLink>>,
    pub(super) client_certificates: Sharded<Arc<str>, Arc<ClientCertificate>>,
}

pub struct Tenant {
    pub id: Arc<str>,
    pub suspended: bool,
    pub key_pepper: Vec<u8>,
    /// What the tenant's integrations may reach.
    pub egress: Arc<Policy>,
    /// Over all its stages.
    pub throttle: Option<Throttle>,
    /// No exchange with a backend takes longer; `None`: as long as its integration says.
    pub integration_timeout: Option<Duration>,
}

/// The stages of an Api that are live.
#[derive(Clone, Default)]
pub struct Api {
    pub stages: Vec<Arc<Stage>>,
}

pub struct Stage {
    pub cell: Arc<str>,
    pub tenant_id: Arc<str>,
    pub api_id: Arc<str>,
    pub name: Arc<str>,
    /// `None`: nothing is deployed.
    pub deployment: Option<Arc<Deployment>>,
    /// The deployment's integrations with this stage's variables, by the same positions.
    pub integrations: Vec<Integration>,
    pub throttle: Option<Throttle>,
    pub route_throttles: HashMap<RouteKey, Throttle>,
    pub concurrency_limit: Option<ConcurrencyLimit>,
    pub route_concurrency_limits: HashMap<RouteKey, ConcurrencyLimit>,
    pub client_throttles: Vec<ClientThrottle>,
    pub rate_limit_headers: bool,
    /// Those that its gateway responses tell.
    pub told_variables: Box<[(Box<str>, Box<str>)]>,
    /// Which traces are kept; `None`: the tracer's sampler says.
    pub sampling: Option<Sampling>,
    /// A restriction that this node cannot enforce: every call is refused.
    pub unknown_restriction: bool,
    /// Another deployment, which a part of its calls goes to.
    pub canary: Option<Canary>,
    /// This is a stage as its canary has it.
    pub is_canary: bool,
}

/// What a part of a stage's calls goes to.
pub struct Canary {
    /// The same stage, its limits and all, but for the canary's deployment and variables.
    pub stage: Arc<Stage>,
    /// 0.0 to 100.0.
    pub percent_traffic: f64,
    pub stickiness: Stickiness,
}

/// By what a caller stays on one side.
pub enum Stickiness {
    /// Each call is drawn.
    None,
    ApiKey,
    Header(HeaderName),
    Cookie(Box<str>),
}

/// A frozen Api: its routes and what they lead to. The same deployment is one value however many stages
/// point at it.
pub struct Deployment {
    pub id: Arc<str>,
    pub api_id: Arc<str>,
    pub tenant_id: Arc<str>,
    pub(crate) dialect: &'static Dialect,
    pub disable_execute_api_endpoint: bool,
    pub normalization: Normalization,
    /// Which payloads are binary.
    pub binary_media_types: BinaryMediaTypes,
    /// How long an answer is at least that is compressed; `None`: none is.
    pub compression_bytes_min: Option<u64>,
    /// Whether the codings of requests' bodies are undone; `None`: as the dialect has it.
    pub decompresses_requests: Option<bool>,
    /// Callers may name another method by `X-HTTP-Method-Override`.
    pub method_override: bool,
    /// Where callers put their API key; the first that a call has decides.
    pub key_locations: Vec<KeyLocation>,
    /// Which pages may read answers, unless a route says otherwise.
    pub cors: Option<Arc<Cors>>,
    /// How what the gateway answers by itself looks; `None`: as the dialect has it.
    pub(crate) restyled: Option<Box<Restyled>>,
    pub router: Router,
    /// By the router's positions.
    pub routes: Vec<Route>,
    pub(super) templates: Vec<Template>,
}

pub struct Route {
    /// `GET /pets/{id}`: the name in logs and on the bill.
    pub name: Arc<str>,
    pub key: RouteKey,
    /// `operationName`: what its tenant calls it.
    pub operation: Option<Arc<str>>,
    /// Position in the deployment's integrations.
    pub integration: usize,
    pub api_key_required: bool,
    /// In the place of the Api's.
    pub cors: Option<Arc<Cors>>,
    /// An authorization or restriction that this node does not know: every call is refused.
    pub unknown_restriction: bool,
}

/// A token bucket, as configured. Where its tokens are counted is no business of the snapshot's.
pub use lease::Bucket;

/// A token bucket, and whether calls that find none are refused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throttle {
    pub bucket: Bucket,
    /// They pass, and are told of.
    pub shadow: bool,
    /// How it is counted; `None`: as the node is set.
    pub mode: Option<LimiterMode>,
    /// What holds while Redis is away; `None`: as the node is set.
    pub outage: Option<LimiterOutage>,
}

/// How many calls may be in progress at once. Where they are counted is no business of the snapshot's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcurrencyLimit {
    /// At least 1.
    pub max_in_flight: u32,
    /// Those beyond it pass, and are told of.
    pub shadow: bool,
}

/// A throttle for each client by itself.
pub struct ClientThrottle {
    pub name: Arc<str>,
    pub key: ClientKey,
    /// `None`: it counts every call of its stage.
    pub route: Option<RouteKey>,
    pub throttle: Throttle,
}

/// Who is one client.
pub enum ClientKey {
    /// An IPv4 address, or the /64 of an IPv6 address.
    Ip,
    /// A field's value.
    Header(HeaderName),
}

/// How many calls each key of a plan may make in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    pub limit: u64,
    pub periods: Periods,
    /// Calls beyond the limit pass all the same, and are counted.
    pub soft: bool,
    /// Subtracted from the limit in the period in which a key was put on the plan.
    pub initial_used: u64,
}

/// What a key was granted beside the quota of a plan.
pub struct QuotaExtension {
    pub usage_plan_id: Box<str>,
    pub grant: Grant,
}

/// Calls in one period, and in no other that it is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Unix time, as the other.
    pub from_s: i64,
    pub until_s: i64,
    pub calls: u64,
}

pub struct UsagePlan {
    pub id: Arc<str>,
    pub tenant_id: Arc<str>,
    pub throttle: Option<Throttle>,
    pub concurrency_limit: Option<ConcurrencyLimit>,
    pub quota: Option<Quota>,
    pub stages: Vec<PlanStage>,
}

/// One stage that a plan gives access to.
pub struct PlanStage {
    pub api_id: Box<str>,
    pub stage: Box<str>,
    pub route_throttles: HashMap<RouteKey, Throttle>,
}

pub struct ApiKey {
    pub id: Arc<str>,
    pub tenant_id: Arc<str>,
    pub digest: [u8; 32],
    pub enabled: bool,
    pub test: bool,
    pub usage_plan_ids: Vec<Arc<str>>,
    /// When it was put on each of them, in Unix seconds; none where that is not known.
    pub usage_plan_joined_s: Box<[i64]>,
    /// What it was granted beside the quotas of its plans.
    pub quota_extensions: Box<[QuotaExtension]>,
    pub consumer_id: Arc<str>,
    /// Unix time in milliseconds; 0: never.
    pub expires_at_ms: u64,
    /// What it was before its last rotation.
    pub previous: Option<Box<PreviousValue>>,
    /// From where it is good; `None`: from everywhere.
    pub restrictions: Option<Box<KeyRestrictions>>,
}

/// A value that opens beside the present one, until its time is over.
pub struct PreviousValue {
    pub digest: [u8; 32],
    /// Unix time in milliseconds.
    pub until_ms: u64,
}

/// From where a key is good. An empty list restricts nothing.
pub struct KeyRestrictions {
    pub client_networks: Box<[IpNet]>,
    pub origins: Box<[OriginPattern]>,
    /// One that this node cannot enforce: every call with the key is refused.
    pub unknown: bool,
}

impl Snapshot {
    /// What a node serves before it was told anything.
    pub fn empty(egress_allow: &[IpNet]) -> Self {
        Self { egress_allow: egress_allow.into(), ..Self::default() }
    }

    /// Which version of a cell this is; 0: none.
    pub fn version(&self, cell: &str) -> u64 {
        self.versions.iter().find(|(known, _)| **known == *cell).map_or(0, |(_, version)| *version)
    }

    pub fn tenant(&self, id: &str) -> Option<&Arc<Tenant>> {
        self.tenants.get(id)
    }

    pub fn api(&self, id: &str) -> Option<&Arc<Api>> {
        self.apis.get(id)
    }

    pub fn usage_plan(&self, id: &str) -> Option<&Arc<UsagePlan>> {
        self.usage_plans.get(id)
    }

    /// A tenant's secret.
    pub fn secret(&self, tenant_id: &str, id: &str) -> Option<&Arc<Secret>> {
        self.secrets.get(id).filter(|secret| *secret.tenant_id == *tenant_id)
    }

    /// A tenant's VPC link.
    pub fn vpc_link(&self, tenant_id: &str, id: &str) -> Option<&Arc<VpcLink>> {
        self.vpc_links.get(id).filter(|link| *link.tenant_id == *tenant_id)
    }

    /// All of them, of all tenants.
    pub(crate) fn vpc_links(&self) -> impl Iterator<Item = &Arc<VpcLink>> {
        self.vpc_links.values()
    }

    /// The key of a tenant that has this digest, or had it before its last rotation.
    pub fn api_key(&self, tenant_id: &Arc<str>, digest: [u8; 32]) -> Option<&Arc<ApiKey>> {
        self.api_keys.get(&(tenant_id.clone(), digest))
    }
}

impl ApiKey {
    /// By which it is found: of its present value, and of the one before.
    pub(super) fn digests(&self) -> impl Iterator<Item = [u8; 32]> + use<> {
        let previous = self.previous.as_ref().map(|previous| previous.digest);
        std::iter::once(self.digest).chain(previous)
    }

    /// Whether the key opens at this moment, by the value with this digest.
    pub fn opens(&self, digest: &[u8; 32], now_ms: u64) -> bool {
        let previous = self.previous.as_ref().is_some_and(|previous| {
            now_ms < previous.until_ms && bool::from(previous.digest.ct_eq(digest))
        });
        let expired = self.expires_at_ms != 0 && self.expires_at_ms <= now_ms;
        self.enabled && !expired && (bool::from(self.digest.ct_eq(digest)) || previous)
    }
}

impl Stage {
    /// Those that count a call of a route; `None`: of no route.
    pub fn client_throttles_of(
        &self,
        route: Option<&Route>,
    ) -> impl Iterator<Item = &ClientThrottle> {
        self.client_throttles.iter().filter(move |throttle| match &throttle.route {
            Some(key) => route.is_some_and(|route| route.key == *key),
            None => true,
        })
    }
}

impl Api {
    pub fn stage(&self, name: &str) -> Option<&Arc<Stage>> {
        self.stages.iter().find(|stage| &*stage.name == name)
    }
}

impl ApiKey {
    /// When it was put on a plan, in Unix seconds.
    pub fn joined_s(&self, usage_plan_id: &str) -> Option<i64> {
        let at = self.usage_plan_ids.iter().position(|id| &**id == usage_plan_id)?;
        self.usage_plan_joined_s.get(at).copied()
    }

    /// What it was granted beside the quota of a plan.
    pub fn granted(&self, usage_plan_id: &str) -> Option<Grant> {
        let of = |it: &&QuotaExtension| &*it.usage_plan_id == usage_plan_id;
        self.quota_extensions.iter().find(of).map(|it| it.grant)
    }
}

impl UsagePlan {
    /// What the plan says about a stage; `None` where it gives no access.
    pub fn stage(&self, api_id: &str, stage: &str) -> Option<&PlanStage> {
        self.stages.iter().find(|known| &*known.api_id == api_id && &*known.stage == stage)
    }
}
