//! The journal's own metrics.

use prometheus::{IntCounter, IntGauge};

/// What operators watch. Nothing here is touched for each request.
#[derive(Clone)]
pub struct Metrics {
    pub sealed: IntCounter,
    pub records: IntCounter,
    pub acknowledged: IntCounter,
    pub quarantined: IntCounter,
    /// Segments that could not be written to the disk, and are only in memory.
    pub in_memory: IntCounter,
    pub redrawn: IntCounter,
    pub unacknowledged: IntGauge,
    /// 1 while the disk has no room: requests are counted in memory.
    pub disk_full: IntGauge,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let counter = |name, help| IntCounter::new(name, help).expect("a valid name");
        let gauge = |name, help| IntGauge::new(name, help).expect("a valid name");
        Self {
            sealed: counter("tollgate_journal_segments_sealed_total", "Journal segments sealed"),
            records: counter(
                "tollgate_journal_records_total",
                "Requests in sealed journal segments",
            ),
            acknowledged: counter(
                "tollgate_journal_segments_acknowledged_total",
                "Journal segments that the ledger has",
            ),
            quarantined: counter(
                "tollgate_journal_segments_quarantined_total",
                "Journal segments set aside: damaged, or refused by the ledger",
            ),
            in_memory: counter(
                "tollgate_journal_segments_in_memory_total",
                "Journal segments that the disk had no room for; lost if the process dies",
            ),
            redrawn: counter(
                "tollgate_journal_epochs_redrawn_total",
                "Epochs that another live node had",
            ),
            unacknowledged: gauge(
                "tollgate_journal_segments_unacknowledged",
                "Journal segments sealed and not acknowledged",
            ),
            disk_full: gauge(
                "tollgate_journal_disk_full",
                "1 while the journal has no room on its disk and counts in memory",
            ),
        }
    }

    pub fn register(&self, registry: &prometheus::Registry) -> prometheus::Result<()> {
        for counter in [
            &self.sealed,
            &self.records,
            &self.acknowledged,
            &self.quarantined,
            &self.in_memory,
            &self.redrawn,
        ] {
            registry.register(Box::new(counter.clone()))?;
        }
        registry.register(Box::new(self.disk_full.clone()))?;
        registry.register(Box::new(self.unacknowledged.clone()))
    }
}
