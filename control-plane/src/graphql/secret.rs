//! Secrets.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::dataloader::Loader;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::access::precondition::Versioned;
use crate::domain;
use crate::domain::page::Key;
use crate::domain::secret::{AwsCredentials, GivenValue, NewSecret, SecretChanges};
use crate::error::Error;
use crate::graphql::caller;
use crate::graphql::connection::{connection, page};
use crate::graphql::delete::{DeleteInput, DeletePayload};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::loader::Batches;
use crate::graphql::node::Kind;
use crate::ids::SecretId;

/// A text or credentials of AWS that integrations use. Its value is written and never shown.
pub struct Secret(domain::secret::Secret);

impl From<domain::secret::Secret> for Secret {
    fn from(secret: domain::secret::Secret) -> Self {
        Self(secret)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::secret::SecretKind")]
pub enum SecretKind {
    Text,
    /// An access key of AWS, or of what speaks like it.
    AwsCredentials,
}

#[derive(Default)]
pub struct SecretQuery;

#[derive(Default)]
pub struct SecretMutation;

/// Either `text` or `awsCredentials`.
#[derive(InputObject)]
pub struct CreateSecretInput {
    /// Unique in the tenant; at most 128 characters.
    name: String,
    /// At most 4 KiB.
    text: Option<String>,
    aws_credentials: Option<AwsCredentialsInput>,
}

/// An access key of AWS, or of what speaks like it.
#[derive(InputObject)]
pub struct AwsCredentialsInput {
    access_key_id: String,
    secret_access_key: String,
    /// Of temporary ones.
    session_token: Option<String>,
}

/// A field left out stays. A new value has the kind of the one before, and is on nodes at once.
#[derive(InputObject)]
pub struct UpdateSecretInput {
    id: ID,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
    name: Option<String>,
    text: Option<String>,
    aws_credentials: Option<AwsCredentialsInput>,
}

#[derive(SimpleObject)]
pub struct SecretPayload {
    secret: Option<Secret>,
    user_errors: Vec<UserError>,
}

impl From<AwsCredentialsInput> for AwsCredentials {
    fn from(input: AwsCredentialsInput) -> Self {
        Self {
            access_key_id: input.access_key_id.into(),
            secret_access_key: input.secret_access_key.into(),
            session_token: input.session_token.map(Into::into),
        }
    }
}

fn given(text: Option<String>, credentials: Option<AwsCredentialsInput>) -> GivenValue {
    GivenValue { text: text.map(Into::into), aws_credentials: credentials.map(Into::into) }
}

#[Object]
impl SecretQuery {
    /// The tenant's secrets, oldest first.
    async fn secrets(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, Secret>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::secret::list(app, actor, &page).await?))
    }
}

#[Object]
impl SecretMutation {
    /// Makes a secret.
    async fn create_secret(
        &self,
        ctx: &Context<'_>,
        input: CreateSecretInput,
    ) -> async_graphql::Result<SecretPayload> {
        let (app, actor) = caller(ctx)?;
        let new = NewSecret { name: input.name, value: given(input.text, input.aws_credentials) };
        let (made, user_errors) = user_errors(domain::secret::create(app, actor, new).await)?;
        Ok(SecretPayload { secret: made.map(Into::into), user_errors })
    }

    /// Renames a secret, or gives it another value.
    async fn update_secret(
        &self,
        ctx: &Context<'_>,
        input: UpdateSecretInput,
    ) -> async_graphql::Result<SecretPayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let updated = async {
            let id = Kind::Secret.parse(&input.id, "id")?;
            let value = given(input.text, input.aws_credentials);
            let changes = SecretChanges { name: input.name, value };
            domain::secret::update(app, actor, id, changes).await
        };
        let (updated, user_errors) = user_errors(updated.await)?;
        Ok(SecretPayload { secret: updated.map(Into::into), user_errors })
    }

    /// Deletes a secret; refused while it is used.
    async fn delete_secret(
        &self,
        ctx: &Context<'_>,
        input: DeleteInput,
    ) -> async_graphql::Result<DeletePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let deleted = async {
            let id = Kind::Secret.parse(&input.id, "id")?;
            domain::secret::delete(app, actor, id).await
        };
        let deleted = deleted.await;
        DeletePayload::of(input.id, deleted)
    }
}

#[Object]
impl Secret {
    pub async fn id(&self) -> ID {
        Kind::Secret.id(self.0.id)
    }

    /// What REST and integrations call it by.
    async fn secret_id(&self) -> String {
        self.0.id.to_string()
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn kind(&self) -> SecretKind {
        self.0.kind.into()
    }

    /// When its value was last written.
    async fn value_updated_at(&self) -> DateTime<Utc> {
        self.0.value_updated_at
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

impl Loader<SecretId> for Batches {
    type Value = domain::secret::Secret;
    type Error = Arc<Error>;

    async fn load(&self, ids: &[SecretId]) -> Result<HashMap<SecretId, Self::Value>, Self::Error> {
        let found = domain::secret::find(&self.app, &self.actor, ids).await?;
        Ok(found.into_iter().map(|secret| (secret.id, secret)).collect())
    }
}
