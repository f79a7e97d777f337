//! Who makes the load: each kind says how many calls it made, how fast, and what they were answered.

mod h2load;
pub(crate) mod handshakes;
pub(crate) mod held;
pub(crate) mod steady;
pub(crate) mod wrk;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// What is called, and whose CPU counts.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// What wrk is to ask, where it is not this alone.
    pub(crate) script: Option<PathBuf>,
    pub(crate) processes: Vec<u32>,
}

/// How calls are made.
pub(crate) enum Load {
    /// HTTP/1.1 over so many kept connections, each asking again once it is answered.
    Wrk { connections: u32 },
    /// HTTP/2 in the same way, on so many streams of each connection.
    H2load { connections: u32, streams: u32 },
    /// A connection with a full TLS handshake for each call, by so many callers.
    Handshakes { callers: usize },
    /// HTTP/1.1 at a steady rate: an open loop.
    Steady { per_second: f64, connections: usize },
}

/// What was made of it.
pub(crate) struct Made {
    pub(crate) requests: f64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Load {
    /// Calls for so long from these cores. Every call must be answered with the status.
    pub(crate) fn make(
        &self,
        target: &Target,
        expected: u16,
        seconds: u32,
        cores: &str,
    ) -> Result<Made> {
        match self {
            Self::Wrk { connections } => wrk::run(target, *connections, expected, seconds, cores),
            Self::H2load { connections, streams } => {
                ensure!(expected == 200, "h2load tells 200 from others alone");
                h2load::run(target, *connections, *streams, seconds, cores)
            }
            Self::Handshakes { callers } => {
                handshakes::run(target, *callers, expected, seconds, cores)
            }
            Self::Steady { per_second, connections } => {
                steady(target, *per_second, *connections, expected, seconds, cores)
            }
        }
    }
}

fn steady(
    target: &Target,
    per_second: f64,
    connections: usize,
    expected: u16,
    seconds: u32,
    cores: &str,
) -> Result<Made> {
    let steady = steady::Steady {
        address: target.address()?,
        requests: vec![target.request()?],
        per_second,
        connections,
        depth: 1,
    };
    let (never, length) = (AtomicBool::new(false), Duration::from_secs(seconds.into()));
    let run = || steady.run(cores, length, &never);
    let seen = std::thread::scope(|scope| scope.spawn(run).join().expect("it does not panic"))?;
    let failed = seen.other_than(expected);
    ensure!(failed == 0, "{failed} calls failed: {:?}", seen.statuses());
    let micros =
        |share| Ok::<_, anyhow::Error>(seen.per_mille(expected, share)?.as_secs_f64() * 1e6);
    #[expect(clippy::cast_precision_loss, reason = "calls of seconds")]
    let requests = seen.answered(expected) as f64;
    Ok(Made {
        requests,
        seconds: seen.took.as_secs_f64(),
        p50_us: micros(500)?,
        p99_us: micros(990)?,
    })
}

impl Target {
    fn parsed(&self) -> Result<url::Url> {
        self.url.parse().with_context(|| format!("{} is no URL", self.url))
    }

    pub(crate) fn address(&self) -> Result<std::net::SocketAddr> {
        let mut addresses = self.parsed()?.socket_addrs(|| None)?;
        addresses.pop().context("a URL without an address")
    }

    /// As it goes over the wire in HTTP/1.1.
    pub(crate) fn request(&self) -> Result<Vec<u8>> {
        let url = self.parsed()?;
        let named = self.headers.iter().any(|(name, _)| *name == "Host");
        let host = (!named).then(|| ("Host", url.authority().to_owned()));
        let fields = host.iter().chain(&self.headers);
        let fields: Vec<_> = fields.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        Ok(format!("GET {} HTTP/1.1\r\n{}\r\n", url.path(), fields.concat()).into_bytes())
    }
}

/// A duration as wrk and others print it: `123.45us`, `1.23ms`, `1.2s`.
fn micros(text: &str) -> Option<f64> {
    let digits = text.find(|it: char| it.is_alphabetic())?;
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}
