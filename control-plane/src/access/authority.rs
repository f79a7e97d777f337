//! The installation's certificate authority. It vouches for this server to nodes, and for nodes to it; what it
//! signs with lies in the database, wrapped by the master key.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::app::{App, Job};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::ids::NodeId;
use crate::store::installation_key::{self, InstallationKey};

/// How long a node's certificate is good for; the node renews it at two thirds.
pub const NODE_CERTIFICATE_LIFE: TimeDelta = TimeDelta::days(30);
const SERVER_CERTIFICATE_LIFE: TimeDelta = TimeDelta::days(90);
const CA_LIFE: TimeDelta = TimeDelta::days(20 * 365);
/// Certificates are good from this much earlier on: for machines whose clocks lag, and for ours where it ran ahead
/// when it issued them and was put right.
const CLOCK_SKEW: TimeDelta = TimeDelta::days(1);
/// No certificate request that a node sends is longer.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// Cheap to clone.
#[derive(Clone)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Arc<Issuer<'static, KeyPair>>,
}

/// A certificate as it was issued, in DER.
#[derive(Debug)]
pub struct Issued {
    pub certificate: Vec<u8>,
    pub expires_at: DateTime<Utc>,
}

impl Authority {
    /// The one authority of this installation; made at the first start.
    pub async fn open(app: &App) -> Result<Self> {
        let mut tx = app.system(Job::Startup).await?;
        let now = app.clock.now();
        let key =
            installation_key::get_or_make(&mut tx, &app.master, "certificate_authority", || {
                make(now)
            })
            .await?;
        tx.commit().await?;
        Self::new(key)
    }

    /// The one that signs with this key.
    pub fn new(key: InstallationKey) -> Result<Self> {
        let certificate = CertificateDer::from(key.public);
        let pair = KeyPair::try_from(key.private.as_slice()).map_err(Error::internal)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, pair).map_err(Error::internal)?;
        Ok(Self { certificate, issuer: Arc::new(issuer) })
    }

    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What join tokens carry, so that a node knows this authority by it.
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.certificate).into()
    }

    /// A certificate for the key that signed `request`, good for calling us as this node and for nothing else.
    /// Of the request only the key is taken.
    pub fn certify_node(&self, node: NodeId, request: &[u8], now: DateTime<Utc>) -> Result<Issued> {
        let wrong =
            || Error::bad_request("certificateRequest", "not a signed PKCS#10 request in DER");
        if request.len() > REQUEST_BYTES_MAX {
            return Err(wrong());
        }
        let request = CertificateSigningRequestDer::from(request);
        let mut request =
            CertificateSigningRequestParams::from_der(&request).map_err(|_| wrong())?;
        let expires_at = now + NODE_CERTIFICATE_LIFE;
        request.params =
            leaf(&node.to_string(), now, expires_at, ExtendedKeyUsagePurpose::ClientAuth);
        let certificate = request.signed_by(&self.issuer).map_err(Error::internal)?;
        Ok(Issued { certificate: certificate.der().to_vec(), expires_at })
    }

    /// What the gRPC server shows: itself and this authority, for 127.0.0.1, `::1`, localhost and `names`.
    pub fn server_certificate(
        &self,
        names: Vec<String>,
        clock: Clock,
    ) -> Result<ServerCertificate> {
        let first = self.certify_server(&names, clock.now())?;
        let renew_at = clock.now() + SERVER_CERTIFICATE_LIFE * 2 / 3;
        let current = RwLock::new((Arc::new(first), renew_at));
        Ok(ServerCertificate { authority: self.clone(), names, clock, current })
    }

    fn certify_server(&self, names: &[String], now: DateTime<Utc>) -> Result<CertifiedKey> {
        let pair = KeyPair::generate().map_err(Error::internal)?;
        let mut params = leaf(
            "tollgate control plane",
            now,
            now + SERVER_CERTIFICATE_LIFE,
            ExtendedKeyUsagePurpose::ServerAuth,
        );
        let all =
            ["127.0.0.1", "::1", "localhost"].into_iter().chain(names.iter().map(String::as_str));
        for name in all {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => rcgen::SanType::IpAddress(address),
                Err(_) => rcgen::SanType::DnsName(name.try_into().map_err(Error::internal)?),
            });
        }
        let certificate = params.signed_by(&pair, &self.issuer).map_err(Error::internal)?;
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        let key = PrivateKeyDer::try_from(pair.serialize_der()).map_err(Error::internal)?;
        let key =
            rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(Error::internal)?;
        Ok(CertifiedKey::new(chain, key))
    }
}

/// The server's certificate of the day: reissued at two thirds of its life by the handshake that finds it due.
pub struct ServerCertificate {
    authority: Authority,
    names: Vec<String>,
    clock: Clock,
    current: RwLock<(Arc<CertifiedKey>, DateTime<Utc>)>,
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = self.clock.now();
        let (current, renew_at) =
            self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        if now < renew_at {
            return Some(current);
        }
        match self.authority.certify_server(&self.names, now) {
            Ok(fresh) => {
                let fresh = Arc::new(fresh);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) =
                    (fresh.clone(), now + SERVER_CERTIFICATE_LIFE * 2 / 3);
                Some(fresh)
            }
            Err(error) => {
                tracing::error!(error = ?error, "the server's certificate could not be renewed");
                Some(current)
            }
        }
    }
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ServerCertificate").field("names", &self.names).finish_non_exhaustive()
    }
}

/// The key of an authority that begins.
pub fn make(now: DateTime<Utc>) -> Result<InstallationKey> {
    let pair = KeyPair::generate().map_err(Error::internal)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Tollgate");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid(&mut params, now - CLOCK_SKEW, now + CA_LIFE);
    let certificate = params.self_signed(&pair).map_err(Error::internal)?;
    Ok(InstallationKey {
        public: certificate.der().to_vec(),
        private: Zeroizing::new(pair.serialize_der()),
    })
}

fn leaf(
    name: &str,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    usage: ExtendedKeyUsagePurpose,
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    valid(&mut params, now - CLOCK_SKEW, expires_at);
    params
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn valid(params: &mut CertificateParams, from: DateTime<Utc>, to: DateTime<Utc>) {
    let since_epoch =
        |at: DateTime<Utc>| Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or_default());
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(from);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since_epoch(to);
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::testing;

    #[sqlx::test(migrations = "../migrations")]
    async fn every_replica_has_the_same_authority(db: PgPool) {
        let (here, there) = (testing::app(db.clone()).await, testing::app(db).await);
        let (first, second) = tokio::join!(Authority::open(&here), Authority::open(&there));
        assert_eq!(first.unwrap().fingerprint(), second.unwrap().fingerprint());
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_certificate_takes_nothing_but_the_key_from_its_request(db: PgPool) {
        use x509_parser::prelude::*;
        let app = testing::app(db).await;
        let authority = Authority::open(&app).await.unwrap();
        let node: NodeId = app.rng.id();
        let pair = KeyPair::generate().unwrap();
        let mut greedy = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        greedy.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        greedy.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let request = greedy.serialize_request(&pair).unwrap();

        let issued = authority.certify_node(node, request.der(), app.clock.now()).unwrap();

        let (_, certificate) = X509Certificate::from_der(&issued.certificate).unwrap();
        assert_eq!(certificate.subject().to_string(), format!("CN={node}"));
        assert!(!certificate.is_ca());
        assert!(certificate.subject_alternative_name().unwrap().is_none());
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth);
        assert_eq!(issued.expires_at, app.clock.now() + NODE_CERTIFICATE_LIFE);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_request_that_its_key_did_not_sign_is_refused(db: PgPool) {
        let app = testing::app(db).await;
        let authority = Authority::open(&app).await.unwrap();
        let pair = KeyPair::generate().unwrap();
        let request = CertificateParams::default().serialize_request(&pair).unwrap();
        let mut forged = request.der().to_vec();
        *forged.last_mut().unwrap() ^= 1;

        for wrong in [&forged[..], &forged[..40], b"", &[0; REQUEST_BYTES_MAX + 1]] {
            let refused = authority.certify_node(app.rng.id(), wrong, app.clock.now());
            assert!(matches!(refused, Err(Error::BadRequest { .. })), "{refused:?}");
        }
    }
}
