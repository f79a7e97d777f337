//! The way to a collector by HTTP: one connection a batch, on the runtime that was there at the start.

use anyhow::{Context, Result};
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use rustls_pki_types::ServerName;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Batches come from a thread that has no runtime of its own.
#[derive(Debug)]
pub(super) struct Client {
    runtime: Handle,
    timeout: Duration,
}

impl Client {
    /// Inside a runtime.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { runtime: Handle::current(), timeout }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let timeout = self.timeout;
        let sent = async move { tokio::time::timeout(timeout, send(request)).await };
        let answer = self.runtime.spawn(sent).await??;
        Ok(answer.map_err(|error| format!("{error:#}"))?)
    }
}

async fn send(request: Request<Bytes>) -> Result<Response<Bytes>> {
    let uri = request.uri();
    let host = uri.host().context("the collector's endpoint has no host")?;
    let host = host.trim_matches(['[', ']']).to_owned();
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    if !secure {
        return exchange(stream, request).await;
    }
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
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
