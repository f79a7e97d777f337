//! What OpenTelemetry costs a node: nodes that differ in their `OTEL_…` variables alone, and the same call to each.

use anyhow::{Context, Result};
use harness::collector::Collector;

use crate::compare;
use crate::gateway::Gateway;
use crate::nginx::Nginx;

pub(crate) async fn run() -> Result<()> {
    let backend = Nginx::backend().context("nginx as the backend")?;
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
    let mut gateways = Vec::new();
    for (name, settings) in ways {
        gateways.push((name, Gateway::start(&backend, &settings).await?));
    }
    compare(gateways.iter().map(|(name, gateway)| gateway.open(name)).collect())
}
