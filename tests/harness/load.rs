//! Callers who never rest, behind what a load balancer does: a node that refuses the connection is passed over.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::client::Call;

/// How often each caller calls.
const PACE: Duration = Duration::from_millis(10);

/// Calls in progress, over and over, until it is [ended](Load::end).
pub struct Load {
    stop: Arc<AtomicBool>,
    callers: JoinSet<()>,
    seen: Arc<Mutex<Seen>>,
}

/// What the callers saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// When each answered call began, and how long it took.
    pub answered: Vec<(Instant, Duration)>,
    pub failed: Vec<Failure>,
}

/// A call that was not answered with 200, although a node took its connection, or that no node took.
#[derive(Debug)]
pub struct Failure {
    pub node: SocketAddr,
    pub began: Instant,
    pub ended: Instant,
    pub why: String,
}

/// Whatever was in flight here at some moment of this time may have died.
#[derive(Debug)]
pub struct Death {
    pub node: SocketAddr,
    pub from: Instant,
    pub to: Instant,
}

impl Death {
    /// Takes the time of what kills.
    pub fn of(node: SocketAddr, kill: impl FnOnce()) -> Self {
        let from = Instant::now();
        kill();
        Self { node, from, to: Instant::now() }
    }

    fn excuses(&self, failure: &Failure) -> bool {
        self.node == failure.node && failure.began <= self.to && self.from <= failure.ended
    }
}

impl Load {
    /// So many callers; each makes these calls in turn, and goes through the nodes in turn.
    pub fn start(callers: usize, calls: &[Call], nodes: &[SocketAddr]) -> Self {
        let (stop, seen) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Seen>>::default());
        let mut tasks = JoinSet::new();
        for first in 0..callers {
            let (stop, seen) = (stop.clone(), seen.clone());
            let (calls, nodes) = (calls.to_vec(), nodes.to_vec());
            tasks.spawn(async move {
                let mut pace = tokio::time::interval(PACE);
                pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
                for turn in first.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    pace.tick().await;
                    // By each round of the nodes the next call, so that each node gets each of them.
                    let call = &calls[turn / nodes.len() % calls.len()];
                    let began = Instant::now();
                    let outcome = balanced(call, &nodes, turn).await;
                    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                    match outcome {
                        Ok(()) => seen.answered.push((began, began.elapsed())),
                        Err(failure) => seen.failed.push(failure),
                    }
                }
            });
        }
        Self { stop, callers: tasks, seen }
    }

    /// So far.
    pub fn answered(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).answered.len()
    }

    /// Lets every call in progress end, and tells what was seen.
    pub async fn end(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        while self.callers.join_next().await.is_some() {}
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *seen)
    }
}

impl Seen {
    /// The failures that nothing excuses.
    pub fn unexcused(&self, deaths: &[Death]) -> Vec<&Failure> {
        let unexcused = |failure: &&Failure| !deaths.iter().any(|death| death.excuses(failure));
        self.failed.iter().filter(unexcused).collect()
    }

    /// The latency that so many of a thousand answered calls did not exceed.
    pub fn per_mille(&self, share: usize) -> Duration {
        crate::kept::per_mille(self.answered.iter().map(|(_, took)| *took).collect(), share)
    }
}

async fn balanced(call: &Call, nodes: &[SocketAddr], turn: usize) -> Result<(), Failure> {
    let mut refused = None;
    for offset in 0..nodes.len() {
        let (node, began) = (nodes[(turn + offset) % nodes.len()], Instant::now());
        let why = match call.clone().at(node).try_send().await {
            Ok(answer) if answer.status() == 200 => return Ok(()),
            Ok(answer) => format!("{}: {}", answer.status(), answer.text()),
            Err(error) => {
                let io = error.downcast_ref::<io::Error>().map(io::Error::kind);
                let why = format!("{error:#}");
                if io == Some(io::ErrorKind::ConnectionRefused) {
                    refused = Some(Failure { node, began, ended: Instant::now(), why });
                    continue;
                }
                why
            }
        };
        return Err(Failure { node, began, ended: Instant::now(), why });
    }
    Err(refused.unwrap_or_else(|| unreachable!("there is a node")))
}
