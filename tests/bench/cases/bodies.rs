//! Large bodies, in both directions.

use std::fs;

use anyhow::Result;

use super::Bench;
use crate::load::Load;
use crate::table::Table;

const OURS: &str = "tollgate";
const CONNECTIONS: u32 = 16;
const UPLOAD: &str = "wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", 1048576)\n";

pub(super) async fn download(bench: &Bench<'_>) -> Result<Table> {
    let field = bench.field().await?;
    let mut targets = field.featured("/m1", false)?;
    targets.push(field.gateway.target(OURS, &field.download));
    let title = "1 MiB responses, HTTP/1.1, 16 connections, all features; nginx with tuned buffers, HAProxy with splice";
    let mut comparison = bench.comparison("download", title, targets);
    comparison.load = Load::Wrk { connections: CONNECTIONS };
    comparison.run()?.goal(OURS, "× nginx", 1.05, 0.60)
}

pub(super) async fn upload(bench: &Bench<'_>) -> Result<Table> {
    let field = bench.field().await?;
    let script = bench.backend.directory.join("upload.lua");
    fs::write(&script, UPLOAD)?;
    let mut targets = field.featured("/up", false)?;
    targets.push(field.gateway.target(OURS, &field.upload));
    for target in &mut targets {
        target.script = Some(script.clone());
    }
    let title = "1 MiB uploads, HTTP/1.1, 16 connections, all features; nginx buffers none of it";
    let mut comparison = bench.comparison("upload", title, targets);
    comparison.load = Load::Wrk { connections: CONNECTIONS };
    comparison.run()
}
