//! Nodes with clocks of their own around one store, and what goes between them.

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::model::Store;
use crate::{Answer, Ask, Bucket, Lease, TTL_US, Take, Token};

/// Tries so many cases, from a seed that it prints; `LEASE_SEED` repeats one, `TESTS_LONG` tries fifty times as many.
pub(super) fn runner(cases: u32) -> TestRunner {
    let given = std::env::var("LEASE_SEED").ok();
    let seed = given.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
    println!("LEASE_SEED={seed}");
    let bytes: [u8; 32] = seed.as_bytes().try_into().expect("32 characters");
    let factor = if std::env::var_os("TESTS_LONG").is_some() { 50 } else { 1 };
    let config = Config {
        cases: cases * factor,
        failure_persistence: None,
        max_shrink_iters: 200_000,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// Runs faster or slower than time does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) start: u64,
    /// Millionths, of which a node and the store are apart by less than a hundredth together.
    pub(super) drift: i64,
}

impl Clock {
    pub(super) fn at(self, time: u64) -> u64 {
        let time = i64::try_from(time).expect("hours");
        (self.start + time.unsigned_abs()).saturating_add_signed(time * self.drift / 1_000_000)
    }
}

pub(super) struct Node {
    name: String,
    clock: Clock,
    pub(super) lease: Lease,
    pub(super) waiting: u32,
    number: u64,
    pub(super) under_way: Option<Ask>,
    /// Tokens whose calls may yet be refused, and their admissions.
    taken: Vec<(Token, usize)>,
}

impl Node {
    /// Questions so far.
    pub(super) fn asked(&self) -> u64 {
        self.number
    }
}

#[derive(Clone, Debug)]
pub(super) enum Message {
    Question { node: usize, name: String, ask: Ask },
    Answer { node: usize, name: String, number: u64, answer: Answer },
}

pub(super) struct World {
    pub(super) bucket: Bucket,
    pub(super) nodes: Vec<Node>,
    pub(super) store: Store,
    pub(super) redis: Clock,
    /// Real time.
    pub(super) time: u64,
    pub(super) wire: Vec<Message>,
    pub(super) admitted: Vec<Admission>,
    pub(super) refused: usize,
    /// Times that Redis lost its memory or jumped forward.
    pub(super) faults: u32,
    crashes: usize,
    pub(super) seen_lost: u32,
}

pub(super) struct Admission {
    /// By the store's clock, without its jumps.
    at: u64,
    faults: u32,
    given_back: bool,
}

impl World {
    pub(super) fn new(bucket: Bucket, redis: i64, nodes: &[i64]) -> Self {
        let clock = |drift, start| Clock { start, drift };
        let starts = (1_u64..).map(|node| node * 5_000_000_000);
        let nodes = nodes.iter().zip(starts).enumerate();
        let nodes = nodes.map(|(index, (drift, start))| Node {
            name: format!("node{index}"),
            clock: clock(*drift, start),
            lease: Lease::new(start),
            waiting: 0,
            number: 0,
            under_way: None,
            taken: Vec::new(),
        });
        Self {
            bucket,
            nodes: nodes.collect(),
            store: Store::default(),
            redis: clock(redis, 1_800_000_000_000_000),
            time: 0,
            wire: Vec::new(),
            admitted: Vec::new(),
            refused: 0,
            faults: 0,
            crashes: 0,
            seen_lost: 0,
        }
    }

    pub(super) fn now(&self, node: usize) -> u64 {
        self.nodes[node].clock.at(self.time)
    }

    /// What a call comes to. It waits where only the store knows.
    pub(super) fn call(&mut self, node: usize) -> Take {
        let now = self.now(node);
        let take = self.nodes[node].lease.take(now);
        match take {
            Take::Taken(token) => {
                let at = Clock { start: 0, ..self.redis }.at(self.time);
                let index = self.admitted.len();
                self.admitted.push(Admission { at, faults: self.faults, given_back: false });
                self.nodes[node].taken.push((token, index));
            }
            Take::Dry => self.nodes[node].waiting += 1,
            Take::Refused { .. } => self.refused += 1,
        }
        take
    }

    /// Something else refuses a call that had its token, or nothing does. They are decided in any order.
    pub(super) fn decide(&mut self, node: usize, index: usize, refused: bool) {
        let node = &mut self.nodes[node];
        if node.taken.is_empty() {
            return;
        }
        let (token, admission) = node.taken.swap_remove(index % node.taken.len());
        if refused {
            node.lease.give_back(token);
            self.admitted[admission].given_back = true;
        } else {
            node.lease.spend(token);
        }
    }

    /// Nothing else refuses any call that had its token.
    pub(super) fn decide_all(&mut self, node: usize) {
        while !self.nodes[node].taken.is_empty() {
            self.decide(node, 0, false);
        }
    }

    pub(super) fn ask(&mut self, node: usize, ask: impl Fn(&Lease, u64, u64) -> Option<Ask>) {
        let now = self.now(node);
        let it = &mut self.nodes[node];
        if let Some(ask) = ask(&it.lease, now, it.number + 1) {
            it.number += 1;
            it.under_way = Some(ask);
            self.send(node);
        }
    }

    /// Sends, or sends again, what is under way.
    pub(super) fn send(&mut self, node: usize) {
        let it = &self.nodes[node];
        if let Some(ask) = it.under_way {
            self.wire.push(Message::Question { node, name: it.name.clone(), ask });
        }
    }

    pub(super) fn give_up(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        if node.under_way.take().is_some() {
            node.lease.give_up();
            node.waiting = 0;
        }
    }

    /// The node's process dies, with all that it held, and another takes its place.
    pub(super) fn crash(&mut self, node: usize) {
        self.crashes += 1;
        let now = self.now(node);
        let (name, clock) = (format!("again{}", self.crashes), self.nodes[node].clock);
        self.nodes[node] = Node {
            name,
            clock,
            lease: Lease::new(now),
            waiting: 0,
            number: 0,
            under_way: None,
            taken: Vec::new(),
        };
    }

    pub(super) fn forget(&mut self) {
        self.store = Store::default();
        self.faults += 1;
    }

    /// What arrives does what it does; calls that waited for it try again.
    pub(super) fn deliver(&mut self, message: Message) -> Option<crate::Credited> {
        match message {
            Message::Question { node, name, ask } => {
                let now = self.redis.at(self.time);
                let nodes = u64::try_from(self.nodes.len()).expect("few");
                let answer = self.store.answer(now, self.bucket, &name, (&ask, nodes, TTL_US));
                self.wire.push(Message::Answer { node, name, number: ask.number, answer });
                None
            }
            Message::Answer { node, name, number, answer } => {
                let now = self.now(node);
                let it = &mut self.nodes[node];
                let ask = it.under_way.filter(|ask| it.name == name && ask.number == number)?;
                it.under_way = None;
                let credited = it.lease.credit(&ask, &answer, self.bucket, now);
                self.seen_lost += u32::from(credited.lost.is_some());
                for _ in 0..std::mem::take(&mut it.waiting) {
                    self.call(node);
                }
                Some(credited)
            }
        }
    }

    /// How far admissions went beyond what a bucket of this rate allows at most, over all windows: 0 where none did.
    /// It fills by one with each, and runs out with time; the most that it ever holds is the worst window.
    pub(super) fn excess(&self) -> f64 {
        let (mut level, mut last, mut worst) = (0.0_f64, 0, 0.0_f64);
        for admission in self.admitted.iter().filter(|admission| !admission.given_back) {
            #[expect(clippy::cast_precision_loss, reason = "hours in µs")]
            let passed = (admission.at - last) as f64 / 1e6;
            last = admission.at;
            level = (level - passed * self.bucket.rate).max(0.0) + 1.0;
            let allowed = f64::from(self.bucket.burst) * f64::from(1 + admission.faults);
            worst = worst.max(level - allowed);
        }
        worst
    }

    pub(super) fn count(&self) -> usize {
        self.admitted.iter().filter(|admission| !admission.given_back).count()
    }
}
