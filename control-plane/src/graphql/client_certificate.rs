//! Client certificates.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::connection::Connection;
use async_graphql::dataloader::Loader;
use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::access::precondition::Versioned;
use crate::domain;
use crate::domain::client_certificate::{
    ClientCertificateChanges, NewClientCertificate, UploadedClientCertificate,
};
use crate::domain::page::Key;
use crate::error::Error;
use crate::graphql::connection::{connection, page};
use crate::graphql::delete::{DeleteInput, DeletePayload};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::loader::Batches;
use crate::graphql::node::Kind;
use crate::graphql::tag::{self, Tag, TagInput};
use crate::graphql::{app, caller};
use crate::ids::ClientCertificateId;

/// What nodes show to backends over TLS that ask for a certificate: those of the stages and the integrations that name it. Its
/// private key is never shown.
pub struct ClientCertificate(domain::client_certificate::ClientCertificate);

impl From<domain::client_certificate::ClientCertificate> for ClientCertificate {
    fn from(certificate: domain::client_certificate::ClientCertificate) -> Self {
        Self(certificate)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::client_certificate::ClientCertificateOrigin")]
pub enum ClientCertificateOrigin {
    /// Made here, for itself.
    Generated,
    /// The tenant's own, with its private key.
    Uploaded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::client_certificate::ClientCertificateKeyAlgorithm")]
pub enum ClientCertificateKeyAlgorithm {
    /// ECDSA on P-256.
    #[graphql(name = "EC_P256")]
    EcP256,
    /// RSA of 2048 bits, as AWS's are.
    #[graphql(name = "RSA_2048")]
    Rsa2048,
}

#[derive(Default)]
pub struct ClientCertificateQuery;

#[derive(Default)]
pub struct ClientCertificateMutation;

#[derive(InputObject)]
pub struct GenerateClientCertificateInput {
    /// At most 1024 characters.
    description: Option<String>,
    /// Left out: `EC_P256`.
    key_algorithm: Option<ClientCertificateKeyAlgorithm>,
    /// At most 50.
    tags: Option<Vec<TagInput>>,
}

#[derive(InputObject)]
pub struct UploadClientCertificateInput {
    /// In PEM, that of the private key first, and each followed by its issuer's: at most 10, and 16 KiB.
    certificate_chain: String,
    /// In PEM and not encrypted: RSA of 2048 bits and more, ECDSA or Ed25519. It is never shown again.
    private_key: String,
    /// At most 1024 characters.
    description: Option<String>,
    /// At most 50.
    tags: Option<Vec<TagInput>>,
}

/// A field left out stays. What a certificate is never changes.
#[derive(InputObject)]
pub struct UpdateClientCertificateInput {
    id: ID,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    expected_version: Option<String>,
    description: Option<String>,
    /// All of them, in the place of those it had.
    tags: Option<Vec<TagInput>>,
}

#[derive(SimpleObject)]
pub struct ClientCertificatePayload {
    client_certificate: Option<ClientCertificate>,
    user_errors: Vec<UserError>,
}

impl ClientCertificatePayload {
    fn of(
        result: crate::error::Result<domain::client_certificate::ClientCertificate>,
    ) -> async_graphql::Result<Self> {
        let (certificate, user_errors) = user_errors(result)?;
        Ok(Self { client_certificate: certificate.map(Into::into), user_errors })
    }
}

#[Object]
impl ClientCertificateQuery {
    /// The tenant's client certificates, oldest first.
    async fn client_certificates(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, ClientCertificate>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::client_certificate::list(app, actor, &page).await?))
    }
}

#[Object]
impl ClientCertificateMutation {
    /// Makes a certificate that is signed by itself, for 365 days.
    async fn generate_client_certificate(
        &self,
        ctx: &Context<'_>,
        input: GenerateClientCertificateInput,
    ) -> async_graphql::Result<ClientCertificatePayload> {
        let (app, actor) = caller(ctx)?;
        let made = async {
            let new = NewClientCertificate {
                description: input.description.unwrap_or_default(),
                key_algorithm: input.key_algorithm.map(Into::into).unwrap_or_default(),
                tags: tag::tags(input.tags.unwrap_or_default())?,
            };
            domain::client_certificate::generate(app, actor, new).await
        };
        ClientCertificatePayload::of(made.await)
    }

    /// Takes a certificate of the tenant's own, with its private key.
    async fn upload_client_certificate(
        &self,
        ctx: &Context<'_>,
        input: UploadClientCertificateInput,
    ) -> async_graphql::Result<ClientCertificatePayload> {
        let (app, actor) = caller(ctx)?;
        let made = async {
            let given = UploadedClientCertificate {
                certificate_chain: input.certificate_chain,
                private_key: input.private_key.into(),
                description: input.description.unwrap_or_default(),
                tags: tag::tags(input.tags.unwrap_or_default())?,
            };
            domain::client_certificate::upload(app, actor, given).await
        };
        ClientCertificatePayload::of(made.await)
    }

    /// Changes what is said of a client certificate.
    async fn update_client_certificate(
        &self,
        ctx: &Context<'_>,
        input: UpdateClientCertificateInput,
    ) -> async_graphql::Result<ClientCertificatePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let updated = async {
            let id = Kind::ClientCertificate.parse(&input.id, "id")?;
            let changes = ClientCertificateChanges {
                description: input.description,
                tags: input.tags.map(tag::tags).transpose()?,
            };
            domain::client_certificate::update(app, actor, id, changes).await
        };
        ClientCertificatePayload::of(updated.await)
    }

    /// Deletes a client certificate; refused while it is used.
    async fn delete_client_certificate(
        &self,
        ctx: &Context<'_>,
        input: DeleteInput,
    ) -> async_graphql::Result<DeletePayload> {
        let (app, actor) = caller(ctx)?;
        let actor = &actor.expecting(input.expected_version);
        let deleted = async {
            let id = Kind::ClientCertificate.parse(&input.id, "id")?;
            domain::client_certificate::delete(app, actor, id).await
        };
        let deleted = deleted.await;
        DeletePayload::of(input.id, deleted)
    }
}

#[Object]
impl ClientCertificate {
    pub async fn id(&self) -> ID {
        Kind::ClientCertificate.id(self.0.id)
    }

    /// What REST and integrations call it by.
    async fn client_certificate_id(&self) -> String {
        self.0.id.to_string()
    }

    async fn description(&self) -> &str {
        &self.0.description
    }

    async fn origin(&self) -> ClientCertificateOrigin {
        self.0.origin.into()
    }

    /// In PEM, that of the private key first: what backends know it by.
    async fn pem_encoded_certificate(&self) -> &str {
        &self.0.pem_encoded_certificate
    }

    /// When the first certificate ends. Backends refuse it from then on, most of them.
    async fn expiration_date(&self) -> DateTime<Utc> {
        self.0.expiration_date
    }

    /// It ends within 30 days, or did already: put another in its place.
    async fn expires_soon(&self, ctx: &Context<'_>) -> bool {
        self.0.expires_soon(app(ctx).clock.now())
    }

    async fn tags(&self) -> Vec<Tag> {
        Tag::all(&self.0.tags)
    }

    /// Another with each change: what `expectedVersion` takes.
    async fn version(&self) -> String {
        self.0.version()
    }

    async fn created_date(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }
}

impl Loader<ClientCertificateId> for Batches {
    type Value = domain::client_certificate::ClientCertificate;
    type Error = Arc<Error>;

    async fn load(
        &self,
        ids: &[ClientCertificateId],
    ) -> Result<HashMap<ClientCertificateId, Self::Value>, Self::Error> {
        let found = domain::client_certificate::find(&self.app, &self.actor, ids).await?;
        Ok(found.into_iter().map(|certificate| (certificate.id, certificate)).collect())
    }
}
