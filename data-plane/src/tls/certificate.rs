//! The certificate that is shown: the operator's files, or one that the node makes for itself.

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use zeroize::Zeroizing;

use super::Files;
use crate::{Error, Result, disk};

const DAY: Duration = Duration::from_hours(24);
/// How long a certificate for development is good: with the day before its making a year, which is the most that
/// auditors let pass.
const LIFE: Duration = Duration::from_hours(364 * 24);
/// One that has less than this left is made anew at a start.
const LEFT_MIN: Duration = Duration::from_hours(30 * 24);

/// A certificate and its key, not yet known to fit together.
pub(super) struct Certified {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) source: Source,
}

/// Where a certificate is, for the message when it does not do.
pub(super) struct Source(PathBuf);

impl Source {
    pub(super) fn unusable(&self, cause: &dyn Display) -> Error {
        Error::Setting(format!("the TLS certificate {} is not usable: {cause}", self.0.display()))
    }
}

/// What the operator's files hold.
pub(super) fn load(files: &Files) -> Result<Certified> {
    let source = Source(files.chain.clone());
    let chain = CertificateDer::pem_file_iter(&files.chain)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|cause| source.unusable(&cause))?;
    if chain.is_empty() {
        return Err(source.unusable(&"there is no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|cause| {
        Error::Setting(format!("the TLS key {} is not usable: {cause}", files.key.display()))
    })?;
    Ok(Certified { chain, key, source })
}

/// A certificate that no authority vouches for, for the zone's hosts and this machine: the one that an earlier start
/// made, unless it is damaged or near its end.
pub(super) fn for_development(directory: &Path, zone: &str) -> Result<Certified> {
    let path = directory.join("development.pem");
    if let Some(certified) = kept(&path, zone) {
        return Ok(certified);
    }
    let source = Source(path.clone());
    let (certificate, key) = make(zone).map_err(|cause| source.unusable(&cause))?;
    let pem = Zeroizing::new(format!("{}{}", certificate.pem(), key.serialize_pem()));
    disk::private_dir(directory)
        .and_then(|()| disk::replace(&path, pem.as_bytes()))
        .map_err(|cause| source.unusable(&cause))?;
    tracing::info!(path = %path.display(), "a TLS certificate for development was made");
    let chain = vec![certificate.der().clone()];
    let key =
        PrivateKeyDer::try_from(key.serialize_der()).map_err(|cause| source.unusable(&cause))?;
    Ok(Certified { chain, key, source })
}

fn kept(path: &Path, zone: &str) -> Option<Certified> {
    let pem = Zeroizing::new(disk::read(path).ok()??);
    let certificate = CertificateDer::from_pem_slice(&pem).ok()?;
    let key = PrivateKeyDer::from_pem_slice(&pem).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
    let until = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    let left = SystemTime::UNIX_EPOCH + Duration::from_secs(until) - LEFT_MIN;
    let names = parsed.subject_alternative_name().ok()??;
    let ours = names.value.general_names.iter().any(
        |name| matches!(name, x509_parser::extensions::GeneralName::DNSName(name) if *name == zone),
    );
    (ours && SystemTime::now() < left).then(|| Certified {
        chain: vec![certificate.clone()],
        key,
        source: Source(path.to_owned()),
    })
}

fn make(zone: &str) -> std::result::Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
    let names = [format!("*.{zone}"), zone.to_owned(), "localhost".to_owned()];
    let mut params = CertificateParams::new(names)?;
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    params.distinguished_name.push(DnType::CommonName, "Tollgate, for development");
    let now = SystemTime::now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + LIFE).into();
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?, key))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn directory() -> PathBuf {
        std::env::temp_dir().join(format!("tollgate-tls-{}", uuid::Uuid::now_v7()))
    }

    #[test]
    fn a_certificate_for_development_is_made_once_for_each_zone_and_private() {
        let directory = directory();
        let first = for_development(&directory, "execute-api.localhost").unwrap();
        let again = for_development(&directory, "execute-api.localhost").unwrap();
        let moved = for_development(&directory, "api.example.com").unwrap();

        assert_eq!(first.chain, again.chain);
        assert_ne!(first.chain, moved.chain);
        let mode = std::fs::metadata(directory.join("development.pem")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_damaged_certificate_for_development_is_made_anew() {
        let directory = directory();
        let first = for_development(&directory, "execute-api.localhost").unwrap();
        std::fs::write(directory.join("development.pem"), "-----BEGIN CERTIFICATE-----").unwrap();
        let second = for_development(&directory, "execute-api.localhost").unwrap();

        assert_ne!(first.chain, second.chain);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn files_that_are_not_there_are_named() {
        let files = Files { chain: "/nowhere/chain.pem".into(), key: "/nowhere/key.pem".into() };
        let error = load(&files).map(drop).unwrap_err().to_string();
        assert!(error.contains("/nowhere/chain.pem"), "{error}");
    }
}
