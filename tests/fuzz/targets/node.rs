//! What a node says of its counts.

use control_plane::ledger::{quota_use, reconciliation};
use prost::Message;
use proto::reconciliation::v1::{CountReport, QuotasAsked};

/// What is believed of a report is possible, and everything of it is either believed or refused.
pub(crate) fn count_report(bytes: &[u8]) {
    let Ok(report) = CountReport::decode(bytes) else { return };
    let now = chrono::DateTime::from_timestamp(1_790_000_000, 0).expect("a time");
    let tenants = report.log_counts.iter().filter_map(|count| count.tenant_id.parse().ok());
    let tenants = tenants.collect();
    let counts = report.log_counts.len() + report.quota_counts.len();
    if let Ok(checked) = reconciliation::check(report, &tenants, now) {
        let believed = checked.logs.len() + checked.quotas.len();
        assert_eq!(believed + checked.refused.counts as usize, counts);
        assert!(checked.run.started_at <= checked.run.until);
        assert!(checked.logs.iter().all(|count| count.written >= 0 && count.lost >= 0));
        assert!(checked.quotas.iter().all(|count| count.used >= 0 && count.from < count.until));
    }
}

/// Every quota that a node asks for has one answer, and what is looked up is possible.
pub(crate) fn quotas_asked(bytes: &[u8]) {
    let Ok(asked) = QuotasAsked::decode(bytes) else { return };
    let now = chrono::DateTime::from_timestamp(1_790_000_000, 0).expect("a time");
    let count = asked.quotas.len();
    if let Ok(quotas) = quota_use::check(asked, now) {
        assert_eq!(quotas.len(), count);
        let mut known = quotas.iter().flatten();
        assert!(known.all(|it| it.from < it.until && it.until - it.from <= quota_use::PERIOD_MAX));
    }
}
