//! What is counted of backends that fail, and of the targets of VPC links.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

pub(crate) struct BackendMetrics {
    pub(crate) retries: IntCounter,
    pub(crate) hedges: IntCounter,
    pub(crate) hedges_won: IntCounter,
    pub(crate) circuits_opened: IntCounter,
    pub(crate) circuit_refusals: IntCounter,
    pub(crate) targets_ejected: IntCounter,
    /// By `result`.
    pub(crate) health_checks: IntCounterVec,
    /// By `state`.
    pub(crate) targets: IntGaugeVec,
}

impl BackendMetrics {
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name, help| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            prometheus::Result::Ok(counter)
        };
        let health_checks = IntCounterVec::new(
            Opts::new(
                "tollgate_upstream_health_checks_total",
                "Health checks of targets of VPC links, by how they went",
            ),
            &["result"],
        )?;
        registry.register(Box::new(health_checks.clone()))?;
        for result in ["passed", "failed"] {
            health_checks.with_label_values(&[result]); // so that each is there from the start
        }
        let targets = IntGaugeVec::new(
            Opts::new(
                "tollgate_upstream_targets",
                "Targets of VPC links, by what is thought of them",
            ),
            &["state"],
        )?;
        registry.register(Box::new(targets.clone()))?;
        Ok(Self {
            health_checks,
            targets,
            targets_ejected: counter(
                "tollgate_upstream_targets_ejected_total",
                "Times that a target of a VPC link was left for a while because calls to it failed",
            )?,
            retries: counter(
                "tollgate_upstream_retries_total",
                "Calls that were sent to their backend again by their integration's retry policy",
            )?,
            hedges: counter(
                "tollgate_upstream_hedges_total",
                "Calls that were sent to their backend a second time because the first had not answered in time",
            )?,
            hedges_won: counter(
                "tollgate_upstream_hedges_won_total",
                "Calls that the second try beside the first answered",
            )?,
            circuits_opened: counter(
                "tollgate_upstream_circuits_opened_total",
                "Times that a circuit breaker opened because its backend failed",
            )?,
            circuit_refusals: counter(
                "tollgate_upstream_circuit_refusals_total",
                "Calls refused because the circuit breaker of their backend was open",
            )?,
        })
    }
}
