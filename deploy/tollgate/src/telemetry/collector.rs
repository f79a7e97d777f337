//! The way to a collector by HTTP: one connection a batch, on the runtime that was there at the start.

use super::settings::Way;
use anyhow::{Context, Result};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Batches come from a thread that has no runtime of its own.
#[derive(Debug)]
pub(super) struct Client {
    runtime: Handle,
    timeout: Duration,
    tls: Arc<rustls::ClientConfig>,
}

impl Client {
    /// Inside a runtime.
    pub(super) fn new(way: &Way) -> Result<Self> {
        let tls = Arc::new(tls(way)?);
        Ok(Self { runtime: Handle::current(), timeout: way.timeout, tls })
    }
}

/// Public authorities, or those that the variables name.
fn tls(way: &Way) -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    match &way.authorities {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            let cannot = || format!("OTEL_EXPORTER_OTLP_CERTIFICATE: {}", file.display());
            for authority in CertificateDer::pem_file_iter(file).with_context(cannot)? {
                roots.add(authority.with_context(cannot)?).with_context(cannot)?;
            }
        }
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(roots);
    let Some((chain, key)) = &way.identity else { return Ok(config.with_no_client_auth()) };
    let cannot = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE or its key cannot be used";
    let chain = CertificateDer::pem_file_iter(chain).context(cannot)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().context(cannot)?;
    let key = PrivateKeyDer::from_pem_file(key).context(cannot)?;
    config.with_client_auth_cert(chain, key).context(cannot)
}

/// The same for gRPC.
pub(super) fn grpc_tls(way: &Way) -> Result<ClientTlsConfig> {
    let read = |file: &std::path::Path| {
        std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
    };
    let mut tls = ClientTlsConfig::new();
    tls = match &way.authorities {
        None => tls.with_webpki_roots(),
        Some(file) => tls.ca_certificate(Certificate::from_pem(read(file)?)),
    };
    if let Some((chain, key)) = &way.identity {
        tls = tls.identity(Identity::from_pem(read(chain)?, read(key)?));
    }
    Ok(tls)
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (timeout, tls) = (self.timeout, self.tls.clone());
        let sent = async move { tokio::time::timeout(timeout, send(request, tls)).await };
        let answer = self.runtime.spawn(sent).await??;
        Ok(answer.map_err(|error| format!("{error:#}"))?)
    }
}

async fn send(request: Request<Bytes>, tls: Arc<rustls::ClientConfig>) -> Result<Response<Bytes>> {
    let uri = request.uri();
    let host = uri.host().context("the collector's endpoint has no host")?;
    let host = host.trim_matches(['[', ']']).to_owned();
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    if !secure {
        return exchange(stream, request).await;
    }
    let connector = tokio_rustls::TlsConnector::from(tls);
    exchange(connector.connect(ServerName::try_from(host)?, stream).await?, request).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Bytes>,
) -> Result<Response<Bytes>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let (mut head, body) = request.into_parts();
    let authority = head.uri.authority().context("the collector's endpoint has no host")?;
    // Without what may stand before the host.
    let host = authority.as_str().rsplit('@').next().unwrap_or_default().parse()?;
    head.headers.insert("host", host);
    head.uri = head.uri.path_and_query().context("no path")?.as_str().parse()?;
    let request = Request::from_parts(head, Full::new(body));
    let answer = async move {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        Ok(Response::from_parts(head, body))
    };
    let (answer, _) = tokio::join!(answer, async { connection.await.ok() });
    answer
}
