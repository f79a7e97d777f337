//! What is counted beside the usage journal: the lines of the access log, and where quotas stand in Redis. The control
//! plane holds it against the ledger (DESIGN: usage is counted once). Nothing is billed by it, and nothing waits for it. A
//! Redis that lost its memory gets the counts of quotas back from there.
//!
//! Data threads note what they see in maps of their own and hand them over each second; a report of everything that
//! changed leaves every ten seconds. All numbers are totals of this run, so a report that is lost or comes twice changes
//! nothing. What a node that is killed had not reported is missing: the control plane knows that the run had no end.

mod log_counts;
mod quota_counts;
mod quota_standings;
mod quota_uses;
mod report;
mod thread;

use std::{sync::Arc, time::Duration};

use tokio::sync::{Notify, watch};
use tonic::transport::Channel;

use self::quota_standings::QuotaStandings;
pub(crate) use self::{
    log_counts::LogCounts,
    quota_counts::{Counted, Name as QuotaName, QuotaCounts},
    quota_standings::Standing as QuotaStanding,
    quota_uses::QuotaUses,
    thread::ThreadCounts,
};
use crate::node::now_ms;

/// Reports to the control plane, and asks it, for as long as it is polled.
pub(crate) async fn run(counts: Arc<Counts>, channels: watch::Receiver<Arc<[Channel]>>) {
    let answering = quota_uses::answer(counts.uses.clone(), channels.clone());
    tokio::join!(report::report(counts, channels), answering);
}

/// What one run of a node counted.
pub(crate) struct Counts {
    run: [u8; 16],
    started_ms: u64,
    /// None: no access log is written.
    log: Option<Arc<LogCounts>>,
    pub(crate) quotas: QuotaCounts,
    /// How quotas stand, for whoever asks.
    standings: QuotaStandings,
    /// What the ledger is asked about quotas.
    pub(crate) uses: Arc<QuotaUses>,
    /// Everything is counted: the next report is the last.
    ending: watch::Sender<bool>,
    /// The last report was taken.
    ended: Notify,
}

impl Counts {
    pub(crate) fn new(log: Option<Arc<LogCounts>>) -> Self {
        Self {
            run: rand::random(),
            started_ms: now_ms(),
            log,
            quotas: QuotaCounts::default(),
            standings: QuotaStandings::default(),
            uses: Arc::default(),
            ending: watch::Sender::new(false),
            ended: Notify::new(),
        }
    }

    /// How a quota stood when Redis was last asked, as far as threads have handed over.
    pub(crate) fn standing(&self, name: &QuotaName) -> Option<QuotaStanding> {
        self.standings.find(name)
    }

    /// Reports for the last time, if the control plane can be told within so long.
    pub(crate) async fn end(&self, within: Duration) {
        let ended = self.ended.notified();
        self.ending.send_replace(true);
        if tokio::time::timeout(within, ended).await.is_err() {
            tracing::debug!("the last counts of the access log and of quotas were not reported");
        }
    }
}
