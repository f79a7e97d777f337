//! Client certificates.

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
use crate::domain::client_certificate::{
    ClientCertificateChanges, ClientCertificateKeyAlgorithm, ClientCertificateOrigin,
    NewClientCertificate, UploadedClientCertificate,
};
use crate::domain::tags::Tags;
use crate::error::Result;
use crate::ids::ClientCertificateId;
use crate::rest::etag::{Tag, tagged};
use crate::rest::extract::{self, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, generate))
        .routes(routes!(upload))
        .routes(routes!(get, update, delete))
}

/// What nodes show to backends over TLS that ask for a certificate: those of the stages and the integrations that name it. Its
/// private key is never shown.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ClientCertificate {
    #[serde(rename = "clientCertificateId")]
    #[schema(value_type = String)]
    id: ClientCertificateId,
    description: String,
    origin: ClientCertificateOrigin,
    /// In PEM, that of the private key first: what backends know it by.
    pem_encoded_certificate: String,
    created_date: DateTime<Utc>,
    /// When the first certificate ends. Backends refuse it from then on, most of them.
    expiration_date: DateTime<Utc>,
    /// It ends within 30 days, or did already: put another in its place.
    expires_soon: bool,
    tags: Tags,
    updated_at: DateTime<Utc>,
    /// What `If-Match` takes.
    version: String,
}

tagged!(ClientCertificate);

impl ClientCertificate {
    fn of(app: &App, certificate: domain::client_certificate::ClientCertificate) -> Self {
        Self {
            expires_soon: certificate.expires_soon(app.clock.now()),
            version: certificate.version(),
            id: certificate.id,
            description: certificate.description,
            origin: certificate.origin,
            pem_encoded_certificate: certificate.pem_encoded_certificate,
            created_date: certificate.created_at,
            expiration_date: certificate.expiration_date,
            tags: certificate.tags,
            updated_at: certificate.updated_at,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GenerateClientCertificate {
    #[serde(default)]
    #[schema(max_length = 1024)]
    description: String,
    #[serde(default)]
    key_algorithm: ClientCertificateKeyAlgorithm,
    /// At most 50.
    #[serde(default)]
    tags: Tags,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UploadClientCertificate {
    /// In PEM, that of the private key first, and each followed by its issuer's: at most 10, and 16 KiB.
    certificate_chain: String,
    /// In PEM and not encrypted: RSA of 2048 bits and more, ECDSA or Ed25519. It is never shown again.
    #[schema(value_type = String)]
    private_key: SecretString,
    #[serde(default)]
    #[schema(max_length = 1024)]
    description: String,
    /// At most 50.
    #[serde(default)]
    tags: Tags,
}

/// A field left out stays. What a certificate is never changes.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UpdateClientCertificate {
    #[serde(default)]
    #[schema(max_length = 1024)]
    description: Option<String>,
    /// All of them, in the place of those it had.
    #[serde(default)]
    tags: Option<Tags>,
}

/// The tenant's client certificates, oldest first.
#[utoipa::path(get, path = "/client-certificates", tag = "client-certificates",
    operation_id = "listClientCertificates", params(PageQuery), responses(
        (status = 200, body = List<ClientCertificate>),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Query(page): Query<PageQuery>,
) -> Result<List<ClientCertificate>> {
    let page = page.try_into()?;
    let certificates = domain::client_certificate::list(&app, &actor, &page).await?;
    Ok(List::map(certificates, |certificate| ClientCertificate::of(&app, certificate)))
}

/// Makes a certificate that is signed by itself, for 365 days.
#[utoipa::path(post, path = "/client-certificates", tag = "client-certificates",
    operation_id = "generateClientCertificate", request_body = GenerateClientCertificate, responses(
        (status = 201, body = ClientCertificate),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn generate(
    State(app): State<App>,
    actor: Actor,
    extract::Json(body): extract::Json<GenerateClientCertificate>,
) -> Result<(StatusCode, Tag<ClientCertificate>)> {
    let new = NewClientCertificate {
        description: body.description,
        key_algorithm: body.key_algorithm,
        tags: body.tags,
    };
    let made = domain::client_certificate::generate(&app, &actor, new).await?;
    Ok((StatusCode::CREATED, Tag(ClientCertificate::of(&app, made))))
}

/// Takes a certificate of the tenant's own, with its private key.
#[utoipa::path(post, path = "/client-certificates/upload", tag = "client-certificates",
    operation_id = "uploadClientCertificate", request_body = UploadClientCertificate, responses(
        (status = 201, body = ClientCertificate),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn upload(
    State(app): State<App>,
    actor: Actor,
    extract::Json(body): extract::Json<UploadClientCertificate>,
) -> Result<(StatusCode, Tag<ClientCertificate>)> {
    let given = UploadedClientCertificate {
        certificate_chain: body.certificate_chain,
        private_key: body.private_key,
        description: body.description,
        tags: body.tags,
    };
    let made = domain::client_certificate::upload(&app, &actor, given).await?;
    Ok((StatusCode::CREATED, Tag(ClientCertificate::of(&app, made))))
}

/// One client certificate.
#[utoipa::path(get, path = "/client-certificates/{clientCertificateId}",
    tag = "client-certificates", operation_id = "getClientCertificate",
    params(("clientCertificateId" = String, Path)), responses(
        (status = 200, body = ClientCertificate),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<ClientCertificateId>,
) -> Result<Tag<ClientCertificate>> {
    let certificate = domain::client_certificate::get(&app, &actor, id).await?;
    Ok(Tag(ClientCertificate::of(&app, certificate)))
}

/// Changes what is said of a client certificate.
#[utoipa::path(patch, path = "/client-certificates/{clientCertificateId}",
    tag = "client-certificates", operation_id = "updateClientCertificate",
    params(("clientCertificateId" = String, Path)), request_body = UpdateClientCertificate, responses(
        (status = 200, body = ClientCertificate),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn update(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<ClientCertificateId>,
    extract::Json(body): extract::Json<UpdateClientCertificate>,
) -> Result<Tag<ClientCertificate>> {
    let changes = ClientCertificateChanges { description: body.description, tags: body.tags };
    let certificate = domain::client_certificate::update(&app, &actor, id, changes).await?;
    Ok(Tag(ClientCertificate::of(&app, certificate)))
}

/// Deletes a client certificate; refused while it is used.
#[utoipa::path(delete, path = "/client-certificates/{clientCertificateId}",
    tag = "client-certificates", operation_id = "deleteClientCertificate",
    params(("clientCertificateId" = String, Path)), responses(
        (status = 204),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ), security(("accessToken" = [])))]
async fn delete(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<ClientCertificateId>,
) -> Result<StatusCode> {
    domain::client_certificate::delete(&app, &actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
