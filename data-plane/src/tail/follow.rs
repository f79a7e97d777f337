//! One stream to each replica: it says what is watched there, and gets what ends here.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proto::tail::v1::Batch;
use proto::tail::v1::request_tail_client::RequestTailClient;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use super::{Tails, Watching};
use crate::replicas;

/// Each tail's requests leave together, four times a second, 100 a second in the long run.
const BATCH_EVERY: Duration = Duration::from_millis(250);
const BATCH_LEN_MAX: usize = 25;
/// More tails of one replica are not followed.
const TAILS_MAX: usize = 512;
/// Batches that wait for a replica which reads slowly.
const OUTGOING_MAX: usize = 16;

/// Follows every replica that there is a channel to.
pub(crate) async fn follow(tails: Arc<Tails>, channels: watch::Receiver<Arc<[Channel]>>) {
    let stream = move |channel| {
        let tails = tails.clone();
        async move { stream(&tails, channel).await }
    };
    replicas::each(channels, stream).await;
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
