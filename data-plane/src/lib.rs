//! The data plane: a node that serves tenants' APIs. Any number of them run; each is told what to serve by the
//! control plane and goes on without it.
//!
//! The way of a request, in the order of the directories it passes: [`listener`] → [`router`] →
//! [`policies`] → [`integration`] → [`response`]; `serve.rs` is the whole of it on one page. Beside it
//! stand [`snapshot`] (what is served), [`counter`] (what is billed), [`reconciliation`] (what is counted beside it),
//! [`explain`] (what became of the newest requests, for [`inquiry`], by which replicas ask) and [`admin`] (what operators
//! look at).
//!
//! Threads: each data thread has a runtime, a listening socket, pools, counters and a Redis connection of its
//! own and shares nothing that is written per request, but for the atomics of the leases that limits are kept by.
//! Admin, config and shipping run where [`run`] is awaited.
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
mod explain;
mod gateway_response;
mod handover;
mod head_bytes;
#[doc(hidden)]
pub mod hostile;
mod inquiry;
mod integration;
pub mod listener;
pub mod node;
mod pipe;
mod policies;
mod reconciliation;
mod replicas;
mod response;
mod router;
mod serve;
pub mod snapshot;
mod supervisor;
mod tail;
pub mod telemetry;
#[cfg(test)]
mod tests;
mod threads;
pub mod tls;
mod trace;
mod uplink;
mod variables;

use std::{
    fs::File,
    future::pending,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use egress::Connector;
use tokio::{net::TcpListener, task::JoinSet, time::Instant};

pub use self::config::Config;
pub use self::trace::{Head, KEPT_FOR, Propagator, Tail};
use self::{
    config::Start,
    counter::{Journal, Shipper},
    handover::{Door, Predecessor, Successor},
    integration::health,
    listener::sockets::{Given, Sockets},
    node::Shared,
    policies::store::Place,
    snapshot::stream,
    threads::Threads,
    uplink::{Line, Uplink},
};

/// How long a stopping node waits for the ledger to acknowledge what it counted. What is left stays on the disk
/// and goes out at the next start.
const SHIP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stopping node waits for the sinks of its access log.
const ACCESS_LOG_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a process that takes a node's place may wait for its configuration. The node serves meanwhile.
const CONFIG_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it waits for the control plane to take its last counts of the log and of quotas.
const COUNTS_TIMEOUT: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Why a node could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("{0}")]
    Setting(String),
    #[error("cannot prepare outbound connections")]
    Egress(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    #[error("cannot open the usage journal")]
    Journal(#[source] io::Error),
    #[error("cannot register metrics")]
    Metrics(#[from] prometheus::Error),
    #[error("cannot get a configuration")]
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot take the running node's place")]
    Handover(#[source] io::Error),
    #[error("cannot use the sockets that were opened for this process")]
    Supervisor(#[source] io::Error),
    #[error("a data thread ended unasked")]
    ThreadEnded,
}

pub type Result<T> = std::result::Result<T, Error>;

/// Serves until `shutdown`, or until another process has taken this one's place; then lets what is in progress finish
/// and its usage reach the ledger.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<()> {
    let shared = Shared::new(config)?;
    let config = &shared.config;
    let (given, lock, mut predecessor) = before_us(config).await?;
    let sockets = Sockets::open(config, given)?;
    let admin_address = sockets.admin.address;
    let listen = |source| Error::Listen { address: admin_address, source };

    let settings = counter::Settings::new(config.dir.join("usage"), count(config.threads));
    let (journal, counters) = match lock {
        Some(lock) => Journal::open_beside(settings, lock),
        None => Journal::open(settings, node::now_ms()),
    }
    .map_err(Error::Journal)?;
    journal.metrics().register(&shared.metrics.registry)?;
    let _ = shared.room.set(journal.room()); // this is the one place that sets it
    let shipper = Arc::new(journal.shipper());

    let metrics = stream::Metrics::default();
    metrics.register(&shared.metrics.registry)?;
    let mut uplink = Uplink::start(&shared, &shipper, metrics.clone()).await?;
    if predecessor.is_some() {
        // It serves until we can.
        tokio::time::timeout(CONFIG_TIMEOUT, loaded(&shared, &mut uplink))
            .await
            .unwrap_or_else(|late| Err(Error::Config(Box::new(late))))?;
    }
    let own = own_addresses(config, admin_address);
    let mut threads = Threads::start(&shared, counters, &own, &sockets)?;
    let admin_socket = sockets.admin.one().and_then(TcpListener::from_std).map_err(listen)?;
    let mut admin = tokio::spawn(admin::serve(admin_socket, shared.clone()));
    let beside = beside(&shared, &threads)?;
    let door = Door::open(&config.dir)
        .inspect_err(|error| tracing::warn!(%error, "no other process can take this node's place"))
        .ok();
    if let Some(predecessor) = &mut predecessor {
        predecessor.release().await;
    }
    supervisor::tell(&format!("READY=1\nMAINPID={}", std::process::id()));
    tracing::info!(
        listen = %sockets.http.address,
        tls = sockets.https.as_ref().map(|port| tracing::field::display(port.address)),
        admin = %admin_address,
        threads = config.threads,
        "the node is serving"
    );

    let mut line = Line::Up(uplink);
    let mut shutdown = pin!(shutdown);
    let outcome = loop {
        tokio::select! {
            () = shutdown.as_mut() => break Ok(()),
            () = threads.failed() => break Err(Error::ThreadEnded),
            error = line.broken() => {
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
            () = gone(&mut predecessor) => {
                predecessor = None;
                adopt(&journal);
            }
            // Not while another drains that uses the same directory.
            mut successor = knock(door.as_ref()), if predecessor.is_none() => {
                tracing::info!("another process takes this node's place");
                line.stop_stream().await;
                shared.set_handed_over(true);
                let install = async { successor.install(&sockets, journal.lock()?).await };
                let installed = tokio::select! {
                    installed = install => installed,
                    () = shutdown.as_mut() => {
                        // It may come to serve all the same, and would take our open segments for left ones.
                        successor.keep_until_the_end();
                        break Ok(());
                    }
                };
                let Err(error) = installed else {
                    admin.abort();
                    successor.keep_until_the_end();
                    break Ok(());
                };
                tracing::error!(%error, "it did not come to serve; this process serves on");
                shared.set_handed_over(false);
                drop(successor);
                line.end().await;
                line = Line::again(&shared, &shipper, &metrics);
                adopt(&journal);
            }
        }
    };

    drop((sockets, door)); // or the ports would stay open
    line.during(drain(&shared, threads, &shipper)).await;
    line.end().await;
    save(shipper).await;
    drop(beside);
    admin.abort();
    outcome
}

/// What runs beside the data threads, until it is dropped.
fn beside(shared: &Arc<Shared>, threads: &Threads) -> Result<JoinSet<()>> {
    let connector = Connector::new(threads.own.clone(), &shared.config.backend_roots)
        .map_err(|error| Error::Egress(Box::new(error)))?;
    let mut tasks = JoinSet::new();
    tasks.spawn(renewals(threads.certificate.clone(), shared.clone()));
    tasks.spawn(health::run(shared.clone(), connector));
    Ok(tasks)
}

/// Shows what comes to lie in the certificates' files, where there is TLS.
async fn renewals(certificate: Option<Arc<tls::Shown>>, shared: Arc<Shared>) {
    if let Some(certificate) = certificate {
        certificate.follow(&shared.metrics).await;
    }
}

/// Lets what is in progress finish, and what was counted reach the ledger.
async fn drain(shared: &Shared, threads: Threads, shipper: &Shipper) {
    tracing::info!("the node is draining");
    if !shared.is_handed_over() {
        supervisor::tell("STOPPING=1");
    }
    shared.start_draining();
    threads.drain().await;
    let access_log = shared.config.access_log.clone();
    let _ = tokio::task::spawn_blocking(move || access_log.end(ACCESS_LOG_TIMEOUT)).await;
    let draining = shipper.drain(Instant::now() + SHIP_TIMEOUT);
    let (all, ()) = tokio::join!(draining, shared.counts.end(COUNTS_TIMEOUT));
    if !all {
        let segments = shipper.unacknowledged();
        tracing::warn!(segments, "usage is left on the disk; it is shipped at the next start");
    }
}

/// The last chance of usage that was only in memory.
async fn save(shipper: Arc<Shipper>) {
    let lost = tokio::task::spawn_blocking(move || shipper.save()).await.unwrap_or(0);
    if lost > 0 {
        tracing::error!(segments = lost, "of it, what the disk had no room for is lost");
    }
}

/// What this process gets from the one whose place it takes, or from its supervisor.
async fn before_us(config: &Config) -> Result<(Given, Option<File>, Option<Predecessor>)> {
    if config.start == Start::TakeOver {
        let dir = config.dir.clone();
        let asked = tokio::task::spawn_blocking(move || Predecessor::ask(&dir)).await;
        let asked = asked.map_err(io::Error::other).flatten().map_err(Error::Handover)?;
        if let Some((predecessor, given, lock)) = asked {
            return Ok((given, Some(lock), Some(predecessor)));
        }
        tracing::info!("no node runs here; there is nothing to take over");
    }
    let sockets = supervisor::sockets().map_err(Error::Supervisor)?;
    let stay = !sockets.is_empty();
    Ok((Given::new(sockets, stay).map_err(Error::Supervisor)?, None, None))
}

/// Until there is a configuration.
async fn loaded(shared: &Shared, uplink: &mut Uplink) -> Result<()> {
    let mut look = tokio::time::interval(LOOK_EVERY);
    while !shared.snapshot.load().loaded {
        tokio::select! {
            error = uplink.broken() => return Err(Error::Config(error)),
            _ = look.tick() => {}
        }
    }
    Ok(())
}

async fn gone(predecessor: &mut Option<Predecessor>) {
    match predecessor {
        Some(predecessor) => predecessor.gone().await,
        None => pending().await,
    }
}

async fn knock(door: Option<&Door>) -> Successor {
    match door {
        Some(door) => door.knock().await,
        None => pending().await,
    }
}

/// What a process that shared the journal left in it is ours to ship.
fn adopt(journal: &Journal) {
    if let Err(error) = journal.adopt(node::now_ms()) {
        tracing::error!(%error, "usage of the process before is left on the disk; it is shipped at the next start");
    }
}

/// What no tenant may reach through this node: its own ports, its control planes, its Redis, and what the
/// settings name beside them.
fn own_addresses(config: &Config, admin: SocketAddr) -> Vec<SocketAddr> {
    let mut own = config.own.clone();
    own.push(admin);
    let redis = config.redis_url.as_deref().map(|url| Place::of(url).urls()).unwrap_or_default();
    for uri in config.control_planes.iter().chain(&redis) {
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
