//! The node's CPU per request beside nginx, in one run. `cargo run --profile dist -p tests --bin bench`.
//! With the argument `convergence`: how long a change takes to be live on every node. With `telemetry`: what
//! OpenTelemetry costs a node. With `intake`: how fast one replica takes usage in, and what that costs PostgreSQL. With
//! `usage`: how fresh usage is, and how long questions about it take.
//!
//! Each round runs every case once, in turn, so that a machine whose speed drifts slows all of them. The figure
//! is CPU time of the gateway's processes, from `schedstat`, over the requests that were answered; the ratio is
//! taken round by round against nginx, and its median printed. The gateway has core 0; the load generator and
//! the backend share the others. Needs `nginx` and `wrk` on the PATH, and a `tollgate` beside this program.

mod convergence;
mod gateway;
mod intake;
mod nginx;
mod telemetry;
mod usage;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use gateway::Gateway;
use nginx::Nginx;

const ROUNDS: usize = 7;
const SECONDS: u32 = 2;
const CONNECTIONS: u32 = 64;

/// One thing to measure: where calls go, and whose CPU counts.
struct Case {
    name: &'static str,
    url: String,
    headers: Vec<String>,
    processes: Vec<u32>,
    rounds: Vec<Round>,
}

struct Round {
    micros_per_request: f64,
    requests_per_second: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("convergence") => return Box::pin(convergence::run()).await,
        Some("intake") => return Box::pin(intake::run()).await,
        Some("telemetry") => return Box::pin(telemetry::run()).await,
        Some("usage") => return Box::pin(usage::run()).await,
        _ => {}
    }
    let backend = Nginx::backend().context("nginx as the backend")?;
    let proxy = Nginx::proxy(&backend).context("nginx as the yardstick")?;
    let gateway = Gateway::start(&backend, &[]).await?;

    let mut cases = vec![Case {
        name: "nginx, plain proxy",
        url: proxy.url("/b.json"),
        headers: Vec::new(),
        processes: proxy.processes()?,
        rounds: Vec::new(),
    }];
    cases.extend(gateway.cases());
    compare(cases)
}

/// Runs the cases in turn, and prints each beside the first.
fn compare(mut cases: Vec<Case>) -> Result<()> {
    for round in 0..=ROUNDS {
        for case in &mut cases {
            let measured = measure(case).with_context(|| case.name)?;
            // The first round fills caches and pools.
            if round > 0 {
                case.rounds.push(measured);
            }
        }
    }
    print(&cases);
    Ok(())
}

fn measure(case: &Case) -> Result<Round> {
    let before = cpu_nanos(&case.processes)?;
    let mut load = Command::new("taskset");
    load.args(["-c", "1-63", "wrk", "-t1"])
        .args([format!("-c{CONNECTIONS}"), format!("-d{SECONDS}s")]);
    for header in &case.headers {
        load.args(["-H", header]);
    }
    let output = load.arg(&case.url).output().context("wrk")?;
    let spent = cpu_nanos(&case.processes)? - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "wrk failed: {}", String::from_utf8_lossy(&output.stderr));
    ensure!(!text.contains("Non-2xx"), "some calls were refused:\n{text}");
    ensure!(!text.contains("Socket errors"), "some calls failed:\n{text}");
    let requests: f64 = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))
        .and_then(|(count, _)| count.parse().ok())
        .with_context(|| format!("wrk printed no count:\n{text}"))?;
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of seconds")]
    let micros = spent as f64 / 1000.0;
    Ok(Round {
        micros_per_request: micros / requests,
        requests_per_second: requests / f64::from(SECONDS),
    })
}

/// Time on a CPU of every thread of these processes, in nanoseconds.
fn cpu_nanos(processes: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for process in processes {
        for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
            let schedstat = std::fs::read_to_string(task?.path().join("schedstat"))?;
            let on_cpu = schedstat.split_whitespace().next().context("an empty schedstat")?;
            sum += on_cpu.parse::<u64>()?;
        }
    }
    Ok(sum)
}

fn print(cases: &[Case]) {
    println!(
        "HTTP/1.1 keep-alive, 1 KiB, {CONNECTIONS} connections, {ROUNDS} rounds of {SECONDS} s"
    );
    println!("| case | CPU µs/request | lowest | ratio to the first | requests/s |");
    println!("|---|---|---|---|---|");
    let reference = &cases[0].rounds;
    for case in cases {
        let micros = || case.rounds.iter().map(|round| round.micros_per_request);
        let ratios = micros().zip(reference).map(|(ours, first)| ours / first.micros_per_request);
        println!(
            "| {} | {:.2} | {:.2} | {:.2} | {:.0} |",
            case.name,
            median(micros()),
            micros().fold(f64::INFINITY, f64::min),
            median(ratios),
            median(case.rounds.iter().map(|round| round.requests_per_second)),
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Gives every thread of a process to core 0.
fn pin(process: u32) -> Result<()> {
    let pinned =
        Command::new("taskset").args(["-a", "-p", "-c", "0", &process.to_string()]).output()?;
    ensure!(pinned.status.success(), "process {process} could not be pinned to core 0");
    Ok(())
}

/// In milliseconds, of times in order.
fn percentile(took: &[Duration], share: usize) -> Result<f64> {
    let place = (took.len() * share).div_ceil(100).saturating_sub(1);
    took.get(place).map(|took| took.as_secs_f64() * 1000.0).context("nothing was measured")
}
