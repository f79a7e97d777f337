//! How an integration knows its backend over TLS: AWS's `tlsConfig`, and authorities of the tenant's own.

use egress::{Identity, IdentityError, TlsSettings};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Result};
use crate::ids::ClientCertificateId;

/// What a backend's certificate must be, other than of its host's name and issued by a public authority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TlsConfig {
    /// Insecure: it is taken whoever issued it, itself too, so anyone on the way to the backend can pass for it. Its name and
    /// its dates are checked all the same. Better name its authority in `caBundle`.
    pub insecure_skip_verification: bool,
    /// The name that it must have, and that is asked for by SNI; empty: the host's in the URI.
    pub server_name_to_verify: String,
    /// Who alone may have issued it, or itself, as certificates in PEM: at most 10, and 16 KiB. Empty: public authorities.
    pub ca_bundle: String,
    /// What the backend is shown where it asks for a certificate, in the place of the stage's: a client certificate's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub client_certificate_id: Option<ClientCertificateId>,
}

impl TlsConfig {
    /// Checked beside the URI that it is for.
    pub(crate) fn check(&self, uri: &str) -> Result<()> {
        let known = Self { ca_bundle: self.ca_bundle.trim().to_owned(), ..self.clone() };
        if known == Self::default() {
            return Err(Error::bad_request("tlsConfig", "says nothing; leave it out"));
        }
        let origin = uri.split_once("://").map_or("", |(scheme, _)| scheme);
        if !origin.eq_ignore_ascii_case("https") {
            return Err(Error::bad_request(
                "tlsConfig",
                "belongs to a uri that begins with https://",
            ));
        }
        Identity::new(self.settings()).map(drop).map_err(|error| {
            let param = match error {
                IdentityError::ServerName => "tlsConfig.serverNameToVerify",
                IdentityError::Authorities | IdentityError::AuthoritiesUnasked => {
                    "tlsConfig.caBundle"
                }
                IdentityError::Unusable => "tlsConfig",
            };
            Error::bad_request(param, error.to_string())
        })
    }

    /// Whether it says whom to trust as the backend.
    pub(crate) fn trusts_otherwise(&self) -> bool {
        self.settings() != TlsSettings::default()
    }

    fn settings(&self) -> TlsSettings {
        TlsSettings {
            insecure_skip_verification: self.insecure_skip_verification,
            server_name_to_verify: self.server_name_to_verify.clone(),
            authorities: self.ca_bundle.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::config::v1::{integration, resource::Kind};
    use sqlx::PgPool;

    use super::*;
    use crate::domain::api::Dialect;
    use crate::domain::integration::{
        self as domain, IntegrationType, PayloadFormatVersion, Settings,
    };
    use crate::snapshot::compile;
    use crate::testing;

    const BACKEND: &str = "https://backend.example.com";

    fn authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.self_signed(&key).unwrap().pem()
    }

    fn named(name: &str) -> TlsConfig {
        TlsConfig { server_name_to_verify: name.to_owned(), ..TlsConfig::default() }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let bundle = |pem: &str| TlsConfig { ca_bundle: pem.to_owned(), ..TlsConfig::default() };
        let skipped = TlsConfig { insecure_skip_verification: true, ..bundle(&authority()) };
        for (tls, uri, param) in [
            (TlsConfig::default(), BACKEND, "tlsConfig"),
            (bundle(" \n"), BACKEND, "tlsConfig"),
            (named("a.test"), "http://backend.example.com", "tlsConfig"),
            (named("a b"), BACKEND, "tlsConfig.serverNameToVerify"),
            (named("127.0.0.1"), BACKEND, "tlsConfig.serverNameToVerify"),
            (bundle("no PEM"), BACKEND, "tlsConfig.caBundle"),
            (skipped, BACKEND, "tlsConfig.caBundle"),
        ] {
            assert_eq!(tls.check(uri).unwrap_err().param(), Some(param), "{tls:?}");
        }
        for right in [named("a.test"), bundle(&authority())] {
            assert!(right.check("HTTPS://backend.example.com").is_ok());
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_an_integration_says_of_its_backend_is_kept_and_reaches_nodes(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = testing::new_api(&app, &alice, Dialect::Native).await;
        let tls = TlsConfig { ca_bundle: authority(), ..named("inside.test") };
        let secured = Settings { tls_config: Some(tls.clone()), ..Settings::http_proxy(BACKEND) };
        testing::new_route(&app, &alice, api, "GET /in", secured.clone()).await;
        testing::new_route(&app, &alice, api, "GET /out", Settings::http_proxy(BACKEND)).await;
        let function = Settings {
            kind: IntegrationType::AwsProxy,
            payload_format_version: Some(PayloadFormatVersion::V2),
            ..secured
        };
        let made = domain::create(&app, &alice, api, function).await.unwrap();
        assert_eq!(made.settings.tls_config, Some(tls.clone()));
        let kept = domain::get(&app, &alice, made.id).await.unwrap();
        assert_eq!(kept.settings, made.settings);

        let id = testing::deploy(&app, &alice, api, "prod").await.unwrap().id;
        let mut tx = app.begin(&alice).await.unwrap();
        let resource = compile::deployment(&mut tx, alice.tenant, id).await.unwrap();
        let Some(Kind::Deployment(frozen)) = resource.kind else { panic!() };
        for route in &frozen.routes {
            let of = frozen.integrations.iter().find(|it| it.id == route.integration_id).unwrap();
            let Some(integration::Kind::HttpProxy(proxy)) = &of.kind else { panic!() };
            if route.path == "/in" {
                let told = proxy.tls_config.as_ref().unwrap();
                assert_eq!(
                    (&told.ca_bundle, &*told.server_name_to_verify),
                    (&tls.ca_bundle, "inside.test")
                );
                assert_eq!(
                    route.restrictions,
                    ["tlsConfig"],
                    "a node that does not know it refuses"
                );
            } else {
                assert!(proxy.tls_config.is_none() && route.restrictions.is_empty());
            }
        }
        let mock = Settings { tls_config: Some(tls), ..testing::mock("hi") };
        let refused = domain::create(&app, &alice, api, mock).await.unwrap_err();
        assert_eq!(refused.param(), Some("tlsConfig"));
    }
}
