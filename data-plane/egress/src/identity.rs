//! How a backend is known over TLS where its integration says so: AWS's `tlsConfig`, and authorities of its own.
//! [`AnyIssuer`] takes no certificate whose signature does not hold in the handshake, so whoever answers has its key.

use std::{
    fmt,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher},
    sync::{Arc, OnceLock},
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    server::ParsedCertificate,
};
use rustls_pki_types::{
    CertificateDer, ServerName, UnixTime,
    pem::{PemObject, SectionKind},
};
use x509_parser::{prelude::FromDer, time::ASN1Time};

use crate::ClientIdentity;

/// The longest bundle of authorities, in bytes: an Api has hundreds of integrations, and is deployed whole.
pub const AUTHORITIES_BYTES_MAX: usize = 16 << 10;
/// So many authorities are in one at most.
pub const AUTHORITIES_MAX: usize = 10;

/// What an integration says of its backend's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TlsSettings {
    /// Whoever issued it. Its name and its dates are checked all the same, as AWS does.
    pub insecure_skip_verification: bool,
    /// The name that it must have and that is asked for by SNI; empty: the host's.
    pub server_name_to_verify: String,
    /// Who may have issued it, or itself, in PEM; empty: the public authorities and the installation's own.
    pub authorities: String,
}

/// A backend's identity, and the node's to it, ready for handshakes. Two of the same settings and the same certificate are
/// equal.
pub struct Identity {
    settings: Arc<TlsSettings>,
    /// Two that are equal have it in common.
    hash: u64,
    pub(crate) name: Option<ServerName<'static>>,
    /// `None`: as the connector trusts.
    configs: Option<Configs>,
    /// What is shown where the backend asks.
    client: Option<Arc<ClientIdentity>>,
    /// With that, once one connects: by the connector's trust, which those of a process have in common.
    showing: OnceLock<Configs>,
}

/// For HTTP/1.1 and HTTP/2.
pub(crate) type Configs = [Arc<ClientConfig>; 2];

/// Which part of the settings cannot be, and why; a sentence's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("is not a host's name")]
    ServerName,
    #[error("must be certificates in PEM, 10 and 16 KiB at most")]
    Authorities,
    #[error("says nothing where insecureSkipVerification is set")]
    AuthoritiesUnasked,
    #[error("cannot be used")]
    Unusable,
}

impl Identity {
    pub fn new(settings: TlsSettings) -> Result<Self, IdentityError> {
        let name = match settings.server_name_to_verify.as_str() {
            "" => None,
            name => match ServerName::try_from(name.to_owned()) {
                Ok(name @ ServerName::DnsName(_)) => Some(name),
                _ => return Err(IdentityError::ServerName),
            },
        };
        let own = authorities(&settings.authorities)?;
        if own.is_some() && settings.insecure_skip_verification {
            return Err(IdentityError::AuthoritiesUnasked);
        }
        let verifies_otherwise = settings.insecure_skip_verification || own.is_some();
        let configs = verifies_otherwise.then(|| configs(own)).transpose()?;
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&settings);
        let settings = Arc::new(settings);
        Ok(Self { settings, hash, name, configs, client: None, showing: OnceLock::new() })
    }

    /// The same backend, or its host's name by an authority that the connector trusts, where `client` is shown.
    pub fn showing(to: Option<&Self>, client: Arc<ClientIdentity>) -> Self {
        let settings = to.map(|to| to.settings.clone()).unwrap_or_default();
        let hash = (to.map(|to| to.hash), client.hash);
        Self {
            settings,
            hash: BuildHasherDefault::<DefaultHasher>::default().hash_one(hash),
            name: to.and_then(|to| to.name.clone()),
            configs: to.and_then(|to| to.configs.clone()),
            client: Some(client),
            showing: OnceLock::new(),
        }
    }

    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }

    pub(crate) fn configs<'a>(&'a self, usual: &'a Configs) -> &'a Configs {
        let trusting = self.configs.as_ref().unwrap_or(usual);
        let Some(client) = &self.client else { return trusting };
        let shown = || trusting.each_ref().map(|config| Arc::new(client.shown_by(config)));
        self.showing.get_or_init(shown)
    }
}

/// Those that trust these authorities; without any: whoever issued it.
fn configs(authorities: Option<Vec<CertificateDer<'static>>>) -> Result<Configs, IdentityError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|_| IdentityError::Unusable)?;
    let verifier: Arc<dyn ServerCertVerifier> = match authorities {
        Some(known) => Arc::new(Known::new(known, provider)?),
        None => Arc::new(AnyIssuer(provider)),
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut http1 = builder.with_no_client_auth();
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut http2 = http1.clone();
    http2.alpn_protocols = vec![b"h2".to_vec()];
    Ok([Arc::new(http1), Arc::new(http2)])
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.settings == other.settings && self.client == other.client
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(formatter)
    }
}

/// `None` of an empty text.
fn authorities(pem: &str) -> Result<Option<Vec<CertificateDer<'static>>>, IdentityError> {
    if pem.trim().is_empty() {
        return Ok(None);
    }
    if pem.len() > AUTHORITIES_BYTES_MAX {
        return Err(IdentityError::Authorities);
    }
    let mut known = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes()) {
        // A private key does not belong here, and would be shown to whoever reads the settings.
        let Ok((SectionKind::Certificate, der)) = section else {
            return Err(IdentityError::Authorities);
        };
        if known.len() == AUTHORITIES_MAX {
            return Err(IdentityError::Authorities);
        }
        known.push(der.into());
    }
    if known.is_empty() {
        return Err(IdentityError::Authorities);
    }
    Ok(Some(known))
}

/// Takes a certificate that one of these issued, or that is one of them: one that was made for itself says as a rule that it
/// is an authority, and as such would not do for a host.
#[derive(Debug)]
struct Known {
    certificates: Vec<CertificateDer<'static>>,
    issued: Arc<WebPkiServerVerifier>,
    itself: AnyIssuer,
}

impl Known {
    fn new(
        certificates: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, IdentityError> {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|_| IdentityError::Authorities)?;
        }
        let issued = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
        let issued = issued.build().map_err(|_| IdentityError::Unusable)?;
        Ok(Self { certificates, issued, itself: AnyIssuer(provider) })
    }
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let is_known = self.certificates.iter().any(|known| **known == **end_entity);
        let verifier: &dyn ServerCertVerifier = if is_known { &self.itself } else { &*self.issued };
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.itself.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.itself.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.itself.supported_verify_schemes()
    }
}

/// Takes a certificate of any issuer, its own too, while its name and its dates are right.
#[derive(Debug)]
struct AnyIssuer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyIssuer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(end_entity)
            .map_err(|_| CertificateError::BadEncoding)?;
        let now = i64::try_from(now.as_secs()).ok().and_then(|s| ASN1Time::from_timestamp(s).ok());
        let now = now.ok_or(TlsError::FailedToGetCurrentTime)?;
        if now < certificate.validity().not_before {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > certificate.validity().not_after {
            return Err(CertificateError::Expired.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut TlsSettings)) -> Option<IdentityError> {
        let mut settings = TlsSettings::default();
        change(&mut settings);
        Identity::new(settings).err()
    }

    fn authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn a_name_is_a_hosts_and_no_address() {
        for name in ["", "a.test", "localhost", "A.Test"] {
            assert_eq!(refused(|it| it.server_name_to_verify = name.into()), None, "{name}");
        }
        for name in ["127.0.0.1", "::1", "a b", "a/b", "-a.test", "*.a.test"] {
            let refused = refused(|it| it.server_name_to_verify = name.into());
            assert_eq!(refused, Some(IdentityError::ServerName), "{name}");
        }
    }

    #[test]
    fn a_bundle_is_some_certificates_within_its_bounds_and_nothing_else() {
        let one = authority();
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        for right in ["", "  \n", &one, &format!("a comment\n{one}"), &one.repeat(AUTHORITIES_MAX)]
        {
            assert_eq!(refused(|it| it.authorities = right.into()), None);
        }
        for wrong in [
            "no PEM",
            &one[..one.len() / 2],
            &key,
            &format!("{one}{key}"),
            "-----BEGIN CERTIFICATE-----\naGk=\n-----END CERTIFICATE-----\n",
            &one.repeat(AUTHORITIES_MAX + 1),
            &format!("{one}{}", " ".repeat(AUTHORITIES_BYTES_MAX)),
        ] {
            let refused = refused(|it| it.authorities = wrong.into());
            assert_eq!(refused, Some(IdentityError::Authorities), "{wrong:.80}");
        }
        let unasked = refused(|it| (it.authorities, it.insecure_skip_verification) = (one, true));
        assert_eq!(unasked, Some(IdentityError::AuthoritiesUnasked));
    }

    #[test]
    fn two_of_the_same_settings_are_one() {
        let one = TlsSettings { authorities: authority(), ..TlsSettings::default() };
        let other = TlsSettings { server_name_to_verify: "a.test".into(), ..one.clone() };
        let identity = |settings: &TlsSettings| Identity::new(settings.clone()).unwrap();
        assert!(identity(&one) == identity(&one) && identity(&one) != identity(&other));
    }

    #[test]
    fn two_that_show_another_certificate_are_not_one() {
        let client = || {
            let key = rcgen::KeyPair::generate().unwrap();
            let own = rcgen::CertificateParams::default().self_signed(&key).unwrap();
            let pem = crate::ClientPem::parse(&own.pem(), &key.serialize_pem()).unwrap();
            Arc::new(ClientIdentity::new(pem.chain, &pem.private_key).unwrap())
        };
        let (one, other) = (client(), client());
        let named = TlsSettings { server_name_to_verify: "a.test".into(), ..Default::default() };
        let named = Identity::new(named).unwrap();
        for to in [None, Some(&named)] {
            let showing = |it: &Arc<ClientIdentity>| Identity::showing(to, it.clone());
            assert!(showing(&one) == showing(&one) && showing(&one) != showing(&other));
            assert!(to.is_none_or(|to| showing(&one) != *to), "nor is one that shows none");
        }
        let plain = Identity::showing(None, one.clone());
        assert!(plain != Identity::showing(Some(&named), one));
    }
}
