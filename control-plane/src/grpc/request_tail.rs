//! Requests as they end: nodes are told which are watched here, and send those.

use std::pin::Pin;

use proto::tail::v1::request_tail_server::RequestTail;
use proto::tail::v1::{Batch, Tail, Watched};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::AuthenticatedNode;
use crate::app::App;
use crate::domain;
use crate::ids::NodeId;

/// A node sends at most 25 requests in one batch.
const BATCH_LEN_MAX: usize = 100;
/// What is watched changes seldom; a node that takes none of it is not waited for.
const QUEUE_LEN_MAX: usize = 4;

pub struct Service {
    pub app: App,
    pub shutdown: CancellationToken,
}

#[tonic::async_trait]
impl RequestTail for Service {
    type FollowStream = Pin<Box<ReceiverStream<Result<Watched, Status>>>>;

    async fn follow(
        &self,
        request: Request<Streaming<Batch>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let node = NodeId(AuthenticatedNode::of(&request)?.0);
        let cells = domain::node::cells(&self.app, node).await?;
        let (out, stream) = mpsc::channel(QUEUE_LEN_MAX);
        let (app, shutdown) = (self.app.clone(), self.shutdown.clone());
        let batches = request.into_inner();
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = follow(&app, node, &cells, batches, &out) => ended,
                () = shutdown.cancelled() => Err(Status::unavailable("this replica is going away")),
            };
            if let Err(status) = ended {
                let _ = out.try_send(Err(status));
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// Until the node leaves or breaks the protocol.
async fn follow(
    app: &App,
    node: NodeId,
    cells: &[String],
    mut batches: Streaming<Batch>,
    out: &mpsc::Sender<Result<Watched, Status>>,
) -> Result<(), Status> {
    let tails = &app.live.tails;
    let mut news = tails.news();
    let mut told: Vec<Tail> = Vec::new();
    loop {
        let watched = tails.of_cells(cells);
        if watched != told {
            told.clone_from(&watched);
            let sent = out.send(Ok(Watched { tails: watched })).await;
            sent.map_err(|_| Status::cancelled("the node left"))?;
        }
        tokio::select! {
            changed = news.changed() => {
                changed.map_err(|_| Status::unavailable("this replica is going away"))?;
            }
            batch = batches.message() => {
                let Some(batch) = batch? else { return Ok(()) };
                if batch.requests.len() > BATCH_LEN_MAX {
                    return Err(Status::invalid_argument("a batch has at most 100 requests"));
                }
                tails.show(node, cells, batch);
            }
        }
    }
}
