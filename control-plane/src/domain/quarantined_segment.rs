//! A segment of usage that the ledger did not take, or took in part. It is kept as it came, for the operator, who finds
//! out what it is and says so; nobody puts it into the ledger afterwards, where a part of it may be already.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, DurationRound, TimeDelta, Utc};
use proto::segment;
use serde::Serialize;

use crate::access::actor::Operator;
use crate::app::{App, Job};
use crate::domain::download::{self, Link};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::{audit, text};
use crate::error::{Error, Result};
use crate::ids::{NodeId, QuarantinedSegmentId, TenantId};
use crate::store;

/// How long one that is settled can still be examined. One that is open stays.
pub const SETTLED_KEPT: TimeDelta = TimeDelta::days(90);

/// More hours of one segment than these are not told.
const HOURS_MAX: usize = 100;
/// What is no tenant's id is told up to here.
const NAME_CHARS_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedSegment {
    pub id: QuarantinedSegmentId,
    pub node: NodeId,
    /// The machine's, as the node said when it joined.
    pub node_name: String,
    /// Its place in the node's journal: a start of the node, in hex,
    pub epoch: String,
    /// one of its threads,
    pub thread: i32,
    /// and from 1.
    pub counter: i64,
    /// Of the content, in hex.
    pub sha256: String,
    pub received_at: DateTime<Utc>,
    /// Why the ledger did not take it, or not all of it.
    pub reason: String,
    pub size_bytes: i64,
    /// Whether the rest of it counts; None where an older release set it aside and that is not known any more.
    pub applied_in_part: Option<bool>,
    /// None while it is open.
    pub settled: Option<Settled>,
}

/// That somebody found out what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    pub at: DateTime<Utc>,
    pub note: String,
    /// The address of whoever did, while there is such a user.
    pub by: Option<String>,
}

/// Which of them; what is left out matches every one.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuarantineFilter {
    pub node: Option<NodeId>,
    pub settled: Option<bool>,
}

/// One, and what could be read of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    pub segment: QuarantinedSegment,
    /// None where nothing can be read.
    pub content: Option<Content>,
}

/// What stands in a segment. Nothing of it is believed: it says what the node wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub blocks: u32,
    pub damaged_blocks: u32,
    /// Whether the node finished it.
    pub sealed: bool,
    /// Slots that could be read.
    pub records: usize,
    /// Whose calls it names and when they ended, by time; at most 100.
    pub hours: Vec<NamedHour>,
    /// How many more there are.
    pub hours_left_out: usize,
}

/// The calls of one tenant that ended within one hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedHour {
    /// As the segment has it; cut where it is no id.
    pub tenant: String,
    /// None where there is no such tenant.
    pub known: Option<KnownTenant>,
    /// None for a time that cannot be.
    pub hour: Option<DateTime<Utc>>,
    pub records: u64,
    /// More than the records where a node put several calls together.
    pub requests: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownTenant {
    pub id: TenantId,
    pub name: String,
}

impl Keyed for QuarantinedSegment {
    const LIST: &'static str = "quarantinedSegments";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.received_at, &self.id)
    }
}

/// The audit log's view of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recorded<'a> {
    node_id: String,
    counter: i64,
    reason: &'a str,
    settled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

impl<'a> From<&'a QuarantinedSegment> for Recorded<'a> {
    fn from(segment: &'a QuarantinedSegment) -> Self {
        Self {
            node_id: segment.node.to_string(),
            counter: segment.counter,
            reason: &segment.reason,
            settled: segment.settled.is_some(),
            note: segment.settled.as_ref().map(|settled| settled.note.as_str()),
        }
    }
}

/// The last to come first. Their contents are not read.
pub async fn list(
    app: &App,
    _operator: &Operator,
    filter: QuarantineFilter,
    page: &Page,
) -> Result<Paged<QuarantinedSegment>> {
    let mut tx = app.system(Job::Operator).await?;
    page.cut(store::quarantined_segment::list(&mut tx, filter, page).await?)
}

/// One of them, and what can be read of it.
pub async fn get(app: &App, _operator: &Operator, id: QuarantinedSegmentId) -> Result<Examined> {
    let mut tx = app.system(Job::Operator).await?;
    let segment = store::quarantined_segment::get(&mut tx, id).await?.ok_or_else(missing)?;
    let bytes = store::quarantined_segment::content(&mut tx, id).await?.ok_or_else(missing)?;
    let mut content = read(&bytes);
    if let Some(content) = &mut content {
        let wanted: Vec<TenantId> =
            content.hours.iter().filter_map(|hour| hour.tenant.parse().ok()).collect();
        let names = store::quarantined_segment::tenant_names(&mut tx, &wanted).await?;
        for hour in &mut content.hours {
            let id = hour.tenant.parse().ok();
            hour.known =
                id.and_then(|id| names.get(&id).map(|name| KnownTenant { id, name: name.clone() }));
        }
    }
    Ok(Examined { segment, content })
}

/// It is open no more, and is kept for 90 days. `note` says what came of it.
pub async fn settle(
    app: &App,
    operator: &Operator,
    id: QuarantinedSegmentId,
    note: &str,
) -> Result<QuarantinedSegment> {
    let note = text::description("note", note.trim().to_owned())?;
    if note.is_empty() {
        return Err(Error::bad_request("note", "say what came of it; whoever looks next reads it"));
    }
    let mut tx = app.system(Job::Operator).await?;
    store::quarantined_segment::lock(&mut tx, id).await?.ok_or_else(missing)?;
    let before = store::quarantined_segment::get(&mut tx, id).await?.ok_or_else(missing)?;
    if before.settled.is_some() {
        return Err(Error::conflict("", "this segment is settled already"));
    }
    let now = app.clock.now();
    store::quarantined_segment::settle(&mut tx, id, operator.user, &note, now).await?;
    let after = store::quarantined_segment::get(&mut tx, id).await?.ok_or_else(missing)?;
    let (from, to) = (Recorded::from(&before), Recorded::from(&after));
    let (action, noun_id) = ("quarantined_segment.settle", id.to_string());
    audit::record_operator(app, &mut tx, operator, action, &noun_id, Some(&from), Some(&to))
        .await?;
    tx.commit().await?;
    Ok(after)
}

/// Makes a link to the content as the node sent it: it names more of tenants than is shown here, so the log says who
/// took it away.
pub async fn create_download(
    app: &App,
    operator: &Operator,
    id: QuarantinedSegmentId,
) -> Result<Link> {
    let mut tx = app.system(Job::Operator).await?;
    store::quarantined_segment::get(&mut tx, id).await?.ok_or_else(missing)?;
    let (action, noun_id) = ("quarantined_segment.download", id.to_string());
    audit::record_operator::<()>(app, &mut tx, operator, action, &noun_id, None, None).await?;
    download::create_segment(app, tx, id).await
}

fn missing() -> Error {
    Error::NotFound("quarantined segment")
}

/// What the bytes say; None where nothing can be read.
fn read(bytes: &[u8]) -> Option<Content> {
    let segment = segment::decode(bytes).ok()?;
    let mut sums = BTreeMap::new();
    for record in &segment.records {
        let tenant = segment.names[&record.names].tenant_id.as_str();
        let (records, requests) =
            sums.entry((hour(record.ended_ms), tenant)).or_insert((0_u64, 0_u64));
        *records += 1;
        *requests += u64::from(record.requests);
    }
    let hours_left_out = sums.len().saturating_sub(HOURS_MAX);
    let hours = sums.into_iter().take(HOURS_MAX).map(|((hour, tenant), (records, requests))| {
        let tenant = tenant.chars().take(NAME_CHARS_MAX).collect();
        NamedHour { tenant, known: None, hour, records, requests }
    });
    Some(Content {
        blocks: segment.blocks,
        damaged_blocks: segment.damaged,
        sealed: segment.footer.is_some(),
        records: segment.records.len(),
        hours: hours.collect(),
        hours_left_out,
    })
}

/// The hour of that moment, if it has a year that everybody can write.
fn hour(ms: u64) -> Option<DateTime<Utc>> {
    let time = DateTime::from_timestamp_millis(i64::try_from(ms).ok()?)?;
    time.duration_trunc(TimeDelta::hours(1)).ok().filter(|hour| hour.year() <= 9999)
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::access::actor::Caller;
    use crate::domain::audit::AuditFilter;
    use crate::ledger::intake::{self, Outcome, tests as ledger};
    use crate::testing;

    /// As many as there are contents, the first one the oldest.
    async fn listed(app: &App, operator: &Operator, filter: QuarantineFilter) -> Vec<i64> {
        let page = list(app, operator, filter, &Page::default()).await.unwrap();
        page.items.into_iter().map(|segment| segment.counter).collect()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_the_ledger_did_not_take_is_listed_with_its_reason_until_it_is_settled(
        db: PgPool,
    ) {
        let app = testing::app(db).await;
        let operator = testing::operator(&app).await;
        let tenant = testing::owner(&app).await.tenant;
        let (here, there) =
            (testing::join_node(&app, "rack-1").await, testing::join_node(&app, "rack-2").await);
        let lost = |app: &App| ledger::Call { tenant: app.rng.id(), ..ledger::call(app, tenant) };
        let partly = [ledger::call(&app, tenant), lost(&app)];
        let none = [lost(&app)];
        let sent = [
            (here, ledger::segment(ledger::place(1), &partly)),
            (there, ledger::segment(ledger::place(2), &none)),
            (here, testing::unreadable_segment(3)),
        ];
        for (node, segment) in &sent {
            intake::take(&app, *node, std::slice::from_ref(segment)).await.unwrap();
            app.clock.advance(TimeDelta::seconds(1));
        }

        let all = list(&app, &operator, QuarantineFilter::default(), &Page::default()).await;
        let all = all.unwrap().items;
        let seen: Vec<_> = all
            .iter()
            .map(|one| (one.counter, one.node_name.as_str(), one.applied_in_part, one.size_bytes))
            .collect();
        let size = |index: usize| i64::try_from(sent[index].1.content.len()).unwrap();
        let expected = [
            (3, "rack-1", Some(false), size(2)),
            (2, "rack-2", Some(false), size(1)),
            (1, "rack-1", Some(true), size(0)),
        ];
        assert_eq!(seen, expected);
        assert!(all[1].reason.starts_with("there is no tenant"), "{}", all[1].reason);
        assert_eq!((all[2].epoch.as_str(), all[2].thread), (hex::encode([7; 16]).as_str(), 0));
        assert_eq!(all[2].sha256, hex::encode(sent[0].1.sha256));

        let settled = settle(&app, &operator, all[1].id, " a restored database ").await.unwrap();
        let at = Settled {
            at: app.clock.now(),
            note: "a restored database".to_owned(),
            by: Some(format!("{}@example.com", operator.user)),
        };
        assert_eq!(settled.settled, Some(at));
        let open = QuarantineFilter { settled: Some(false), ..QuarantineFilter::default() };
        let done = QuarantineFilter { settled: Some(true), ..QuarantineFilter::default() };
        let of_here = QuarantineFilter { node: Some(here), ..QuarantineFilter::default() };
        assert_eq!(listed(&app, &operator, open).await, [3, 1]);
        assert_eq!(listed(&app, &operator, done).await, [2]);
        assert_eq!(listed(&app, &operator, of_here).await, [3, 1]);
        let again = settle(&app, &operator, settled.id, "once more").await.unwrap_err();
        assert_eq!(again.code(), "conflict");
        let silent = settle(&app, &operator, all[0].id, " \n").await.unwrap_err();
        assert_eq!(silent.param(), Some("note"));
        let unknown = settle(&app, &operator, app.rng.id(), "some").await.unwrap_err();
        assert_eq!(unknown.code(), "not_found");

        let filter =
            AuditFilter { noun: Some("quarantined_segment".to_owned()), ..AuditFilter::default() };
        let caller = Caller::Operator(operator);
        let told = audit::list(&app, &caller, &filter, &Page::default()).await.unwrap().items;
        assert_eq!(told.len(), 1, "what is refused is told nobody");
        assert_eq!(told[0].before.as_ref().unwrap()["settled"], false);
        assert_eq!(told[0].after.as_ref().unwrap()["note"], "a restored database");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn one_tells_whose_hours_it_names_as_far_as_it_can_be_read(db: PgPool) {
        let app = testing::app(db).await;
        let operator = testing::operator(&app).await;
        let tenant = testing::owner(&app).await.tenant;
        let nobody: TenantId = app.rng.id();
        let node = testing::join_node(&app, "rack-1").await;
        let of = |tenant, requests, ended_ms: Option<u64>| {
            let mut call = ledger::call(&app, tenant);
            call.record.requests = requests;
            call.record.ended_ms = ended_ms.unwrap_or(call.record.ended_ms);
            call
        };
        let calls = [
            of(tenant, 5, None),
            of(nobody, 1, None),
            of(tenant, 2, None),
            of(tenant, 1, Some(u64::MAX)),
        ];
        let mut segment = ledger::segment(ledger::place(1), &calls);
        let outcome = intake::take(&app, node, std::slice::from_ref(&segment)).await.unwrap();
        assert!(matches!(outcome[..], [Outcome::Quarantined(_)]), "{outcome:?}");
        segment = testing::unreadable_segment(2);
        intake::take(&app, node, &[segment]).await.unwrap();
        let all = list(&app, &operator, QuarantineFilter::default(), &Page::default()).await;
        let id = |counter| {
            all.as_ref().unwrap().items.iter().find(|one| one.counter == counter).unwrap().id
        };

        let readable = get(&app, &operator, id(1)).await.unwrap().content.unwrap();

        assert_eq!((readable.records, readable.damaged_blocks, readable.sealed), (4, 0, true));
        let mut seen: Vec<_> = readable
            .hours
            .iter()
            .map(|hour| {
                (hour.known.as_ref().map(|known| known.id), hour.hour, hour.records, hour.requests)
            })
            .collect();
        seen.sort();
        let its = Some("2026-11-20T11:00:00Z".parse().unwrap());
        let mut expected =
            [(Some(tenant), None, 1, 1), (None, its, 1, 1), (Some(tenant), its, 2, 7)];
        expected.sort();
        assert_eq!(seen, expected);
        let named = readable.hours.iter().any(|hour| hour.tenant == nobody.to_string());
        assert!(named, "{readable:?}");
        assert_eq!(get(&app, &operator, id(2)).await.unwrap().content, None);
        let unknown = get(&app, &operator, app.rng.id()).await.unwrap_err();
        assert_eq!(unknown.code(), "not_found");
    }

    #[test]
    fn of_many_hours_the_first_hundred_are_told_and_how_many_more_there_are() {
        let header = segment::Header { epoch: [1; 16], thread: 0, counter: 1, created_ms: 0 };
        let seed = header.seed();
        let mut content = header.encode().to_vec();
        let long = "x".repeat(segment::NAME_BYTES_MAX);
        let names = segment::Names { tenant_id: long.as_str(), ..segment::Names::default() };
        content.extend(segment::encode_names(&names.encode(), seed, 1).flatten());
        let call = segment::Record {
            state: segment::State::Done,
            names: 1,
            started_ms: 0,
            ended_ms: 0,
            bytes_in: 0,
            bytes_out: 0,
            duration_ms: 0,
            requests: 1,
            status: 200,
            cache: segment::Cache::None,
            billed: true,
            test: false,
            aborted: false,
            upgraded: false,
            test_invoke: false,
        };
        for hour in 0..250 {
            let at = u32::try_from(content.len() / segment::BLOCK_BYTES).unwrap();
            let record = segment::Record { ended_ms: hour * 3_600_000, ..call };
            content.extend(record.encode(seed, at));
        }

        let read = read(&content).unwrap();

        assert_eq!((read.records, read.sealed), (250, false));
        assert_eq!((read.hours.len(), read.hours_left_out), (HOURS_MAX, 150));
        assert_eq!(read.hours[1].hour, DateTime::from_timestamp(3600, 0));
        assert_eq!(read.hours[0].tenant.len(), NAME_CHARS_MAX);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn its_content_is_taken_away_as_it_came_and_the_log_says_by_whom(db: PgPool) {
        let app = testing::app(db).await;
        let operator = testing::operator(&app).await;
        let node = testing::join_node(&app, "rack-1").await;
        let sent = testing::unreadable_segment(1);
        intake::take(&app, node, std::slice::from_ref(&sent)).await.unwrap();
        let all = list(&app, &operator, QuarantineFilter::default(), &Page::default()).await;
        let id = all.unwrap().items[0].id;

        let link = create_download(&app, &operator, id).await.unwrap();
        let token = link.url.rsplit_once('/').unwrap().1;
        let opened = download::open(&app, token).await.unwrap();

        assert_eq!(opened.content_type(), "application/octet-stream");
        assert_eq!(opened.file_name(), format!("tollgate-segment-{id}.segment"));
        let pieces: Vec<bytes::Bytes> =
            futures_util::TryStreamExt::try_collect(opened.content(app.clone()).unwrap())
                .await
                .unwrap();
        assert_eq!(pieces.concat(), sent.content);
        let unknown = create_download(&app, &operator, app.rng.id()).await.unwrap_err();
        assert_eq!(unknown.code(), "not_found");
        let filter =
            AuditFilter { noun: Some("quarantined_segment".to_owned()), ..AuditFilter::default() };
        let caller = Caller::Operator(operator);
        let told = audit::list(&app, &caller, &filter, &Page::default()).await;
        let told: Vec<_> =
            told.unwrap().items.into_iter().map(|entry| (entry.action, entry.noun_id)).collect();
        assert_eq!(told, [("quarantined_segment.download".to_owned(), id.to_string())]);
    }
}
