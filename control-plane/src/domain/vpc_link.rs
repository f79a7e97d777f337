//! A VPC link: the targets that integrations with connectionType `VPC_LINK` connect to, and how calls are spread among them.
//! AWS's leads to a load balancer; ours is one. Its targets are live: a change is on nodes at once, without a deployment, as
//! the members of a target group are with AWS. Which link an integration names is the deployment's.

mod balancing;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::balancing::{
    Algorithm, Balancing, Ejection, HashKey, HashSource, HealthCheck, HealthCheckProtocol,
    StatusRange, VpcTarget,
};
use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::app::{App, Tx};
use crate::domain::integration::Reach;
use crate::domain::limit::{self, LimitName};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::{audit, text};
use crate::error::{Error, Result};
use crate::ids::{ApiId, DeploymentId, TenantId, VpcLinkId};
use crate::snapshot::compile;
use crate::store;

/// How many VPC links a tenant has at most, unless its own limits say otherwise; AWS has 20 in a region.
pub const VPC_LINKS_MAX: u32 = 100;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VpcLink {
    #[serde(skip)]
    pub id: VpcLinkId,
    pub name: String,
    pub description: String,
    pub status: VpcLinkStatus,
    pub balancing: Balancing,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
    #[serde(skip)]
    pub updated_at: DateTime<Utc>,
    /// Of [`Versioned`].
    #[serde(skip)]
    pub revision: i64,
}

/// AWS's. Ours has nothing to wait for, and is available from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum VpcLinkStatus {
    Available,
    Pending,
    Deleting,
    Failed,
}

/// A link to be made; names are unique in the tenant.
pub struct NewVpcLink {
    pub name: String,
    pub description: String,
    pub balancing: Balancing,
}

/// What is `None` stays as it is.
#[derive(Default)]
pub struct VpcLinkChanges {
    pub name: Option<String>,
    pub description: Option<String>,
    /// As a whole.
    pub balancing: Option<Balancing>,
}

impl Versioned for VpcLink {
    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    fn number(&self) -> i64 {
        self.revision
    }
}

impl Keyed for VpcLink {
    const LIST: &'static str = "vpcLinks";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

impl VpcLinkStatus {
    pub const ALL: [Self; 4] = [Self::Available, Self::Pending, Self::Deleting, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "AVAILABLE",
            Self::Pending => "PENDING",
            Self::Deleting => "DELETING",
            Self::Failed => "FAILED",
        }
    }
}

pub async fn create(app: &App, actor: &Actor, new: NewVpcLink) -> Result<VpcLink> {
    actor.may(Action::ManageApis)?;
    let name = text::name("name", &new.name)?;
    let description = text::description("description", new.description)?;

    let mut tx = app.begin(actor).await?;
    let tenant = actor.tenant;
    new.balancing.check(&Reach::of(app, &mut tx, tenant).await?)?;
    let limit = limit::of(&mut tx, tenant, LimitName::VpcLinks).await?;
    if store::vpc_link::count(&mut tx, tenant).await? >= limit {
        return Err(LimitName::VpcLinks.exceeded(limit));
    }
    let id: VpcLinkId = app.rng.id();
    let new = NewVpcLink { name, description, balancing: new.balancing };
    let link = store::vpc_link::insert(&mut tx, tenant, id, &new).await?;
    audit::record(app, &mut tx, actor, "vpc_link.create", id.as_str(), None, Some(&link)).await?;
    tx.commit().await?;
    Ok(link)
}

pub async fn get(app: &App, actor: &Actor, id: VpcLinkId) -> Result<VpcLink> {
    find(app, actor, &[id]).await?.pop().ok_or(Error::NotFound("VPC link"))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(app: &App, actor: &Actor, ids: &[VpcLinkId]) -> Result<Vec<VpcLink>> {
    let mut tx = app.begin(actor).await?;
    store::vpc_link::find(&mut tx, actor.tenant, ids).await
}

/// Oldest first.
pub async fn list(app: &App, actor: &Actor, page: &Page) -> Result<Paged<VpcLink>> {
    let mut tx = app.begin(actor).await?;
    page.cut(store::vpc_link::list(&mut tx, actor.tenant, page).await?)
}

/// Nodes that have the link get what changed at once.
pub async fn update(
    app: &App,
    actor: &Actor,
    id: VpcLinkId,
    changes: VpcLinkChanges,
) -> Result<VpcLink> {
    actor.may(Action::ManageApis)?;
    let name = changes.name.map(|name| text::name("name", &name)).transpose()?;
    let description =
        changes.description.map(|it| text::description("description", it)).transpose()?;

    let mut tx = app.begin(actor).await?;
    let tenant = actor.tenant;
    let before = store::vpc_link::lock(&mut tx, tenant, id).await?;
    actor.expects(&before)?;
    if let Some(balancing) = &changes.balancing {
        balancing.check(&Reach::of(app, &mut tx, tenant).await?)?;
    }
    let after = NewVpcLink {
        name: name.unwrap_or_else(|| before.name.clone()),
        description: description.unwrap_or_else(|| before.description.clone()),
        balancing: changes.balancing.unwrap_or_else(|| before.balancing.clone()),
    };
    let after = store::vpc_link::update(&mut tx, tenant, id, &after).await?;
    let noun_id = id.as_str();
    audit::record(app, &mut tx, actor, "vpc_link.update", noun_id, Some(&before), Some(&after))
        .await?;
    if after.balancing != before.balancing {
        publish(&mut tx, tenant, id).await?;
    }
    tx.commit().await?;
    Ok(after)
}

/// Refused while an integration names the link, or a stage is on a deployment that needs it.
pub async fn delete(app: &App, actor: &Actor, id: VpcLinkId) -> Result<()> {
    actor.may(Action::ManageApis)?;

    let mut tx = app.begin(actor).await?;
    let before = store::vpc_link::lock(&mut tx, actor.tenant, id).await?;
    actor.expects(&before)?;
    if let Some(user) = store::vpc_link::user_of(&mut tx, actor.tenant, id).await? {
        return Err(Error::conflict("id", format!("{user} uses this VPC link")));
    }
    store::vpc_link::delete(&mut tx, actor.tenant, id).await?;
    let noun_id = id.as_str();
    audit::record(app, &mut tx, actor, "vpc_link.delete", noun_id, Some(&before), None).await?;
    tx.remove(compile::vpc_link_name(id));
    tx.commit().await?;
    Ok(())
}

/// Remembers what a new deployment needs, and brings it to the nodes. `uses` stand in order.
pub(crate) async fn used_by(
    tx: &mut Tx,
    tenant: TenantId,
    api: ApiId,
    deployment: DeploymentId,
    uses: &[VpcLinkId],
) -> Result<()> {
    for id in uses {
        // It must be the tenant's, and stays until this is committed.
        store::vpc_link::lock(tx, tenant, *id).await?;
        store::vpc_link::insert_use(tx, tenant, api, deployment, *id).await?;
        publish(tx, tenant, *id).await?;
    }
    Ok(())
}

/// Brings the link to the nodes, where a deployment needs it.
async fn publish(tx: &mut Tx, tenant: TenantId, id: VpcLinkId) -> Result<()> {
    if let Some(resource) = compile::vpc_link(tx, tenant, id).await? {
        tx.upsert(resource);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
