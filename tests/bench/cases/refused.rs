//! Calls that are refused: what a flood of them costs.

use anyhow::Result;

use super::Bench;
use crate::table::Table;

const OURS: &str = "tollgate";

pub(super) async fn run(bench: &Bench<'_>) -> Result<Vec<Table>> {
    let field = bench.field().await?;
    let throttled = (field.featured_small()?, &field.small, 429, "a key over its throttle");
    let unknown = (field.featured_unknown()?, &field.unknown, 403, "a key that nobody has");
    let mut tables = Vec::new();
    for (mut targets, call, status, what) in [throttled, unknown] {
        targets.push(field.gateway.target(OURS, call));
        let title = format!("Calls refused with {status}: {what}; HTTP/1.1, 64 connections");
        let mut comparison = bench.comparison("refused", &title, targets);
        comparison.expected = status;
        tables.push(comparison.run()?);
    }
    Ok(tables)
}
