//! How a node comes to belong to an installation: it knows the control plane by the hash in its join token, has a
//! certificate issued for a key that never leaves its disk, and renews that in time.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use prost::Message;
use proto::config::v1::config_stream_client::ConfigStreamClient;
use proto::config::v1::{Certificate, JoinRequest, RenewCertificateRequest};
use rcgen::{CertificateParams, KeyPair};
use rustls::ClientConfig;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tonic::Status;
use tonic::transport::Channel;
use uuid::Uuid;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::channel::{self, InvalidAddress};
use crate::disk;

const SECRET_CHARS_MAX: usize = 256;

/// `{secret}.{SHA-256 of the CA certificate, in hex}`.
#[derive(Clone)]
pub struct JoinToken {
    secret: Zeroizing<String>,
    authority_sha256: [u8; 32],
}

/// Why a node is not, or not any longer, of an installation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a join token has the form {{secret}}.{{64 hex digits}}")]
    Token,
    #[error("this node has no certificate yet and was given no join token")]
    NoToken,
    #[error("cannot keep the node's identity in {path}")]
    Disk { path: PathBuf, source: std::io::Error },
    #[error("the node's identity in {path} is damaged: {what}")]
    Damaged { path: PathBuf, what: &'static str },
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    #[error("the control plane's certificate for this node is unusable: {0}")]
    Certificate(&'static str),
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    #[error("the control plane at {address} did not admit this node: {}", causes(&**status))]
    Refused { address: String, status: Box<Status> },
}

impl FromStr for JoinToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (secret, hash) = text.trim().split_once('.').ok_or(Error::Token)?;
        let mut authority_sha256 = [0; 32];
        hex::decode_to_slice(hash, &mut authority_sha256).map_err(|_| Error::Token)?;
        if secret.is_empty() || secret.len() > SECRET_CHARS_MAX {
            return Err(Error::Token);
        }
        Ok(Self { secret: Zeroizing::new(secret.to_owned()), authority_sha256 })
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JoinToken(…)")
    }
}

/// A node's key and certificate. The key is made once; certificates come and go.
pub struct Identity {
    directory: PathBuf,
    key: KeyPair,
    current: Arc<Current>,
}

/// The certificate in force, which new connections show.
struct Current(ArcSwap<Issued>);

struct Issued {
    node: Uuid,
    message: Certificate,
    certified: Arc<CertifiedKey>,
    valid_from: SystemTime,
    valid_to: SystemTime,
}

impl Identity {
    /// What an earlier start left in `directory`; nothing for a new node.
    pub fn load(directory: &Path) -> Result<Option<Self>, Error> {
        let disk = |source| Error::Disk { path: directory.to_owned(), source };
        let Some(key) = load_key(directory)? else { return Ok(None) };
        let Some(message) = disk::read(&certificate_path(directory)).map_err(disk)? else {
            return Ok(None); // it was stopped before it was admitted
        };
        let damaged = |what| Error::Damaged { path: directory.to_owned(), what };
        let message = Certificate::decode(message.as_slice())
            .map_err(|_| damaged("its certificate cannot be read"))?;
        let issued =
            Issued::check(message, &key).map_err(|_| damaged("certificate and key differ"))?;
        Ok(Some(Self::new(directory, key, issued)))
    }

    /// Asks one replica to admit this node, and keeps what it answers.
    pub async fn join(
        directory: &Path,
        address: &str,
        token: &JoinToken,
        name: &str,
    ) -> Result<Self, Error> {
        let disk = |source| Error::Disk { path: directory.to_owned(), source };
        disk::private_dir(directory).map_err(disk)?;
        // A key that was made before an admission that failed is as good as a new one.
        let key = match load_key(directory)? {
            Some(key) => key,
            None => make_key(directory)?,
        };
        let channel = channel::open(address, channel::pinned(token.authority_sha256)?)?;
        let request = JoinRequest {
            secret: token.secret.to_string(),
            certificate_request: request(&key)?,
            name: name.to_owned(),
        };
        let refused =
            |status| Error::Refused { address: address.to_owned(), status: Box::new(status) };
        let message =
            ConfigStreamClient::new(channel).join(request).await.map_err(refused)?.into_inner();
        if <[u8; 32]>::from(Sha256::digest(&message.ca_certificate)) != token.authority_sha256 {
            return Err(Error::Certificate("it comes with another authority"));
        }
        let issued = Issued::check(message, &key)?;
        keep(directory, &issued.message)?;
        Ok(Self::new(directory, key, issued))
    }

    /// Asks for a fresh certificate over the present one.
    pub async fn renew(&self, address: &str, channel: Channel) -> Result<(), Error> {
        let request = RenewCertificateRequest { certificate_request: request(&self.key)? };
        let refused =
            |status| Error::Refused { address: address.to_owned(), status: Box::new(status) };
        let renewed = ConfigStreamClient::new(channel).renew_certificate(request).await;
        let message = renewed.map_err(refused)?.into_inner();
        let held = self.current.0.load_full();
        if message.ca_certificate != held.message.ca_certificate
            || message.signing_key != held.message.signing_key
            || message.node_id != held.message.node_id
        {
            return Err(Error::Certificate("it is for another node or installation"));
        }
        let issued = Issued::check(message, &self.key)?;
        keep(&self.directory, &issued.message)?;
        self.current.0.store(Arc::new(issued));
        Ok(())
    }

    pub fn node(&self) -> Uuid {
        self.current.0.load().node
    }

    /// Whether `token` is of the installation that this node belongs to.
    pub fn is_of(&self, token: &JoinToken) -> bool {
        let authority = Sha256::digest(&self.current.0.load().message.ca_certificate);
        <[u8; 32]>::from(authority) == token.authority_sha256
    }

    /// How long the certificate needs no renewal: until two thirds of its life have gone.
    pub fn fresh_for(&self, now: SystemTime) -> Duration {
        let issued = self.current.0.load();
        let life = issued.valid_to.duration_since(issued.valid_from).unwrap_or_default();
        (issued.valid_from + life * 2 / 3).duration_since(now).unwrap_or_default()
    }

    pub fn expired(&self, now: SystemTime) -> bool {
        self.current.0.load().valid_to <= now
    }

    /// What verifies the control plane's updates.
    pub(super) fn signing_key(&self) -> Vec<u8> {
        self.current.0.load().message.signing_key.clone()
    }

    /// What only this node knows; keys for its own files are derived from it.
    pub(super) fn secret(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.key.serialize_der())
    }

    /// Connections show whatever certificate is in force when they are made.
    pub(super) fn tls(&self) -> Result<Arc<ClientConfig>, Error> {
        let authority = CertificateDer::from(self.current.0.load().message.ca_certificate.clone());
        Ok(channel::mutual(&authority, self.current.clone())?)
    }

    fn new(directory: &Path, key: KeyPair, issued: Issued) -> Self {
        let current = Arc::new(Current(ArcSwap::from_pointee(issued)));
        Self { directory: directory.to_owned(), key, current }
    }
}

impl Issued {
    /// A certificate is of use if it is for our key and names the node as the message does.
    fn check(message: Certificate, key: &KeyPair) -> Result<Self, Error> {
        let unusable = Error::Certificate;
        let (_, parsed) = X509Certificate::from_der(&message.certificate)
            .map_err(|_| unusable("it cannot be read"))?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(unusable("it is for another key"));
        }
        let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let node = message.node_id.parse().map_err(|_| unusable("its node has no id"))?;
        if name != Some(message.node_id.as_str()) || message.signing_key.len() != 32 {
            return Err(unusable("it does not say what it should"));
        }
        let time = |seconds: i64| {
            SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
        };
        let valid_from = time(parsed.validity().not_before.timestamp());
        let valid_to = time(parsed.validity().not_after.timestamp());
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(unusable)?;
        let private = rustls::crypto::aws_lc_rs::sign::any_supported_type(&private)?;
        let chain = vec![CertificateDer::from(message.certificate.clone())];
        let certified = Arc::new(CertifiedKey::new(chain, private));
        Ok(Self { node, message, certified, valid_from, valid_to })
    }
}

impl ResolvesClientCert for Current {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "certificate of node {}", self.0.load().node)
    }
}

/// An error and what lies behind it, on one line.
pub(super) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = match error.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(), // a status prints its sources by itself, at length
        None => error.to_string(),
    };
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

fn key_path(directory: &Path) -> PathBuf {
    directory.join("node.key")
}

fn certificate_path(directory: &Path) -> PathBuf {
    directory.join("node.certificate")
}

fn load_key(directory: &Path) -> Result<Option<KeyPair>, Error> {
    let disk = |source| Error::Disk { path: directory.to_owned(), source };
    let Some(der) = disk::read(&key_path(directory)).map_err(disk)?.map(Zeroizing::new) else {
        return Ok(None);
    };
    let damaged = |_| Error::Damaged { path: directory.to_owned(), what: "its key cannot be read" };
    KeyPair::try_from(der.as_slice()).map(Some).map_err(damaged)
}

fn make_key(directory: &Path) -> Result<KeyPair, Error> {
    let key = KeyPair::generate().map_err(|_| Error::Certificate("no key could be made"))?;
    disk::replace(&key_path(directory), &Zeroizing::new(key.serialize_der()))
        .map_err(|source| Error::Disk { path: directory.to_owned(), source })?;
    Ok(key)
}

fn keep(directory: &Path, message: &Certificate) -> Result<(), Error> {
    disk::replace(&certificate_path(directory), &message.encode_to_vec())
        .map_err(|source| Error::Disk { path: directory.to_owned(), source })
}

fn request(key: &KeyPair) -> Result<Vec<u8>, Error> {
    let request = CertificateParams::default().serialize_request(key);
    let request = request.map_err(|_| Error::Certificate("no request could be made"))?;
    Ok(request.der().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_token_is_a_secret_and_a_hash() {
        let hash = "0a".repeat(32);
        let token: JoinToken = format!("secret.{hash}\n").parse().unwrap();
        assert_eq!((token.secret.as_str(), token.authority_sha256), ("secret", [10; 32]));
        assert_eq!(format!("{token:?}"), "JoinToken(…)");
        let long = "s".repeat(SECRET_CHARS_MAX + 1);
        for wrong in [
            String::new(),
            "secret".to_owned(),
            "secret.".to_owned(),
            format!(".{hash}"),
            format!("secret.{hash}00"),
            format!("secret.x{}", &hash[1..]),
            format!("{long}.{hash}"),
        ] {
            assert!(wrong.parse::<JoinToken>().is_err(), "{wrong}");
        }
    }

    /// An identity whose certificate the node issued to itself, for this long from now.
    fn identity(directory: &Path, life: Duration) -> Identity {
        disk::private_dir(directory).unwrap();
        let key = make_key(directory).unwrap();
        let node = Uuid::now_v7().to_string();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, node.clone());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now = Duration::from_secs(now.as_secs());
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + now;
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + now + life;
        let message = Certificate {
            node_id: node,
            certificate: params.self_signed(&key).unwrap().der().to_vec(),
            ca_certificate: vec![1],
            signing_key: vec![2; 32],
        };
        keep(directory, &message).unwrap();
        Identity::load(directory).unwrap().unwrap()
    }

    fn directory() -> PathBuf {
        std::env::temp_dir().join(format!("tollgate-{}", Uuid::new_v4()))
    }

    #[test]
    fn a_certificate_is_renewed_at_two_thirds_of_its_life() {
        let directory = directory();
        let life = Duration::from_hours(30);
        let identity = identity(&directory, life);
        let issued = identity.current.0.load().valid_from;

        assert_eq!(identity.fresh_for(issued), Duration::from_hours(20));
        assert_eq!(identity.fresh_for(issued + Duration::from_hours(19)), Duration::from_hours(1));
        assert_eq!(identity.fresh_for(issued + Duration::from_hours(29)), Duration::ZERO);
        assert!(!identity.expired(issued + Duration::from_hours(29)));
        assert!(identity.expired(issued + life));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn an_identity_is_the_same_after_a_restart_and_only_for_this_node_to_read() {
        use std::os::unix::fs::PermissionsExt;
        let directory = directory();
        let first = identity(&directory, Duration::from_hours(1));
        let again = Identity::load(&directory).unwrap().unwrap();
        assert_eq!((first.node(), first.secret()), (again.node(), again.secret()));
        for path in [key_path(&directory), certificate_path(&directory)] {
            let mode = std::fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        make_key(&directory).unwrap(); // another key under the same certificate
        assert!(matches!(Identity::load(&directory), Err(Error::Damaged { .. })));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_new_directory_holds_no_identity() {
        assert!(Identity::load(&directory()).unwrap().is_none());
    }
}
