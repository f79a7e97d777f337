//! Calls over TLS 1.3, with a certificate on P-256.

use anyhow::Result;

use super::Bench;
use crate::field::Field;
use crate::load::Load;
use crate::table::{Comparison, Table};

const OURS: &str = "tollgate";

async fn comparison(bench: &Bench<'_>, case: &'static str, title: &str) -> Result<Comparison> {
    let field = bench.field().await?;
    let mut targets = field.featured(&Field::path(), true)?;
    targets.push(field.gateway.tls_target(OURS, &field.all));
    Ok(bench.comparison(case, title, targets))
}

pub(super) async fn kept(bench: &Bench<'_>) -> Result<Table> {
    let title = "HTTP/1.1 over TLS, 1 KiB, 64 kept connections, all features";
    comparison(bench, "tls", title).await?.run()?.goal(OURS, "× nginx", 0.85, 0.65)
}

pub(super) async fn handshake(bench: &Bench<'_>) -> Result<Table> {
    let title =
        "A connection and a full handshake (X25519) for each call, 24 callers, all features";
    let mut comparison = comparison(bench, "handshake", title).await?;
    comparison.load = Load::Handshakes { callers: 24 };
    comparison.run()?.goal(OURS, "× nginx", 0.60, 0.48)
}

pub(super) async fn http2(bench: &Bench<'_>) -> Result<Table> {
    let title = "HTTP/2 over TLS, 1 KiB, 16 connections of 8 streams, all features";
    let mut comparison = comparison(bench, "h2", title).await?;
    comparison.load = Load::H2load { connections: 16, streams: 8 };
    comparison.run()?.goal(OURS, "× nginx", 1.05, 0.90)
}
