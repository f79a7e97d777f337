//! TLS connections of nodes, each with the node that it comes from; cut when that node may no longer call.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::access::authority::Authority;
use crate::app::App;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::ids::NodeId;

/// From the connection to its encrypted state; a slower peer is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a certificate a peer can only join; that does not take longer.
const ANONYMOUS_LIFE: Duration = Duration::from_mins(1);
/// Handshakes in progress and connections served; more peers wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4096;
/// Of those, by peers without a certificate; further ones are closed at once, and nodes keep their room.
const STRANGERS_MAX: usize = 256;

/// The nodes whose certificates still verify but who may no longer call.
pub type Revoked = watch::Receiver<Arc<HashSet<NodeId>>>;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// None without a client certificate: good for `Join` alone.
    pub node: Option<NodeId>,
    pub address: SocketAddr,
}

/// One connection of a peer.
pub struct Connection {
    tls: TlsStream<TcpStream>,
    peer: Peer,
    /// Completes when the node's certificate expires or is revoked, or a stranger has stayed too long.
    cut: Pin<Box<dyn Future<Output = &'static str> + Send>>,
    was_cut: bool,
    /// Among all, and among those without a certificate.
    _places: Vec<OwnedSemaphorePermit>,
}

/// TLS 1.3 with a certificate of the installation's own authority; a client certificate, where one is shown,
/// must be that authority's too.
pub fn tls(app: &App, authority: &Authority) -> Result<Arc<ServerConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate().clone()).map_err(Error::internal)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let nodes = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(Error::internal)?;
    let names = app.config.grpc_names.iter().cloned();
    let own = (!app.config.grpc_listen.ip().is_unspecified())
        .then(|| app.config.grpc_listen.ip().to_string());
    let certificate =
        authority.server_certificate(names.chain(own).collect(), app.clock.clone())?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Error::internal)?
        .with_client_cert_verifier(nodes)
        .with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// Accepts until `shutdown`. A slow handshake holds up no other.
pub async fn accept(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    revoked: Revoked,
    clock: Clock,
    accepted: mpsc::Sender<io::Result<Connection>>,
    shutdown: CancellationToken,
) {
    let tls = TlsAcceptor::from(tls);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, tcp) = tokio::select! {
            next = next => next,
            () = shutdown.cancelled() => return,
        };
        let Ok(place) = place else { return }; // the semaphore is never closed
        let (tcp, address) = match tcp {
            Ok(connection) => connection,
            Err(error) => {
                // Mostly EMFILE: others must close first.
                tracing::warn!(%error, "a node's connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (tls, accepted) = (tls.clone(), accepted.clone());
        let (revoked, clock, strangers) = (revoked.clone(), clock.clone(), strangers.clone());
        tokio::spawn(async move {
            let _ = tcp.set_nodelay(true);
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(tcp)).await {
                Ok(Ok(tls)) => {
                    let known = tls.get_ref().1.peer_certificates().is_some();
                    let mut places = vec![place];
                    if !known {
                        let Ok(place) = strangers.try_acquire_owned() else {
                            tracing::info!(peer = %address, "too many peers have no certificate");
                            return;
                        };
                        places.push(place);
                    }
                    let connection = Connection::new(tls, address, revoked, &clock, places);
                    let _ = accepted.send(Ok(connection)).await; // fails only at shutdown
                }
                Ok(Err(error)) => tracing::info!(peer = %address, %error, "a TLS handshake failed"),
                Err(_) => tracing::info!(peer = %address, "a TLS handshake took too long"),
            }
        });
    }
}

impl Connection {
    fn new(
        tls: TlsStream<TcpStream>,
        address: SocketAddr,
        mut revoked: Revoked,
        clock: &Clock,
        places: Vec<OwnedSemaphorePermit>,
    ) -> Self {
        let known = tls.get_ref().1.peer_certificates().and_then(<[_]>::first).and_then(identify);
        let life = known.map_or(ANONYMOUS_LIFE, |(_, expires_at)| {
            (expires_at - clock.now()).to_std().unwrap_or_default()
        });
        let cut = Box::pin(async move {
            let revocation = async {
                match known {
                    Some((node, _)) => {
                        revoked.wait_for(|nodes| nodes.contains(&node)).await.is_ok()
                    }
                    None => false,
                }
            };
            tokio::select! {
                true = revocation => "its certificate is revoked",
                () = tokio::time::sleep(life) => "its time is over",
            }
        });
        let peer = Peer { node: known.map(|(node, _)| node), address };
        Self { tls, peer, cut, was_cut: false, _places: places }
    }

    fn poll_cut(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if !self.was_cut {
            let Poll::Ready(why) = self.cut.as_mut().poll(context) else { return Ok(()) };
            self.was_cut = true;
            tracing::info!(node.id = ?self.peer.node, peer = %self.peer.address, "a connection was cut: {why}");
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

/// The node that a certificate of our authority names, and until when.
fn identify(certificate: &CertificateDer<'_>) -> Option<(NodeId, DateTime<Utc>)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let node = certificate.subject().iter_common_name().next()?.as_str().ok()?.parse().ok()?;
    Some((node, DateTime::from_timestamp(certificate.validity().not_after.timestamp(), 0)?))
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_cut(context)?;
        Pin::new(&mut self.tls).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(context)
    }
}
