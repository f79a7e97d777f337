//! The certificate that callers are shown, and the renewed one that follows it without a restart.

use std::{path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};

use super::{
    Files,
    certificate::{self, Certified},
};
use crate::{Result, disk, telemetry::Metrics};

/// How often the operator's files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// One certificate for all names.
#[derive(Debug)]
pub(crate) struct Shown {
    now: ArcSwap<CertifiedKey>,
    /// None: the node made it for itself.
    files: Option<Files>,
    provider: Arc<CryptoProvider>,
}

/// What files hold, as far as it matters whether they changed.
type Seen = [Option<[u8; 32]>; 2];

impl Shown {
    pub(super) fn from_files(files: Files, provider: Arc<CryptoProvider>) -> Result<Self> {
        let now = ready(certificate::load(&files)?, &provider)?;
        Ok(Self { now: ArcSwap::from_pointee(now), files: Some(files), provider })
    }

    pub(super) fn for_development(
        directory: &Path,
        zone: &str,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self> {
        let now = ready(certificate::for_development(directory, zone)?, &provider)?;
        Ok(Self { now: ArcSwap::from_pointee(now), files: None, provider })
    }

    /// Shows whatever comes to lie in the operator's files, for ever. What does not do is logged, and the certificate
    /// before it is shown on.
    pub(crate) async fn follow(self: Arc<Self>, metrics: &Metrics) {
        metrics.tls_certificate_expires.set(expires(&self.now.load()));
        let Some(files) = self.files.clone() else { return std::future::pending().await };
        let mut look = tokio::time::interval(LOOK_EVERY);
        // Not of what is shown: the files may have changed since they were loaded.
        let mut before = Seen::default();
        loop {
            look.tick().await;
            let (shown, files) = (self.clone(), files.clone());
            let looked = tokio::task::spawn_blocking(move || {
                let now = seen(&files);
                (now, (now != before).then(|| shown.load(&files)))
            });
            let Ok((now, loaded)) = looked.await else { continue };
            before = now;
            match loaded {
                Some(Ok(true)) => {
                    metrics.tls_certificate_expires.set(expires(&self.now.load()));
                    tracing::info!("a renewed TLS certificate is shown");
                }
                Some(Err(error)) => {
                    metrics.tls_certificates_refused.inc();
                    tracing::error!(%error, "the TLS certificate changed and does not do; the one before is shown on");
                }
                Some(Ok(false)) | None => {}
            }
        }
    }

    /// Whether it is another than before.
    pub(crate) fn load(&self, files: &Files) -> Result<bool> {
        let next = ready(certificate::load(files)?, &self.provider)?;
        let before = self.now.swap(Arc::new(next));
        Ok(before.cert != self.now.load().cert)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now.load_full())
    }
}

/// Fails where the key is another certificate's.
fn ready(certified: Certified, provider: &CryptoProvider) -> Result<CertifiedKey> {
    let Certified { chain, key, source } = certified;
    CertifiedKey::from_der(chain, key, provider).map_err(|cause| source.unusable(&cause))
}

fn seen(files: &Files) -> Seen {
    [&files.chain, &files.key].map(|path| {
        let content = zeroize::Zeroizing::new(disk::read(path).ok()??);
        Some(Sha256::digest(&*content).into())
    })
}

/// When the certificate ends, in Unix seconds; 0 where it does not say.
fn expires(certified: &CertifiedKey) -> i64 {
    let parsed = certified.cert.first().map(|it| x509_parser::parse_x509_certificate(it));
    let Some(Ok((_, parsed))) = parsed else { return 0 };
    parsed.validity().not_after.timestamp()
}
