//! A download: a link that works once, within a minute, for whoever has it.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::stream::{self, Stream, TryStreamExt};
use sha2::{Digest, Sha256};

use crate::access::actor::Actor;
use crate::app::{App, Job};
use crate::domain::bill::Month;
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

/// A link that was opened: a month of usage.
#[derive(Clone, Copy, Debug)]
pub struct Download {
    tenant: TenantId,
    pub month: Month,
}

/// Makes a link to the month's usage as CSV. Every member may read what the tenant used.
pub async fn create(app: &App, actor: &Actor, month: Month) -> Result<Link> {
    let token = BASE64_URL_SAFE_NO_PAD.encode(app.rng.bytes::<32>());
    let expires_at = app.clock.now() + LINK_LIFE;
    let month = month.to_string();
    let mut tx = app.begin(actor).await?;
    store::download::insert(&mut tx, actor.tenant, &hash(&token), &month, expires_at).await?;
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
    let (tenant, month) = store::download::spend(&mut tx, &hash(token), now)
        .await?
        .ok_or(Error::NotFound("download"))?;
    tx.commit().await?;
    Ok(Download { tenant, month: Month::new(app, Some(&month))? })
}

impl Download {
    /// The file in pieces. No transaction stays open while a slow reader takes its time.
    pub fn content(self, app: App) -> impl Stream<Item = Result<Bytes>> {
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
            let (from, until) = (self.month.start(), self.month.end());
            let mut tx = app.begin_in(self.tenant).await?;
            let rows = store::usage_hour::export(
                &mut tx,
                self.tenant,
                from,
                until,
                last.as_deref(),
                ROWS_MAX,
            )
            .await?;
            drop(tx);
            let piece = csv::rows(self.tenant, &rows)?;
            let full = i64::try_from(rows.len()) == Ok(ROWS_MAX);
            let next = if full {
                Next::After(rows.into_iter().next_back().map(Box::new))
            } else {
                Next::End
            };
            Ok(Some((piece, (app, next))))
        })
        .map_ok(Bytes::from)
    }
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
        let pieces: Vec<Bytes> = download.content(app.clone()).try_collect().await.unwrap();
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
