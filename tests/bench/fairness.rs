//! What one tenant's flood does to another's calls: the calm one calls at a steady rate, well within what the node can do,
//! while the loud one is refused a hundred times as often as it is let through.
//!
//! Rounds without and with the flood take turns, and the ratio is taken of each pair. The node has two data threads, on a
//! core each; the calm tenant's callers have the third for themselves, the flood and all else the fourth, where the backend
//! goes first: what is measured is how long the node lets the calm one wait, and not how long the machine does.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Api, World};
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::load::steady::{Seen, Steady, UNBOUNDED};
use crate::table::median;
use crate::{machine, nginx};

const NODE_CORES: &str = "0-1";
const CALM_CORES: &str = "2";
const LOUD_CORES: &str = "3";

const ROUNDS: usize = 9;
const LENGTH: Duration = Duration::from_millis(1500);
/// Until the flood is as high as it gets.
const RISE: Duration = Duration::from_millis(300);

/// Calls a second of the calm tenant, over so many connections.
const CALM_RATE: f64 = 2000.0;
const CALM_CONNECTIONS: usize = 32;
/// Calls a second that the loud tenant may make, and makes: a limit whose hundredfold the node refuses with ease, and one
/// whose hundredfold fills both its cores.
const LIMITS: [f64; 2] = [100.0, 500.0];
const TIMES: f64 = 100.0;
const LOUD_CONNECTIONS: usize = 64;
const UNKNOWN_KEYS: usize = 1000;

/// The goals: ratios of the calm tenant's latencies with the flood to those without it.
const P50_RATIO_MAX: f64 = 1.10;
const P99_RATIO_MAX: f64 = 2.0;

struct Flood {
    name: String,
    /// Of its answers: 429 but for those that the limit lets through, or 403.
    refused_with: u16,
    /// Whether the goals are for it: those that go as fast as they can are shown beside.
    judged: bool,
    way: Way,
}

enum Way {
    Http1(Steady),
    /// By so many streams at once on each connection.
    Http2 {
        url: String,
        headers: Vec<String>,
        connections: u32,
        streams: u32,
    },
}

#[derive(Default)]
struct Pair {
    off: Seen,
    on: Seen,
    refused_per_second: f64,
}

pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    // What is started from here on has this core too, but for the node and the calm tenant's callers.
    machine::pin(std::process::id(), LOUD_CORES)?;
    machine::take_precedence()?;
    let backend = nginx::backend().context("nginx as the backend")?;
    for process in backend.processes()? {
        machine::pin(process, LOUD_CORES)?;
        machine::go_first(process)?;
    }
    let mut world = World::start_with(&[("TOLLGATE_NODE_THREADS", "2")]).await;
    let node = world.node().context("the world has a node")?.id();
    machine::pin(node, NODE_CORES)?;
    let (calm, loud) = (world.tenant("calm").await, world.tenant("loud").await);
    let uri = backend.url("/b.json");
    let calm = calm.api("calm").await.route("GET", "/items/{id}", true, &uri).await;
    let calm = calm.deploy("prod").await;
    let loud = loud.api("loud").await.route("GET", "/items/{id}", true, &uri).await;
    let loud = loud.deploy("prod").await;
    let good = calm.usage_plan("ample").throttle(1e6, 1_000_000).key().await.value;
    let mut mean = Vec::new();
    for limit in LIMITS {
        let plan = loud.usage_plan(&format!("small-{limit}")).throttle(limit, 500);
        mean.push((limit, plan.key().await.value));
    }

    let calm = Steady {
        address: world.endpoint_address(),
        requests: vec![request(&calm, Some(&good))],
        per_second: CALM_RATE,
        connections: CALM_CONNECTIONS,
        depth: 1,
    };
    let rounds = arguments.rounds(ROUNDS);
    println!(
        "{CALM_RATE} calls/s of one tenant, {rounds} rounds of {} s without and with another's calls at {TIMES} times its \
         limit\n",
        LENGTH.as_secs_f64()
    );
    println!(
        "| the other's calls | p50 µs without | with | ratio | p99 µs without | with | ratio | errors | refused/s | goals |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut figures = Vec::new();
    for flood in floods(&world, &loud, &mean) {
        let mut pairs = Vec::new();
        for round in 0..=rounds {
            let pair = pair(&calm, &flood).with_context(|| flood.name.clone())?;
            // The first fills caches and pools.
            if round > 0 {
                pairs.push(pair);
            }
        }
        figures.push(print(&flood, &pairs)?);
    }
    arguments.keep(&json!({ "fairness": figures }))
}

fn floods(world: &World, loud: &Api<'_>, keys: &[(f64, String)]) -> Vec<Flood> {
    let address = world.endpoint_address();
    let way = |requests, per_second, connections, depth| {
        Way::Http1(Steady { address, requests, per_second, connections, depth })
    };
    let flood = |name: &str, refused_with, judged, way| Flood {
        name: name.to_owned(),
        refused_with,
        judged,
        way,
    };
    let mut floods = Vec::new();
    for (limit, key) in keys {
        let rate = limit * TIMES;
        let mut judged = |name: &str, refused_with, requests, connections, depth| {
            let name = format!("{name}, {rate}/s");
            floods.push(flood(&name, refused_with, true, way(requests, rate, connections, depth)));
        };
        let over = || vec![request(loud, Some(key))];
        let unknown = |number| request(loud, Some(&format!("unknown{number}")));
        judged("a key over its throttle", 429, over(), LOUD_CONNECTIONS, 1);
        judged("no key", 403, vec![request(loud, None)], LOUD_CONNECTIONS, 1);
        judged("unknown keys", 403, (0..UNKNOWN_KEYS).map(unknown).collect(), LOUD_CONNECTIONS, 1);
        judged("over its throttle, 16 in a pipeline", 429, over(), 16, 16);
    }
    let Some((_, key)) = keys.last() else { return floods };
    let over = || vec![request(loud, Some(key))];
    floods.extend([
        flood(
            "over its throttle, 8 × 100 streams of HTTP/2 (unbounded)",
            429,
            false,
            Way::Http2 {
                url: format!("http://{address}/prod/items/12"),
                headers: vec![format!(":authority: {}", loud.host()), format!("x-api-key: {key}")],
                connections: 8,
                streams: 100,
            },
        ),
        flood(
            "over its throttle (unbounded)",
            429,
            false,
            way(over(), UNBOUNDED, LOUD_CONNECTIONS, 1),
        ),
        flood(
            "over its throttle, 16 in a pipeline (unbounded)",
            429,
            false,
            way(over(), UNBOUNDED, LOUD_CONNECTIONS, 16),
        ),
    ]);
    floods
}

fn request(api: &Api<'_>, key: Option<&str>) -> Vec<u8> {
    let key = key.map_or_else(String::new, |key| format!("x-api-key: {key}\r\n"));
    format!("GET /prod/items/12 HTTP/1.1\r\nhost: {}\r\n{key}\r\n", api.host()).into_bytes()
}

/// The calm tenant alone, and then with the flood.
fn pair(calm: &Steady, flood: &Flood) -> Result<Pair> {
    let never = AtomicBool::new(false);
    let off = on_a_thread(|| calm.run(CALM_CORES, LENGTH, &never))?;
    let stop = AtomicBool::new(false);
    let (on, refused_per_second) = std::thread::scope(|scope| {
        let loud = scope.spawn(|| flood.run(&stop));
        std::thread::sleep(RISE);
        let on = on_a_thread(|| calm.run(CALM_CORES, LENGTH, &never));
        stop.store(true, Ordering::Relaxed);
        let loud = loud.join().expect("the flood does not panic")?;
        Ok::<_, anyhow::Error>((on?, loud))
    })?;
    Ok(Pair { off, on, refused_per_second })
}

/// A thread of its own, so that its core is its own too.
fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| scope.spawn(work).join().expect("no load generator panics"))
}

impl Flood {
    /// How many were refused in a second.
    fn run(&self, stop: &AtomicBool) -> Result<f64> {
        let seen = match &self.way {
            Way::Http1(steady) => steady.run(LOUD_CORES, LENGTH + RISE * 10, stop)?,
            Way::Http2 { url, headers, connections, streams } => {
                return refused_over_http2(url, headers, *connections, *streams);
            }
        };
        Ok(seen.per_second(seen.answered(self.refused_with)))
    }
}

fn refused_over_http2(
    url: &str,
    headers: &[String],
    connections: u32,
    streams: u32,
) -> Result<f64> {
    let seconds = (LENGTH + RISE * 2).as_secs_f64().ceil();
    let mut load = Command::new("taskset");
    load.args(["-c", LOUD_CORES, "h2load", "-c", &connections.to_string()]);
    load.args(["-m", &streams.to_string(), "-D", &seconds.to_string()]);
    for header in headers {
        load.args(["-H", header]);
    }
    let output = load.arg(url).output().context("h2load")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let refused = text.lines().find_map(|line| {
        let counts = line.strip_prefix("status codes:")?;
        counts.split(',').find_map(|count| count.trim().strip_suffix(" 4xx")?.parse::<f64>().ok())
    });
    Ok(refused.with_context(|| format!("h2load printed no count:\n{text}"))? / seconds)
}

fn print(flood: &Flood, pairs: &[Pair]) -> Result<Value> {
    let of_each = |share| -> Result<[f64; 3]> {
        let off = latencies(pairs.iter().map(|pair| &pair.off), share)?;
        let on = latencies(pairs.iter().map(|pair| &pair.on), share)?;
        let ratio = median(on.iter().zip(&off).map(|(on, off)| on / off));
        Ok([median(off.into_iter()), median(on.into_iter()), ratio])
    };
    let (p50, p99) = (of_each(500)?, of_each(990)?);
    let errors: u64 =
        pairs.iter().map(|pair| pair.off.other_than(200) + pair.on.other_than(200)).sum();
    let refused = median(pairs.iter().map(|pair| pair.refused_per_second));
    ensure!(refused > 0.0, "nothing was refused");
    let met = errors == 0 && p50[2] <= P50_RATIO_MAX && p99[2] <= P99_RATIO_MAX;
    let verdict = match (flood.judged, met) {
        (false, _) => "none",
        (true, true) => "met",
        (true, false) => "not met",
    };
    println!(
        "| {} | {:.0} | {:.0} | {:.2} | {:.0} | {:.0} | {:.2} | {errors} | {refused:.0} | {verdict} |",
        flood.name, p50[0], p50[1], p50[2], p99[0], p99[1], p99[2]
    );
    let latency = |[without, with, ratio]: [f64; 3]| json!({ "without": without, "with": with, "ratio": ratio });
    Ok(json!({
        "flood": flood.name, "p50_us": latency(p50), "p99_us": latency(p99), "errors": errors,
        "refused_per_second": refused, "goals": verdict,
    }))
}

/// In microseconds, of each round.
fn latencies<'a>(rounds: impl Iterator<Item = &'a Seen>, share: usize) -> Result<Vec<f64>> {
    rounds.map(|seen| Ok(seen.per_mille(200, share)?.as_secs_f64() * 1e6)).collect()
}
