//! The certificates that callers are shown, by the name that they ask for, and the renewed ones that follow without a
//! restart.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;

use super::{
    Files,
    certificate::{self, Certified},
};
use crate::{Result, disk, telemetry::Metrics};

/// How often the operator's files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Every certificate that a node has; at least one.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The first is for whoever asks for no name, or for one that is in none.
    certificates: Vec<ArcSwap<Named>>,
    /// In the same order; none where the node made its certificate itself.
    files: Vec<Files>,
    provider: Arc<CryptoProvider>,
}

/// A certificate and what it is for.
struct Named {
    certified: Arc<CertifiedKey>,
    /// In lower case; some begin with `*.`.
    names: Vec<String>,
    /// In Unix seconds; 0 where it does not say.
    expires: i64,
}

/// What files hold, as far as it matters whether they changed.
type Seen = [Option<[u8; 32]>; 2];

impl Shown {
    pub(super) fn from_files(files: Vec<Files>, provider: Arc<CryptoProvider>) -> Result<Self> {
        let ready = |files| Named::new(certificate::load(files)?, &provider);
        let certificates = files.iter().map(ready).collect::<Result<Vec<_>>>()?;
        let certificates = certificates.into_iter().map(ArcSwap::from_pointee).collect();
        Ok(Self { certificates, files, provider })
    }

    pub(super) fn for_development(
        directory: &Path,
        zone: &str,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self> {
        let made = Named::new(certificate::for_development(directory, zone)?, &provider)?;
        Ok(Self { certificates: vec![ArcSwap::from_pointee(made)], files: Vec::new(), provider })
    }

    /// Shows whatever comes to lie in the operator's files, for ever. What does not do is logged, and the certificate
    /// before it is shown on.
    pub(crate) async fn follow(self: Arc<Self>, metrics: &Metrics) {
        metrics.tls_certificate_expires.set(self.expires());
        let mut look = tokio::time::interval(LOOK_EVERY);
        // Not of what is shown: the files may have changed since they were loaded.
        let mut before = vec![Seen::default(); self.files.len()];
        loop {
            look.tick().await;
            for (index, before) in before.iter_mut().enumerate() {
                let (shown, then) = (self.clone(), *before);
                let looked = tokio::task::spawn_blocking(move || {
                    let now = seen(&shown.files[index]);
                    (now, (now != then).then(|| shown.load(index)))
                });
                let Ok((now, loaded)) = looked.await else { continue };
                *before = now;
                let path = self.files[index].chain.display();
                match loaded {
                    Some(Ok(true)) => {
                        metrics.tls_certificate_expires.set(self.expires());
                        tracing::info!(%path, "a renewed TLS certificate is shown");
                    }
                    Some(Err(error)) => {
                        metrics.tls_certificates_refused.inc();
                        tracing::error!(%path, %error, "the TLS certificate changed and does not do; the one before is shown on");
                    }
                    Some(Ok(false)) | None => {}
                }
            }
        }
    }

    /// Takes up what these files hold now; says whether it is another than before.
    pub(crate) fn load(&self, index: usize) -> Result<bool> {
        let next = Named::new(certificate::load(&self.files[index])?, &self.provider)?;
        let shown = &self.certificates[index];
        let before = shown.swap(Arc::new(next));
        Ok(before.certified.cert != shown.load().certified.cert)
    }

    /// When the first of them ends.
    fn expires(&self) -> i64 {
        self.certificates.iter().map(|it| it.load().expires).min().unwrap_or_default()
    }

    /// A certificate for exactly this name goes before one for all below its domain.
    fn choose(&self, asked: Option<&str>) -> Arc<CertifiedKey> {
        let find = |name: &str| {
            let mut all = self.certificates.iter().map(ArcSwap::load);
            all.find(|it| it.names.iter().any(|has| has.eq_ignore_ascii_case(name)))
        };
        let wildcard = |name: &str| Some(format!("*.{}", name.split_once('.')?.1));
        let found = asked.and_then(|name| find(name).or_else(|| find(&wildcard(name)?)));
        found.unwrap_or_else(|| self.certificates[0].load()).certified.clone()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name()))
    }
}

impl Named {
    /// Fails where the key is another certificate's.
    fn new(certified: Certified, provider: &CryptoProvider) -> Result<Self> {
        let Certified { chain, key, source } = certified;
        let (mut names, mut expires) = (Vec::new(), 0);
        let parsed = chain.first().map(|it| x509_parser::parse_x509_certificate(it));
        if let Some(Ok((_, parsed))) = parsed {
            expires = parsed.validity().not_after.timestamp();
            let said = parsed.subject_alternative_name().ok().flatten();
            let said = said.iter().flat_map(|it| &it.value.general_names);
            names.extend(said.filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                _ => None,
            }));
        }
        let certified = CertifiedKey::from_der(chain, key, provider)
            .map_err(|cause| source.unusable(&cause))?;
        Ok(Self { certified: Arc::new(certified), names, expires })
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").field("names", &self.names).finish_non_exhaustive()
    }
}

fn seen(files: &Files) -> Seen {
    [&files.chain, &files.key].map(|path| {
        let content = zeroize::Zeroizing::new(disk::read(path).ok()??);
        Some(Sha256::digest(&*content).into())
    })
}
