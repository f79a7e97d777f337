//! A client certificate: what nodes show to backends over TLS that ask for one. It is generated, as AWS's are, or uploaded.
//! Its private key is written and never read back: rows hold it wrapped by the tenant's data key, and nodes of the tenant's
//! cell get it while a stage or a deployment needs it. A certificate never changes: another one takes its place at a stage,
//! and both are good until the old one is deleted.

mod generated;

use chrono::{DateTime, TimeDelta, Utc};
use egress::{ClientError, ClientPem};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::access::sealed::WrappingKey;
use crate::app::{App, Tx};
use crate::domain::limit::{self, LimitName};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::tags::{self, Tags};
use crate::domain::{audit, text};
use crate::error::{Error, Result};
use crate::ids::{ApiId, ClientCertificateId, DeploymentId, TenantId};
use crate::snapshot::compile;
use crate::store;

/// How many client certificates a tenant has at most, unless its own limits say otherwise; as many as AWS's.
pub const CLIENT_CERTIFICATES_MAX: u32 = 60;
/// Who uses one is warned so long before it ends.
const WARNED_BEFORE: TimeDelta = TimeDelta::days(30);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificate {
    #[serde(skip)]
    pub id: ClientCertificateId,
    pub description: String,
    pub origin: ClientCertificateOrigin,
    /// In PEM, that of the private key first.
    pub pem_encoded_certificate: String,
    /// The end of the first certificate.
    pub expiration_date: DateTime<Utc>,
    pub tags: Tags,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
    #[serde(skip)]
    pub updated_at: DateTime<Utc>,
    /// Of [`Versioned`].
    #[serde(skip)]
    pub revision: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClientCertificateOrigin {
    /// Made here, for itself.
    Generated,
    /// The tenant's own, with its private key.
    Uploaded,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ClientCertificateKeyAlgorithm {
    /// ECDSA on P-256.
    #[default]
    #[serde(rename = "EC_P256")]
    EcP256,
    /// RSA of 2048 bits, as AWS's are.
    #[serde(rename = "RSA_2048")]
    Rsa2048,
}

/// A certificate to be generated: for 365 days, of the name `ApiGateway`, signed by itself.
#[derive(Default)]
pub struct NewClientCertificate {
    pub description: String,
    pub key_algorithm: ClientCertificateKeyAlgorithm,
    pub tags: Tags,
}

/// A certificate that the tenant has. Without `Debug`.
pub struct UploadedClientCertificate {
    /// In PEM, that of the private key first, and each followed by its issuer's.
    pub certificate_chain: String,
    /// In PEM, not encrypted.
    pub private_key: SecretString,
    pub description: String,
    pub tags: Tags,
}

/// What is `None` stays as it is.
#[derive(Default)]
pub struct ClientCertificateChanges {
    pub description: Option<String>,
    /// All of them, in the place of those it had.
    pub tags: Option<Tags>,
}

/// What is kept of one. Without `Debug`.
pub struct Kept {
    pub origin: ClientCertificateOrigin,
    /// In PEM.
    pub chain: String,
    pub expires_at: DateTime<Utc>,
    pub description: String,
    pub tags: Tags,
    /// Wrapped.
    pub private_key: Vec<u8>,
}

impl Versioned for ClientCertificate {
    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    fn number(&self) -> i64 {
        self.revision
    }
}

impl Keyed for ClientCertificate {
    const LIST: &'static str = "clientCertificates";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

impl ClientCertificate {
    /// It ends within 30 days, or did already.
    pub fn expires_soon(&self, now: DateTime<Utc>) -> bool {
        self.expiration_date < now + WARNED_BEFORE
    }
}

impl ClientCertificateOrigin {
    pub const ALL: [Self; 2] = [Self::Generated, Self::Uploaded];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generated => "GENERATED",
            Self::Uploaded => "UPLOADED",
        }
    }
}

pub async fn generate(
    app: &App,
    actor: &Actor,
    new: NewClientCertificate,
) -> Result<ClientCertificate> {
    actor.may(Action::ManageApis)?;
    let description = text::description("description", new.description)?;
    let tags = tags::checked(new.tags)?;
    let (algorithm, now) = (new.key_algorithm, app.clock.now());
    // A key of RSA takes a good part of a second.
    let made = tokio::task::spawn_blocking(move || generated::make(algorithm, now)).await;
    let pem = made.map_err(Error::internal)??;
    let origin = ClientCertificateOrigin::Generated;
    keep(app, actor, "client_certificate.generate", origin, pem, description, tags).await
}

pub async fn upload(
    app: &App,
    actor: &Actor,
    given: UploadedClientCertificate,
) -> Result<ClientCertificate> {
    actor.may(Action::ManageApis)?;
    let description = text::description("description", given.description)?;
    let tags = tags::checked(given.tags)?;
    let pem = ClientPem::parse(&given.certificate_chain, given.private_key.expose_secret());
    let pem = pem.map_err(|error| Error::bad_request(param(error), error.to_string()))?;
    if pem.not_after <= app.clock.now().timestamp() {
        return Err(Error::bad_request("certificateChain", "has expired"));
    }
    let origin = ClientCertificateOrigin::Uploaded;
    keep(app, actor, "client_certificate.upload", origin, pem, description, tags).await
}

fn param(error: ClientError) -> &'static str {
    match error {
        ClientError::Chain | ClientError::Order => "certificateChain",
        ClientError::PrivateKey | ClientError::OtherKey => "privateKey",
    }
}

async fn keep(
    app: &App,
    actor: &Actor,
    action: &'static str,
    origin: ClientCertificateOrigin,
    pem: ClientPem,
    description: String,
    tags: Tags,
) -> Result<ClientCertificate> {
    let expires_at = DateTime::from_timestamp(pem.not_after, 0)
        .ok_or_else(|| Error::bad_request("certificateChain", "ends at no date"))?;
    let chain = pem.chain.iter().map(|der| generated::pem(der)).collect();

    let mut tx = app.begin(actor).await?;
    let tenant = actor.tenant;
    let limit = limit::of(&mut tx, tenant, LimitName::ClientCertificates).await?;
    if store::client_certificate::count(&mut tx, tenant).await? >= limit {
        return Err(LimitName::ClientCertificates.exceeded(limit));
    }
    let id: ClientCertificateId = app.rng.id();
    let data_key = app.data_key(&mut tx, tenant).await?;
    let private_key = data_key.wrap(&context(tenant, id), pem.private_key.secret_der());
    let kept = Kept { origin, chain, expires_at, description, tags, private_key };
    let made = store::client_certificate::insert(&mut tx, tenant, id, &kept).await?;
    audit::record(app, &mut tx, actor, action, id.as_str(), None, Some(&made)).await?;
    tx.commit().await?;
    Ok(made)
}

pub async fn get(app: &App, actor: &Actor, id: ClientCertificateId) -> Result<ClientCertificate> {
    find(app, actor, &[id]).await?.pop().ok_or(Error::NotFound("client certificate"))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(
    app: &App,
    actor: &Actor,
    ids: &[ClientCertificateId],
) -> Result<Vec<ClientCertificate>> {
    let mut tx = app.begin(actor).await?;
    store::client_certificate::find(&mut tx, actor.tenant, ids).await
}

/// Oldest first.
pub async fn list(app: &App, actor: &Actor, page: &Page) -> Result<Paged<ClientCertificate>> {
    let mut tx = app.begin(actor).await?;
    page.cut(store::client_certificate::list(&mut tx, actor.tenant, page).await?)
}

pub async fn update(
    app: &App,
    actor: &Actor,
    id: ClientCertificateId,
    changes: ClientCertificateChanges,
) -> Result<ClientCertificate> {
    actor.may(Action::ManageApis)?;
    let description =
        changes.description.map(|it| text::description("description", it)).transpose()?;
    let tags = changes.tags.map(tags::checked).transpose()?;

    let mut tx = app.begin(actor).await?;
    let tenant = actor.tenant;
    let before = store::client_certificate::lock(&mut tx, tenant, id).await?;
    actor.expects(&before)?;
    let description = description.unwrap_or_else(|| before.description.clone());
    let tags = tags.unwrap_or_else(|| before.tags.clone());
    let after = store::client_certificate::update(&mut tx, tenant, id, &description, &tags).await?;
    let (action, noun_id) = ("client_certificate.update", id.as_str());
    audit::record(app, &mut tx, actor, action, noun_id, Some(&before), Some(&after)).await?;
    tx.commit().await?;
    Ok(after)
}

/// Refused while a stage or an integration names the certificate, or a stage is on a deployment that needs it.
pub async fn delete(app: &App, actor: &Actor, id: ClientCertificateId) -> Result<()> {
    actor.may(Action::ManageApis)?;

    let mut tx = app.begin(actor).await?;
    let before = store::client_certificate::lock(&mut tx, actor.tenant, id).await?;
    actor.expects(&before)?;
    if let Some(user) = store::client_certificate::user_of(&mut tx, actor.tenant, id).await? {
        return Err(Error::conflict("id", format!("{user} uses this client certificate")));
    }
    store::client_certificate::delete(&mut tx, actor.tenant, id).await?;
    let (action, noun_id) = ("client_certificate.delete", id.as_str());
    audit::record(app, &mut tx, actor, action, noun_id, Some(&before), None).await?;
    tx.remove(compile::client_certificate_name(id));
    tx.commit().await?;
    Ok(())
}

/// Remembers what a new deployment needs, and brings it to the nodes. `uses` stand in order.
pub(crate) async fn used_by(
    tx: &mut Tx,
    app: &App,
    tenant: TenantId,
    api: ApiId,
    deployment: DeploymentId,
    uses: &[ClientCertificateId],
) -> Result<()> {
    for id in uses {
        // It must be the tenant's, and stays until this is committed.
        store::client_certificate::lock(tx, tenant, *id).await?;
        store::client_certificate::insert_use(tx, tenant, api, deployment, *id).await?;
        publish(tx, app, tenant, *id).await?;
    }
    Ok(())
}

/// Brings the certificate to the nodes, where a stage or a deployment needs it.
pub(crate) async fn publish(
    tx: &mut Tx,
    app: &App,
    tenant: TenantId,
    id: ClientCertificateId,
) -> Result<()> {
    if let Some(resource) = compile::client_certificate(tx, &app.master, tenant, id).await? {
        tx.upsert(resource);
    }
    Ok(())
}

/// The private key of a row, in DER.
pub(crate) fn open(
    data_key: &WrappingKey,
    tenant: TenantId,
    id: ClientCertificateId,
    wrapped: &[u8],
) -> Result<Zeroizing<Vec<u8>>> {
    data_key.unwrap(&context(tenant, id), wrapped)
}

/// What a private key's wrapping is bound to.
fn context(tenant: TenantId, id: ClientCertificateId) -> String {
    format!("tenant:{tenant}:client_certificate:{id}")
}

#[cfg(test)]
mod tests;
