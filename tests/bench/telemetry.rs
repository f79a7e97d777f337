//! What OpenTelemetry costs a node: nodes that differ in their `OTEL_…` variables alone, and the same call to each.

use anyhow::{Context, Result};
use harness::collector::Collector;

use crate::arguments::Arguments;
use crate::gateway::Gateway;
use crate::load::Load;
use crate::table::Comparison;
use crate::{machine, nginx};

const ROUNDS: usize = 7;
const CORES: &str = "1-3";

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    machine::pin(std::process::id(), CORES)?;
    let backend = nginx::backend().context("nginx as the backend")?;
    let collector = Collector::start().await;
    let url = collector.url();
    let exported = ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str());
    let sampled = |share| vec![exported, ("OTEL_TRACES_SAMPLER_ARG", share)];
    let ways = [
        ("no trace goes on (OTEL_PROPAGATORS=none)", vec![("OTEL_PROPAGATORS", "none")]),
        ("unset", Vec::new()),
        ("everything exported, of traces none", sampled("0")),
        ("everything exported, of traces 1 %", sampled("0.01")),
    ];
    let (mut gateways, mut targets) = (Vec::new(), Vec::new());
    for (name, settings) in ways {
        let gateway = Gateway::start(&settings).await?;
        targets.push(gateway.target(name, &gateway.serve_open(&backend.url("/b.json")).await));
        gateways.push(gateway);
    }
    let comparison = Comparison {
        case: "telemetry",
        title: "HTTP/1.1, 1 KiB, 64 connections, no key".to_owned(),
        load: Load::Wrk { connections: 64 },
        expected: 200,
        targets,
        references: 1,
        rounds: arguments.rounds(ROUNDS),
        seconds: 2,
        cores: CORES,
    };
    let table = comparison.run()?;
    table.print();
    arguments.keep(&table.json())
}
