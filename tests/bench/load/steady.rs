//! Calls at a steady rate, from a thread that never sleeps: an open loop, as callers make it who do not know one another.
//!
//! A call is due at its moment whatever became of those before it, and its latency counts from then, also where it had to
//! wait for a free connection. What a closed loop hides (it asks nothing while it waits) is in the figures.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::machine;

/// How long calls that were due may go on when no more are.
const GRACE: Duration = Duration::from_secs(5);
/// As many calls a second as are answered: a closed loop, in which none is due when it is over.
pub(crate) const UNBOUNDED: f64 = 1e9;
const READ_BYTES: usize = 64 * 1024;
const HEAD_BYTES_MAX: usize = 16 * 1024;

pub(crate) struct Steady {
    pub(crate) address: SocketAddr,
    /// In turn; each whole, as it goes over the wire.
    pub(crate) requests: Vec<Vec<u8>>,
    pub(crate) per_second: f64,
    pub(crate) connections: usize,
    /// Calls under way on one connection.
    pub(crate) depth: usize,
}

/// What became of the calls.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Of those answered with each status, from when they were due, the shortest first.
    latencies: BTreeMap<u16, Vec<Duration>>,
    /// Not answered: their connection broke, or the grace was over.
    pub(crate) failed: u64,
    pub(crate) took: Duration,
}

impl Seen {
    pub(crate) fn answered(&self, status: u16) -> u64 {
        self.latencies.get(&status).map_or(0, |all| all.len() as u64)
    }

    /// All that were not answered with this.
    pub(crate) fn other_than(&self, status: u16) -> u64 {
        let answered: u64 = self.latencies.values().map(|all| all.len() as u64).sum();
        answered - self.answered(status) + self.failed
    }

    /// How many were answered with what.
    pub(crate) fn statuses(&self) -> BTreeMap<u16, usize> {
        self.latencies.iter().map(|(status, all)| (*status, all.len())).collect()
    }

    /// Of those answered with this status.
    pub(crate) fn per_mille(&self, status: u16, share: usize) -> Result<Duration> {
        let all = self.latencies.get(&status).map_or(&[][..], Vec::as_slice);
        let place = (all.len() * share).div_ceil(1000).saturating_sub(1);
        all.get(place).copied().with_context(|| format!("no call was answered with {status}"))
    }

    pub(crate) fn per_second(&self, count: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "calls of seconds")]
        let count = count as f64;
        count / self.took.as_secs_f64()
    }
}

impl Steady {
    /// Calls on these cores until it is over, or told to stop; then lets what is under way end.
    pub(crate) fn run(&self, cores: &str, length: Duration, stop: &AtomicBool) -> Result<Seen> {
        machine::pin_this_thread(cores)?;
        let mut length = length;
        let mut connections = (0..self.connections)
            .map(|_| Connection::open(self.address))
            .collect::<Result<Vec<_>>>()?;
        let mut seen = Seen::default();
        let every = Duration::from_secs_f64(1.0 / self.per_second);
        let (began, mut due, mut turn) = (Instant::now(), Duration::ZERO, 0);
        let mut requests = self.requests.iter().cycle();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let now = began.elapsed();
            if stop.load(Ordering::Relaxed) {
                length = length.min(now);
            }
            let (over, last) = (now >= length, now.min(length));
            let mut busy = 0;
            let ended = over && self.per_second >= UNBOUNDED;
            while due < last && busy < connections.len() && !ended {
                turn = (turn + 1) % connections.len();
                let connection = &mut connections[turn];
                if connection.due.len() >= self.depth {
                    busy += 1;
                    continue;
                }
                busy = 0;
                let request = requests.next().context("there is no request to send")?;
                connection.call(request, began + due);
                due += every;
            }
            let mut waiting = false;
            for connection in &mut connections {
                connection.proceed(&mut seen, &mut buffer)?;
                waiting |= !connection.due.is_empty();
            }
            if over && (!waiting || now > length + GRACE) {
                break;
            }
        }
        seen.failed +=
            connections.iter().map(|connection| connection.due.len() as u64).sum::<u64>();
        seen.took = began.elapsed();
        for latencies in seen.latencies.values_mut() {
            latencies.sort_unstable();
        }
        Ok(seen)
    }
}

struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    /// When the calls were due that are under way here, in order.
    due: VecDeque<Instant>,
    unsent: Vec<u8>,
    unread: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        let stream = connect(address)?;
        Ok(Self { address, stream, due: VecDeque::new(), unsent: Vec::new(), unread: Vec::new() })
    }

    fn call(&mut self, request: &[u8], due: Instant) {
        self.unsent.extend_from_slice(request);
        self.due.push_back(due);
    }

    /// Writes and reads what can be.
    fn proceed(&mut self, seen: &mut Seen, buffer: &mut [u8]) -> Result<()> {
        let broken = self.write().is_err() || (!self.due.is_empty() && self.read(seen, buffer)?);
        if broken {
            seen.failed += self.due.len() as u64;
            *self = Self::open(self.address)?;
        }
        Ok(())
    }

    fn write(&mut self) -> std::io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(bytes) => drop(self.unsent.drain(..bytes)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the connection is over.
    fn read(&mut self, seen: &mut Seen, buffer: &mut [u8]) -> Result<bool> {
        let over = match self.stream.read(buffer) {
            Ok(0) => true,
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                false
            }
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        let now = Instant::now();
        while let Some(answer) = Answer::parse(&self.unread)? {
            self.unread.drain(..answer.bytes);
            let due = self.due.pop_front().context("an answer to nothing")?;
            seen.latencies.entry(answer.status).or_default().push(now - due);
        }
        Ok(over)
    }
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// A whole answer at the front of what came.
struct Answer {
    status: u16,
    bytes: usize,
}

impl Answer {
    fn parse(unread: &[u8]) -> Result<Option<Self>> {
        let Some(end) = unread.windows(4).take(HEAD_BYTES_MAX).position(|four| four == b"\r\n\r\n")
        else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&unread[..end]).context("an answer's head")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?;
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        let Some(length) = length else { bail!("an answer without a length:\n{head}") };
        let bytes = end + 4 + length;
        Ok((unread.len() >= bytes).then_some(Self { status: status.parse()?, bytes }))
    }
}
