//! How soon a call is in its tenant's usage, how long questions take over a hundred million counted requests, and how fast
//! they are taken away.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::tenant::text;
use harness::{Tenant, World, within};
use serde_json::json;

use crate::percentile;

const CALLS: usize = 20;
const PATIENCE: Duration = Duration::from_mins(10);
/// A month, each hour with a row for each key and route, each row so many requests: 100.8 million.
const DAYS: i32 = 30;
const ROUTES: i32 = 100;
const KEYS: i32 = 14;
const REQUESTS: i32 = 100;
const ASKED: usize = 20;
const QUESTIONS: [(&str, &str, i64); 6] = [
    ("a month by day", "interval=day", 30),
    ("a month, which routes were called most", "groupBy=route", 30),
    ("a month by day and key", "interval=day&groupBy=apiKey", 30),
    ("a month by hour, one key", "interval=hour&apiKeyId=key0000001", 30),
    ("a week by hour", "interval=hour", 7),
    (
        "a week by hour, of one route each key",
        "interval=hour&groupBy=apiKey&route=GET%20/pets/7",
        7,
    ),
];
const EXPORTED_DAYS: i64 = 7;

pub(crate) async fn run() -> Result<()> {
    let world = World::start_alone().await;
    let tenant = world.tenant("bench").await;
    println!("| what | times | p50 ms | p95 ms |\n|---|---|---|---|");
    print("from a call's answer until usage counts it", fresh(&world, &tenant).await)?;
    let counted = fill(&world, &tenant).await?;
    for (what, asked, days) in QUESTIONS {
        let path = format!("/v1/usage/groups?limit=100&since={}&{asked}", since(days));
        let mut took = Vec::new();
        for _ in 0..ASKED {
            let began = Instant::now();
            let answer = tenant.rest("GET", &path).await.expect(200);
            took.push(began.elapsed());
            let rows = answer.json()["items"].as_array().map(Vec::len);
            ensure!(rows > Some(0), "nothing was counted: {}", answer.text());
        }
        print(what, took)?;
    }
    println!(
        "\n{counted} requests counted in rows of hours; each question asked by REST, 100 rows a page\n"
    );
    export(&world, &tenant).await
}

async fn fresh(world: &World, tenant: &Tenant<'_>) -> Vec<Duration> {
    let backend = world.origin().await.replies(200, "hello");
    let api = tenant.api("pets").await.get_route("/pets", &backend).await.deploy("prod").await;
    let mut took = Vec::new();
    for call in 0..CALLS {
        // At another moment of the node's and the control plane's rounds each time.
        tokio::time::sleep(Duration::from_millis(137 * call as u64 % 1000)).await;
        let before = tenant.requests().await.0;
        api.get("/pets").await.expect(200);
        let answered = Instant::now();
        within(PATIENCE, "a counted call", async || {
            (tenant.requests().await.0 > before).then_some(())
        })
        .await;
        took.push(answered.elapsed());
    }
    took
}

/// Writes the hours as the roll-up would have, and waits until their days are summed.
async fn fill(world: &World, tenant: &Tenant<'_>) -> Result<i64> {
    let mut database = world.database().await;
    let day = "insert into usage_hour (cell_id, tenant_id, consumer_id, api_id, stage, route, api_key_id,
            usage_plan_id, status_class, cache, hour, requests, billed_requests, bytes_in, bytes_out,
            billed_bytes_out, duration_ms)
        select 'default', $1::uuid, '', 'k3v9x0q2ab', 'prod', 'GET /pets/' || route, 'key' || lpad(key::text, 7, '0'),
            'z9y8x7w6v5', 2, 0, date_trunc('day', now(), 'UTC') - make_interval(days => $2) + make_interval(hours => hour),
            $5, $5, 300 * $5, 1200 * $5, 1200 * $5, 20 * $5
        from generate_series(0, 23) hour, generate_series(1, $3) route, generate_series(1, $4) key";
    let id = tenant.plain_id().await;
    for back in 1..=DAYS {
        let insert = sqlx::query(day).bind(&id).bind(back).bind(ROUTES).bind(KEYS).bind(REQUESTS);
        insert.execute(&mut database).await?;
    }
    within(PATIENCE, "the sums of days", async || {
        let due = sqlx::query_scalar("select count(*) from usage_day_due");
        let due: i64 = due.fetch_one(&mut database).await.ok()?;
        (due == 0).then_some(())
    })
    .await;
    sqlx::query("analyze").execute(&mut database).await?;
    let sum = sqlx::query_scalar("select sum(requests)::bigint from usage_day");
    Ok(sum.fetch_one(&mut database).await?)
}

async fn export(world: &World, tenant: &Tenant<'_>) -> Result<()> {
    println!(
        "| export of {EXPORTED_DAYS} days by hour, route and key | MB | s | MB/s |\n|---|---|---|---|"
    );
    for format in ["csv", "ndjson"] {
        let wanted = json!({ "format": format, "interval": "hour", "groupBy": ["route", "apiKey"],
            "since": since(EXPORTED_DAYS) });
        let link = tenant.rest("POST", "/v1/usage/exports").json(&wanted).await.expect(201).json();
        let link = text(&link["url"]);
        let path = &link[link.find("/v1/").context("a link to no version")?..];
        let began = Instant::now();
        let bytes = world.management().get(path).await.expect(200).text().len();
        let seconds = began.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "megabytes")]
        let megabytes = bytes as f64 / 1e6;
        println!("| {format} | {megabytes:.1} | {seconds:.1} | {:.1} |", megabytes / seconds);
    }
    Ok(())
}

fn since(days: i64) -> String {
    (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(24 * days)).to_string()
}

fn print(what: &str, mut took: Vec<Duration>) -> Result<()> {
    took.sort_unstable();
    let (p50, p95) = (percentile(&took, 50)?, percentile(&took, 95)?);
    println!("| {what} | {} | {p50:.1} | {p95:.1} |", took.len());
    Ok(())
}
