//! Calls of 1 KiB over kept connections of HTTP/1.1.

use anyhow::Result;

use super::Bench;
use crate::field::Field;
use crate::load::Load;
use crate::table::Table;

const PER_SECOND: f64 = 5000.0;
const ALL: &str = "tollgate, all features";

pub(super) async fn features(bench: &Bench<'_>) -> Result<Table> {
    let field = bench.field().await?;
    let mut targets = field.featured(&Field::path(), false)?;
    targets.extend([
        field.gateway.target("tollgate, plain", &field.open),
        field.gateway.target("tollgate, key and throttle", &field.throttled),
        field.gateway.target(ALL, &field.all),
    ]);
    let title = "HTTP/1.1, 1 KiB, 64 connections; 1,000 routes, 10,000 keys. nginx: map, limit_req; HAProxy: map, stick \
                 table; neither writes a log nor counts. All features: route, key, throttle, quota, count, log, trace id";
    let mut comparison = bench.comparison("features", title, targets);
    comparison.references = 3;
    let table = comparison.run()?;
    table.goal(ALL, "× nginx", 0.95, 0.75)?.goal(ALL, "× HAProxy", 1.00, 0.80)?.goal(
        ALL,
        "× tollgate, plain",
        1.10,
        1.05,
    )
}

pub(super) async fn plain(bench: &Bench<'_>) -> Result<Table> {
    let field = bench.field().await?;
    let mut targets = field.plain()?;
    targets.push(field.gateway.target("tollgate", &field.open));
    let title = "HTTP/1.1, 1 KiB, 64 connections; nginx and HAProxy pass everything on, we route, count and log";
    bench.comparison("plain", title, targets).run()
}

pub(super) async fn paced(bench: &Bench<'_>) -> Result<Table> {
    let field = bench.field().await?;
    let mut targets = field.featured(&Field::path(), false)?;
    targets.push(field.gateway.target(ALL, &field.all));
    let title = "HTTP/1.1, 1 KiB, 5,000 requests/s in an open loop over 64 connections";
    let mut comparison = bench.comparison("paced", title, targets);
    comparison.load = Load::Steady { per_second: PER_SECOND, connections: 64 };
    // The thread that calls never sleeps: the backend has the other cores.
    comparison.cores = "3";
    comparison.run()?.goal(ALL, "p50 × nginx", 1.10, 1.00)
}
