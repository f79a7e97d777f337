//! Everything of a tenant as NDJSON, to take away: one line for each thing, without secrets.
//!
//! The first line has how many of each kind follow, and the last how many did: who reads along knows how far it is,
//! and that nothing was cut off. What is made meanwhile may be in it or not.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::DateTime;
use futures_util::stream::{self, Stream};
use serde_json::{Value, json};

use crate::access::actor::{Actor, Operator};
use crate::access::role::Action;
use crate::app::{App, Job, Tx};
use crate::domain::audit;
use crate::domain::download::{self, Link};
use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::store;
use crate::store::tenant_export::Part;
use crate::store::usage_hour::LedgerRow;

/// Of the lines' form.
const FORMAT: u32 = 1;
/// Lines that are in memory at once.
const LINES_MAX: i64 = 500;

/// Makes a link to everything of the caller's own tenant, suspended too.
pub async fn create(app: &App, actor: &Actor) -> Result<Link> {
    actor.may(Action::ManageMembers)?;
    let mut tx = app.begin(actor).await?;
    let noun_id = actor.tenant.to_string();
    audit::record::<()>(app, &mut tx, actor, audit::TENANT_EXPORT, &noun_id, None, None).await?;
    download::create_export(app, tx, actor.tenant).await
}

/// The same of any tenant that is not erased, for the operator.
pub async fn create_as_operator(app: &App, operator: &Operator, tenant: TenantId) -> Result<Link> {
    let mut tx = app.system(Job::Operator).await?;
    store::account::lock(&mut tx, tenant).await?;
    let action = audit::TENANT_EXPORT;
    audit::record_operator_on::<()>(app, &mut tx, operator, tenant, action, None, None).await?;
    download::create_export(app, tx, tenant).await
}

/// Where the export is.
enum Next {
    Start,
    /// A part, and the key of its last line; of usage its last row.
    Part(usize, String),
    Usage(Option<Box<LedgerRow>>),
    End,
    Done,
}

/// The lines in pieces. No transaction stays open while a slow reader takes its time.
pub fn content(app: App, tenant: TenantId) -> impl Stream<Item = Result<Bytes>> {
    let start = (app, Next::Start, BTreeMap::<&'static str, u64>::new());
    stream::try_unfold(start, move |(app, next, mut told)| async move {
        let (piece, next) = match next {
            Next::Done => return Ok(None),
            Next::Start => (first(&app, tenant).await?, Next::Part(0, String::new())),
            Next::End => (line(&json!({ "kind": "end", "counts": told }))?, Next::Done),
            Next::Part(at, after) => {
                let part = Part::ALL[at];
                let mut tx = app.begin_in(tenant).await?;
                let lines =
                    Box::pin(store::tenant_export::page(&mut tx, tenant, part, &after, LINES_MAX))
                        .await?;
                drop(tx);
                *told.entry(part.kind()).or_default() += lines.len() as u64;
                let mut piece = Vec::new();
                for (_, value) in &lines {
                    piece.extend(line(&json!({ "kind": part.kind(), "value": value }))?);
                }
                let full = i64::try_from(lines.len()) == Ok(LINES_MAX);
                let next = match lines.into_iter().next_back() {
                    Some((key, _)) if full => Next::Part(at, key),
                    _ if at + 1 < Part::ALL.len() => Next::Part(at + 1, String::new()),
                    _ => Next::Usage(None),
                };
                (piece, next)
            }
            Next::Usage(last) => {
                let mut tx = app.begin_in(tenant).await?;
                let rows = usage(&mut tx, tenant, last.as_deref()).await?;
                drop(tx);
                *told.entry(USAGE).or_default() += rows.len() as u64;
                let mut piece = Vec::new();
                for row in &rows {
                    piece.extend(line(&json!({ "kind": USAGE, "value": used(row) }))?);
                }
                let full = i64::try_from(rows.len()) == Ok(LINES_MAX);
                let next = match rows.into_iter().next_back() {
                    Some(row) if full => Next::Usage(Some(Box::new(row))),
                    _ => Next::End,
                };
                (piece, next)
            }
        };
        Ok(Some((Bytes::from(piece), (app, next, told))))
    })
}

const USAGE: &str = "usage_hour";

async fn first(app: &App, tenant: TenantId) -> Result<Vec<u8>> {
    let mut tx = app.begin_in(tenant).await?;
    let (value, counts) = store::tenant_export::tenant(&mut tx, tenant).await?;
    let at = app.clock.now();
    line(&json!({ "kind": "tenant", "format": FORMAT, "at": at, "value": value, "counts": counts }))
}

async fn usage(tx: &mut Tx, tenant: TenantId, last: Option<&LedgerRow>) -> Result<Vec<LedgerRow>> {
    // All that there can be.
    let (from, until) = (DateTime::UNIX_EPOCH, DateTime::from_timestamp(253_402_300_799, 0));
    let until = until.ok_or_else(|| Error::corrupt("the year 9999", ""))?;
    store::usage_hour::export(tx, tenant, from, until, last, LINES_MAX).await
}

fn used(row: &LedgerRow) -> Value {
    json!({
        "hour": row.hour, "api_id": row.api_id, "stage": row.stage, "route": row.route,
        "api_key_id": row.api_key_id, "usage_plan_id": row.usage_plan_id, "consumer_id": row.consumer_id,
        "status_class": row.status_class, "cache": row.cache, "cell_id": row.cell_id, "requests": row.requests,
        "billed_requests": row.billed_requests, "bytes_in": row.bytes_in, "bytes_out": row.bytes_out,
        "billed_bytes_out": row.billed_bytes_out, "duration_ms": row.duration_ms,
    })
}

fn line(value: &Value) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value).map_err(Error::internal)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;
    use secrecy::ExposeSecret;
    use sqlx::PgPool;

    use super::*;
    use crate::access::role::Role;
    use crate::domain::account;
    use crate::domain::api::Dialect;
    use crate::domain::api_key::{self, NewApiKey};
    use crate::domain::consumer::{self, NewConsumer};
    use crate::testing;

    async fn lines(app: &App, link: &Link) -> Vec<Value> {
        let token = link.url.rsplit_once('/').unwrap().1;
        let opened = download::open(app, token).await.unwrap();
        assert_eq!(opened.content_type(), "application/x-ndjson");
        let pieces: Vec<Bytes> = opened.content(app.clone()).unwrap().try_collect().await.unwrap();
        let text = String::from_utf8(pieces.concat()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_export_has_everything_of_one_tenant_and_no_secret(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let operator = testing::operator(&app).await;
        for owner in [&alice, &mallory] {
            let api = testing::new_api(&app, owner, Dialect::Native).await;
            testing::new_route(&app, owner, api, "GET /pets", testing::mock("pets")).await;
            testing::deploy(&app, owner, api, "prod").await.unwrap();
        }
        for number in 0..=LINES_MAX {
            let new =
                NewConsumer { name: format!("consumer {number}"), external_id: String::new() };
            consumer::create(&app, &alice, new).await.unwrap();
        }
        let new = NewApiKey { name: "key".to_owned(), enabled: true, ..NewApiKey::default() };
        let (key, value) = api_key::create(&app, &alice, new).await.unwrap();
        // Owing money does not keep anybody's data from them.
        account::suspend(&app, &operator, alice.tenant, "the bill").await.unwrap();

        let told = lines(&app, &create(&app, &alice).await.unwrap()).await;

        let (head, end) = (&told[0], told.last().unwrap());
        assert_eq!((&head["kind"], &end["kind"]), (&json!("tenant"), &json!("end")));
        for kind in ["api", "route", "integration", "deployment", "stage", "api_key", "member"] {
            let count = told.iter().filter(|line| line["kind"] == kind).count();
            assert_eq!(
                (&head["counts"][kind], &end["counts"][kind]),
                (&json!(count), &json!(count))
            );
            assert_eq!(count, 1, "{kind}");
        }
        let consumers: std::collections::BTreeSet<&str> = told
            .iter()
            .filter(|line| line["kind"] == "consumer")
            .map(|line| line["value"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(consumers.len(), usize::try_from(LINES_MAX).unwrap() + 1);
        let text = json!(told).to_string();
        assert!(text.contains(key.id.as_str()) && !text.contains(&mallory.tenant.to_string()));
        let secrets = ["data_key", "key_pepper", "digest\":\"\\\\x", "token_hash", "password"];
        for secret in secrets.into_iter().chain([value.expose_secret()]) {
            assert!(!text.contains(secret), "{secret}");
        }
        let theirs = create_as_operator(&app, &operator, alice.tenant).await.unwrap();
        assert_eq!(lines(&app, &theirs).await.last().unwrap()["counts"]["api"], 1);
        let log = testing::audited(&app, &alice).await;
        assert_eq!(log.iter().filter(|entry| entry.action == "tenant.export").count(), 2);
        let unknown = create_as_operator(&app, &operator, app.rng.id()).await;
        assert_eq!(unknown.unwrap_err().code(), "not_found");
        let viewer = testing::join(&app, alice.tenant, Role::Viewer).await;
        assert_eq!(create(&app, &viewer).await.unwrap_err().code(), "forbidden");
    }
}
