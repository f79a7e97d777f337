//! Who a node is to backends that ask for a certificate: a chain, and the private key of its first certificate.

use std::{
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::Arc,
};

use rustls::{
    ClientConfig,
    client::Resumption,
    crypto::aws_lc_rs,
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{PemObject, SectionKind},
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// The longest chain, in bytes of PEM.
pub const CHAIN_BYTES_MAX: usize = 16 << 10;
/// So many certificates are in one at most.
pub const CHAIN_MAX: usize = 10;
/// The longest private key, in bytes of PEM; one of RSA with 8192 bits has 6400.
pub const PRIVATE_KEY_BYTES_MAX: usize = 8 << 10;

/// A certificate to be shown, ready for handshakes. Two of the same chain are equal.
pub struct ClientIdentity {
    certified: Arc<CertifiedKey>,
    /// Of the chain.
    pub(crate) hash: u64,
}

/// What was read of PEM, and belongs together.
pub struct ClientPem {
    /// The one that the key belongs to first.
    pub chain: Vec<CertificateDer<'static>>,
    pub private_key: PrivateKeyDer<'static>,
    /// Of the first, in seconds of Unix time.
    pub not_before: i64,
    pub not_after: i64,
}

/// Why it cannot be shown; a sentence's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    #[error("must be 1 to 10 certificates in PEM, 16 KiB at most, that of the private key first")]
    Chain,
    #[error("must have each certificate followed by that of its issuer")]
    Order,
    #[error(
        "must be one private key in PEM that is not encrypted, 8 KiB at most: RSA of 2048 bits and more, ECDSA or Ed25519"
    )]
    PrivateKey,
    #[error("does not belong to the first certificate of the chain")]
    OtherKey,
}

impl ClientPem {
    pub fn parse(chain: &str, private_key: &str) -> Result<Self, ClientError> {
        let chain = parse_chain(chain)?;
        let private_key = parse_key(private_key)?;
        let (not_before, not_after) = check_chain(&chain)?;
        ClientIdentity::new(chain.clone(), &private_key)?;
        Ok(Self { chain, private_key, not_before, not_after })
    }
}

impl ClientIdentity {
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        private_key: &PrivateKeyDer<'static>,
    ) -> Result<Self, ClientError> {
        let key = aws_lc_rs::sign::any_supported_type(private_key)
            .map_err(|_| ClientError::PrivateKey)?;
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&chain);
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => Ok(Self { certified: Arc::new(certified), hash }),
            Err(rustls::Error::InconsistentKeys(_)) => Err(ClientError::OtherKey),
            Err(_) => Err(ClientError::Chain),
        }
    }

    /// The same, that shows this certificate. Its sessions are its own: what was resumed would be another's.
    pub(crate) fn shown_by(&self, config: &ClientConfig) -> ClientConfig {
        let mut config = config.clone();
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(self.certified.clone()));
        config.resumption = Resumption::default();
        config
    }
}

/// The key belongs to the first certificate, so that what has the same chain has the same key.
impl PartialEq for ClientIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.certified.cert == other.certified.cert
    }
}

impl Eq for ClientIdentity {}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ClientIdentity(…)")
    }
}

fn parse_chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    if pem.len() > CHAIN_BYTES_MAX {
        return Err(ClientError::Chain);
    }
    let mut chain = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()) {
        // A private key does not belong here, and would be shown to whoever reads the chain.
        let Ok((SectionKind::Certificate, der)) = section else { return Err(ClientError::Chain) };
        if chain.len() == CHAIN_MAX {
            return Err(ClientError::Chain);
        }
        chain.push(der.into());
    }
    if chain.is_empty() { Err(ClientError::Chain) } else { Ok(chain) }
}

fn parse_key(pem: &str) -> Result<PrivateKeyDer<'static>, ClientError> {
    if pem.len() > PRIVATE_KEY_BYTES_MAX {
        return Err(ClientError::PrivateKey);
    }
    let mut keys = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes());
    let (Some(Ok((kind, der))), None) = (keys.next(), keys.next()) else {
        return Err(ClientError::PrivateKey);
    };
    PrivateKeyDer::from_pem(kind, der).ok_or(ClientError::PrivateKey)
}

/// Whether each was issued in the next one's name; the dates of the first. Where a backend does not know the issuers it says
/// so by itself: signatures are its to check.
fn check_chain(chain: &[CertificateDer<'_>]) -> Result<(i64, i64), ClientError> {
    let read = chain.iter().map(|der| match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(ClientError::Chain),
    });
    let read = read.collect::<Result<Vec<_>, _>>()?;
    let issued = |pair: &[X509Certificate<'_>]| pair[0].issuer() == pair[1].subject();
    if !read.windows(2).all(issued) {
        return Err(ClientError::Order);
    }
    let validity = read.first().ok_or(ClientError::Chain)?.validity();
    Ok((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P384_SHA384,
        PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize,
    };

    use super::*;

    fn named(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    fn own(key: &KeyPair) -> String {
        named("own").self_signed(key).unwrap().pem()
    }

    fn refused(chain: &str, key: &str) -> Option<ClientError> {
        ClientPem::parse(chain, key).err()
    }

    #[test]
    fn a_chain_and_its_key_are_taken_of_each_kind() {
        let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let [p256, p384, ed25519] = [
            KeyPair::generate().unwrap(),
            KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
            KeyPair::generate_for(&PKCS_ED25519).unwrap(),
        ];
        for key in [rsa, p256, p384, ed25519] {
            let read = ClientPem::parse(&own(&key), &key.serialize_pem()).unwrap();
            assert_eq!(read.chain.len(), 1);
            assert!(read.not_before < read.not_after);
            ClientIdentity::new(read.chain, &read.private_key).unwrap();
        }
    }

    #[test]
    fn what_is_wrong_with_a_chain_or_a_key_is_said() {
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let (chain, pem) = (own(&key), key.serialize_pem());
        for wrong in [
            "",
            "no PEM",
            &chain[..chain.len() / 2],
            &pem,
            &format!("{chain}{pem}"),
            "-----BEGIN CERTIFICATE-----\naGk=\n-----END CERTIFICATE-----\n",
            &chain.repeat(CHAIN_MAX + 1),
            &format!("{chain}{}", " ".repeat(CHAIN_BYTES_MAX)),
        ] {
            assert_eq!(refused(wrong, &pem), Some(ClientError::Chain), "{wrong:.80}");
        }
        for wrong in [
            "",
            "no PEM",
            &chain,
            &pem.repeat(2),
            &format!("{pem}{chain}"),
            "-----BEGIN PRIVATE KEY-----\naGk=\n-----END PRIVATE KEY-----\n",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\naGk=\n-----END ENCRYPTED PRIVATE KEY-----\n",
            &format!("{pem}{}", " ".repeat(PRIVATE_KEY_BYTES_MAX)),
        ] {
            assert_eq!(refused(&chain, wrong), Some(ClientError::PrivateKey), "{wrong:.80}");
        }
        assert_eq!(refused(&chain, &other.serialize_pem()), Some(ClientError::OtherKey));
    }

    #[test]
    fn each_certificate_of_a_chain_is_followed_by_its_issuers() {
        let (key, above) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut authority = named("authority");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = authority.self_signed(&above).unwrap().pem();
        let leaf = named("leaf").signed_by(&key, &Issuer::new(authority, above)).unwrap().pem();
        let pem = key.serialize_pem();
        assert_eq!(refused(&format!("{leaf}{issuer}"), &pem), None);
        assert_eq!(refused(&leaf, &pem), None);
        assert_eq!(refused(&format!("{issuer}{leaf}"), &pem), Some(ClientError::Order));
        assert_eq!(refused(&format!("{leaf}{}", own(&key)), &pem), Some(ClientError::Order));
    }
}
