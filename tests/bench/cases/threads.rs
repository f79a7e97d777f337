//! A node with two data threads beside one with one.

use anyhow::Result;

use super::Bench;
use crate::gateway::Gateway;
use crate::table::Table;

/// Of the node with two threads, and who loads both nodes.
const PAIR_CORES: &str = "0-1";
const LOAD_CORES: &str = "2-3";

pub(super) async fn run(bench: &Bench<'_>) -> Result<Table> {
    let uri = bench.backend.url("/b.json");
    let one = Gateway::start(&[]).await?;
    let two = Gateway::start_on(PAIR_CORES, &[("TOLLGATE_NODE_THREADS", "2")]).await?;
    for process in bench.backend.processes()? {
        crate::machine::pin(process, "3")?;
    }
    let targets = vec![
        one.target("one thread", &one.serve_open(&uri).await),
        two.target("two threads", &two.serve_open(&uri).await),
    ];
    let title = "HTTP/1.1, 1 KiB, 64 connections, no key; two cores load both, which bounds what two threads can show";
    let mut comparison = bench.comparison("threads", title, targets);
    comparison.references = 1;
    comparison.cores = LOAD_CORES;
    let table = comparison.run();
    for process in bench.backend.processes()? {
        crate::machine::pin(process, super::LOAD_CORES)?;
    }
    table
}
