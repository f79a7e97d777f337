//! What is counted of backends that fail.

use prometheus::{IntCounter, Registry};

pub(crate) struct BackendMetrics {
    pub(crate) retries: IntCounter,
    pub(crate) circuits_opened: IntCounter,
    pub(crate) circuit_refusals: IntCounter,
}

impl BackendMetrics {
    pub(crate) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name, help| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            prometheus::Result::Ok(counter)
        };
        Ok(Self {
            retries: counter(
                "tollgate_upstream_retries_total",
                "Calls that were sent to their backend again by their integration's retry policy",
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
