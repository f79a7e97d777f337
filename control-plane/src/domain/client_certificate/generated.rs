//! Certificates that are made here, for themselves.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use egress::ClientPem;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, SerialNumber,
};

use super::ClientCertificateKeyAlgorithm;
use crate::error::{Error, Result};

/// As long as AWS's.
const LIFE: Duration = Duration::from_hours(365 * 24);
/// A backend's clock may be so far behind.
const BACKDATED: Duration = Duration::from_mins(10);
/// As AWS's are called.
const NAME: &str = "ApiGateway";

pub(super) fn make(
    algorithm: ClientCertificateKeyAlgorithm,
    now: DateTime<Utc>,
) -> Result<ClientPem> {
    let key = match algorithm {
        ClientCertificateKeyAlgorithm::EcP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        ClientCertificateKeyAlgorithm::Rsa2048 => {
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
        }
    };
    let key = key.map_err(Error::internal)?;
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, NAME);
    params.distinguished_name = name;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(SerialNumber::from(uuid::Uuid::new_v4().as_bytes().to_vec()));
    let seconds = u64::try_from(now.timestamp()).map_err(Error::internal)?;
    let from = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    params.not_before = from - BACKDATED;
    params.not_after = from + LIFE;
    let certificate = params.self_signed(&key).map_err(Error::internal)?;
    ClientPem::parse(&pem(certificate.der()), &key.serialize_pem()).map_err(Error::internal)
}

/// Of RFC 7468.
pub(super) fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::with_capacity(text.len() * 66 / 64 + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|b| char::from(*b)));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
