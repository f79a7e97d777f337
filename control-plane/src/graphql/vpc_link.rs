//! VPC links.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::dataloader::Loader;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::access::precondition::Versioned;
use crate::domain;
use crate::domain::page::Key;
use crate::domain::vpc_link::{NewVpcLink, VpcLinkChanges};
use crate::error::Error;
use crate::graphql::balancing::Balancing;
use crate::graphql::caller;
use crate::graphql::connection::{connection, page};
use crate::graphql::delete::{DeleteInput, DeletePayload};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::loader::Batches;
use crate::graphql::node::Kind;
use crate::ids::VpcLinkId;

/// The targets that integrations with `connectionType` `VPC_LINK` connect to, and how calls are spread among them. A change is on
/// nodes at once, without a deployment.
pub struct VpcLink(Box<domain::vpc_link::VpcLink>);

impl From<domain::vpc_link::VpcLink> for VpcLink {
    fn from(vpc_link: domain::vpc_link::VpcLink) -> Self {
        Self(Box::new(vpc_link))
    }
}

/// AWS's. Ours has nothing to wait for, and is available from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::vpc_link::VpcLinkStatus")]
pub enum VpcLinkStatus {
    Available,
    Pending,
    Deleting,
    Failed,
}

#[derive(Default)]
pub struct VpcLinkQuery;

#[derive(Default)]
pub struct VpcLinkMutation;

#[derive(InputObject)]
pub struct CreateVpcLinkInput {
    /// Unique in the tenant; at most 128 characters.
    name: String,
    /// At most 1024 characters.
    description: Option<String>,
    balancing: Balancing,
}

/// A field left out stays. What changes is on nodes at once, without a deployment.
#[derive(InputObject)]
pub struct UpdateVpcLinkInput {
    id: ID,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
    name: Option<String>,
    description: Option<String>,
    /// As a whole.
    balancing: Option<Balancing>,
}

#[derive(SimpleObject)]
pub struct VpcLinkPayload {
    vpc_link: Option<VpcLink>,
    user_errors: Vec<UserError>,
}

#[Object]
impl VpcLinkQuery {
    /// The tenant's VPC links, oldest first.
    async fn vpc_links(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, VpcLink>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::vpc_link::list(app, actor, &page).await?))
    }
}

#[Object]
impl VpcLinkMutation {
    /// Makes a VPC link.
    async fn create_vpc_link(
        &self,
        ctx: &Context<'_>,
        input: CreateVpcLinkInput,
    ) -> async_graphql::Result<VpcLinkPayload> {
        let (app, actor) = caller(ctx)?;
        let made = async {
            let new = NewVpcLink {
                name: input.name,
                description: input.description.unwrap_or_default(),
                balancing: input.balancing.try_into()?,
            };
            domain::vpc_link::create(app, actor, new).await
        };
        let (made, user_errors) = user_errors(made.await)?;
        Ok(VpcLinkPayload { vpc_link: made.map(Into::into), user_errors })
    }

    /// Changes a VPC link.
    async fn update_vpc_link(
        &self,
        ctx: &Context<'_>,
        input: UpdateVpcLinkInput,
    ) -> async_graphql::Result<VpcLinkPayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let updated = async {
            let id = Kind::VpcLink.parse(&input.id, "id")?;
            let changes = VpcLinkChanges {
                name: input.name,
                description: input.description,
                balancing: input.balancing.map(TryInto::try_into).transpose()?,
            };
            domain::vpc_link::update(app, actor, id, changes).await
        };
        let (updated, user_errors) = user_errors(updated.await)?;
        Ok(VpcLinkPayload { vpc_link: updated.map(Into::into), user_errors })
    }

    /// Deletes a VPC link; refused while it is used.
    async fn delete_vpc_link(
        &self,
        ctx: &Context<'_>,
        input: DeleteInput,
    ) -> async_graphql::Result<DeletePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let deleted = async {
            let id = Kind::VpcLink.parse(&input.id, "id")?;
            domain::vpc_link::delete(app, actor, id).await
        };
        let deleted = deleted.await;
        DeletePayload::of(input.id, deleted)
    }
}

#[Object]
impl VpcLink {
    pub async fn id(&self) -> ID {
        Kind::VpcLink.id(self.0.id)
    }

    /// What REST and integrations call it by.
    async fn vpc_link_id(&self) -> String {
        self.0.id.to_string()
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn description(&self) -> &str {
        &self.0.description
    }

    async fn status(&self) -> VpcLinkStatus {
        self.0.status.into()
    }

    async fn balancing(&self) -> Balancing {
        (&self.0.balancing).into()
    }

    /// Another with each change: what `expectedVersion` takes.
    async fn version(&self) -> String {
        self.0.version()
    }

    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }
}

impl Loader<VpcLinkId> for Batches {
    type Value = domain::vpc_link::VpcLink;
    type Error = Arc<Error>;

    async fn load(
        &self,
        ids: &[VpcLinkId],
    ) -> Result<HashMap<VpcLinkId, Self::Value>, Self::Error> {
        let found = domain::vpc_link::find(&self.app, &self.actor, ids).await?;
        Ok(found.into_iter().map(|vpc_link| (vpc_link.id, vpc_link)).collect())
    }
}
