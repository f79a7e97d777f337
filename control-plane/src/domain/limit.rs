//! How much of each noun a tenant may have: what it uses, and what the operator allows beyond the default.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::access::actor::{Caller, Operator};
use crate::app::{App, Job, Tx};
use crate::domain::{
    access_key, api, api_key, audit, client_certificate, consumer, deployment, invitation, member,
    resource, route, secret, stage, usage_plan, vpc_link,
};
use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::snapshot::compile;
use crate::store;

/// No limit is higher: what nodes and lists were tried with ends somewhere.
pub const LIMIT_MAX: u32 = 1_000_000;

/// What is limited. As `tenant.limits` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LimitName {
    AccessKeys,
    ApiKeys,
    Apis,
    ClientCertificates,
    Consumers,
    /// Of one API; the oldest that no stage uses make room for a new one.
    DeploymentsPerApi,
    /// How long an exchange with a backend may take, in seconds.
    IntegrationTimeoutSeconds,
    IntegrationsPerApi,
    /// Those that wait for an answer.
    Invitations,
    /// Whoever waits to answer an invitation counts as one.
    Members,
    /// To all stages together, at once.
    RequestBurst,
    /// To all stages together, in the long run.
    RequestsPerSecond,
    ResourcesPerApi,
    RoutesPerApi,
    Secrets,
    StagesPerApi,
    UsagePlans,
    VpcLinks,
}

impl LimitName {
    pub const ALL: [Self; 18] = [
        Self::AccessKeys,
        Self::ApiKeys,
        Self::Apis,
        Self::ClientCertificates,
        Self::Consumers,
        Self::DeploymentsPerApi,
        Self::IntegrationTimeoutSeconds,
        Self::IntegrationsPerApi,
        Self::Invitations,
        Self::Members,
        Self::RequestBurst,
        Self::RequestsPerSecond,
        Self::ResourcesPerApi,
        Self::RoutesPerApi,
        Self::Secrets,
        Self::StagesPerApi,
        Self::UsagePlans,
        Self::VpcLinks,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessKeys => "accessKeys",
            Self::ApiKeys => "apiKeys",
            Self::Apis => "apis",
            Self::ClientCertificates => "clientCertificates",
            Self::Consumers => "consumers",
            Self::DeploymentsPerApi => "deploymentsPerApi",
            Self::IntegrationTimeoutSeconds => "integrationTimeoutSeconds",
            Self::IntegrationsPerApi => "integrationsPerApi",
            Self::Invitations => "invitations",
            Self::Members => "members",
            Self::RequestBurst => "requestBurst",
            Self::RequestsPerSecond => "requestsPerSecond",
            Self::ResourcesPerApi => "resourcesPerApi",
            Self::RoutesPerApi => "routesPerApi",
            Self::Secrets => "secrets",
            Self::StagesPerApi => "stagesPerApi",
            Self::UsagePlans => "usagePlans",
            Self::VpcLinks => "vpcLinks",
        }
    }

    /// As people call it, and of what it is counted.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::AccessKeys => ("this tenant", "access keys"),
            Self::ApiKeys => ("this tenant", "API keys"),
            Self::Apis => ("this tenant", "APIs"),
            Self::ClientCertificates => ("this tenant", "client certificates"),
            Self::Consumers => ("this tenant", "consumers"),
            Self::DeploymentsPerApi => {
                ("an API of this tenant", "deployments that stages point at")
            }
            Self::IntegrationTimeoutSeconds => {
                ("this tenant", "seconds for an answer of a backend")
            }
            Self::IntegrationsPerApi => ("an API of this tenant", "integrations"),
            Self::Invitations => ("this tenant", "invitations that wait"),
            Self::Members => ("this tenant", "members, invited ones too"),
            Self::RequestBurst => ("this tenant", "requests at once"),
            Self::RequestsPerSecond => ("this tenant", "requests a second"),
            Self::ResourcesPerApi => ("an API of this tenant", "resources"),
            Self::RoutesPerApi => ("an API of this tenant", "routes"),
            Self::Secrets => ("this tenant", "secrets"),
            Self::StagesPerApi => ("an API of this tenant", "stages"),
            Self::UsagePlans => ("this tenant", "usage plans"),
            Self::VpcLinks => ("this tenant", "VPC links"),
        }
    }

    /// What is told to who wants one more: which limit it is, and what to do about it.
    pub fn exceeded(self, limit: u32) -> Error {
        let (whose, what) = self.words();
        let name = self.as_str();
        let message = format!(
            "{whose} may have {limit} {what}; delete one, or ask the operator of this installation to raise the \
             limit {name}"
        );
        Error::limit_exceeded("", message)
    }

    /// Where the operator set none.
    pub fn default(self) -> u32 {
        match self {
            Self::AccessKeys => access_key::KEYS_MAX,
            Self::ApiKeys => api_key::KEYS_MAX,
            Self::Apis => api::APIS_MAX,
            Self::ClientCertificates => client_certificate::CLIENT_CERTIFICATES_MAX,
            Self::Consumers => consumer::CONSUMERS_MAX,
            Self::DeploymentsPerApi => deployment::DEPLOYMENTS_MAX,
            Self::IntegrationsPerApi | Self::RoutesPerApi => route::ROUTES_MAX,
            Self::Invitations => invitation::INVITATIONS_MAX,
            Self::Members => member::MEMBERS_MAX,
            // As many as may be: nodes are told of no limit.
            Self::IntegrationTimeoutSeconds | Self::RequestBurst | Self::RequestsPerSecond => {
                LIMIT_MAX
            }
            Self::ResourcesPerApi => resource::RESOURCES_MAX,
            Self::Secrets => secret::SECRETS_MAX,
            Self::StagesPerApi => stage::STAGES_MAX,
            Self::UsagePlans => usage_plan::PLANS_MAX,
            Self::VpcLinks => vpc_link::VPC_LINKS_MAX,
        }
    }
}

/// A limit of a tenant, and how far it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub name: LimitName,
    /// The one in force.
    pub limit: u32,
    pub default: u32,
    /// The operator set it. Otherwise it is the default, or follows from its partner: see [`throttle`].
    pub adjusted: bool,
    /// Of what is limited for each API: in the API that has the most.
    pub used: u64,
}

/// What the operator set, by name; a name that is absent has its default.
pub type Adjusted = BTreeMap<LimitName, u32>;

/// How often a tenant's APIs may be called, a second and at once; none where the operator set neither. Where it set one,
/// the other is what one second of it gives.
pub fn throttle(adjusted: &Adjusted) -> Option<(u32, u32)> {
    let set = |name| adjusted.get(&name).copied();
    match (set(LimitName::RequestsPerSecond), set(LimitName::RequestBurst)) {
        (None, None) => None,
        (rate, burst) => Some((rate.or(burst)?, burst.or(rate)?)),
    }
}

/// How long an exchange with a backend takes at most, in seconds; none where the operator set none.
pub fn integration_timeout(adjusted: &Adjusted) -> Option<u32> {
    adjusted.get(&LimitName::IntegrationTimeoutSeconds).copied()
}

/// The limit in force. Locks the tenant, so that two operations do not both take the last place.
pub async fn of(tx: &mut Tx, tenant: TenantId, name: LimitName) -> Result<u32> {
    Ok(store::tenant::limit(tx, tenant, name.as_str()).await?.unwrap_or(name.default()))
}

/// Every limit of a tenant: of a member's own, or of any for the operator.
pub async fn list(app: &App, caller: &Caller, tenant: TenantId) -> Result<Vec<Limit>> {
    if caller.tenant().is_some_and(|own| own != tenant) {
        return Err(Error::NotFound("tenant"));
    }
    let mut tx = app.begin_in(tenant).await?;
    let adjusted = store::tenant::limits(&mut tx, tenant).await?;
    let used = store::account::used(&mut tx, tenant).await?;
    let throttle = throttle(&adjusted);
    let limit = |name: LimitName| {
        let used = used.get(&name).copied().unwrap_or_default();
        let (set, default) = (adjusted.get(&name).copied(), name.default());
        let enforced = match name {
            LimitName::RequestsPerSecond => throttle.map(|(rate, _)| rate),
            LimitName::RequestBurst => throttle.map(|(_, burst)| burst),
            _ => set,
        };
        Limit { name, limit: enforced.unwrap_or(default), default, adjusted: set.is_some(), used }
    };
    Ok(LimitName::ALL.into_iter().map(limit).collect())
}

/// Sets limits of a tenant; None puts a default back. What the tenant has beyond a lowered limit stays.
pub async fn update(
    app: &App,
    operator: &Operator,
    tenant: TenantId,
    changes: &[(LimitName, Option<u32>)],
) -> Result<()> {
    for (at, (name, limit)) in changes.iter().enumerate() {
        if limit.is_some_and(|limit| limit > LIMIT_MAX) {
            let most = format!("{} is at most {LIMIT_MAX}", name.as_str());
            return Err(Error::bad_request(format!("limits[{at}].limit"), most));
        }
        let of_calls = [
            LimitName::IntegrationTimeoutSeconds,
            LimitName::RequestsPerSecond,
            LimitName::RequestBurst,
        ];
        if *limit == Some(0) && of_calls.contains(name) {
            let rule = "must be at least 1; to refuse every call of a tenant, suspend it";
            return Err(Error::bad_request(format!("limits[{at}].limit"), rule));
        }
        if changes[..at].iter().any(|(earlier, _)| earlier == name) {
            let twice = format!("{} is named twice", name.as_str());
            return Err(Error::bad_request(format!("limits[{at}].name"), twice));
        }
    }
    let mut tx = app.system(Job::Operator).await?;
    store::account::lock(&mut tx, tenant).await?;
    let before = store::tenant::limits(&mut tx, tenant).await?;
    let mut after = before.clone();
    for (name, limit) in changes {
        match limit {
            Some(limit) => after.insert(*name, *limit),
            None => after.remove(name),
        };
    }
    store::tenant::set_limits(&mut tx, tenant, &after).await?;
    let action = "tenant.update_limits";
    audit::record_operator_on(app, &mut tx, operator, tenant, action, Some(&before), Some(&after))
        .await?;
    let told = |limits: &Adjusted| (throttle(limits), integration_timeout(limits));
    if told(&before) != told(&after) {
        let resource = compile::tenant(&mut tx, &app.master, tenant).await?;
        let cell = store::account::cell(&mut tx, tenant).await?;
        tx.upsert(resource);
        tx.publish_to(cell);
    }
    tx.commit().await?;
    Ok(())
}
