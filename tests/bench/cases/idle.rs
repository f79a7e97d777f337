//! Memory of client connections that made a call and then are silent.

use anyhow::Result;

use super::Bench;
use crate::field::peer;
use crate::gateway::Gateway;
use crate::load::{Target, held};
use crate::machine::memory_kib;
use crate::nginx;
use crate::table::Table;

const CONNECTIONS: usize = 10_000;
/// The first calls, whose memory belongs to no connection.
const WARM: usize = 100;
const COLUMN: &str = "KiB/connection";

/// Of programs just started: memory that is free again is not seen from outside.
pub(super) async fn run(bench: &Bench<'_>) -> Result<Table> {
    let title = "10,000 idle client connections, proportional set size; sockets' memory in the kernel is not in it";
    let mut table = Table::new("idle", title).columns(&[COLUMN, "memory MiB before", "after"]);
    for (tls, suffix) in [(false, "plain"), (true, "TLS")] {
        let nginx = nginx::plain(&bench.backend)?;
        let target = peer(&format!("nginx, {suffix}"), &nginx, "/b.json", tls, &[])?;
        table = add(table, &target)?;
        let gateway = Gateway::start(&[]).await?;
        let call = gateway.serve_open(&bench.backend.url("/b.json")).await;
        let name = format!("tollgate, {suffix}");
        let target =
            if tls { gateway.tls_target(&name, &call) } else { gateway.target(&name, &call) };
        table = add(table, &target)?;
    }
    table.goal("tollgate, plain", COLUMN, 16.0, 4.0)?.goal("tollgate, TLS", COLUMN, 40.0, 24.0)
}

fn add(table: Table, target: &Target) -> Result<Table> {
    drop(held::open(target, WARM)?);
    let before = memory_kib(&target.processes)?;
    let held = held::open(target, CONNECTIONS)?;
    let after = memory_kib(&target.processes)?;
    drop(held);
    #[expect(clippy::cast_precision_loss, reason = "KiB of processes")]
    let (before, after, connections) = (before as f64, after as f64, CONNECTIONS as f64);
    let figures = [(after - before) / connections, before / 1024.0, after / 1024.0];
    Ok(table.row(&target.name, &figures))
}
