//! How callers' connections are encrypted: which certificate is shown, which versions are spoken, what is resumed.

mod certificate;
mod shown;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::{self, Ticketer},
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;

use crate::{Error, Result};

/// The protocol that a client chose by ALPN (RFC 7301) for HTTP/2; everything else is HTTP/1.1.
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// The listener for https, beside the one for http.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The one for the name that a caller asks for is shown, or the first. Without any the node makes one for
    /// development.
    pub certificates: Vec<Files>,
}

/// A certificate as PEM files.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate, then those that lead from it to its authority.
    pub chain: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

pub(crate) use self::shown::Shown;

/// TLS 1.3 and 1.2 with HTTP/2 and HTTP/1.1. One for all data threads, so that a session which one began is resumed
/// by another: by tickets (RFC 5077, RFC 8446 §2.2) whose keys live as long as the process and change every six hours.
pub(crate) fn acceptor(
    config: &crate::Config,
    settings: &Settings,
) -> Result<(TlsAcceptor, Arc<Shown>)> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let shown = Arc::new(if settings.certificates.is_empty() {
        Shown::for_development(&config.dir.join("tls"), &config.zone, provider.clone())?
    } else {
        Shown::from_files(settings.certificates.clone(), provider.clone())?
    });
    let unusable = |cause: rustls::Error| Error::Setting(format!("TLS cannot be set up: {cause}"));
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(unusable)?
        .with_no_client_auth()
        .with_cert_resolver(shown.clone());
    server.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
    server.ignore_client_order = true; // the strongest of what both know
    server.ticketer = Ticketer::new().map_err(unusable)?;
    Ok((TlsAcceptor::from(Arc::new(server)), shown))
}
