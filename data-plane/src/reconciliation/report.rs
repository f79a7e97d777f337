//! What changed is told to the control plane, by whichever of its replicas takes it.

use std::{sync::Arc, time::Duration};

use proto::reconciliation::{
    COUNTS_MAX,
    v1::{CountReport, reconciliation_client::ReconciliationClient},
};
use tokio::{sync::watch, time::timeout};
use tonic::{Code, Status, transport::Channel};

use super::Counts;
use crate::{node::now_ms, snapshot::stream::Backoff};

const EVERY: Duration = Duration::from_secs(10);
/// A replica that answers nothing for so long is no better than one that is away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// A control plane of a release that takes no reports is asked again after this.
const ASK_AGAIN_AFTER: Duration = Duration::from_mins(10);
/// Between a request's end and its place in the queue of the log, at most.
const QUEUED_WITHIN_MS: u64 = 1000;

/// Reports for as long as it is polled.
pub(super) async fn report(counts: Arc<Counts>, mut channels: watch::Receiver<Arc<[Channel]>>) {
    if let Some(log) = &counts.log {
        log.report_all_again(); // another uplink may have had it on its way
    }
    let mut ending = counts.ending.subscribe();
    let mut backoff = Backoff::new();
    loop {
        let now = channels.borrow_and_update().clone();
        let last = *ending.borrow_and_update();
        let told = tell_any(&counts, &now, last).await;
        match told {
            Ok(()) if last => {
                counts.ended.notify_waiters();
                return std::future::pending().await;
            }
            Ok(()) => {
                backoff.reset();
                wait(EVERY, &mut ending).await;
            }
            Err(status) => {
                tracing::debug!(
                    reason = status.message(),
                    "counts were not reported; they will be"
                );
                if status.code() == Code::Unimplemented {
                    wait(ASK_AGAIN_AFTER, &mut ending).await;
                } else {
                    backoff.wait().await;
                }
            }
        }
    }
}

/// So long, or until everything is counted.
async fn wait(time: Duration, ending: &mut watch::Receiver<bool>) {
    let _ = timeout(time, ending.changed()).await;
}

/// Tells the first replica that takes it.
async fn tell_any(counts: &Counts, channels: &[Channel], last: bool) -> Result<(), Status> {
    let mut failed = Status::unavailable("there is no control plane to report to yet");
    for channel in channels {
        let mut client = ReconciliationClient::new(channel.clone());
        match timeout(ANSWER_TIMEOUT, tell(counts, &mut client, last)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(status)) => failed = status,
            Err(_) => failed = Status::deadline_exceeded("the replica did not answer"),
        }
        if let Some(log) = &counts.log {
            log.report_all_again();
        }
    }
    Err(failed)
}

/// Everything that changed, in as many reports as it takes. The last of them says up to when it is everything.
async fn tell(
    counts: &Counts,
    client: &mut ReconciliationClient<Channel>,
    last: bool,
) -> Result<(), Status> {
    let (mut logged, through_ms) = match &counts.log {
        Some(log) => log.changed(),
        None => (Vec::new(), now_ms()),
    };
    loop {
        let log_counts = logged.split_off(logged.len().saturating_sub(COUNTS_MAX));
        let quotas = Taken::of(counts, COUNTS_MAX - log_counts.len());
        let done = logged.is_empty() && quotas.counts.len() + log_counts.len() < COUNTS_MAX;
        let quota_counts = quotas.counts.iter().map(|(name, counted)| name.at(counted));
        let report = CountReport {
            run: counts.run.to_vec(),
            started_ms: counts.started_ms,
            until_ms: if done { through_ms.saturating_sub(QUEUED_WITHIN_MS) } else { 0 },
            last: last && done,
            logs: counts.log.is_some(),
            log_counts,
            quota_counts: quota_counts.collect(),
        };
        let receipt = client.report(report).await?.into_inner();
        quotas.told();
        if receipt.refused > 0 {
            let reason = receipt.reason;
            tracing::warn!(refused = receipt.refused, reason, "the control plane refused counts");
        }
        if done {
            return Ok(());
        }
    }
}

/// Counts of quotas on their way. They wait again where they do not arrive.
struct Taken<'a> {
    from: &'a Counts,
    counts: Vec<(super::quota_counts::Name, super::Counted)>,
}

impl<'a> Taken<'a> {
    fn of(from: &'a Counts, most: usize) -> Self {
        Self { from, counts: from.quotas.take(most) }
    }

    fn told(mut self) {
        self.counts.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.from.quotas.add(self.counts.drain(..));
    }
}
