//! Access keys.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::app::App;
use crate::domain;
use crate::domain::access_key::AccessKeyChanges;
use crate::error::Result;
use crate::ids::{AccessKeyId, UserId};
use crate::rest::etag::{Tag, tagged};
use crate::rest::extract::{self, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update, delete))
}

/// What a program is to sign management calls with, by AWS Signature Version 4, as the member who made it. No operation
/// takes a signature yet: calls carry an access token.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AccessKey {
    /// What a signature names.
    #[serde(rename = "accessKeyId")]
    #[schema(value_type = String, pattern = "^[A-Z0-9]{20}$")]
    id: AccessKeyId,
    name: String,
    /// As whom it acts.
    #[schema(value_type = String, format = Uuid)]
    user_id: UserId,
    /// Null where that user is no longer a member.
    user_email: Option<String>,
    /// A disabled key is refused like an unknown one.
    enabled: bool,
    created_at: DateTime<Utc>,
    /// Null while it was never used.
    last_used_at: Option<DateTime<Utc>>,
    /// What `If-Match` takes.
    version: String,
}

tagged!(AccessKey);

impl From<domain::access_key::AccessKey> for AccessKey {
    fn from(key: domain::access_key::AccessKey) -> Self {
        Self {
            version: key.version(),
            id: key.id,
            name: key.name,
            user_id: key.user,
            user_email: key.user_email,
            enabled: key.enabled,
            created_at: key.created_at,
            last_used_at: key.last_used_at,
        }
    }
}

/// An access key just made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CreatedAccessKey {
    #[serde(flatten)]
    key: AccessKey,
    /// Shown here and never again.
    secret_access_key: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateAccessKey {
    #[schema(min_length = 1, max_length = 128)]
    name: String,
}

/// A field left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateAccessKey {
    #[schema(min_length = 1, max_length = 128)]
    name: Option<String>,
    enabled: Option<bool>,
}

/// The caller's own access keys, and everyone's in the tenant for owners and admins; oldest first.
#[utoipa::path(get, path = "/access-keys", tag = "access keys", operation_id = "listAccessKeys",
    params(PageQuery), responses(
        (status = 200, body = List<AccessKey>),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Query(page): Query<PageQuery>,
) -> Result<List<AccessKey>> {
    Ok(List::of(domain::access_key::list(&app, &actor, &page.try_into()?).await?))
}

/// Makes an access key of the caller's own; `secretAccessKey` is shown here and never again.
#[utoipa::path(post, path = "/access-keys", tag = "access keys", operation_id = "createAccessKey",
    request_body = CreateAccessKey, responses(
        (status = 201, body = CreatedAccessKey),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    extract::Json(body): extract::Json<CreateAccessKey>,
) -> Result<(StatusCode, Json<CreatedAccessKey>)> {
    let (key, secret) = domain::access_key::create(&app, &actor, &body.name).await?;
    let secret_access_key = secret.expose_secret().to_owned();
    Ok((StatusCode::CREATED, Json(CreatedAccessKey { key: key.into(), secret_access_key })))
}

/// One access key.
#[utoipa::path(get, path = "/access-keys/{accessKeyId}", tag = "access keys",
    operation_id = "getAccessKey", params(("accessKeyId" = String, Path)), responses(
        (status = 200, body = AccessKey),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<AccessKeyId>,
) -> Result<Tag<AccessKey>> {
    Ok(Tag(domain::access_key::get(&app, &actor, id).await?.into()))
}

/// Renames, disables or enables an access key.
#[utoipa::path(patch, path = "/access-keys/{accessKeyId}", tag = "access keys",
    operation_id = "updateAccessKey", params(("accessKeyId" = String, Path)),
    request_body = UpdateAccessKey, responses(
        (status = 200, body = AccessKey),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn update(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<AccessKeyId>,
    extract::Json(body): extract::Json<UpdateAccessKey>,
) -> Result<Tag<AccessKey>> {
    let changes = AccessKeyChanges { name: body.name, enabled: body.enabled };
    Ok(Tag(domain::access_key::update(&app, &actor, id, changes).await?.into()))
}

/// Deletes an access key; from then on it is unknown.
#[utoipa::path(delete, path = "/access-keys/{accessKeyId}", tag = "access keys",
    operation_id = "deleteAccessKey", params(("accessKeyId" = String, Path)), responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<AccessKeyId>,
) -> Result<StatusCode> {
    domain::access_key::delete(&app, &actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
