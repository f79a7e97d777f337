//! wrk: HTTP/1.1 in a closed loop.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Made, Target, micros};

/// Of the calls that should be refused, so many may be let through: what the limit allows.
const LET_THROUGH_MAX: f64 = 0.01;

/// What wrk printed.
pub(crate) struct Printed {
    text: String,
    pub(crate) requests: f64,
    pub(crate) seconds: f64,
    /// Of the requests, those whose status was neither 2xx nor 3xx.
    pub(crate) refused: f64,
}

pub(super) fn run(
    target: &Target,
    connections: u32,
    expected: u16,
    seconds: u32,
    cores: &str,
) -> Result<Made> {
    let printed = call(target, connections, seconds, cores)?;
    let Printed { text, requests, seconds, refused } = &printed;
    let as_expected = if expected < 400 {
        *refused == 0.0
    } else {
        *refused >= requests * (1.0 - LET_THROUGH_MAX)
    };
    ensure!(as_expected, "not all were answered with {expected}:\n{text}");
    let latency = |share| {
        printed
            .field(share)
            .and_then(|it| micros(it.trim()))
            .with_context(|| format!("no {share}:\n{text}"))
    };
    let (p50_us, p99_us) = (latency("50%")?, latency("99%")?);
    Ok(Made { requests: *requests, seconds: *seconds, p50_us, p99_us })
}

/// Calls for so long, whatever the answers are. Each has one.
pub(crate) fn call(
    target: &Target,
    connections: u32,
    seconds: u32,
    cores: &str,
) -> Result<Printed> {
    let mut load = Command::new("taskset");
    load.args(["-c", cores, "wrk", "-t1", "--latency"])
        .args([format!("-c{connections}"), format!("-d{seconds}s")]);
    for (name, value) in &target.headers {
        load.args(["-H", &format!("{name}: {value}")]);
    }
    if let Some(script) = &target.script {
        load.arg("-s").arg(script);
    }
    let output = load.arg(&target.url).output().context("wrk")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "wrk failed: {}", String::from_utf8_lossy(&output.stderr));
    ensure!(!text.contains("Socket errors"), "some calls failed:\n{text}");
    let mut printed = Printed { text, requests: 0.0, seconds: 0.0, refused: 0.0 };
    let text = &printed.text;
    let (count, took) = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))
        .with_context(|| format!("wrk printed no count:\n{text}"))?;
    let took = took.split(',').next().and_then(micros).context("wrk printed no time")?;
    let refused = printed.field("Non-2xx or 3xx responses:");
    let refused = refused.map_or(Ok(0.0), |count| count.trim().parse())?;
    (printed.requests, printed.seconds) = (count.parse()?, took / 1e6);
    printed.refused = refused;
    Ok(printed)
}

impl Printed {
    fn field(&self, name: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.trim().strip_prefix(name))
    }
}
