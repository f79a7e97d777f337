//! Tollgate beside its peers, in one run. README.md says how it is asked for, what is measured and how to read it.
//!
//! One word asks for another measurement than the table: `fairness`, what one tenant's flood does to another's calls;
//! `overload`, what a node does when far more callers come than fill it; `convergence`, how long a change takes to be live
//! on every node; `telemetry`, what OpenTelemetry costs a node; `intake`, how fast one replica takes usage in, and what that
//! costs PostgreSQL; `usage`, how fresh usage is, and how long questions about it take.

mod arguments;
mod cases;
mod convergence;
mod fairness;
mod field;
mod gateway;
mod haproxy;
mod intake;
mod load;
mod machine;
mod nginx;
mod overload;
mod peer;
mod table;
mod telemetry;
mod usage;

use std::time::Duration;

use anyhow::{Context, Result, bail};

use arguments::Arguments;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::read(std::env::args().skip(1))?;
    let Some(subject) = arguments.subject.as_deref() else {
        machine::check()?;
        return Box::pin(cases::run(&arguments)).await;
    };
    match subject {
        "fairness" => {
            machine::check()?;
            Box::pin(fairness::run(&arguments)).await
        }
        "overload" => {
            machine::check()?;
            Box::pin(overload::run(&arguments)).await
        }
        "telemetry" => {
            machine::check()?;
            Box::pin(telemetry::run(&arguments)).await
        }
        "convergence" => Box::pin(convergence::run()).await,
        "intake" => Box::pin(intake::run()).await,
        "usage" => Box::pin(usage::run()).await,
        other => bail!("there is no measurement {other}; {}", arguments::USAGE),
    }
}

/// In milliseconds, of times in order.
fn percentile(took: &[Duration], share: usize) -> Result<f64> {
    let place = (took.len() * share).div_ceil(100).saturating_sub(1);
    took.get(place).map(|took| took.as_secs_f64() * 1000.0).context("nothing was measured")
}
