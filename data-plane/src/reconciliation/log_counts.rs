//! Lines of the access log, by tenant and the hour in which the request ended.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use proto::reconciliation::v1::LogCount;

const HOUR_MS: u64 = 3_600_000;
/// An hour is held so long after its end: a request is logged as it ends, and a queue is emptied within seconds.
const HELD_MS: u64 = 2 * HOUR_MS;

/// Of a node's first sink. The sink's thread counts what it wrote; data threads hand over what it had no room for.
#[derive(Default)]
pub(crate) struct LogCounts {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    hours: HashMap<(Arc<str>, u64), Hour>,
    through_ms: u64,
}

#[derive(Default)]
struct Hour {
    written: u64,
    lost: u64,
    /// Since it was last reported.
    changed: bool,
}

impl LogCounts {
    /// Counts requests by tenant, when they ended, and how many they are; the first `written` of them are in the log.
    pub(crate) fn count<'a>(
        &self,
        requests: impl Iterator<Item = (Option<&'a Arc<str>>, u64, u64)>,
        mut written: u64,
    ) {
        let mut inner = self.inner();
        for (tenant, ended_ms, requests) in requests {
            let in_log = requests.min(written);
            written -= in_log;
            let Some(tenant) = tenant else { continue };
            let hour = inner.hour(tenant, ended_ms);
            hour.written += in_log;
            hour.lost += requests - in_log;
        }
    }

    /// Whatever ended before has been counted now.
    pub(crate) fn seen_through(&self, through_ms: u64) {
        self.inner().through_ms = through_ms;
    }

    /// Counts requests of one tenant and hour that the log had no room for.
    pub(super) fn count_lost(&self, tenant: &Arc<str>, ended_ms: u64, requests: u64) {
        self.inner().hour(tenant, ended_ms).lost += requests;
    }

    /// What changed since it was last asked, and up to when everything is in it.
    pub(super) fn changed(&self) -> (Vec<LogCount>, u64) {
        let mut inner = self.inner();
        let through_ms = inner.through_ms;
        let changed = inner.hours.iter_mut().filter_map(|((tenant, hour), count)| {
            std::mem::take(&mut count.changed).then(|| LogCount {
                tenant_id: tenant.to_string(),
                hour_ms: hour * HOUR_MS,
                written: count.written,
                lost: count.lost,
            })
        });
        let changed = changed.collect();
        inner.hours.retain(|(_, hour), _| (hour + 1) * HOUR_MS + HELD_MS > through_ms);
        (changed, through_ms)
    }

    /// The next report holds everything that is still known.
    pub(super) fn report_all_again(&self) {
        for hour in self.inner().hours.values_mut() {
            hour.changed = true;
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn hour(&mut self, tenant: &Arc<str>, ended_ms: u64) -> &mut Hour {
        let hour = self.hours.entry((tenant.clone(), ended_ms / HOUR_MS)).or_default();
        hour.changed = true;
        hour
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_of_hours_are_reported_when_they_change_and_again_when_a_report_was_lost() {
        let (acme, globex): (Arc<str>, Arc<str>) = ("acme".into(), "globex".into());
        let counts = LogCounts::default();
        let four = [
            (Some(&acme), 10, 1),
            (None, 10, 1),
            (Some(&acme), HOUR_MS, 3),
            (Some(&globex), 10, 1),
        ];
        counts.count(four.into_iter(), 4);
        counts.seen_through(HOUR_MS + 1);
        counts.count_lost(&acme, 20, 5);
        let told = || {
            let (mut changed, through) = counts.changed();
            changed.sort_by_key(|it| (it.tenant_id.clone(), it.hour_ms));
            let row = |it: LogCount| (it.tenant_id, it.hour_ms / HOUR_MS, it.written, it.lost);
            (changed.into_iter().map(row).collect::<Vec<_>>(), through)
        };
        let row = |name: &str, hour, written, lost| (name.to_owned(), hour, written, lost);

        let all = vec![row("acme", 0, 1, 5), row("acme", 1, 2, 1), row("globex", 0, 0, 1)];
        assert_eq!(told(), (all.clone(), HOUR_MS + 1), "the last of a batch were lost");
        assert_eq!(told().0, []);
        counts.count([(Some(&acme), 30, 1)].into_iter(), 1);
        assert_eq!(told().0, [row("acme", 0, 2, 5)], "a total");
        counts.report_all_again();
        assert_eq!(told().0.len(), 3);
        counts.seen_through(HOUR_MS + HELD_MS);
        assert_eq!(told().0, []);
        counts.report_all_again();
        assert_eq!(told().0, [row("acme", 1, 2, 1)], "an old hour is not held");
    }
}
