//! Usage comes in: each segment of a node's journal is answered after its transaction committed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use proto::usage::v1::usage_intake_server::UsageIntake;
use proto::usage::v1::{
    HighWater, OpenEpochRequest, OpenEpochResponse, Outcome, Segment, SegmentAck,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::AuthenticatedNode;
use super::listener::Peer;
use crate::app::App;
use crate::error::Result as Outcomes;
use crate::ids::NodeId;
use crate::ledger::intake::{self, Place, Shipped};

/// What is queued is taken in one transaction, up to so many segments …
const BATCH_MAX: usize = 16;
/// … and so many bytes.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Connections whose epoch is remembered. Past it all are forgotten, and clones are told apart by hashes alone.
const LIVE_MAX: usize = 10_000;

pub struct Service {
    app: App,
    /// As [`Changes::line`](crate::snapshot::changes::Changes::line) has it.
    line: watch::Receiver<Option<String>>,
    shutdown: CancellationToken,
    /// The epoch of each connection that ships, or is about to.
    live: Arc<Mutex<HashMap<SocketAddr, Vec<u8>>>>,
}

impl Service {
    pub fn new(
        app: App,
        line: watch::Receiver<Option<String>>,
        shutdown: CancellationToken,
    ) -> Self {
        Self { app, line, shutdown, live: Arc::default() }
    }
}

#[tonic::async_trait]
impl UsageIntake for Service {
    async fn open_epoch(
        &self,
        request: Request<OpenEpochRequest>,
    ) -> Result<Response<OpenEpochResponse>, Status> {
        let node = NodeId(AuthenticatedNode::of(&request)?.0);
        let address = peer(&request)?;
        let epoch = request.into_inner().epoch;
        let drawn: [u8; 16] = epoch
            .as_slice()
            .try_into()
            .map_err(|_| Status::invalid_argument("an epoch has 16 bytes"))?;
        let taken =
            lock(&self.live).iter().any(|(other, theirs)| *other != address && *theirs == epoch);
        let marks = if taken { None } else { intake::open_epoch(&self.app, node, drawn).await? };
        let Some(marks) = marks else {
            tracing::warn!(node.id = %node, "a node's epoch is another's; it must draw a new one");
            return Ok(Response::new(OpenEpochResponse { redraw: true, high_water: Vec::new() }));
        };
        let mut live = lock(&self.live);
        if live.len() >= LIVE_MAX {
            live.clear();
        }
        live.insert(address, epoch);
        let high_water = marks
            .into_iter()
            .map(|mark| HighWater {
                epoch: mark.epoch.to_vec(),
                thread: mark.thread.unsigned_abs(),
                counter: mark.counter.unsigned_abs(),
            })
            .collect();
        Ok(Response::new(OpenEpochResponse { redraw: false, high_water }))
    }

    type ShipStream = Pin<Box<ReceiverStream<Result<SegmentAck, Status>>>>;

    async fn ship(
        &self,
        request: Request<Streaming<Segment>>,
    ) -> Result<Response<Self::ShipStream>, Status> {
        let node = NodeId(AuthenticatedNode::of(&request)?.0);
        let shipping = Shipping { address: peer(&request)?, live: self.live.clone() };
        let (acks, out) = mpsc::channel(BATCH_MAX);
        let (app, shutdown) = (self.app.clone(), self.shutdown.clone());
        let mut line = self.line.clone();
        line.mark_unchanged();
        tokio::spawn(async move {
            let _shipping = shipping;
            let segments = request.into_inner();
            let ended = tokio::select! {
                biased;
                ended = take_all(&app, node, segments, &acks, shutdown) => ended,
                () = moved(line) => Err(Status::unavailable(MOVED)),
            };
            if let Err(status) = ended {
                tracing::info!(node.id = %node, reason = status.message(), "a node's usage stream was ended");
                let _ = acks.send(Err(status)).await; // the node may have gone
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(out))))
    }
}

/// A node that opens its epoch again is told what the ledger has of it now, and sends the rest.
const MOVED: &str = "the database is not where it was; open the epoch again";

/// Until the database is another one than it was.
async fn moved(mut line: watch::Receiver<Option<String>>) {
    if line.changed().await.is_err() {
        std::future::pending::<()>().await; // this replica goes away, which ends the stream
    }
}

/// Forgets the connection's epoch when its stream ends.
struct Shipping {
    address: SocketAddr,
    live: Arc<Mutex<HashMap<SocketAddr, Vec<u8>>>>,
}

impl Drop for Shipping {
    fn drop(&mut self) {
        lock(&self.live).remove(&self.address);
    }
}

/// Takes segments in, a batch a transaction, until the node ends the stream or this replica goes away. A batch
/// that has begun is answered.
async fn take_all(
    app: &App,
    node: NodeId,
    mut segments: Streaming<Segment>,
    acks: &mpsc::Sender<Result<SegmentAck, Status>>,
    shutdown: CancellationToken,
) -> Result<(), Status> {
    loop {
        let first = tokio::select! {
            first = segments.message() => first?,
            () = shutdown.cancelled() => return Err(Status::unavailable("this replica is going away")),
        };
        let Some(first) = first else { return Ok(()) };
        let mut bytes = first.content.len();
        let mut batch = vec![shipped(first)?];
        while batch.len() < BATCH_MAX
            && bytes < BATCH_BYTES_MAX
            && let Some(next) = segments.message().now_or_never()
            && let Some(next) = next?
        {
            bytes += next.content.len();
            batch.push(shipped(next)?);
        }
        let outcomes = intake::take(app, node, &batch).await;
        for ack in answers(&batch, outcomes) {
            if acks.send(Ok(ack)).await.is_err() {
                return Ok(()); // the node has gone; it will send again
            }
        }
    }
}

fn shipped(segment: Segment) -> Result<Shipped, Status> {
    let wrong = |what: &str| Status::invalid_argument(format!("a segment's {what} is wrong"));
    Ok(Shipped {
        place: Place {
            epoch: segment.epoch.try_into().map_err(|_| wrong("epoch"))?,
            thread: segment.thread.try_into().map_err(|_| wrong("thread"))?,
            counter: segment.counter.try_into().map_err(|_| wrong("counter"))?,
        },
        sha256: segment.sha256.try_into().map_err(|_| wrong("sha256"))?,
        content: segment.content,
    })
}

fn answers(batch: &[Shipped], outcomes: Outcomes<Vec<intake::Outcome>>) -> Vec<SegmentAck> {
    let outcomes = match outcomes {
        Ok(outcomes) => outcomes
            .into_iter()
            .map(|outcome| match outcome {
                intake::Outcome::Applied => (Outcome::Applied, String::new()),
                intake::Outcome::Duplicate => (Outcome::Duplicate, String::new()),
                intake::Outcome::Quarantined(reason) => (Outcome::Quarantined, reason),
            })
            .collect(),
        Err(error) => {
            tracing::error!(?error, "usage was not taken in; the node will send it again");
            vec![(Outcome::Retry, "the ledger cannot take it now".to_owned()); batch.len()]
        }
    };
    batch
        .iter()
        .zip(outcomes)
        .map(|(shipped, (outcome, reason))| SegmentAck {
            epoch: shipped.place.epoch.to_vec(),
            thread: shipped.place.thread.unsigned_abs(),
            counter: shipped.place.counter.unsigned_abs(),
            outcome: outcome.into(),
            reason,
        })
        .collect()
}

fn peer<T>(request: &Request<T>) -> Result<SocketAddr, Status> {
    let peer = request.extensions().get::<Peer>();
    peer.map(|peer| peer.address).ok_or_else(|| Status::internal("a connection without a peer"))
}

fn lock(
    live: &Mutex<HashMap<SocketAddr, Vec<u8>>>,
) -> MutexGuard<'_, HashMap<SocketAddr, Vec<u8>>> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}
