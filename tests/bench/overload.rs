//! What a node does when far more callers come than it takes to fill it, each of whom asks again once answered: it goes on
//! serving nearly as many calls as at its best, refuses others soon or lets them wait, keeps its memory, and is itself again
//! as soon as they stop.
//!
//! Rounds at the node's best and with the many take turns, and the ratio of what was served is taken of each pair. A few
//! calls at a steady rate beside the many say how long any of them waits. The node's one data thread has a core, and so has
//! who makes the load; those few and all else have the others, where the backend goes first.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::arguments::Arguments;
use crate::gateway::Gateway;
use crate::load::Target;
use crate::load::steady::{Seen, Steady};
use crate::load::wrk;
use crate::table::median;
use crate::{machine, nginx};

const LOAD_CORES: &str = "1";
const FEW_CORES: &str = "2";
const REST_CORES: &str = "2-3";

const ROUNDS: usize = 5;
const SECONDS: u32 = 4;
/// Callers at the node's best, and too many: more than it lets be in progress.
const BEST_CONNECTIONS: u32 = 64;
const MANY_CONNECTIONS: u32 = 4000;

/// Calls a second beside the many, and when they have gone.
const FEW_PER_SECOND: f64 = 500.0;
const FEW_CONNECTIONS: usize = 500;
/// Until the many are all there; and the few end before them.
const RISE: Duration = Duration::from_secs(1);
const FEW_LENGTH: Duration = Duration::from_millis(2500);
const AFTER_LENGTH: Duration = Duration::from_millis(500);

/// The goals [REL-10].
const GOODPUT_MIN: f64 = 0.85;
const REFUSED_P99_MS_MAX: f64 = 50.0;
const MEMORY_MIB_MAX: f64 = 512.0;
const RECOVERY_MAX: Duration = Duration::from_secs(5);
/// A node is itself again when its p99 is no more than so many times what it was.
const RECOVERED_TIMES: u32 = 2;

struct Round {
    goodput: f64,
    served_p99_ms: f64,
    refused_per_second: f64,
    refused_p99_ms: f64,
    memory_mib: f64,
    recovery: Duration,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    machine::pin(std::process::id(), REST_CORES)?;
    machine::take_precedence()?;
    let backend = nginx::backend().context("nginx as the backend")?;
    for process in backend.processes()? {
        machine::pin(process, REST_CORES)?;
        machine::go_first(process)?;
    }
    let gateway = Gateway::start(&[]).await?;
    let call = gateway.serve_open(&backend.url("/b.json")).await;
    let target = gateway.target("tollgate", &call);
    let rounds = arguments.rounds(ROUNDS);
    println!(
        "{MANY_CONNECTIONS} callers of one data thread beside {BEST_CONNECTIONS}; {rounds} rounds of {SECONDS} s\n"
    );
    println!(
        "| best/s | served/s | of the best | served p99 ms | refused/s | refused p99 ms | memory MiB | recovery ms |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut seen = Vec::new();
    for round in 0..=rounds {
        let (best, it) = pair(&target)?;
        // The first fills caches and pools.
        if round > 0 {
            println!("{}", row(best, &it));
            seen.push((best, it));
        }
    }
    let of = |figure: fn(&Round) -> f64| median(seen.iter().map(|(_, it)| figure(it)));
    let goodput = of(|it| it.goodput);
    let refused_p99_ms = of(|it| it.refused_p99_ms);
    let memory_mib = seen.iter().map(|(_, it)| it.memory_mib).fold(0.0, f64::max);
    let recovery = seen.iter().map(|(_, it)| it.recovery).max().unwrap_or_default();
    println!();
    verdict("served of the best", goodput, ">= 0.85", goodput >= GOODPUT_MIN);
    verdict("refused p99 ms", refused_p99_ms, "<= 50", refused_p99_ms <= REFUSED_P99_MS_MAX);
    verdict("most memory MiB", memory_mib, "<= 512", memory_mib <= MEMORY_MIB_MAX);
    verdict("longest recovery s", recovery.as_secs_f64(), "<= 5", recovery <= RECOVERY_MAX);
    arguments.keep(&json!({ "overload": {
        "served_of_the_best": goodput, "refused_p99_ms": refused_p99_ms,
        "served_p99_ms": of(|it| it.served_p99_ms), "memory_mib": memory_mib,
        "recovery_ms": recovery.as_millis(),
    } }))
}

fn row(best: f64, it: &Round) -> String {
    format!(
        "| {best:.0} | {:.0} | {:.2} | {:.1} | {:.0} | {:.1} | {:.0} | {} |",
        it.goodput * best,
        it.goodput,
        it.served_p99_ms,
        it.refused_per_second,
        it.refused_p99_ms,
        it.memory_mib,
        it.recovery.as_millis()
    )
}

fn verdict(name: &str, figure: f64, goal: &str, met: bool) {
    println!("{name}: {figure:.2}, goal {goal}: {}", if met { "met" } else { "not met" });
}

/// The node's best, and then too many.
fn pair(target: &Target) -> Result<(f64, Round)> {
    let best = wrk::call(target, BEST_CONNECTIONS, SECONDS, LOAD_CORES)?;
    ensure!(best.refused == 0.0, "{} calls were refused at the node's best", best.refused);
    let best = best.requests / best.seconds;
    let before = few(target, AFTER_LENGTH)?.per_mille(200, 990)?;
    let (many, seen, memory) = std::thread::scope(|scope| {
        let many = scope.spawn(|| wrk::call(target, MANY_CONNECTIONS, SECONDS, LOAD_CORES));
        std::thread::sleep(RISE);
        let seen = few(target, FEW_LENGTH);
        let memory = machine::memory_kib(&target.processes);
        let many = many.join().expect("it does not panic");
        Ok::<_, anyhow::Error>((many?, seen?, memory?))
    })?;
    let as_expected = seen.failed == 0 && seen.statuses().keys().all(|it| [200, 503].contains(it));
    ensure!(as_expected, "{} calls had no answer, others {:?}", seen.failed, seen.statuses());
    let stopped = Instant::now();
    let recovery = loop {
        let began = stopped.elapsed();
        let seen = few(target, AFTER_LENGTH)?;
        if seen.other_than(200) == 0 && seen.per_mille(200, 990)? <= before * RECOVERED_TIMES {
            break began;
        }
        ensure!(began < RECOVERY_MAX * 4, "the node is not itself again: {:?}", seen.statuses());
    };
    // None of the few may have been refused.
    let millis = |status| seen.per_mille(status, 990).map_or(0.0, |took| took.as_secs_f64() * 1e3);
    #[expect(clippy::cast_precision_loss, reason = "KiB of a process")]
    let memory_mib = memory as f64 / 1024.0;
    let round = Round {
        goodput: (many.requests - many.refused) / many.seconds / best,
        served_p99_ms: millis(200),
        refused_per_second: many.refused / many.seconds,
        refused_p99_ms: millis(503),
        memory_mib,
        recovery,
    };
    Ok((best, round))
}

/// Calls in an open loop.
fn few(target: &Target, length: Duration) -> Result<Seen> {
    let steady = Steady {
        address: target.address()?,
        requests: vec![target.request()?],
        per_second: FEW_PER_SECOND,
        connections: FEW_CONNECTIONS,
        depth: 1,
    };
    let never = AtomicBool::new(false);
    let run = || steady.run(FEW_CORES, length, &never);
    std::thread::scope(|scope| scope.spawn(run).join().expect("it does not panic"))
}
