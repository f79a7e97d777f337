//! h2load: HTTP/2 in a closed loop.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Made, Target};

pub(super) fn run(
    target: &Target,
    connections: u32,
    streams: u32,
    seconds: u32,
    cores: &str,
) -> Result<Made> {
    let log = std::env::temp_dir().join(format!("tollgate-bench-{}-h2load", std::process::id()));
    let mut load = Command::new("taskset");
    load.args(["-c", cores, "h2load"]).arg(format!("--log-file={}", log.display()));
    load.args([format!("-c{connections}"), format!("-m{streams}"), format!("-D{seconds}")]);
    for (name, value) in &target.headers {
        let name = if *name == "Host" { ":authority" } else { name };
        load.args(["-H", &format!("{name}: {value}")]);
    }
    let output = load.arg(&target.url).output().context("h2load")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "h2load failed: {}", String::from_utf8_lossy(&output.stderr));
    let requests = text.lines().find(|line| line.starts_with("requests:"));
    let requests = requests.with_context(|| format!("h2load printed no count:\n{text}"))?;
    ensure!(requests.contains(" 0 failed, 0 errored"), "some calls failed:\n{text}");
    // Of each request: when it began, its status, and how many microseconds it took.
    let lines = std::fs::read_to_string(&log).context("h2load wrote no times")?;
    std::fs::remove_file(&log)?;
    let mut took = Vec::new();
    for line in lines.lines() {
        let mut fields = line.split('\t').skip(1);
        let (status, micros) = fields.next().zip(fields.next()).context("h2load's times")?;
        ensure!(status == "200", "a call was answered with {status}");
        took.push(micros.parse::<f64>()?);
    }
    ensure!(!took.is_empty(), "no call was answered:\n{text}");
    took.sort_unstable_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "requests of seconds")]
    let requests = took.len() as f64;
    let (p50_us, p99_us) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    Ok(Made { requests, seconds: seconds.into(), p50_us, p99_us })
}
