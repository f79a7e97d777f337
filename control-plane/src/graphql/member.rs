//! Members.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::dataloader::Loader;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::access::precondition::Versioned;
use crate::access::role;
use crate::domain;
use crate::domain::page::Key;
use crate::error::Error;
use crate::graphql::caller;
use crate::graphql::connection::{connection, page};
use crate::graphql::delete::{DeleteInput, DeletePayload};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::loader::Batches;
use crate::graphql::node::Kind;
use crate::graphql::tenant::User;
use crate::ids::UserId;

#[derive(Default)]
pub struct MemberQuery;

#[derive(Default)]
pub struct MemberMutation;

#[derive(InputObject)]
pub struct UpdateMemberInput {
    id: ID,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
    /// Only an owner makes owners, or changes one; the last one stays.
    role: Role,
}

#[derive(SimpleObject)]
pub struct MemberPayload {
    member: Option<Member>,
    user_errors: Vec<UserError>,
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "role::Role")]
pub enum Role {
    Owner,
    Admin,
    Developer,
    Billing,
    Viewer,
}

/// A user in a tenant.
pub struct Member(domain::member::Member);

impl From<domain::member::Member> for Member {
    fn from(member: domain::member::Member) -> Self {
        Self(member)
    }
}

#[Object]
impl MemberQuery {
    /// The members of the caller's tenant, the longest first.
    async fn members(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, Member>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::member::list(app, actor, &page).await?))
    }
}

#[Object]
impl MemberMutation {
    /// Gives a member another role, from their next call on.
    async fn update_member(
        &self,
        ctx: &Context<'_>,
        input: UpdateMemberInput,
    ) -> async_graphql::Result<MemberPayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let updated = async {
            let user = Kind::Member.parse(&input.id, "id")?;
            domain::member::update(app, actor, user, input.role.into()).await
        };
        let (updated, user_errors) = user_errors(updated.await)?;
        Ok(MemberPayload { member: updated.map(Into::into), user_errors })
    }

    /// Removes a member, or leaves the tenant where that is the caller. Their sessions and access keys in it end.
    async fn delete_member(
        &self,
        ctx: &Context<'_>,
        input: DeleteInput,
    ) -> async_graphql::Result<DeletePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let deleted = async {
            let user = Kind::Member.parse(&input.id, "id")?;
            domain::member::delete(app, actor, user).await
        };
        let deleted = deleted.await;
        DeletePayload::of(input.id, deleted)
    }
}

#[Object]
impl Member {
    pub async fn id(&self) -> ID {
        Kind::Member.id(self.0.user.id)
    }

    async fn user(&self) -> User {
        self.0.user.clone().into()
    }

    async fn role(&self) -> Role {
        self.0.role.into()
    }

    /// Another with each change: what `expectedVersion` takes.
    async fn version(&self) -> String {
        self.0.version()
    }

    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }
}

impl Loader<UserId> for Batches {
    type Value = domain::member::Member;
    type Error = Arc<Error>;

    async fn load(&self, ids: &[UserId]) -> Result<HashMap<UserId, Self::Value>, Self::Error> {
        let found = domain::member::find(&self.app, &self.actor, ids).await?;
        Ok(found.into_iter().map(|member| (member.user.id, member)).collect())
    }
}
