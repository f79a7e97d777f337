//! A download: a link that works once, within a minute, for whoever has it.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::access::actor::{Actor, Caller};
use crate::app::{App, Job, Tx};
use crate::domain::bill::Month;
use crate::domain::{audit, audit_chain, tenant_export};
use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::ledger::export::csv;
use crate::store;
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
            Document::UsageCsv { .. } => "text/csv; charset=utf-8; header=present",
            Document::AuditNdjson {} | Document::TenantExport {} => "application/x-ndjson",
        }
    }

    pub fn file_name(&self) -> String {
        let whose = self.tenant.map_or_else(|| "installation".to_owned(), |id| id.to_string());
        match &self.document {
            Document::UsageCsv { month } => format!("tollgate-usage-{month}.csv"),
            Document::AuditNdjson {} => format!("tollgate-audit-{whose}.ndjson"),
            Document::TenantExport {} => format!("tollgate-tenant-{whose}.ndjson"),
        }
    }

    /// The file in pieces. No transaction stays open while a slow reader takes its time.
    pub fn content(self, app: App) -> Result<BoxStream<'static, Result<Bytes>>> {
        Ok(match self.document {
            Document::UsageCsv { month } => {
                let tenant = self.tenant.ok_or(Error::NotFound("download"))?;
                usage_csv(app.clone(), tenant, Month::new(&app, Some(&month))?).boxed()
            }
            Document::AuditNdjson {} => audit_ndjson(app, self.tenant).boxed(),
            Document::TenantExport {} => {
                let tenant = self.tenant.ok_or(Error::NotFound("download"))?;
                tenant_export::content(app, tenant).boxed()
            }
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

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
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
