//! A stream of one kind to each replica of the control plane, begun anew where it ends.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet, time::Instant};
use tonic::{Code, Status, transport::Channel};

use crate::snapshot::stream::Backoff;

/// A replica of a release that does not know this kind is asked again after this.
const ASK_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// Holds one to every replica that there is a channel to; a node that has not joined yet has none. `stream` lasts as
/// long as it does, and gives why it ended.
pub(crate) async fn each<F>(
    mut channels: watch::Receiver<Arc<[Channel]>>,
    stream: impl Fn(Channel) -> F + Clone + Send + 'static,
) where
    F: Future<Output = Status> + Send + 'static,
{
    loop {
        let mut replicas = JoinSet::new();
        for channel in channels.borrow_and_update().iter() {
            replicas.spawn(hold(channel.clone(), stream.clone()));
        }
        if channels.changed().await.is_err() {
            // No new channels will come; these still lead to the replicas.
            replicas.join_all().await;
            return;
        }
    }
}

async fn hold<F: Future<Output = Status>>(channel: Channel, stream: impl Fn(Channel) -> F) {
    let mut backoff = Backoff::new();
    loop {
        let started = Instant::now();
        let status = stream(channel.clone()).await;
        if started.elapsed() > Backoff::MAX {
            backoff.reset();
        }
        // That a replica is away is said where its config stream ends.
        tracing::debug!(reason = status.message(), "a replica's stream ended");
        if status.code() == Code::Unimplemented {
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        } else {
            backoff.wait().await;
        }
    }
}
