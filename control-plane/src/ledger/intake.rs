//! Each sealed segment of a node's journal is applied to the ledger once.
//!
//! What makes it once is the primary key (node, epoch, thread, counter, sha256) of `usage_segment`, written in the
//! transaction that adds the sums. It begins with the question which hours are sealed ([`super::seal`]), and none is sealed
//! before it ends. Every transaction takes its rows in the same order (segments, high-water marks,
//! minutes, hours due, uses of keys, each sorted), so that replicas wait for one another and never deadlock.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, DurationRound, SecondsFormat, TimeDelta, Utc};
use proto::segment::{self, Cache, Names, Record};
use sha2::{Digest, Sha256};

use crate::app::{App, Job};
use crate::error::Result;
use crate::ids::{NodeId, TenantId};
use crate::store;
pub use crate::store::usage_intake::{HighWater, Minute, Place, Shipped, Sums};

/// A node's clock may run ahead by so much.
pub const AHEAD_MAX: TimeDelta = TimeDelta::hours(24);
/// Nodes keep segments for 72 h; what is older than that, and a little, does not come from a node that is well.
pub const LATE_MAX: TimeDelta = TimeDelta::hours(73);

/// So long a segment is known to have been taken. A call may have ended 24 h after its segment came (the node's clock ran
/// ahead), and counts for 73 h more: what comes again later than that is too old to count, whether or not it is known.
pub const REMEMBERED: TimeDelta = TimeDelta::days(8);

/// What became of a segment. In each case the node need not send it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Applied,
    /// It was applied before.
    Duplicate,
    /// Kept aside for the operator, for this reason; nothing of it is in the ledger.
    Quarantined(String),
}

/// A segment that was read, and what the ledger will do with it.
struct Checked {
    minutes: BTreeMap<Minute, Sums>,
    used: Used,
    records: i32,
    verdict: Verdict,
}

/// When each API key was used last.
type Used = BTreeMap<(TenantId, String), DateTime<Utc>>;

/// A segment's sums, when its keys were used, and why calls were left out.
type Summed = (BTreeMap<Minute, Sums>, Used, BTreeSet<String>);

enum Verdict {
    Good,
    /// Parts of it cannot count; the rest does.
    Partial(String),
    Bad(String),
}

/// Applies the segments in one transaction; answers what became of each, in their order.
pub async fn take(app: &App, node: NodeId, segments: &[Shipped]) -> Result<Vec<Outcome>> {
    let now = app.clock.now();
    let mut tx = app.system(Job::Intake).await?;
    let closed = store::usage_root::closed_until(&mut tx).await?;
    let cells = store::usage_intake::cells(&mut tx, node).await?;
    let read: Vec<_> = segments.iter().map(read).collect();
    let tenants: BTreeSet<TenantId> = read.iter().flatten().flat_map(tenants).collect();
    let homes = store::usage_intake::homes(&mut tx, &tenants).await?;
    let checked: Vec<Checked> =
        read.into_iter().map(|segment| check(segment, &cells, &homes, (now, closed))).collect();

    let mut order: Vec<usize> = (0..segments.len()).collect();
    order.sort_by_key(|index| (segments[*index].place, segments[*index].sha256));
    let mut outcomes = vec![Outcome::Duplicate; segments.len()];
    let mut sums: BTreeMap<Minute, Sums> = BTreeMap::new();
    let mut used = Used::new();
    for index in order {
        let (shipped, checked) = (&segments[index], &checked[index]);
        let first =
            store::usage_intake::insert_segment(&mut tx, node, shipped, checked.records, now)
                .await?;
        if !first {
            continue;
        }
        if store::usage_intake::others_at(&mut tx, node, shipped).await? {
            tracing::error!(
                node.id = %node,
                thread = shipped.place.thread,
                counter = shipped.place.counter,
                "two different journal segments claim one place; both are applied",
            );
        }
        outcomes[index] = match &checked.verdict {
            Verdict::Good => Outcome::Applied,
            Verdict::Partial(reason) => {
                let counts = !checked.minutes.is_empty();
                store::usage_intake::quarantine(&mut tx, node, shipped, (reason, counts), now)
                    .await?;
                tracing::error!(node.id = %node, reason, "a journal segment was applied in part");
                Outcome::Applied
            }
            Verdict::Bad(reason) => {
                store::usage_intake::quarantine(&mut tx, node, shipped, (reason, false), now)
                    .await?;
                tracing::error!(node.id = %node, reason, "a journal segment was quarantined");
                Outcome::Quarantined(reason.clone())
            }
        };
        for (minute, more) in &checked.minutes {
            sums.entry(minute.clone()).or_default().add(more);
        }
        for (key, at) in &checked.used {
            later(&mut used, key.clone(), *at);
        }
    }

    let marks: BTreeSet<_> =
        segments.iter().map(|shipped| (shipped.place.epoch, shipped.place.thread)).collect();
    for (epoch, thread) in marks {
        store::usage_intake::advance(&mut tx, node, epoch, thread).await?;
    }
    store::usage_intake::add(&mut tx, &sums).await?;
    store::usage_intake::use_keys(&mut tx, &used).await?;
    tx.commit().await?;
    Ok(outcomes)
}

fn later(used: &mut Used, key: (TenantId, String), at: DateTime<Utc>) {
    used.entry(key).and_modify(|known| *known = at.max(*known)).or_insert(at);
}

/// What can be said of a segment without the database.
fn read(shipped: &Shipped) -> Result<segment::Segment, String> {
    if Sha256::digest(&shipped.content)[..] != shipped.sha256 {
        return Err("its content has another hash than it says".to_owned());
    }
    let segment = segment::decode(&shipped.content).map_err(|error| error.to_string())?;
    let header = &segment.header;
    let place = &shipped.place;
    let named = header.epoch == place.epoch
        && i64::from(header.thread) == i64::from(place.thread)
        && i64::try_from(header.counter) == Ok(place.counter);
    if !named {
        return Err("its header names another place than it was sent for".to_owned());
    }
    if segment.footer.is_none() {
        return Err("it was never sealed".to_owned());
    }
    Ok(segment)
}

fn tenants(segment: &segment::Segment) -> impl Iterator<Item = TenantId> {
    segment.names.values().filter_map(|names| names.tenant_id.parse().ok())
}

fn check(
    segment: Result<segment::Segment, String>,
    cells: &HashSet<String>,
    homes: &HashMap<TenantId, String>,
    times: (DateTime<Utc>, Option<DateTime<Utc>>),
) -> Checked {
    let summed = segment.and_then(|segment| {
        let (minutes, used, left_out) = sum(&segment, cells, homes, times)?;
        let left_out = left_out.into_iter().next();
        let damaged = (segment.damaged > 0)
            .then(|| format!("{} of {} blocks are damaged", segment.damaged, segment.blocks));
        let missing: Vec<_> = left_out.into_iter().chain(damaged).collect();
        let verdict = match missing.join("; ") {
            none if none.is_empty() => Verdict::Good,
            reason if minutes.is_empty() && segment.damaged == 0 => return Err(reason),
            reason => Verdict::Partial(reason),
        };
        let records = i32::try_from(segment.records.len()).unwrap_or(i32::MAX);
        Ok(Checked { minutes, used, records, verdict })
    });
    summed.unwrap_or_else(|reason| Checked {
        minutes: BTreeMap::new(),
        used: Used::new(),
        records: 0,
        verdict: Verdict::Bad(reason),
    })
}

/// The sums of a segment, when its keys were used, and why calls were left out, which cost no other tenant its own: those of tenants that
/// nobody knows, lost with a restored database, and those of hours that are sealed. Or why it is impossible: then none of
/// it is believed. `times` are now and before when hours are sealed.
fn sum(
    segment: &segment::Segment,
    cells: &HashSet<String>,
    homes: &HashMap<TenantId, String>,
    (now, closed): (DateTime<Utc>, Option<DateTime<Utc>>),
) -> Result<Summed, String> {
    let mut minutes: BTreeMap<Minute, Sums> = BTreeMap::new();
    let mut used = Used::new();
    let mut left_out = BTreeSet::new();
    for record in &segment.records {
        if record.test_invoke {
            continue; // the tenant's own try, not a call
        }
        let names = &segment.names[&record.names];
        let tenant = tenant(names, cells)?;
        let minute = minute(record, now)?;
        let sums = Sums::of(record).ok_or_else(|| format!("impossible numbers: {record:?}"))?;
        match homes.get(&tenant) {
            Some(home) if cells.contains(home) => {}
            Some(_) => {
                return Err(format!(
                    "the tenant {tenant} belongs to a cell that the node does not serve"
                ));
            }
            None => {
                left_out.insert(format!("there is no tenant {tenant}"));
                continue;
            }
        }
        if closed.is_some_and(|closed| minute < closed) {
            let hour = minute.duration_trunc(TimeDelta::hours(1)).unwrap_or(minute);
            let hour = hour.to_rfc3339_opts(SecondsFormat::Secs, true);
            left_out.insert(format!("the hour {hour} is sealed"));
            continue;
        }
        let row = Minute {
            tenant,
            minute,
            api_id: text(&names.api_id)?,
            stage: text(&names.stage)?,
            route: text(&names.route)?,
            api_key_id: text(&names.api_key_id)?,
            usage_plan_id: text(&names.usage_plan_id)?,
            consumer_id: text(&names.consumer_id)?,
            status_class: i16::try_from((record.status / 100).min(5)).unwrap_or(5),
            cache: match record.cache {
                Cache::None => 0,
                Cache::Miss => 1,
                Cache::Hit => 2,
            },
            cell: text(&names.cell)?,
        };
        if !row.api_key_id.is_empty() {
            // A node's clock may run ahead; a use lies in the past.
            let at = time(record.started_ms).unwrap_or(minute).min(now);
            later(&mut used, (tenant, row.api_key_id.clone()), at);
        }
        minutes.entry(row).or_default().add(&sums);
    }
    Ok((minutes, used, left_out))
}

fn tenant(names: &Names<String>, cells: &HashSet<String>) -> Result<TenantId, String> {
    if !cells.contains(&names.cell) {
        return Err(format!("the node does not serve the cell {:?}", names.cell));
    }
    names.tenant_id.parse().map_err(|_| format!("{:?} is no tenant's id", names.tenant_id))
}

/// A request belongs to the minute of its last byte.
fn minute(record: &Record, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let time = |ms| time(ms).filter(|time| *time <= now + AHEAD_MAX);
    time(record.started_ms).ok_or("it began more than 24 hours from now")?;
    let ended = time(record.ended_ms).ok_or("it ended more than 24 hours from now")?;
    if ended < now - LATE_MAX {
        return Err(format!("it ended at {ended}, too long ago"));
    }
    ended.duration_trunc(TimeDelta::minutes(1)).map_err(|error| error.to_string())
}

fn time(ms: u64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(i64::try_from(ms).ok()?)
}

/// PostgreSQL's text holds no NUL.
fn text(name: &str) -> Result<String, String> {
    if name.contains('\0') { Err("a name holds a NUL".to_owned()) } else { Ok(name.to_owned()) }
}

impl Sums {
    fn of(record: &Record) -> Option<Self> {
        let count = |number: u64| i64::try_from(number).ok().filter(|_| number <= segment::SUM_MAX);
        let requests = i64::from(record.requests);
        let (bytes_in, bytes_out) = (count(record.bytes_in)?, count(record.bytes_out)?);
        let billed = record.billed && !record.test;
        Some(Self {
            requests: if requests == 0 { return None } else { requests },
            billed_requests: if billed { requests } else { 0 },
            bytes_in,
            bytes_out,
            billed_bytes_out: if billed { bytes_out } else { 0 },
            duration_ms: count(record.duration_ms)?,
        })
    }

    fn add(&mut self, more: &Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.billed_requests = self.billed_requests.saturating_add(more.billed_requests);
        self.bytes_in = self.bytes_in.saturating_add(more.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(more.bytes_out);
        self.billed_bytes_out = self.billed_bytes_out.saturating_add(more.billed_bytes_out);
        self.duration_ms = self.duration_ms.saturating_add(more.duration_ms);
    }
}

/// Confirms a node's new epoch: what the ledger has of the node, or nothing where another node has this epoch.
pub async fn open_epoch(
    app: &App,
    node: NodeId,
    epoch: [u8; 16],
) -> Result<Option<Vec<HighWater>>> {
    let now = app.clock.now();
    let mut tx = app.system(Job::Intake).await?;
    if store::usage_intake::open_epoch(&mut tx, node, epoch, now).await? != node {
        return Ok(None);
    }
    // Nodes keep nothing older, so they need not hear of it.
    let marks = store::usage_intake::high_water(&mut tx, node, now - LATE_MAX).await?;
    tx.commit().await?;
    Ok(Some(marks))
}

#[cfg(test)]
mod faults;

#[cfg(test)]
pub(crate) mod tests;
