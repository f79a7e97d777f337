//! The statement of a day's usage, signed once all its hours are sealed, and the proof that a row is in it.

use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, TimeDelta, Utc};

use crate::access::actor::Actor;
use crate::app::{App, Tx};
use crate::domain::audit_chain;
use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::ledger::row;
use crate::ledger::seal;
use crate::ledger::statement::{Hex, start};
pub use crate::ledger::statement::{Hour, Proof, ProvenRow, Statement};
use crate::store;
use crate::store::usage_hour::LedgerRow;
use crate::store::usage_root::Root;

/// A day in UTC that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(NaiveDate);

impl Day {
    /// `2026-11-16`.
    pub fn new(app: &App, text: &str) -> Result<Self> {
        let wrong = || Error::bad_request("day", "must be a day that has begun, as in 2026-11-16");
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| wrong())?;
        let known = day.year() >= 2000 && start(day) <= app.clock.now();
        if known && day.to_string() == text { Ok(Self(day)) } else { Err(wrong()) }
    }
}

/// What the tenant used on the day. Every member may read what the tenant used.
pub async fn get(app: &App, actor: &Actor, Day(day): Day) -> Result<Statement> {
    let from = start(day);
    let mut tx = app.begin(actor).await?;
    let rooted = store::usage_root::rooted_until(&mut tx).await?;
    let until = rooted.unwrap_or(from).clamp(from, from + TimeDelta::days(1));
    let roots = store::usage_root::list(&mut tx, actor.tenant, from, until).await?;
    let (key, public) = (audit_chain::key(app)?, audit_chain::public_key(app));
    let mut hours = Vec::new();
    let mut roots = roots.into_iter().peekable();
    let mut hour = from;
    while hour < until {
        hours.push(match roots.next_if(|root| root.hour == hour) {
            Some(root) => sealed(actor.tenant, &root, &public)?,
            None => Hour::over(hour, Vec::new()),
        });
        hour += TimeDelta::hours(1);
    }
    Ok(Statement::new(actor.tenant, day, hours, &key))
}

/// The hour as it was sealed: what somebody wrote into the table instead is not stated.
fn sealed(tenant: TenantId, root: &Root, key: &[u8]) -> Result<Hour> {
    let hour = || {
        let rows = u64::try_from(root.rows).ok()?;
        let bytes: [u8; 32] = root.root.as_slice().try_into().ok()?;
        Some(Hour { hour: root.hour, rows, root: Hex(bytes) })
    };
    let hour = hour().filter(|hour| hour.signed(tenant, key, &root.signature));
    hour.ok_or_else(|| {
        let at = root.hour.to_rfc3339_opts(SecondsFormat::Secs, true);
        Error::corrupt("usage_root", format!("the root of {at} of {tenant} is not what was signed"))
    })
}

/// That the row of this name is in its hour's root. Not found where it is in none, since the hour is not sealed.
pub async fn prove(
    app: &App,
    actor: &Actor,
    hour: DateTime<Utc>,
    ledger_row: &str,
) -> Result<Proof> {
    // PostgreSQL knows fewer years than a clock can say.
    let known = (2000..10_000).contains(&hour.year());
    if !known || hour.timestamp() % 3600 != 0 || hour.timestamp_subsec_nanos() != 0 {
        return Err(Error::bad_request("hour", "must be the start of an hour"));
    }
    if ledger_row.len() != 32 || ledger_row.bytes().any(|byte| !byte.is_ascii_hexdigit()) {
        let reason = "must be the name of a row in an export: 32 hex digits";
        return Err(Error::bad_request("ledgerRow", reason));
    }
    let mut tx = app.begin(actor).await?;
    let until = hour + TimeDelta::hours(1);
    let root = store::usage_root::list(&mut tx, actor.tenant, hour, until).await?.pop();
    let root = root.ok_or(Error::NotFound("sealed hour"))?;
    let sealed = sealed(actor.tenant, &root, &audit_chain::public_key(app))?;
    let (found, leaves) = find(&mut tx, actor.tenant, hour, ledger_row).await?;
    drop(tx);
    let changed = Hour::over(hour, leaves.clone()) != sealed;
    if changed {
        let at = hour.to_rfc3339_opts(SecondsFormat::Secs, true);
        let reason = format!("the rows of {at} of {} are not those that were sealed", actor.tenant);
        return Err(Error::corrupt("usage_hour", reason));
    }
    let row = found.ok_or(Error::NotFound("ledger row"))?;
    Proof::new(actor.tenant, row, leaves).ok_or(Error::NotFound("ledger row"))
}

async fn find(
    tx: &mut Tx,
    tenant: TenantId,
    hour: DateTime<Utc>,
    name: &str,
) -> Result<(Option<LedgerRow>, Vec<crate::ledger::merkle::Hash>)> {
    let mut found = None;
    let leaves = seal::leaves(tx, tenant, hour, |row| {
        if found.is_none() && row::name(tenant, row) == name {
            found = Some(row.clone());
        }
    })
    .await?;
    Ok((found, leaves))
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::domain::bill::Month;
    use crate::domain::download;
    use crate::ledger::export::csv;
    use crate::ledger::intake::tests as usage;
    use crate::ledger::seal::tests::{UNTIL_SEALED, calls};
    use crate::ledger::statement::Rows;
    use crate::testing;

    async fn sealed_day(app: &App, actor: &Actor) -> Day {
        let node = usage::node(app, "default").await;
        calls(app, node, actor.tenant, 1, &["GET /a", "GET /b", "-"]).await;
        app.clock.advance(TimeDelta::hours(2));
        calls(app, node, actor.tenant, 2, &["GET /a"]).await;
        app.clock.advance(UNTIL_SEALED + TimeDelta::hours(12));
        seal::run(app).await.unwrap();
        Day::new(app, "2026-11-20").unwrap()
    }

    async fn exported(app: &App, actor: &Actor) -> Vec<LedgerRow> {
        let month = Month::new(app, Some("2026-11")).unwrap();
        let mut tx = app.begin(actor).await.unwrap();
        let (from, until) = (month.start(), month.end());
        store::usage_hour::export(&mut tx, actor.tenant, from, until, None, 100).await.unwrap()
    }

    fn written(actor: &Actor, rows: &[LedgerRow]) -> Vec<u8> {
        [csv::header().unwrap(), csv::rows(actor.tenant, rows).unwrap()].concat()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_sealed_day_is_stated_and_each_row_of_it_proven(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let day = sealed_day(&app, &alice).await;

        let statement = get(&app, &alice, day).await.unwrap();

        assert!(statement.is_final);
        let used: Vec<_> = statement.hours.iter().map(|hour| hour.rows).collect();
        assert_eq!((used.len(), used[11], used[13], statement.rows()), (24, 3, 1, 4));
        let key = Hex(audit_chain::public_key(&app).try_into().unwrap());
        let checked = statement.check(Some(key)).unwrap();
        let rows = exported(&app, &alice).await;
        assert_eq!(checked.csv(&written(&alice, &rows)[..]), Ok(Rows { of_the_day: 4, others: 0 }));
        for row in &rows {
            let name = row::name(alice.tenant, row);
            let proof = prove(&app, &alice, row.hour, &name).await.unwrap();
            checked.proof(&proof).unwrap();
            let theirs = prove(&app, &mallory, row.hour, &name).await.unwrap_err();
            assert_eq!(theirs.code(), "not_found");
        }
        let none = prove(&app, &alice, rows[0].hour, &"0".repeat(32)).await.unwrap_err();
        assert_eq!(none.code(), "not_found");
        let idle = get(&app, &mallory, day).await.unwrap();
        assert_eq!(
            (idle.is_final, idle.rows()),
            (true, 0),
            "nothing was used, and that is signed too"
        );
        assert!(idle.check(Some(key)).is_ok());
        assert!(idle.check(Some(key)).unwrap().csv(&written(&mallory, &[])[..]).is_ok());
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_day_of_which_an_hour_is_open_is_not_final_and_not_signed(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let today = Day::new(&app, "2026-11-20").unwrap();
        let open = get(&app, &alice, today).await.unwrap();
        assert_eq!((open.is_final, open.hours.len(), open.signature), (false, 0, None));

        let node = usage::node(&app, "default").await;
        calls(&app, node, alice.tenant, 1, &["GET /a"]).await;
        app.clock.advance(UNTIL_SEALED);
        seal::run(&app).await.unwrap();

        let open = get(&app, &alice, today).await.unwrap();
        assert_eq!((open.is_final, open.hours.len(), open.rows()), (false, 13, 1));
        assert_eq!((open.root, open.signature, open.key), (None, None, None));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_was_changed_behind_the_ledgers_back_is_found(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        let day = sealed_day(&app, &alice).await;
        let statement = get(&app, &alice, day).await.unwrap();
        let row = exported(&app, &alice).await.remove(0);
        let name = row::name(alice.tenant, &row);
        let sql = "update usage_hour set billed_requests = 7 where route = 'GET /a'";
        sqlx::query(sql).execute(&db).await.unwrap();
        let rows = exported(&app, &alice).await;
        let said = statement.check(None).unwrap().csv(&written(&alice, &rows)[..]).unwrap_err();
        assert!(said.starts_with("2026-11-20T11:00:00Z: its rows are not those"), "{said}");
        let refused = prove(&app, &alice, row.hour, &name).await.unwrap_err();
        assert_eq!(refused.code(), "internal");
        // Who changes the roots too has no key to sign them with.
        let mut admin = db.acquire().await.unwrap();
        sqlx::raw_sql(
            "set session_replication_role = replica; update usage_root set root = sha256('forged')",
        )
        .execute(&mut *admin)
        .await
        .unwrap();
        assert_eq!(get(&app, &alice, day).await.unwrap_err().code(), "internal");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_day_and_a_row_are_asked_for_by_their_names(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        for day in
            ["", "2026-11", "2026-11-31", "2026-11-21", "1999-12-31", "2026-1-1", "+2026-11-20"]
        {
            let refused = Day::new(&app, day).map(drop).unwrap_err();
            assert_eq!(refused.param(), Some("day"), "{day}");
        }
        assert!(Day::new(&app, "2026-11-20").is_ok(), "today has begun");
        let noon = testing::noon();
        for (hour, name, param) in [
            (noon + TimeDelta::seconds(1), "0".repeat(32), "hour"),
            (DateTime::<Utc>::MIN_UTC, "0".repeat(32), "hour"),
            (DateTime::<Utc>::MAX_UTC, "0".repeat(32), "hour"),
            (noon, "0".repeat(31), "ledgerRow"),
            (noon, "x".repeat(32), "ledgerRow"),
        ] {
            let refused = prove(&app, &alice, hour, &name).await.unwrap_err();
            assert_eq!(refused.param(), Some(param));
        }
        let open = prove(&app, &alice, noon, &"0".repeat(32)).await.unwrap_err();
        assert_eq!(open.code(), "not_found");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_downloaded_month_checks_against_a_day_of_it(db: PgPool) {
        use futures_util::TryStreamExt;

        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let day = sealed_day(&app, &alice).await;
        let month = Month::new(&app, Some("2026-11")).unwrap();

        let link = download::create(&app, &alice, month).await.unwrap();
        let token = link.url.rsplit_once('/').unwrap().1.to_owned();
        let opened = download::open(&app, &token).await.unwrap();
        let pieces: Vec<_> = opened.content(app.clone()).unwrap().try_collect().await.unwrap();

        let statement = get(&app, &alice, day).await.unwrap();
        let found = statement.check(None).unwrap().csv(&pieces.concat()[..]);
        assert_eq!(found, Ok(Rows { of_the_day: 4, others: 0 }));
    }
}
