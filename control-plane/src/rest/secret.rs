//! Secrets.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::app::App;
use crate::domain;
use crate::domain::secret::{GivenValue, NewSecret, SecretChanges, SecretKind};
use crate::error::Result;
use crate::ids::SecretId;
use crate::rest::etag::{Tag, tagged};
use crate::rest::extract::{self, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update, delete))
}

/// A text or credentials of AWS that integrations use. Its value is written and never shown.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Secret {
    #[schema(value_type = String, format = Uuid)]
    id: SecretId,
    name: String,
    kind: SecretKind,
    /// When its value was last written.
    value_updated_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    /// What `If-Match` takes.
    version: String,
}

tagged!(Secret);

impl From<domain::secret::Secret> for Secret {
    fn from(secret: domain::secret::Secret) -> Self {
        Self {
            version: secret.version(),
            id: secret.id,
            name: secret.name,
            kind: secret.kind,
            value_updated_at: secret.value_updated_at,
            created_at: secret.created_at,
            updated_at: secret.updated_at,
        }
    }
}

/// An access key of AWS, or of what speaks like it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AwsCredentials {
    #[schema(value_type = String, min_length = 1, max_length = 128)]
    access_key_id: SecretString,
    #[schema(value_type = String, min_length = 1, max_length = 128)]
    secret_access_key: SecretString,
    /// Of temporary ones.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 8192)]
    session_token: Option<SecretString>,
}

impl From<AwsCredentials> for domain::secret::AwsCredentials {
    fn from(body: AwsCredentials) -> Self {
        Self {
            access_key_id: body.access_key_id,
            secret_access_key: body.secret_access_key,
            session_token: body.session_token,
        }
    }
}

/// Either `text` or `awsCredentials`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateSecret {
    /// Unique in the tenant.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    /// At most 4 KiB.
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 4096)]
    text: Option<SecretString>,
    #[serde(default)]
    aws_credentials: Option<AwsCredentials>,
}

/// A field left out stays. A new value has the kind of the one before, and is on nodes at once.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateSecret {
    #[serde(default)]
    #[schema(min_length = 1, max_length = 128)]
    name: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 4096)]
    text: Option<SecretString>,
    #[serde(default)]
    aws_credentials: Option<AwsCredentials>,
}

fn given(text: Option<SecretString>, credentials: Option<AwsCredentials>) -> GivenValue {
    GivenValue { text, aws_credentials: credentials.map(Into::into) }
}

/// The tenant's secrets, oldest first.
#[utoipa::path(get, path = "/secrets", tag = "secrets", operation_id = "listSecrets",
    params(PageQuery), responses(
        (status = 200, body = List<Secret>),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Query(page): Query<PageQuery>,
) -> Result<List<Secret>> {
    Ok(List::of(domain::secret::list(&app, &actor, &page.try_into()?).await?))
}

/// Makes a secret.
#[utoipa::path(post, path = "/secrets", tag = "secrets", operation_id = "createSecret",
    request_body = CreateSecret, responses(
        (status = 201, body = Secret),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    extract::Json(body): extract::Json<CreateSecret>,
) -> Result<(StatusCode, Tag<Secret>)> {
    let new = NewSecret { name: body.name, value: given(body.text, body.aws_credentials) };
    let secret = domain::secret::create(&app, &actor, new).await?;
    Ok((StatusCode::CREATED, Tag(secret.into())))
}

/// One secret.
#[utoipa::path(get, path = "/secrets/{secretId}", tag = "secrets", operation_id = "getSecret",
    params(("secretId" = String, Path, format = Uuid)), responses(
        (status = 200, body = Secret),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<SecretId>,
) -> Result<Tag<Secret>> {
    Ok(Tag(domain::secret::get(&app, &actor, id).await?.into()))
}

/// Renames a secret, or gives it another value.
#[utoipa::path(patch, path = "/secrets/{secretId}", tag = "secrets",
    operation_id = "updateSecret", params(("secretId" = String, Path, format = Uuid)),
    request_body = UpdateSecret, responses(
        (status = 200, body = Secret),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn update(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<SecretId>,
    extract::Json(body): extract::Json<UpdateSecret>,
) -> Result<Tag<Secret>> {
    let value = given(body.text, body.aws_credentials);
    let changes = SecretChanges { name: body.name, value };
    Ok(Tag(domain::secret::update(&app, &actor, id, changes).await?.into()))
}

/// Deletes a secret; refused while it is used.
#[utoipa::path(delete, path = "/secrets/{secretId}", tag = "secrets",
    operation_id = "deleteSecret", params(("secretId" = String, Path, format = Uuid)), responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<SecretId>,
) -> Result<StatusCode> {
    domain::secret::delete(&app, &actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
