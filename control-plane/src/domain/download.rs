//! A download: a link that works once, within a minute, for whoever has it.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::access::actor::{Actor, Caller};
use crate::app::{App, Job, Tx};
use crate::domain::bill::Month;
use crate::domain::page::Key;
use crate::domain::usage::Interval;
use crate::domain::usage_group::{Format, Question};
use crate::domain::{audit, audit_chain, tenant_export};
use crate::error::{Error, Result};
use crate::ids::{QuarantinedSegmentId, TenantId};
use crate::ledger::export::{csv, usage_group};
use crate::store;
use crate::store::time_limit;
use crate::store::usage_hour::LedgerRow;

/// How long a link waits for its one use.
pub const LINK_LIFE: TimeDelta = TimeDelta::seconds(60);
/// Rows that are in memory at once.
const ROWS_MAX: i64 = 1000;

/// A link, shown once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub url: String,
    pub expires_in_seconds: i32,
}

/// What a link leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "document", rename_all = "snake_case")]
pub enum Document {
    /// A month's usage by hour.
    UsageCsv { month: String },
    /// An audit log, with what it takes to verify it.
    AuditNdjson {},
    /// Everything of a tenant.
    TenantExport {},
    /// Usage, added up.
    UsageGroups { question: Box<Question>, format: Format },
    /// Usage that the ledger did not take, as it came.
    QuarantinedSegment { id: QuarantinedSegmentId },
}

/// A link that was opened. Without a tenant it is a document of the installation.
#[derive(Clone, Debug)]
pub struct Download {
    tenant: Option<TenantId>,
    document: Document,
}

/// Makes a link to the month's usage as CSV. Every member may read what the tenant used.
pub async fn create(app: &App, actor: &Actor, month: Month) -> Result<Link> {
    let document = Document::UsageCsv { month: month.to_string() };
    make(app, app.begin(actor).await?, Some(actor.tenant), &document).await
}

/// Makes a link to the answer to this question, whole. Every member may read what the tenant used.
pub async fn create_usage_export(
    app: &App,
    actor: &Actor,
    question: Question,
    format: Format,
) -> Result<Link> {
    let document = Document::UsageGroups { question: Box::new(question), format };
    make(app, app.begin(actor).await?, Some(actor.tenant), &document).await
}

/// Makes a link to the caller's audit log: a member's tenant's, or the installation's own.
pub async fn create_audit(app: &App, caller: &Caller) -> Result<Link> {
    let tenant = audit::readable(caller)?;
    let tx = match tenant {
        Some(tenant) => app.begin_in(tenant).await?,
        None => app.system(Job::Downloads).await?,
    };
    make(app, tx, tenant, &Document::AuditNdjson {}).await
}

/// Makes a link to everything of the tenant, in the transaction that says who did.
pub(super) async fn create_export(app: &App, tx: Tx, tenant: TenantId) -> Result<Link> {
    make(app, tx, Some(tenant), &Document::TenantExport {}).await
}

/// Makes a link to a segment that was set aside, in the transaction that says who did.
pub(super) async fn create_segment(app: &App, tx: Tx, id: QuarantinedSegmentId) -> Result<Link> {
    make(app, tx, None, &Document::QuarantinedSegment { id }).await
}

async fn make(
    app: &App,
    mut tx: Tx,
    tenant: Option<TenantId>,
    document: &Document,
) -> Result<Link> {
    let token = BASE64_URL_SAFE_NO_PAD.encode(app.rng.bytes::<32>());
    let expires_at = app.clock.now() + LINK_LIFE;
    store::download::insert(&mut tx, tenant, &hash(&token), document, expires_at).await?;
    tx.commit().await?;
    Ok(Link {
        url: format!("{}/v1/downloads/{token}", app.config.public_url.trim_end_matches('/')),
        expires_in_seconds: 60,
    })
}

/// Spends a link. One that was used, has expired or never was is not found.
pub async fn open(app: &App, token: &str) -> Result<Download> {
    let now = app.clock.now();
    let mut tx = app.system(Job::Downloads).await?;
    let (tenant, document) = store::download::spend(&mut tx, &hash(token), now)
        .await?
        .ok_or(Error::NotFound("download"))?;
    tx.commit().await?;
    Ok(Download { tenant, document })
}

impl Download {
    pub fn content_type(&self) -> &'static str {
        match self.document {
            Document::UsageCsv { .. } | Document::UsageGroups { format: Format::Csv, .. } => {
                "text/csv; charset=utf-8; header=present"
            }
            Document::UsageGroups { format: Format::Ndjson, .. }
            | Document::AuditNdjson {}
            | Document::TenantExport {} => "application/x-ndjson",
            Document::QuarantinedSegment { .. } => "application/octet-stream",
        }
    }

    pub fn file_name(&self) -> String {
        let whose = self.tenant.map_or_else(|| "installation".to_owned(), |id| id.to_string());
        match &self.document {
            Document::UsageCsv { month } => format!("tollgate-usage-{month}.csv"),
            Document::UsageGroups { question, format } => {
                let day = |time: DateTime<Utc>| time.date_naive();
                let (since, until) = (day(question.since), day(question.until));
                let ending = match format {
                    Format::Csv => "csv",
                    Format::Ndjson => "ndjson",
                };
                format!("tollgate-usage-{since}-to-{until}.{ending}")
            }
            Document::AuditNdjson {} => format!("tollgate-audit-{whose}.ndjson"),
            Document::TenantExport {} => format!("tollgate-tenant-{whose}.ndjson"),
            Document::QuarantinedSegment { id } => format!("tollgate-segment-{id}.segment"),
        }
    }

    /// The file in pieces. No transaction stays open while a slow reader takes its time.
    pub fn content(self, app: App) -> Result<BoxStream<'static, Result<Bytes>>> {
        Ok(match self.document {
            Document::UsageCsv { month } => {
                let tenant = self.tenant.ok_or(Error::NotFound("download"))?;
                usage_csv(app.clone(), tenant, Month::new(&app, Some(&month))?).boxed()
            }
            Document::UsageGroups { question, format } => {
                let tenant = self.tenant.ok_or(Error::NotFound("download"))?;
                usage_groups(app, tenant, *question, format).boxed()
            }
            Document::AuditNdjson {} => audit_ndjson(app, self.tenant).boxed(),
            Document::TenantExport {} => {
                let tenant = self.tenant.ok_or(Error::NotFound("download"))?;
                tenant_export::content(app, tenant).boxed()
            }
            Document::QuarantinedSegment { id } => quarantined_segment(app, id).boxed(),
        })
    }
}

fn usage_csv(app: App, tenant: TenantId, month: Month) -> impl Stream<Item = Result<Bytes>> {
    enum Next {
        Header,
        After(Option<Box<LedgerRow>>),
        End,
    }
    stream::try_unfold((app, Next::Header), move |(app, next)| async move {
        let last = match next {
            Next::Header => return Ok(Some((csv::header()?, (app, Next::After(None))))),
            Next::After(last) => last,
            Next::End => return Ok(None),
        };
        let (from, until) = (month.start(), month.end());
        let mut tx = app.begin_in(tenant).await?;
        let rows =
            store::usage_hour::export(&mut tx, tenant, from, until, last.as_deref(), ROWS_MAX)
                .await?;
        drop(tx);
        let piece = csv::rows(tenant, &rows)?;
        let full = i64::try_from(rows.len()) == Ok(ROWS_MAX);
        let next =
            if full { Next::After(rows.into_iter().next_back().map(Box::new)) } else { Next::End };
        Ok(Some((piece, (app, next))))
    })
    .map_ok(Bytes::from)
}

/// Slice by slice of its time, so that each piece adds up little more than it has, and its rows tell a reader how far it
/// is: one interval where there are many rows, more where there are few.
/// Calls are counted meanwhile: each piece is of a moment of its own, and in an order that these do not change.
fn usage_groups(
    app: App,
    tenant: TenantId,
    question: Question,
    format: Format,
) -> impl Stream<Item = Result<Bytes>> {
    struct Next {
        since: DateTime<Utc>,
        slice: TimeDelta,
        last: Option<Key>,
        piece: Vec<u8>,
    }
    let whole = question.until - question.since;
    let (slice_min, slice_max) = match question.interval {
        Some(Interval::Minute) => (TimeDelta::minutes(1), TimeDelta::hours(1)),
        Some(Interval::Hour) => (TimeDelta::hours(1), TimeDelta::days(1)),
        Some(Interval::Day) => (TimeDelta::days(1), TimeDelta::days(31)),
        None => (whole, whole),
    };
    let first = usage_group::header(format, &question.by).map(|piece| Next {
        since: question.since,
        slice: slice_min,
        last: None,
        piece,
    });
    stream::try_unfold((app, question, Some(first)), move |(app, question, next)| async move {
        let Some(next) = next else { return Ok(None) };
        let Next { mut since, mut slice, mut last, mut piece } = next?;
        while since < question.until {
            let until = question.until.min(since + slice);
            let part = Question { since, until, ..question.clone() };
            let mut tx = app.begin_to_add_up(tenant, time_limit::PIECE).await?;
            let after = last.as_ref();
            let rows = store::usage_group::export(&mut tx, tenant, &part, after, ROWS_MAX).await?;
            drop(tx);
            last = (i64::try_from(rows.len()) == Ok(ROWS_MAX))
                .then(|| rows.last().map(|row| row.place(false)))
                .flatten();
            match &last {
                Some(last) if question.interval.is_some() => (since, slice) = (last.at, slice_min),
                Some(_) => {}
                None => (since, slice) = (until, slice_max.min(slice * 2)),
            }
            // Nothing is sent of a time without calls.
            if !rows.is_empty() {
                piece.extend(usage_group::rows(format, &question.by, &rows)?);
                let next = Next { since, slice, last, piece: Vec::new() };
                return Ok(Some((piece, (app, question, Some(Ok(next))))));
            }
        }
        Ok(if piece.is_empty() { None } else { Some((piece, (app, question, None))) })
    })
    .map_ok(Bytes::from)
}

/// The log up to the head that it has when the first piece is asked for: what is written meanwhile is not in it.
fn audit_ndjson(app: App, tenant: Option<TenantId>) -> impl Stream<Item = Result<Bytes>> {
    enum Next {
        Start,
        After(Box<audit_chain::Chain>, u64),
        End,
    }
    stream::try_unfold((app, Next::Start), move |(app, next)| async move {
        let mut tx = app.system(Job::Downloads).await?;
        let (chain, after) = match next {
            Next::Start => (Box::new(audit_chain::current(&mut tx, tenant).await?), 0),
            Next::After(chain, after) => (chain, after),
            Next::End => return Ok(None),
        };
        let part = audit_chain::export(&mut tx, tenant, after, chain.head.sequence).await?;
        drop(tx);
        let (piece, next) = match part {
            Some((lines, last)) => (lines, Next::After(chain, last)),
            None => (audit_chain::export_head(&app, tenant, &chain)?, Next::End),
        };
        Ok(Some((piece, (app, next))))
    })
    .map_ok(Bytes::from)
}

/// It is a few megabytes at most, and sent at once.
fn quarantined_segment(app: App, id: QuarantinedSegmentId) -> impl Stream<Item = Result<Bytes>> {
    stream::once(async move {
        let mut tx = app.system(Job::Downloads).await?;
        let content = store::quarantined_segment::content(&mut tx, id).await?;
        Ok(content.ok_or(Error::NotFound("quarantined segment"))?.into())
    })
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::domain::usage::Wanted;
    use crate::domain::usage_group::{By, Dimension};
    use crate::ledger::intake::{self, tests as ledger};
    use crate::ledger::rollup;
    use crate::testing;

    fn token(link: &Link) -> &str {
        link.url.rsplit_once('/').unwrap().1
    }

    async fn read(app: &App, download: Download) -> String {
        let content = download.content(app.clone()).unwrap();
        let pieces: Vec<Bytes> = content.try_collect().await.unwrap();
        String::from_utf8(pieces.concat()).unwrap()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_link_works_once_within_a_minute(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let month = Month::new(&app, None).unwrap();

        let link = create(&app, &alice, month).await.unwrap();
        assert!(open(&app, token(&link)).await.is_ok());
        assert!(matches!(open(&app, token(&link)).await, Err(Error::NotFound(_))));

        let late = create(&app, &alice, month).await.unwrap();
        app.clock.advance(LINK_LIFE);
        assert!(matches!(open(&app, token(&late)).await, Err(Error::NotFound(_))));
        assert!(matches!(open(&app, "forged").await, Err(Error::NotFound(_))));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_export_holds_every_row_once_and_the_oldest_first_whatever_is_rolled_up(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        // 1,300 routes in one minute, a page of them in the next, and one call two days before.
        let mut tx = app.system(Job::RollUp).await.unwrap();
        for (minute, routes) in [
            ("2026-11-18T09:00:00Z", 1),
            ("2026-11-20T10:00:00Z", 1300),
            ("2026-11-20T10:01:00Z", 1000),
        ] {
            sqlx::query(
                "insert into usage_minute select 'default', $1, '', 'abcdefghi0', 'prod', 'GET /' || n, '', '', 2, 0,
                     $2, n, n, 0, 0, 0, 0 from generate_series(1, $3) n",
            )
            .bind(alice.tenant.0)
            .bind(minute.parse::<DateTime<Utc>>().unwrap())
            .bind(routes)
            .execute(&mut *tx)
            .await
            .unwrap();
        }
        sqlx::query("insert into usage_hour_due select distinct tenant_id, date_trunc('hour', minute) from usage_minute")
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let ask = |interval| {
            let since = "2026-11-17T00:00:00Z".parse().unwrap();
            let by = By::from([Dimension::Route]);
            Question::new(&app, interval, since, None, Wanted::default(), by).unwrap()
        };
        let export = async |actor: &Actor, interval, format| {
            let link = create_usage_export(&app, actor, ask(interval), format).await.unwrap();
            read(&app, open(&app, token(&link)).await.unwrap()).await
        };

        let minutes = export(&alice, Some(Interval::Minute), Format::Ndjson).await;
        let hours = export(&alice, Some(Interval::Hour), Format::Csv).await;
        let whole = export(&alice, None, Format::Csv).await;
        rollup::run(&app).await.unwrap();
        rollup::days(&app).await.unwrap();

        assert_eq!(export(&alice, Some(Interval::Minute), Format::Ndjson).await, minutes);
        assert_eq!(export(&alice, Some(Interval::Hour), Format::Csv).await, hours);
        assert_eq!(export(&alice, None, Format::Csv).await, whole);
        let lines: std::collections::BTreeSet<&str> = minutes.lines().collect();
        assert_eq!((minutes.lines().count(), lines.len()), (2301, 2301));
        let starts: Vec<&str> = minutes.lines().map(|line| &line[..32]).collect();
        assert!(starts.is_sorted(), "the oldest first");
        let requests = |csv: &str| -> i64 {
            csv.lines()
                .skip(1)
                .map(|line| line.split(',').nth(2).unwrap().parse::<i64>().unwrap())
                .sum()
        };
        let all = 1 + 1300 * 1301 / 2 + 1000 * 1001 / 2;
        assert_eq!((hours.lines().count(), requests(&hours)), (1302, all));
        assert_eq!((whole.lines().count(), requests(&whole)), (1301, all));
        let days = export(&alice, Some(Interval::Day), Format::Csv).await;
        assert_eq!((days.lines().count(), requests(&days)), (1302, all));
        assert_eq!(export(&mallory, None, Format::Csv).await.lines().count(), 1);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_export_holds_every_row_once_though_calls_are_counted_meanwhile(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let node = ledger::node(&app, "default").await;
        let routes: Vec<&'static str> =
            (0..1500).map(|n| &*format!("GET /{n:04}").leak()).collect();
        let call = |route| ledger::Call { route, ..ledger::call(&app, alice.tenant) };
        let calls: Vec<_> = routes.iter().map(|route| call(*route)).collect();
        intake::take(&app, node, &[ledger::segment(ledger::place(1), &calls)]).await.unwrap();
        for (place, interval) in [(2, None), (3, Some(Interval::Day))] {
            let since = "2026-11-20T00:00:00Z".parse().unwrap();
            let by = By::from([Dimension::Route]);
            let question =
                Question::new(&app, interval, since, None, Wanted::default(), by).unwrap();
            let link = create_usage_export(&app, &alice, question, Format::Csv).await.unwrap();
            let mut content = open(&app, token(&link)).await.unwrap().content(app.clone()).unwrap();

            let mut file = content.try_next().await.unwrap().unwrap().to_vec();
            // What was read first and what was read last is called more than all between.
            let more: Vec<_> =
                (0..18).map(|n| call(routes[if n % 2 == 0 { 0 } else { 999 }])).collect();
            intake::take(&app, node, &[ledger::segment(ledger::place(place), &more)])
                .await
                .unwrap();
            while let Some(piece) = content.try_next().await.unwrap() {
                file.extend(piece);
            }

            let file = String::from_utf8(file).unwrap();
            let told: Vec<&str> =
                file.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
            assert_eq!(told, routes, "each once, by name");
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_download_holds_every_row_of_its_tenant_and_month(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let node = ledger::node(&app, "default").await;
        intake::take(
            &app,
            node,
            &[ledger::segment(ledger::place(1), &[ledger::call(&app, alice.tenant)])],
        )
        .await
        .unwrap();
        rollup::run(&app).await.unwrap();
        let mut tx = app.system(Job::RollUp).await.unwrap();
        sqlx::query(
            "insert into usage_hour select cell_id, tenant_id, '', api_id, stage, 'GET /' || n, '', '', 2, 0,
                 hour, n, n, 0, 0, 0, 0 from usage_hour, generate_series(1, 2500) n",
        )
        .execute(&mut *tx)
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let month = Month::new(&app, None).unwrap();

        let link = create(&app, &alice, month).await.unwrap();
        let whole = read(&app, open(&app, token(&link)).await.unwrap()).await;
        let again = create(&app, &alice, month).await.unwrap();
        let theirs = create(&app, &mallory, month).await.unwrap();

        let lines: std::collections::BTreeSet<&str> = whole.lines().collect();
        assert_eq!(
            (whole.lines().count(), lines.len()),
            (2502, 2502),
            "a header, and each row once"
        );
        assert_eq!(read(&app, open(&app, token(&again)).await.unwrap()).await, whole);
        let theirs = read(&app, open(&app, token(&theirs)).await.unwrap()).await;
        assert_eq!(theirs.lines().count(), 1);
    }
}
