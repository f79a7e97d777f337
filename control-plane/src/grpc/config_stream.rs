//! The config stream's server side: nodes join, renew, and are sent what they lack of their cells.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use proto::config::v1::config_stream_server::ConfigStream;
use proto::config::v1::{
    Ack, CellPosition, Certificate, JoinRequest, Nack, NodeMessage, RenewCertificateRequest,
    Signed, SnapshotRequest, Subscribe, node_message,
};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::AuthenticatedNode;
use crate::access::authority::{Authority, Issued};
use crate::app::App;
use crate::domain;
use crate::ids::NodeId;
use crate::snapshot::changes::{Cell, Changes, Next};

/// Heartbeats come each 5 s; a node that is silent for this long is cut.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Messages that wait for a slow node. The others are not held up.
const QUEUE_LEN_MAX: usize = 8;
const CELLS_MAX: usize = 64;
const JOINS_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("not zero");
const JOINS_AT_ONCE: NonZeroU32 = NonZeroU32::new(100).expect("not zero");

pub struct Service {
    pub app: App,
    pub authority: Authority,
    pub changes: Changes,
    pub shutdown: CancellationToken,
    pub joins: DefaultDirectRateLimiter,
}

/// How many may try to join a replica: a stranger who guesses secrets must not keep the database busy.
pub fn joins() -> DefaultDirectRateLimiter {
    RateLimiter::direct(Quota::per_second(JOINS_PER_SECOND).allow_burst(JOINS_AT_ONCE))
}

#[tonic::async_trait]
impl ConfigStream for Service {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<Certificate>, Status> {
        if self.joins.check().is_err() {
            return Err(Status::resource_exhausted("too many nodes join at once; try again"));
        }
        let JoinRequest { secret, certificate_request, name } = request.into_inner();
        let now = self.app.clock.now();
        let certify = |node| self.authority.certify_node(node, &certificate_request, now);
        let (node, issued) = domain::node::join(&self.app, &secret, &name, certify).await?;
        tracing::info!(node.id = %node, node.name = name, "a node joined");
        Ok(Response::new(self.certificate(node, issued)))
    }

    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<Certificate>, Status> {
        let node = NodeId(AuthenticatedNode::of(&request)?.0);
        let wanted = request.into_inner().certificate_request;
        let now = self.app.clock.now();
        let certify = |node| self.authority.certify_node(node, &wanted, now);
        let issued = domain::node::renew(&self.app, node, certify).await?;
        tracing::info!(node.id = %node, expires_at = %issued.expires_at, "a node's certificate was renewed");
        Ok(Response::new(self.certificate(node, issued)))
    }

    type SubscribeStream = Pin<Box<ReceiverStream<Result<Signed, Status>>>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<NodeMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let node = NodeId(AuthenticatedNode::of(&request)?.0);
        let mut messages = request.into_inner();
        let first = tokio::time::timeout(SILENCE_MAX, messages.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no message came"))??;
        let Some(node_message::Kind::Subscribe(wanted)) = first.and_then(|first| first.kind) else {
            return Err(Status::invalid_argument("the first message must be `subscribe`"));
        };
        let cells = self.cells(node, wanted).await?;
        let (out, stream) = mpsc::channel(QUEUE_LEN_MAX);
        let subscription = Subscription {
            app: self.app.clone(),
            changes: self.changes.clone(),
            node,
            again: cells.iter().map(|(cell, _)| (cell.name.clone(), Arc::default())).collect(),
        };
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = subscription.run(cells, messages, &out) => ended,
                () = shutdown.cancelled() => Err(Status::unavailable("this replica is going away")),
            };
            match ended {
                Ok(()) => tracing::info!(node.id = %node, "a node's stream ended"),
                Err(status) => {
                    tracing::info!(node.id = %node, reason = status.message(), "a node's stream was ended");
                    // A node whose queue is full learns it from the end of the stream.
                    let _ = out.try_send(Err(status));
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

impl Service {
    fn certificate(&self, node: NodeId, issued: Issued) -> Certificate {
        Certificate {
            node_id: node.to_string(),
            certificate: issued.certificate,
            ca_certificate: self.authority.certificate().to_vec(),
            signing_key: self.changes.signing_key().to_vec(),
        }
    }

    /// The cells to send, each with the version from which it goes on; 0 is a snapshot.
    async fn cells(
        &self,
        node: NodeId,
        wanted: Subscribe,
    ) -> Result<Vec<(Arc<Cell>, u64)>, Status> {
        let Subscribe { cells, software_version } = wanted;
        let mut names: Vec<String> = cells.iter().map(|position| position.cell.clone()).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() || names.len() > CELLS_MAX || names.len() != cells.len() {
            return Err(Status::invalid_argument("name 1 to 64 cells, each once"));
        }
        domain::node::subscribe(&self.app, node, &names, &software_version).await?;
        let mut found = Vec::with_capacity(cells.len());
        for CellPosition { cell, version } in cells {
            let cell = self.changes.cell(&cell).ok_or_else(|| Status::not_found("no such cell"))?;
            let ahead = version > cell.head();
            if ahead {
                self.changes.pass(&cell, version).await?;
            }
            found.push((cell, version));
        }
        tracing::info!(node.id = %node, version = software_version, "a node subscribed");
        Ok(found)
    }
}

/// One node's stream.
struct Subscription {
    app: App,
    changes: Changes,
    node: NodeId,
    /// Which cells the node asked for anew.
    again: HashMap<String, Arc<Notify>>,
}

impl Subscription {
    /// Until the node leaves, falls silent or breaks the protocol.
    async fn run(
        &self,
        cells: Vec<(Arc<Cell>, u64)>,
        messages: Streaming<NodeMessage>,
        out: &mpsc::Sender<Result<Signed, Status>>,
    ) -> Result<(), Status> {
        let mut sending = JoinSet::new();
        for (cell, version) in cells {
            let again = self.again[&cell.name].clone();
            sending.spawn(send(self.changes.clone(), cell, version, again, out.clone()));
        }
        tokio::select! {
            received = self.receive(messages) => received,
            Some(sent) = sending.join_next() => {
                sent.unwrap_or_else(|panic| Err(Status::internal(panic.to_string())))
            }
        }
    }

    async fn receive(&self, mut messages: Streaming<NodeMessage>) -> Result<(), Status> {
        loop {
            let message = tokio::time::timeout(SILENCE_MAX, messages.message())
                .await
                .map_err(|_| Status::deadline_exceeded("no heartbeat came"))?;
            let Some(message) = message? else { return Ok(()) };
            match message.kind {
                Some(node_message::Kind::Ack(Ack { cell, version })) => {
                    self.asked_for(&cell)?;
                    domain::node::acknowledge(&self.app, self.node, &cell, version).await?;
                }
                Some(node_message::Kind::Nack(nack)) => self.refused(nack).await?,
                Some(node_message::Kind::Heartbeat(heartbeat)) => {
                    tracing::debug!(
                        node.id = %self.node,
                        unshipped_segments = heartbeat.unshipped_segments,
                        requests_in_flight = heartbeat.requests_in_flight,
                        "a node is alive"
                    );
                    domain::node::heartbeat(&self.app, self.node).await?;
                }
                Some(node_message::Kind::SnapshotRequest(SnapshotRequest { cell })) => {
                    self.asked_for(&cell)?.notify_one();
                }
                Some(node_message::Kind::Subscribe(_)) => {
                    return Err(Status::invalid_argument("a stream subscribes once"));
                }
                None => return Err(Status::invalid_argument("a message of an unknown kind")),
            }
        }
    }

    async fn refused(&self, nack: Nack) -> Result<(), Status> {
        let Nack { cell, version, resource, reason } = nack;
        self.asked_for(&cell)?;
        let resource = resource.and_then(|name| name.kind).map(|name| name.to_string());
        let resource = resource.unwrap_or_else(|| "a resource of an unknown kind".to_owned());
        tracing::warn!(node.id = %self.node, cell, version, resource, reason, "a node refused a resource");
        domain::node::refuse(&self.app, self.node, &cell, version, &resource, &reason).await?;
        Ok(())
    }

    fn asked_for(&self, cell: &str) -> Result<&Arc<Notify>, Status> {
        self.again
            .get(cell)
            .ok_or_else(|| Status::invalid_argument("a cell that this stream did not subscribe to"))
    }
}

/// Sends one cell from `version` on, for ever; waits while the node is slow.
async fn send(
    changes: Changes,
    cell: Arc<Cell>,
    version: u64,
    again: Arc<Notify>,
    out: mpsc::Sender<Result<Signed, Status>>,
) -> Result<(), Status> {
    let gone = |_| Status::cancelled("the node left");
    let mut news = cell.follow();
    // A node that holds nothing, or is further than we are, begins anew.
    let mut position = (version > 0 && version <= cell.head()).then_some(version);
    loop {
        let Some(held) = position else {
            let snapshot = changes.snapshot(&cell).await?;
            for chunk in &snapshot.chunks {
                out.send(Ok(chunk.clone())).await.map_err(gone)?;
            }
            position = Some(snapshot.version);
            continue;
        };
        match changes.after(&cell, held).await? {
            Next::Gap => position = None,
            Next::Updates(updates) if updates.is_empty() => {
                tokio::select! {
                    arrived = news.wait_for(|head| *head > held) => {
                        arrived.map_err(|_| Status::unavailable("this replica is going away"))?;
                    }
                    () = again.notified() => position = None,
                }
            }
            Next::Updates(updates) => {
                for (version, update) in updates {
                    out.send(Ok(Signed::clone(&update))).await.map_err(gone)?;
                    position = Some(version);
                }
            }
        }
    }
}
