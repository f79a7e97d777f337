//! Calls while the configuration changes ten times a second.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use harness::tenant::graphql;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::Bench;
use crate::field::Field;
use crate::load::steady::{Seen, Steady};
use crate::table::Table;

const PUSHES: usize = 1000;
const PUSHES_QUICK: usize = 100;
const EVERY: Duration = Duration::from_millis(100);
const PER_SECOND: f64 = 5000.0;
const CONNECTIONS: usize = 64;
/// Of the thread that calls; it never sleeps.
const CORES: &str = "3";
const WITHOUT: Duration = Duration::from_secs(10);
const PUSHED: &str = "with pushes";

pub(super) async fn run(bench: &Bench<'_>) -> Result<Table> {
    let field = bench.field().await?;
    let target = field.gateway.target("tollgate", &field.all);
    let calls = Steady {
        address: target.address()?,
        requests: vec![target.request()?],
        per_second: PER_SECOND,
        connections: CONNECTIONS,
        depth: 1,
    };
    let never = AtomicBool::new(false);
    let alone = std::thread::scope(|scope| {
        scope.spawn(|| calls.run(CORES, WITHOUT, &never)).join().expect("it does not panic")
    })?;
    let pushes = if bench.arguments.quick { PUSHES_QUICK } else { PUSHES };
    // Its own end is the pushes' end.
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let calling = std::thread::spawn(move || calls.run(CORES, Duration::from_hours(1), &stopped));
    let took = push(field, pushes).await;
    stop.store(true, Ordering::Relaxed);
    let with = calling.join().expect("it does not panic")?;
    let took = took?;

    let title = format!(
        "5,000 calls/s in an open loop while an Api of 252 routes, the one that is called, is deployed {pushes} times, ten \
         times a second; {took:.1} s"
    );
    let columns = ["calls", "failed", "p50 µs", "p99 µs", "p99.9 µs"];
    let table = Table::new("pushes", &title).columns(&columns);
    let table = table.row("without pushes", &row(&alone)?).row(PUSHED, &row(&with)?);
    table.goal(PUSHED, "failed", 0.0, 0.0)
}

/// Deploys the Api again and again, and tells how many seconds it took.
async fn push(field: &Field, pushes: usize) -> Result<f64> {
    let query = "mutation($input: CreateDeploymentInput!) { createDeployment(input: $input) \
                 { deployment { id } userErrors { message } } }";
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let began = std::time::Instant::now();
    for push in 0..pushes {
        ticks.tick().await;
        let input = json!({ "input": { "apiId": field.api, "stage": "prod" } });
        let answer = graphql(&field.gateway.world, Some(&field.token), query, input).await;
        let answer = answer.expect(200).json();
        let made = answer["data"]["createDeployment"]["deployment"]["id"].as_str();
        made.with_context(|| format!("push {push} was refused: {answer}"))?;
    }
    field.gateway.world.settled().await;
    Ok(began.elapsed().as_secs_f64())
}

fn row(seen: &Seen) -> Result<[f64; 5]> {
    let micros = |share| Ok::<_, anyhow::Error>(seen.per_mille(200, share)?.as_secs_f64() * 1e6);
    #[expect(clippy::cast_precision_loss, reason = "calls of minutes")]
    let (calls, failed) = (seen.answered(200) as f64, seen.other_than(200) as f64);
    Ok([calls, failed, micros(500)?, micros(990)?, micros(999)?])
}
