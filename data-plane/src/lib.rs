//! The data plane: a node that serves tenants' APIs. Any number of them run; each is told what to serve by the
//! control plane and goes on without it.
//!
//! The way of a request, in the order of the directories it passes: [`listener`] → [`router`] →
//! [`policies`] → [`integration`] → [`response`]; `serve.rs` is the whole of it on one page. Beside it
//! stand [`snapshot`] (what is served), [`counter`] (what is billed) and [`admin`] (what operators look at).
//!
//! Threads: each data thread has a runtime, a listening socket, pools, counters and a Redis connection of its
//! own and shares nothing that is written per request. Admin, config and shipping run where [`run`] is awaited.
//!
//! Deliberately absent: a database (PostgreSQL is never asked on a request's behalf) and any answer of our
//! own that does not pass through `gateway_response.rs`.

pub mod access_log;
mod admin;
pub mod config;
pub mod counter;
mod dialect;
mod disk;
mod exchange;
mod gateway_response;
mod integration;
pub mod listener;
pub mod node;
mod policies;
mod response;
mod router;
mod serve;
pub mod snapshot;
pub mod telemetry;
#[cfg(test)]
mod tests;
mod threads;
pub mod tls;
mod trace;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use proto::config::v1::Heartbeat;
use tokio::{net::TcpListener, sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

pub use self::config::Config;
use self::{
    counter::{Journal, Shipper},
    node::Shared,
    snapshot::stream::{self, ConfigStream},
    threads::Threads,
};

/// How long a stopping node waits for the ledger to acknowledge what it counted. What is left stays on the disk
/// and goes out at the next start.
const SHIP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stopping node waits for the sinks of its access log.
const ACCESS_LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a node could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("{0}")]
    Setting(String),
    #[error("cannot prepare outbound connections")]
    Egress(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    #[error("cannot open the usage journal")]
    Journal(#[source] std::io::Error),
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
    #[error("cannot get a configuration")]
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("a data thread ended unasked")]
    ThreadEnded,
}

pub type Result<T> = std::result::Result<T, Error>;

/// Serves until `shutdown`, then lets what is in progress finish and its usage reach the ledger.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<()> {
    let shared = Shared::new(config)?;
    let config = &shared.config;
    let admin_address = config.admin_listen;
    let listen = |source| Error::Listen { address: admin_address, source };
    let admin_listener = TcpListener::bind(admin_address).await.map_err(listen)?;

    let settings = counter::Settings::new(config.dir.join("usage"), count(config.threads));
    let (journal, counters) = Journal::open(settings, node::now_ms()).map_err(Error::Journal)?;
    journal.metrics().register(&shared.metrics.registry)?;
    let shipper = Arc::new(journal.shipper());

    let stream = config_stream(&shared).await?;
    let channels = stream.channels();
    let mut threads = Threads::start(&shared, counters, &own_addresses(config, &admin_listener))?;
    tracing::info!(
        listen = %threads.address,
        tls = threads.tls_address.map(tracing::field::display),
        admin = %admin_address,
        threads = config.threads,
        "the node is serving"
    );

    let stop = CancellationToken::new();
    let mut admin = tokio::spawn(admin::serve(admin_listener, shared.clone()));
    let mut stream = tokio::spawn(stream.run(health(&shared, &shipper), stop.clone()));
    let shipping = tokio::spawn(ship(shipper.clone(), channels));

    let mut shutdown = pin!(shutdown);
    let mut streaming = true;
    let outcome = loop {
        tokio::select! {
            () = shutdown.as_mut() => break Ok(()),
            () = threads.failed() => break Err(Error::ThreadEnded),
            ended = &mut stream, if streaming => {
                streaming = false;
                let Some(error) = ended.map_or_else(|error| Some(error.into()), |ended| ended.err().map(Into::into)) else {
                    continue;
                };
                // What is served already goes on being served, whatever becomes of the stream.
                if !shared.snapshot.load().loaded {
                    break Err(Error::Config(error));
                }
                let error = chain(&*error);
                tracing::error!(%error, "no new configuration will come; the node serves on with what it has");
            }
            ended = &mut admin => break match ended {
                Ok(Ok(())) => Ok(()),
                Ok(Err(source)) => Err(listen(source)),
                Err(error) => Err(Error::Config(Box::new(error))),
            },
        }
    };

    tracing::info!("the node is draining");
    shared.start_draining();
    threads.drain().await;
    let access_log = shared.config.access_log.clone();
    let _ = tokio::task::spawn_blocking(move || access_log.end(ACCESS_LOG_TIMEOUT)).await;
    if !shipper.drain(Instant::now() + SHIP_TIMEOUT).await {
        let segments = shipper.unacknowledged();
        tracing::warn!(segments, "usage is left on the disk; it is shipped at the next start");
    }
    shipping.abort();
    stop.cancel();
    if !stream.is_finished() {
        let _ = tokio::time::timeout(SHIP_TIMEOUT, &mut stream).await;
    }
    admin.abort();
    outcome
}

async fn config_stream(shared: &Arc<Shared>) -> Result<ConfigStream> {
    let metrics = stream::Metrics::default();
    metrics.register(&shared.metrics.registry)?;
    let settings =
        stream::Settings::of(&shared.config).map_err(|error| Error::Config(Box::new(error)))?;
    let publish = stream::publish_to(shared.clone());
    // It reads and compiles what the disk holds.
    let opened =
        tokio::task::spawn_blocking(move || ConfigStream::open(settings, publish, metrics));
    match opened.await {
        Ok(opened) => opened.map_err(|error| Error::Config(Box::new(error))),
        Err(error) => Err(Error::Config(Box::new(error))),
    }
}

fn health(shared: &Arc<Shared>, shipper: &Arc<Shipper>) -> stream::Health {
    let (shared, shipper) = (shared.clone(), shipper.clone());
    Arc::new(move || Heartbeat {
        unshipped_segments: shipper.unacknowledged(),
        requests_in_flight: u64::try_from(shared.metrics.in_flight.get()).unwrap_or(0),
    })
}

/// Ships over whatever channels there are; a node that has not joined yet has none.
async fn ship(shipper: Arc<Shipper>, mut channels: watch::Receiver<Arc<[Channel]>>) {
    loop {
        let now = channels.borrow_and_update().clone();
        tokio::select! {
            () = shipper.run(&now), if !now.is_empty() => {}
            changed = channels.changed() => if changed.is_err() {
                // No new channels will come; these still lead to the ledger.
                return shipper.run(&now).await;
            },
        }
    }
}

/// What no tenant may reach through this node: its own ports, its control planes, its Redis, and what the
/// settings name beside them.
fn own_addresses(config: &Config, admin: &TcpListener) -> Vec<SocketAddr> {
    let mut own = config.own.clone();
    own.extend(admin.local_addr());
    let redis = config.redis_url.as_deref().into_iter();
    for uri in config.control_planes.iter().map(String::as_str).chain(redis) {
        own.extend(addresses(uri));
    }
    own
}

fn addresses(uri: &str) -> Vec<SocketAddr> {
    let Ok(uri) = url::Url::parse(uri) else { return Vec::new() };
    let port = uri.port_or_known_default().or((uri.scheme().starts_with("redis")).then_some(6379));
    let (Some(host), Some(port)) = (uri.host_str(), port) else { return Vec::new() };
    let host = host.trim_matches(['[', ']']);
    // Once, at start: a name that moves later is guarded by its old addresses and, in `own`, by its new ones.
    let found = (host, port).to_socket_addrs().map(Iterator::collect);
    found.unwrap_or_else(|_| vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)])
}

fn count(threads: usize) -> u32 {
    u32::try_from(threads.max(1)).unwrap_or(u32::MAX)
}

/// An error and what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
