//! How an integration knows its backend over TLS.

use async_graphql::{InputObject, SimpleObject};

use crate::domain;
use crate::error::{Error, Result};

/// What a backend's certificate must be, other than of its host's name and issued by a public authority.
#[derive(SimpleObject)]
pub struct TlsConfig {
    /// Insecure: it is taken whoever issued it, itself too, so anyone on the way to the backend can pass for it. Its name and
    /// its dates are checked all the same. Better name its authority in `caBundle`.
    insecure_skip_verification: bool,
    /// The name that it must have, and that is asked for by SNI; empty: the host's in the URI.
    server_name_to_verify: String,
    /// Who alone may have issued it, or itself, as certificates in PEM; empty: public authorities.
    ca_bundle: String,
    /// What the backend is shown where it asks for a certificate: a client certificate's `clientCertificateId`. Null: its stage's.
    client_certificate_id: Option<String>,
}

impl From<&domain::tls_config::TlsConfig> for TlsConfig {
    fn from(tls: &domain::tls_config::TlsConfig) -> Self {
        Self {
            insecure_skip_verification: tls.insecure_skip_verification,
            server_name_to_verify: tls.server_name_to_verify.clone(),
            ca_bundle: tls.ca_bundle.clone(),
            client_certificate_id: tls.client_certificate_id.map(|id| id.to_string()),
        }
    }
}

#[derive(InputObject)]
pub struct TlsConfigInput {
    /// Insecure: the certificate is taken whoever issued it, itself too, so anyone on the way to the backend can pass for it.
    /// Its name and its dates are checked all the same. Better name its authority in `caBundle`.
    insecure_skip_verification: Option<bool>,
    /// The name that it must have, and that is asked for by SNI; left out: the host's in the URI.
    server_name_to_verify: Option<String>,
    /// Who alone may have issued it, or itself, as certificates in PEM: at most 10, and 16 KiB. Left out: public authorities.
    ca_bundle: Option<String>,
    /// What the backend is shown where it asks for a certificate: a client certificate's `clientCertificateId`. Left out: its
    /// stage's.
    client_certificate_id: Option<String>,
}

impl TryFrom<TlsConfigInput> for domain::tls_config::TlsConfig {
    type Error = Error;

    fn try_from(input: TlsConfigInput) -> Result<Self> {
        let certificate = input.client_certificate_id.filter(|id| !id.is_empty());
        Ok(Self {
            insecure_skip_verification: input.insecure_skip_verification.unwrap_or(false),
            server_name_to_verify: input.server_name_to_verify.unwrap_or_default(),
            ca_bundle: input.ca_bundle.unwrap_or_default(),
            client_certificate_id: certificate
                .map(|id| id.parse().map_err(|_| Error::NotFound("client certificate")))
                .transpose()?,
        })
    }
}
