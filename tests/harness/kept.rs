//! Callers who keep their connections: HTTP/1.1 and HTTP/2, plain and over TLS. They do what any client does: a request
//! that was not sent because its connection had ended goes over a new one, to the next node where one refuses it. A
//! request that was sent is not repeated.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::World;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Where and how a caller connects.
#[derive(Clone)]
pub struct Way {
    /// Of nodes that all serve the same; the first that takes the connection is it.
    pub addresses: Vec<SocketAddr>,
    pub http2: bool,
    pub tls: Option<Arc<ClientConfig>>,
}

/// Every way to the first node: HTTP/1.1 and HTTP/2, plain and over TLS.
pub fn ways(world: &World) -> [Way; 4] {
    [(false, false), (false, true), (true, false), (true, true)].map(|(tls, http2)| {
        let address = if tls { world.tls_endpoint_address() } else { world.endpoint_address() };
        let tls = tls.then(|| trusting(&world.node_directory(0), http2));
        Way { addresses: vec![address], http2, tls }
    })
}

/// What a caller asks for.
#[derive(Clone)]
pub struct Ask {
    pub host: String,
    /// In turn.
    pub paths: Vec<String>,
    /// An API key.
    pub key: Option<String>,
}

impl Ask {
    /// `GET {path}` by anyone.
    pub fn get(host: &str, paths: &[&str]) -> Self {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        Self { host: host.to_owned(), paths, key: None }
    }
}

/// Callers who call in turn, over and over, until they are [ended](KeptLoad::end).
pub struct KeptLoad {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    callers: JoinSet<KeptSeen>,
}

/// What one of them, or all, saw.
#[derive(Debug, Default)]
pub struct KeptSeen {
    pub answered: usize,
    /// Connections that were opened.
    pub connections: usize,
    pub failed: Vec<String>,
    /// Of each caller, the bodies of all answers in order, where one differs from the one before.
    pub bodies: Vec<Vec<String>>,
    /// When each answered call was due, and how long after that its answer had come.
    pub answers: Vec<(Instant, Duration)>,
}

/// What trusts the certificate that a node made for itself.
///
/// # Panics
/// Where it made none.
pub fn trusting(node_directory: &Path, http2: bool) -> Arc<ClientConfig> {
    let pem = node_directory.join("tls/development.pem");
    let certificate = CertificateDer::from_pem_file(pem).expect("the node made a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let alpn: &[u8] = if http2 { b"h2" } else { b"http/1.1" };
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config)
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn ready(&mut self) -> hyper::Result<()> {
        match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        }
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl KeptLoad {
    /// One caller for each way; each asks once in `pace`, and catches up where it could not.
    pub fn start(ways: &[Way], ask: &Ask, pace: Duration) -> Self {
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut callers = JoinSet::new();
        for way in ways {
            let (way, ask) = (way.clone(), ask.clone());
            let (stop, answered) = (stop.clone(), answered.clone());
            callers.spawn(async move {
                let (mut seen, mut bodies, mut sender) = (KeptSeen::default(), Vec::new(), None);
                let mut pace = tokio::time::interval(pace);
                for path in ask.paths.iter().cycle() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let due = pace.tick().await.into_std();
                    let called = call(&way, &ask, path, &mut sender, &mut seen.connections);
                    let outcome = tokio::time::timeout(TIMEOUT, called).await;
                    match outcome.map_err(Error::from).flatten() {
                        Ok(body) => {
                            answered.fetch_add(1, Ordering::Relaxed);
                            seen.answers.push((due, due.elapsed()));
                            if bodies.last() != Some(&body) {
                                bodies.push(body);
                            }
                        }
                        Err(error) => {
                            sender = None;
                            let (http2, tls) = (way.http2, way.tls.is_some());
                            seen.failed.push(format!("http2: {http2}, tls: {tls}: {error:#}"));
                        }
                    }
                }
                seen.bodies.push(bodies);
                seen
            });
        }
        Self { stop, answered, callers }
    }

    /// So far.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Lets every call in progress end, and tells what was seen.
    ///
    /// # Panics
    /// Where a caller did.
    pub async fn end(mut self) -> KeptSeen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = KeptSeen::default();
        while let Some(seen) = self.callers.join_next().await {
            let seen = seen.expect("a caller ends well");
            all.connections += seen.connections;
            all.failed.extend(seen.failed);
            all.bodies.extend(seen.bodies);
            all.answers.extend(seen.answers);
        }
        all
    }
}

impl KeptSeen {
    pub fn answered(&self) -> usize {
        self.answers.len()
    }

    /// The latency that so many of a thousand answered calls did not exceed.
    pub fn per_mille(&self, share: usize) -> Duration {
        per_mille(self.answers.iter().map(|(_, took)| *took).collect(), share)
    }

    /// The same of each whole second between the two moments.
    pub fn per_mille_by_second(&self, from: Instant, to: Instant, share: usize) -> Vec<Duration> {
        let seconds = usize::try_from((to - from).as_secs()).unwrap_or_default();
        let mut by_second = vec![Vec::new(); seconds];
        for (due, took) in &self.answers {
            let Some(after) = due.checked_duration_since(from) else { continue };
            let second = usize::try_from(after.as_secs()).unwrap_or(usize::MAX);
            if let Some(latencies) = by_second.get_mut(second) {
                latencies.push(*took);
            }
        }
        by_second.into_iter().map(|latencies| per_mille(latencies, share)).collect()
    }
}

/// Of unsorted latencies.
pub(crate) fn per_mille(mut latencies: Vec<Duration>, share: usize) -> Duration {
    latencies.sort_unstable();
    latencies.get(latencies.len() * share / 1000).copied().unwrap_or_default()
}

async fn call(
    way: &Way,
    ask: &Ask,
    path: &str,
    kept: &mut Option<Sender>,
    connections: &mut usize,
) -> Result<String, Error> {
    let host = &ask.host;
    let scheme = if way.tls.is_some() { "https" } else { "http" };
    let uri = if way.http2 { format!("{scheme}://{host}{path}") } else { path.to_owned() };
    let mut request = http::Request::get(uri);
    if !way.http2 {
        request = request.header("host", host);
    }
    if let Some(key) = &ask.key {
        request = request.header("x-api-key", key);
    }
    let mut request = request.body(Full::default())?;
    loop {
        if kept.is_none() {
            *connections += 1;
            *kept = Some(connect(way, host).await.context("connecting")?);
        }
        let Some(sender) = kept.as_mut() else { continue };
        if sender.ready().await.is_err() {
            *kept = None;
            continue;
        }
        let sent = match sender {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
        };
        let response = match sent {
            Ok(response) => response,
            Err(mut failed) => {
                *kept = None;
                let Some(unsent) = failed.take_message() else {
                    return Err(failed.into_error().into());
                };
                request = unsent;
                continue;
            }
        };
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        ensure!(status == 200, "{status}: {body}");
        return Ok(body);
    }
}

async fn connect(way: &Way, host: &str) -> Result<Sender, Error> {
    let stream = connect_to_one(&way.addresses).await?;
    stream.set_nodelay(true)?;
    let name = host.split(':').next().unwrap_or(host).to_owned();
    let stream: Box<dyn Io> = match &way.tls {
        Some(config) => {
            let connector = TlsConnector::from(config.clone());
            Box::new(connector.connect(ServerName::try_from(name)?, stream).await?)
        }
        None => Box::new(stream),
    };
    if way.http2 {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        return Ok(Sender::Http2(sender));
    }
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(Sender::Http1(sender))
}

async fn connect_to_one(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut refused = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect(address).await {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => refused = error,
            connected => return connected,
        }
    }
    Err(refused)
}
