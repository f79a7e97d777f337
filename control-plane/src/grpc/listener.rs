//! TLS connections of nodes, each with the node that it comes from; cut when that node may no longer call.
//!
//! Who has not shown a certificate yet holds no place that a node needs: handshakes and connections without one are
//! [crowds](Crowd) of their own.

use std::collections::HashSet;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::{DateTime, Utc};
use ipnet::IpNet;
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

use super::crowd::{Crowd, Place};
use crate::access::authority::Authority;
use crate::access::wall::neighbourhood;
use crate::app::App;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::http::client_address::is_trusted;
use crate::ids::NodeId;

/// From the connection to its encrypted state; a slower peer is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Without a certificate a peer can only join; that does not take longer.
const ANONYMOUS_LIFE: Duration = Duration::from_mins(1);
/// Connections of nodes; further ones are closed at once.
const NODES_MAX: usize = 4096;
/// Handshakes in progress, and those of one neighbourhood. A load balancer in front is a trusted proxy: then nodes and
/// strangers come from its addresses alike, and these have no share.
const HANDSHAKES_MAX: usize = 2048;
const HANDSHAKES_OF_ONE_MAX: usize = 64;
/// Connections without a certificate, and those of one neighbourhood.
const STRANGERS_MAX: usize = 256;
const STRANGERS_OF_ONE_MAX: usize = 64;

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
    /// Completes when the node's certificate expires or is revoked, or a stranger has stayed too long or has to make room.
    cut: Pin<Box<dyn Future<Output = &'static str> + Send>>,
    was_cut: bool,
    _place: Among,
}

/// Where a connection has its place.
enum Among {
    Nodes { _permit: OwnedSemaphorePermit },
    Strangers(Place),
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

/// Accepts until `shutdown`. A slow handshake holds up no other. `proxies` are the balancers that nodes may be behind.
pub async fn accept(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    revoked: Revoked,
    clock: Clock,
    proxies: Arc<[IpNet]>,
    accepted: mpsc::Sender<io::Result<Connection>>,
    shutdown: CancellationToken,
) {
    let tls = TlsAcceptor::from(tls);
    let nodes = Arc::new(Semaphore::new(NODES_MAX));
    let handshakes = Crowd::new(HANDSHAKES_MAX, HANDSHAKES_OF_ONE_MAX);
    let strangers = Crowd::new(STRANGERS_MAX, STRANGERS_OF_ONE_MAX);
    loop {
        let tcp = tokio::select! {
            tcp = listener.accept() => tcp,
            () = shutdown.cancelled() => return,
        };
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
        let (revoked, clock) = (revoked.clone(), clock.clone());
        let (nodes, strangers) = (nodes.clone(), strangers.clone());
        let who =
            (!is_trusted(address.ip(), &proxies)).then(|| neighbourhood(&address.ip().to_string()));
        let handshaking = handshakes.enter(who.clone());
        tokio::spawn(async move {
            let _ = tcp.set_nodelay(true);
            let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(tcp));
            let Some(handshake) = handshaking.given_up.run_until_cancelled(handshake).await else {
                return tracing::info!(peer = %address, "a TLS handshake made room for another");
            };
            let tls = match handshake {
                Ok(Ok(tls)) => tls,
                Ok(Err(error)) => {
                    return tracing::info!(peer = %address, %error, "a TLS handshake failed");
                }
                Err(_) => return tracing::info!(peer = %address, "a TLS handshake took too long"),
            };
            let place = if tls.get_ref().1.peer_certificates().is_none() {
                Among::Strangers(strangers.enter(who))
            } else if let Ok(permit) = nodes.try_acquire_owned() {
                Among::Nodes { _permit: permit }
            } else {
                return tracing::warn!(peer = %address, "too many nodes are connected");
            };
            drop(handshaking);
            let connection = Connection::new(tls, address, revoked, &clock, place);
            let _ = accepted.send(Ok(connection)).await; // fails only at shutdown
        });
    }
}

impl Connection {
    fn new(
        tls: TlsStream<TcpStream>,
        address: SocketAddr,
        mut revoked: Revoked,
        clock: &Clock,
        place: Among,
    ) -> Self {
        let known = tls.get_ref().1.peer_certificates().and_then(<[_]>::first).and_then(identify);
        let life = known.map_or(ANONYMOUS_LIFE, |(_, expires_at)| {
            (expires_at - clock.now()).to_std().unwrap_or_default()
        });
        let given_up = match &place {
            Among::Nodes { .. } => CancellationToken::new(), // never
            Among::Strangers(place) => place.given_up.clone(),
        };
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
                () = given_up.cancelled() => "it made room for another",
            }
        });
        let peer = Peer { node: known.map(|(node, _)| node), address };
        Self { tls, peer, cut, was_cut: false, _place: place }
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
