//! Tenants and users.

use async_graphql::{Context, Enum, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::domain::account::CLOSED_KEPT;
use crate::graphql::node::Kind;
use crate::graphql::price::Count;
use crate::graphql::{app, identity};

/// The account of one customer of this installation.
pub struct Tenant(domain::tenant::Tenant);

/// Whether a tenant's APIs are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::tenant::Status")]
pub enum TenantStatus {
    Active,
    /// Nodes refuse its calls; its members log in and read.
    Suspended,
    /// Nodes refuse its calls; its members are logged out; it is erased a week later.
    Closed,
}

/// What a tenant may have so many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::limit::LimitName")]
pub enum TenantLimitName {
    AccessKeys,
    ApiKeys,
    Apis,
    ClientCertificates,
    Consumers,
    /// Of one API; the oldest that no stage uses make room for a new one.
    DeploymentsPerApi,
    /// How long an exchange with a backend may take, in seconds; where the operator sets none, as long as its integration
    /// says. It raises and lowers the longest `timeoutMs` of `native` and `AWS_REST`, and lowers that of `AWS_HTTP`.
    IntegrationTimeoutSeconds,
    IntegrationsPerApi,
    /// Those that wait for an answer.
    Invitations,
    /// Whoever waits to answer an invitation counts as one.
    Members,
    /// To all stages together, at once. Where the operator set this alone, a second may see as many.
    RequestBurst,
    /// To all stages together. Where the operator set this alone, as many may come at once.
    RequestsPerSecond,
    ResourcesPerApi,
    RoutesPerApi,
    Secrets,
    StagesPerApi,
    UsagePlans,
    VpcLinks,
}

/// A limit of a tenant, and how far it is used.
#[derive(SimpleObject)]
pub struct TenantLimit {
    name: TenantLimitName,
    /// The one in force.
    limit: Count,
    /// Where the operator set none.
    default: Count,
    /// The operator set it. Otherwise it is the default, or what the other of `REQUESTS_PER_SECOND` and `REQUEST_BURST` says;
    /// where neither is set, there is no limit of calls.
    adjusted: bool,
    /// Of what is limited for each API: in the API that has the most.
    used: Count,
}

/// A person; one per email in the whole installation.
pub struct User(domain::user::User);

impl From<domain::tenant::Tenant> for Tenant {
    fn from(tenant: domain::tenant::Tenant) -> Self {
        Self(tenant)
    }
}

impl From<domain::user::User> for User {
    fn from(user: domain::user::User) -> Self {
        Self(user)
    }
}

#[Object]
impl Tenant {
    pub async fn id(&self) -> ID {
        Kind::Tenant.id(self.0.id)
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    async fn status(&self) -> TenantStatus {
        self.0.status.into()
    }

    async fn suspended_at(&self) -> Option<DateTime<Utc>> {
        self.0.suspended_at
    }

    /// What the operator says to the tenant's members.
    async fn suspended_reason(&self) -> Option<&str> {
        self.0.suspended_reason.as_deref()
    }

    async fn closed_at(&self) -> Option<DateTime<Utc>> {
        self.0.closed_at
    }

    /// When a closed tenant is erased; until then it can be reopened.
    async fn erases_at(&self) -> Option<DateTime<Utc>> {
        self.0.closed_at.map(|at| at + CLOSED_KEPT)
    }

    /// How much it may have, and has.
    async fn limits(&self, ctx: &Context<'_>) -> async_graphql::Result<Vec<TenantLimit>> {
        let limits = domain::limit::list(app(ctx), identity(ctx)?, self.0.id).await?;
        let limit = |limit: domain::limit::Limit| TenantLimit {
            name: limit.name.into(),
            limit: i64::from(limit.limit).into(),
            default: i64::from(limit.default).into(),
            adjusted: limit.adjusted,
            used: limit.used.into(),
        };
        Ok(limits.into_iter().map(limit).collect())
    }
}

#[Object]
impl User {
    pub async fn id(&self) -> ID {
        Kind::User.id(self.0.id)
    }

    async fn email(&self) -> &str {
        &self.0.email
    }

    /// Whether somebody showed that the address is theirs.
    async fn email_verified(&self) -> bool {
        self.0.email_verified
    }

    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }
}
