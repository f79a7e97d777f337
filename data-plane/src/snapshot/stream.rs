//! The config stream's node side: one stream to each replica, all at once; what they bring is checked and applied
//! in order, once.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts};
use proto::config::UPDATE_BYTES_MAX;
use proto::config::v1::config_stream_client::ConfigStreamClient;
use proto::config::v1::{
    CellPosition, Heartbeat, NodeMessage, Signed, Subscribe, node_message, update,
};
use rand::RngExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

pub use super::apply::Publish;
use super::apply::{Applier, Change, Input, Positions, QUEUE_LEN_MAX, Source};
use super::assembly::Assembly;
use super::join::{Error, Identity, JoinToken, causes};
use super::retired::Retired;
use super::signature::Verifier;
use super::{channel, compile, last_good};
use crate::Config;
use crate::disk;
use crate::node::Shared;

const HEARTBEAT: Duration = Duration::from_secs(5);
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether the certificate is due.
const RENEWAL_CHECK_MAX: Duration = Duration::from_hours(1);
/// Messages that wait for a replica which reads slowly.
const OUTGOING_MAX: usize = 16;
/// A signed update and its frame.
const MESSAGE_BYTES_MAX: usize = UPDATE_BYTES_MAX + 64 * 1024;

/// What the stream needs to know of its node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The node's own directory; identity and last good config lie there.
    pub directory: PathBuf,
    /// `https://127.0.0.1:8081`: every replica, or names that lead to all of them.
    pub control_planes: Vec<String>,
    pub join_token: Option<JoinToken>,
    /// For people: the host's name.
    pub name: String,
    pub cells: Vec<String>,
}

impl Settings {
    /// As the node's own settings say.
    pub fn of(config: &Config) -> Result<Self, Error> {
        let token = config.join_token.as_ref();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Ok(Self {
            directory: config.dir.clone(),
            control_planes: config.control_planes.clone(),
            join_token: token.map(|token| token.parse()).transpose()?,
            name: host.trim().to_owned(),
            cells: config.cells.clone(),
        })
    }
}

/// What a heartbeat says.
pub type Health = Arc<dyn Fn() -> Heartbeat + Send + Sync>;

/// What operators watch.
#[derive(Clone)]
pub struct Metrics {
    /// The version that is served, by cell.
    pub(super) version: IntGaugeVec,
    /// When a replica last was there to bring changes, in Unix seconds: the age of the config is the time since.
    pub(super) confirmed: IntGauge,
    /// Replicas that are streaming to this node.
    pub(super) streams: IntGauge,
    /// Starts at which the last good config was damaged: an alarm.
    pub(super) damaged: IntCounter,
    /// Messages that were not applied: forged, out of order, unreadable.
    pub(super) refused: IntCounter,
    /// Resources that did not compile.
    pub(super) uncompiled: IntCounter,
    /// Changes that could not be written to the disk: an alarm.
    pub(super) unkept: IntCounter,
}

impl Default for Metrics {
    fn default() -> Self {
        let counter = |name, help| IntCounter::new(name, help).expect("a valid name");
        let gauge = |name, help| IntGauge::new(name, help).expect("a valid name");
        let version = Opts::new("tollgate_config_version", "The version served, by cell");
        Self {
            version: IntGaugeVec::new(version, &["cell"]).expect("a valid name"),
            confirmed: gauge(
                "tollgate_config_confirmed_time_seconds",
                "When the control plane was last there to bring changes, Unix time",
            ),
            streams: gauge("tollgate_config_streams", "Control-plane replicas that are streaming"),
            damaged: counter(
                "tollgate_config_last_good_damaged_total",
                "Starts at which the last good config was damaged",
            ),
            refused: counter(
                "tollgate_config_updates_refused_total",
                "Updates not applied: forged, out of order, unreadable",
            ),
            uncompiled: counter(
                "tollgate_config_resources_refused_total",
                "Resources that did not compile",
            ),
            unkept: counter(
                "tollgate_config_updates_unkept_total",
                "Updates that could not be written to the disk",
            ),
        }
    }
}

impl Metrics {
    pub fn register(&self, registry: &prometheus::Registry) -> prometheus::Result<()> {
        registry.register(Box::new(self.version.clone()))?;
        registry.register(Box::new(self.confirmed.clone()))?;
        registry.register(Box::new(self.streams.clone()))?;
        for counter in [&self.damaged, &self.refused, &self.uncompiled, &self.unkept] {
            registry.register(Box::new(counter.clone()))?;
        }
        Ok(())
    }
}

/// The way configuration comes to this node.
pub struct ConfigStream {
    settings: Settings,
    metrics: Metrics,
    channels: watch::Sender<Arc<[Channel]>>,
    start: Start,
}

/// A node that was here before serves at once; a new one has to join first.
enum Start {
    Known(Box<(Identity, Applier)>),
    New(Publish),
}

/// Compiles into what the node's threads read.
pub fn publish_to(shared: Arc<Shared>) -> Publish {
    let retired = Retired::start();
    Box::new(move |resources, changed| {
        let (next, refusals) = compile::compile(resources, changed, &shared.snapshot.load());
        retired.take(shared.snapshot.swap(Arc::new(next)), changed);
        refusals
    })
}

impl ConfigStream {
    /// Publishes the last good config, if this node has one. Blocks while it does.
    pub fn open(settings: Settings, publish: Publish, metrics: Metrics) -> Result<Self, Error> {
        let directory = &settings.directory;
        disk::private_dir(directory)
            .map_err(|source| Error::Disk { path: directory.clone(), source })?;
        let start = match (Identity::load(directory)?, &settings.join_token) {
            (Some(identity), Some(token)) if !identity.is_of(token) => {
                tracing::warn!(
                    "the join token is of another installation than before: joining that one"
                );
                Start::New(publish)
            }
            (Some(identity), _) => {
                let applier = Applier::load(
                    directory,
                    &settings.cells,
                    &identity.secret(),
                    &Verifier::new(&identity.signing_key()),
                    publish,
                    metrics.clone(),
                );
                Start::Known(Box::new((identity, applier)))
            }
            (None, Some(_)) => Start::New(publish),
            (None, None) => return Err(Error::NoToken),
        };
        Ok(Self { settings, metrics, channels: watch::Sender::new(Arc::from([])), start })
    }

    /// A channel to each replica, authenticated as this node; none before it has joined.
    pub fn channels(&self) -> watch::Receiver<Arc<[Channel]>> {
        self.channels.subscribe()
    }

    /// Until `shutdown`. Fails only where a new node is not admitted.
    pub async fn run(self, health: Health, shutdown: CancellationToken) -> Result<(), Error> {
        let Self { settings, metrics, channels, start } = self;
        let (identity, applier) = match start {
            Start::Known(known) => {
                let (identity, applier) = *known;
                if identity.expired(SystemTime::now()) && settings.join_token.is_some() {
                    tracing::warn!(node.id = %identity.node(), "the certificate has expired: joining anew");
                    tokio::select! {
                        joined = join(&settings) => (joined?, applier),
                        () = shutdown.cancelled() => return Ok(()),
                    }
                } else {
                    (identity, applier)
                }
            }
            Start::New(publish) => {
                let joined = tokio::select! {
                    joined = join(&settings) => joined?,
                    () = shutdown.cancelled() => return Ok(()),
                };
                forget(&settings)?;
                let (directory, cells) = (&settings.directory, &settings.cells);
                let applier = Applier::load(
                    directory,
                    cells,
                    &joined.secret(),
                    &Verifier::new(&joined.signing_key()),
                    publish,
                    metrics.clone(),
                );
                (joined, applier)
            }
        };
        let tls = identity.tls()?;
        let open = |address: &String| channel::open(address, tls.clone());
        let all: Vec<Channel> =
            settings.control_planes.iter().map(open).collect::<Result<_, _>>()?;
        channels.send_replace(all.clone().into());

        let positions = applier.positions();
        let verifier = Verifier::new(&identity.signing_key());
        let (inputs, queue) = mpsc::channel(QUEUE_LEN_MAX);
        let applying = tokio::task::spawn_blocking(move || applier.run(queue));
        let mut tasks = JoinSet::new();
        for (address, channel) in settings.control_planes.iter().zip(&all) {
            let replica = Replica {
                address: address.clone(),
                channel: channel.clone(),
                positions: positions.clone(),
                verifier: verifier.clone(),
                inputs: inputs.clone(),
                health: health.clone(),
                metrics: metrics.clone(),
            };
            tasks.spawn(replica.follow());
        }
        drop(inputs);
        tokio::select! {
            () = renew(&identity, &settings.control_planes, &all) => {}
            () = shutdown.cancelled() => {}
        }
        tasks.shutdown().await;
        let _ = applying.await; // it ends when its sources have; a panic was logged where it happened
        Ok(())
    }
}

/// Tries every replica until one admits this node, or says that it will not.
async fn join(settings: &Settings) -> Result<Identity, Error> {
    let token = settings.join_token.as_ref().ok_or(Error::NoToken)?;
    let mut backoff = Backoff::new();
    loop {
        for address in &settings.control_planes {
            match Identity::join(&settings.directory, address, token, &settings.name).await {
                Ok(identity) => {
                    tracing::info!(node.id = %identity.node(), "joined");
                    return Ok(identity);
                }
                Err(Error::Refused { status, .. }) if is_passing(&status) => {
                    tracing::warn!(address, reason = causes(&*status), "cannot join yet");
                }
                Err(error) => return Err(error),
            }
        }
        backoff.wait().await;
    }
}

/// What another installation sent is of no use in this one.
fn forget(settings: &Settings) -> Result<(), Error> {
    let directory = &settings.directory;
    let forgotten = settings.cells.iter().try_for_each(|cell| last_good::remove(directory, cell));
    forgotten.map_err(|source| Error::Disk { path: directory.clone(), source })
}

/// Whether it may be otherwise in a moment. A peer that is not who the join token names will not be.
fn is_passing(status: &Status) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(status);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && let Some(inner) = io.get_ref()
            && inner.is::<rustls::Error>()
        {
            return false;
        }
        cause = error.source();
    }
    matches!(
        status.code(),
        tonic::Code::Unavailable
            | tonic::Code::Unknown
            | tonic::Code::Internal
            | tonic::Code::DeadlineExceeded
            | tonic::Code::Cancelled
            | tonic::Code::ResourceExhausted
    )
}

/// Renews the certificate at two thirds of its life, from whichever replica gives one. For ever.
async fn renew(identity: &Identity, addresses: &[String], channels: &[Channel]) {
    loop {
        let mut fresh_for = identity.fresh_for(SystemTime::now());
        while !fresh_for.is_zero() {
            // In steps: a machine that was asleep must notice.
            tokio::time::sleep(fresh_for.min(RENEWAL_CHECK_MAX)).await;
            fresh_for = identity.fresh_for(SystemTime::now());
        }
        let mut backoff = Backoff::new();
        for (address, channel) in addresses.iter().zip(channels).cycle() {
            match identity.renew(address, channel.clone()).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(
                        error = causes(&error),
                        "the node's certificate could not be renewed"
                    );
                }
            }
            backoff.wait().await;
        }
        tracing::info!(node.id = %identity.node(), "the node's certificate was renewed");
    }
}

/// One replica, for as long as the node runs.
struct Replica {
    address: String,
    channel: Channel,
    positions: Positions,
    verifier: Verifier,
    inputs: mpsc::Sender<Input>,
    health: Health,
    metrics: Metrics,
}

impl Replica {
    async fn follow(self) {
        let mut backoff = Backoff::new();
        loop {
            let started = Instant::now();
            let Err(status) = self.stream().await else { return };
            if started.elapsed() > BACKOFF_MAX {
                backoff.reset();
            }
            tracing::warn!(
                address = self.address,
                reason = causes(&status),
                "no config stream from this replica; what is held is served on"
            );
            backoff.wait().await;
        }
    }

    /// Ends with an error, or when the node does.
    async fn stream(&self) -> Result<(), Status> {
        let mut client = ConfigStreamClient::new(self.channel.clone())
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let (out, outgoing) = mpsc::channel(OUTGOING_MAX);
        let positions = self.positions.get();
        let cells: Vec<String> = positions.keys().cloned().collect();
        let position = |(cell, version)| CellPosition { cell, version };
        let subscribe = Subscribe {
            cells: positions.into_iter().map(position).collect(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        say(&out, node_message::Kind::Subscribe(subscribe)).await?;
        let mut updates = client.subscribe(ReceiverStream::new(outgoing)).await?.into_inner();
        tracing::info!(address = self.address, "the config stream is up");
        let _streaming = Streaming::new(&self.metrics);

        let source = Arc::new(Source::default());
        let mut receiver =
            Receiver { replica: self, source: &source, assemblies: HashMap::new(), cells };
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        loop {
            tokio::select! {
                update = updates.message() => {
                    let update = update?.ok_or_else(|| Status::unavailable("the replica ended the stream"))?;
                    receiver.receive(update).await.inspect_err(|_| self.metrics.refused.inc())?;
                }
                () = source.news.notified() => {
                    for message in source.take() {
                        out.send(message).await.map_err(gone)?;
                    }
                }
                _ = heartbeat.tick() => {
                    say(&out, node_message::Kind::Heartbeat((self.health)())).await?;
                    self.metrics.confirm();
                }
            }
        }
    }
}

/// What one stream has brought so far.
struct Receiver<'a> {
    replica: &'a Replica,
    source: &'a Arc<Source>,
    assemblies: HashMap<String, Assembly>,
    cells: Vec<String>,
}

impl Receiver<'_> {
    /// Takes what the control plane signed, for a cell that was asked for, in the order of its chunks.
    /// Anything else ends the stream.
    async fn receive(&mut self, signed: Signed) -> Result<(), Status> {
        let refused = |error: &dyn std::error::Error| Status::data_loss(error.to_string());
        let update = self.replica.verifier.open(&signed).map_err(|error| refused(&error))?;
        let (cell, version) = (update.cell, update.version);
        if !self.cells.contains(&cell) {
            return Err(Status::data_loss("an update of a cell that this node did not ask for"));
        }
        let change = match update.kind {
            Some(update::Kind::Delta(delta)) => Change::Delta { version, delta, signed },
            Some(update::Kind::Snapshot(chunk)) => {
                let assembly = self.assemblies.entry(cell.clone()).or_default();
                let pushed = assembly.push(version, chunk, signed);
                let Some(whole) = pushed.map_err(|error| refused(&error))? else { return Ok(()) };
                Change::Snapshot(whole)
            }
            None => return Err(Status::data_loss("an update of an unknown kind")),
        };
        let input = Input { source: self.source.clone(), cell, change };
        self.replica.inputs.send(input).await.map_err(|_| Status::cancelled("the node is stopping"))
    }
}

/// Counts a stream for as long as it is up.
struct Streaming<'a>(&'a Metrics);

impl<'a> Streaming<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.streams.inc();
        metrics.confirm();
        Self(metrics)
    }
}

impl Drop for Streaming<'_> {
    fn drop(&mut self) {
        self.0.streams.dec();
    }
}

impl Metrics {
    fn confirm(&self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.confirmed.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    }
}

async fn say(out: &mpsc::Sender<NodeMessage>, kind: node_message::Kind) -> Result<(), Status> {
    out.send(NodeMessage { kind: Some(kind) }).await.map_err(gone)
}

fn gone(_: mpsc::error::SendError<NodeMessage>) -> Status {
    Status::unavailable("the replica reads no more")
}

/// Pauses that double, each with jitter, so that nodes do not come back all at once.
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) const MAX: Duration = BACKOFF_MAX;

    pub(crate) fn new() -> Self {
        Self(BACKOFF_FIRST)
    }

    pub(crate) fn reset(&mut self) {
        self.0 = BACKOFF_FIRST;
    }

    pub(crate) async fn wait(&mut self) {
        let jitter = rand::rng().random_range(0.5..1.0);
        tokio::time::sleep(self.0.mul_f64(jitter)).await;
        self.0 = (self.0 * 2).min(BACKOFF_MAX);
    }
}

#[cfg(test)]
mod tests {
    use proto::config::v1::{Delta, Update};
    use tonic::transport::Endpoint;

    use super::super::signature::tests::Signer;
    use super::*;

    #[tokio::test]
    async fn a_forged_cut_foreign_or_reordered_message_ends_the_stream_and_is_not_applied() {
        let signer = Signer::new();
        let good = signer.delta(5, "a");
        let mut cut = good.clone();
        cut.update.truncate(10);
        let mut swapped = good.clone();
        swapped.signature = signer.delta(6, "a").signature;
        let of = |cell: &str, kind| Update { cell: cell.to_owned(), version: 5, kind };
        let delta = Some(update::Kind::Delta(Delta::default()));
        let huge = Update { cell: "x".repeat(UPDATE_BYTES_MAX), version: 5, kind: None };
        for (what, first, then) in [
            ("signed by another", None, Signer::new().delta(5, "a")),
            ("cut", None, cut),
            ("with another's signature", None, swapped),
            ("for another cell", None, signer.sign(&of("east", delta))),
            ("of an unknown kind", None, signer.sign(&of("default", None))),
            ("too long", None, signer.sign(&huge)),
            ("a later chunk first", None, signer.chunk(5, 1, false, "a")),
            ("a chunk twice", Some(signer.chunk(5, 0, false, "a")), signer.chunk(6, 1, true, "a")),
        ] {
            let (inputs, mut applied) = mpsc::channel(4);
            let replica = replica(&signer, inputs);
            let source = Arc::default();
            let mut receiver = receiver(&replica, &source);
            if let Some(first) = first {
                receiver.receive(first).await.unwrap();
            }
            assert!(receiver.receive(then).await.is_err(), "{what}");
            assert!(applied.try_recv().is_err(), "{what}");
        }
    }

    #[tokio::test]
    async fn what_the_control_plane_sent_is_passed_on_in_order() {
        let signer = Signer::new();
        let (inputs, mut applied) = mpsc::channel(4);
        let replica = replica(&signer, inputs);
        let source = Arc::default();
        let mut receiver = receiver(&replica, &source);
        for message in
            [signer.chunk(5, 0, false, "a"), signer.chunk(5, 1, true, "b"), signer.delta(6, "c")]
        {
            receiver.receive(message).await.unwrap();
        }
        let snapshot = applied.try_recv().unwrap().change;
        let Change::Snapshot(whole) = snapshot else { panic!("not the snapshot") };
        assert_eq!((whole.version, whole.resources.len(), whole.signed.len()), (5, 2, 2));
        let delta = applied.try_recv().unwrap().change;
        assert!(matches!(delta, Change::Delta { version: 6, .. }));
        assert!(applied.try_recv().is_err());
    }

    fn replica(signer: &Signer, inputs: mpsc::Sender<Input>) -> Replica {
        Replica {
            address: "https://127.0.0.1:1".to_owned(),
            channel: Endpoint::from_static("http://127.0.0.1:1").connect_lazy(),
            positions: Positions::default(),
            verifier: signer.verifier(),
            inputs,
            health: Arc::new(Heartbeat::default),
            metrics: Metrics::default(),
        }
    }

    fn receiver<'a>(replica: &'a Replica, source: &'a Arc<Source>) -> Receiver<'a> {
        let cells = vec!["default".to_owned()];
        Receiver { replica, source, assemblies: HashMap::new(), cells }
    }
}
