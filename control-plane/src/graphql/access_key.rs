//! Access keys.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::dataloader::Loader;
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;

use crate::access::precondition::Versioned;
use crate::domain;
use crate::domain::access_key::AccessKeyChanges;
use crate::domain::page::Key;
use crate::error::Error;
use crate::graphql::caller;
use crate::graphql::connection::{connection, page};
use crate::graphql::delete::{DeleteInput, DeletePayload};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::loader::Batches;
use crate::graphql::node::Kind;
use crate::ids::AccessKeyId;

#[derive(Default)]
pub struct AccessKeyQuery;

#[derive(Default)]
pub struct AccessKeyMutation;

/// What a program is to sign management calls with, by AWS Signature Version 4, as the member who made it. No operation
/// takes a signature yet: calls carry an access token.
pub struct AccessKey(domain::access_key::AccessKey);

impl From<domain::access_key::AccessKey> for AccessKey {
    fn from(key: domain::access_key::AccessKey) -> Self {
        Self(key)
    }
}

#[derive(InputObject)]
pub struct CreateAccessKeyInput {
    /// At most 128 characters.
    name: String,
}

/// A field left out stays.
#[derive(InputObject)]
pub struct UpdateAccessKeyInput {
    id: ID,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
    name: Option<String>,
    enabled: Option<bool>,
}

#[derive(SimpleObject)]
pub struct CreateAccessKeyPayload {
    access_key: Option<AccessKey>,
    /// Shown here and never again.
    secret_access_key: Option<String>,
    user_errors: Vec<UserError>,
}

#[derive(SimpleObject)]
pub struct AccessKeyPayload {
    access_key: Option<AccessKey>,
    user_errors: Vec<UserError>,
}

#[Object]
impl AccessKeyQuery {
    /// The caller's own access keys, and everyone's in the tenant for owners and admins; oldest first.
    async fn access_keys(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, AccessKey>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::access_key::list(app, actor, &page).await?))
    }
}

#[Object]
impl AccessKeyMutation {
    /// Makes an access key of the caller's own; `secretAccessKey` is shown here and never again.
    async fn create_access_key(
        &self,
        ctx: &Context<'_>,
        input: CreateAccessKeyInput,
    ) -> async_graphql::Result<CreateAccessKeyPayload> {
        let (app, actor) = caller(ctx)?;
        let created = domain::access_key::create(app, actor, &input.name).await;
        let (created, user_errors) = user_errors(created)?;
        let (key, secret) = created.unzip();
        Ok(CreateAccessKeyPayload {
            access_key: key.map(Into::into),
            secret_access_key: secret.map(|secret| secret.expose_secret().to_owned()),
            user_errors,
        })
    }

    /// Renames, disables or enables an access key.
    async fn update_access_key(
        &self,
        ctx: &Context<'_>,
        input: UpdateAccessKeyInput,
    ) -> async_graphql::Result<AccessKeyPayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let updated = async {
            let id = Kind::AccessKey.parse(&input.id, "id")?;
            let changes = AccessKeyChanges { name: input.name, enabled: input.enabled };
            domain::access_key::update(app, actor, id, changes).await
        };
        let (updated, user_errors) = user_errors(updated.await)?;
        Ok(AccessKeyPayload { access_key: updated.map(Into::into), user_errors })
    }

    /// Deletes an access key; from then on it is unknown.
    async fn delete_access_key(
        &self,
        ctx: &Context<'_>,
        input: DeleteInput,
    ) -> async_graphql::Result<DeletePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let deleted = async {
            let id = Kind::AccessKey.parse(&input.id, "id")?;
            domain::access_key::delete(app, actor, id).await
        };
        let deleted = deleted.await;
        DeletePayload::of(input.id, deleted)
    }
}

#[Object]
impl AccessKey {
    pub async fn id(&self) -> ID {
        Kind::AccessKey.id(&self.0.id)
    }

    /// What a signature names: twenty capital letters and digits.
    async fn access_key_id(&self) -> &str {
        self.0.id.as_str()
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    /// As whom it acts; null where that user is no longer a member.
    async fn user_email(&self) -> Option<&str> {
        self.0.user_email.as_deref()
    }

    /// A disabled key is refused like an unknown one.
    async fn enabled(&self) -> bool {
        self.0.enabled
    }

    /// Another with each change: what `expectedVersion` takes.
    async fn version(&self) -> String {
        self.0.version()
    }

    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// Null while it was never used.
    async fn last_used_at(&self) -> Option<DateTime<Utc>> {
        self.0.last_used_at
    }
}

impl Loader<AccessKeyId> for Batches {
    type Value = domain::access_key::AccessKey;
    type Error = Arc<Error>;

    async fn load(
        &self,
        ids: &[AccessKeyId],
    ) -> Result<HashMap<AccessKeyId, Self::Value>, Self::Error> {
        let found = domain::access_key::find(&self.app, &self.actor, ids).await?;
        Ok(found.into_iter().map(|key| (key.id.clone(), key)).collect())
    }
}
