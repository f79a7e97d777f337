//! One stream to each replica: it says what is watched there, and gets what ends here.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proto::tail::v1::Batch;
use proto::tail::v1::request_tail_client::RequestTailClient;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{Tails, Watching};
use crate::snapshot::stream::Backoff;

/// Each tail's requests leave together, four times a second, 100 a second in the long run.
const BATCH_EVERY: Duration = Duration::from_millis(250);
const BATCH_LEN_MAX: usize = 25;
/// More tails of one replica are not followed.
const TAILS_MAX: usize = 512;
/// Batches that wait for a replica which reads slowly.
const OUTGOING_MAX: usize = 16;
/// A replica of a release that knows no tails is asked again after this.
const ASK_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// Follows every replica that there is a channel to; a node that has not joined yet has none.
pub(crate) async fn follow(tails: Arc<Tails>, mut channels: watch::Receiver<Arc<[Channel]>>) {
    loop {
        let mut replicas = JoinSet::new();
        for channel in channels.borrow_and_update().iter() {
            replicas.spawn(follow_one(tails.clone(), channel.clone()));
        }
        if channels.changed().await.is_err() {
            // No new channels will come; these still lead to the replicas.
            replicas.join_all().await;
            return;
        }
    }
}

async fn follow_one(tails: Arc<Tails>, channel: Channel) {
    let mut backoff = Backoff::new();
    loop {
        let started = Instant::now();
        let status = stream(&tails, channel.clone()).await;
        if started.elapsed() > Backoff::MAX {
            backoff.reset();
        }
        // That a replica is away is said where its config stream ends.
        tracing::debug!(reason = status.message(), "a replica's watchers are not followed");
        if status.code() == Code::Unimplemented {
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        } else {
            backoff.wait().await;
        }
    }
}

/// Until the stream ends; why it did.
async fn stream(tails: &Tails, channel: Channel) -> Status {
    let (out, outgoing) = mpsc::channel(OUTGOING_MAX);
    let mut client = RequestTailClient::new(channel);
    let mut wanted = match client.follow(ReceiverStream::new(outgoing)).await {
        Ok(wanted) => wanted.into_inner(),
        Err(status) => return status,
    };
    let stream = tails.open();
    let mut watched: Vec<Watching> = Vec::new();
    let mut batches = interval(BATCH_EVERY);
    batches.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            news = wanted.message() => match news {
                Ok(Some(mut news)) => {
                    news.tails.truncate(TAILS_MAX);
                    stream.watch(news.tails, &mut watched);
                }
                Ok(None) => return Status::unavailable("the replica ended the stream"),
                Err(status) => return status,
            },
            _ = batches.tick(), if !watched.is_empty() => {
                for batch in watched.iter_mut().filter_map(Watching::batch) {
                    if out.send(batch).await.is_err() {
                        return Status::unavailable("the replica reads no more");
                    }
                }
            }
        }
    }
}

impl Watching {
    /// What came since the last one; none where nothing did.
    fn batch(&mut self) -> Option<Batch> {
        let dropped = self.watch.dropped.swap(0, Ordering::Relaxed);
        let next = std::iter::from_fn(|| self.requests.try_recv().ok());
        let requests: Vec<_> = next.take(BATCH_LEN_MAX).collect();
        let news = dropped > 0 || !requests.is_empty();
        news.then(|| Batch { tail_id: self.watch.tail.id, requests, dropped })
    }
}
