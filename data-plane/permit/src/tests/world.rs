//! Nodes with clocks of their own around one store, and what goes between them.

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::model::Store;
use crate::{Answer, Credited, Declaration, Enter, Permits, RENEW_US, TTL_US};

/// Tries so many cases, from a seed that it prints; `PERMIT_SEED` repeats one, `TESTS_LONG` tries fifty times as many.
pub(super) fn runner(cases: u32) -> TestRunner {
    let given = std::env::var("PERMIT_SEED").ok();
    let seed = given.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
    println!("PERMIT_SEED={seed}");
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
    pub(super) permits: Permits,
    pub(super) waiting: u32,
    number: u64,
    under_way: Option<Declaration>,
    /// By its own clock, when it last sent what was answered.
    renewed_at: u64,
    /// Calls in progress, and whether the store has counted each ever since it began.
    pub(super) calls: Vec<bool>,
}

impl Node {
    fn new(name: String, clock: Clock, now: u64) -> Self {
        Self {
            name,
            clock,
            permits: Permits::new(),
            waiting: 0,
            number: 0,
            under_way: None,
            renewed_at: now,
            calls: Vec::new(),
        }
    }

    /// Questions so far.
    pub(super) fn asked(&self) -> u64 {
        self.number
    }
}

#[derive(Clone, Debug)]
pub(super) enum Message {
    Question { node: usize, name: String, told: Declaration },
    Answer { node: usize, name: String, number: u64, answer: Answer },
}

pub(super) struct World {
    pub(super) limit: u32,
    pub(super) nodes: Vec<Node>,
    pub(super) store: Store,
    pub(super) redis: Clock,
    /// Real time.
    pub(super) time: u64,
    pub(super) wire: Vec<Message>,
    pub(super) admitted: usize,
    pub(super) refused: usize,
    crashes: usize,
    pub(super) seen_lost: u32,
}

impl World {
    pub(super) fn new(limit: u32, redis: i64, nodes: &[i64]) -> Self {
        let starts = (1_u64..).map(|node| node * 5_000_000_000);
        let nodes = nodes.iter().zip(starts).enumerate().map(|(index, (drift, start))| {
            Node::new(format!("node{index}"), Clock { start, drift: *drift }, start)
        });
        Self {
            limit,
            nodes: nodes.collect(),
            store: Store::default(),
            redis: Clock { start: 1_800_000_000_000_000, drift: redis },
            time: 0,
            wire: Vec::new(),
            admitted: 0,
            refused: 0,
            crashes: 0,
            seen_lost: 0,
        }
    }

    pub(super) fn now(&self, node: usize) -> u64 {
        self.nodes[node].clock.at(self.time)
    }

    /// What a call comes to. It waits where only the store knows.
    pub(super) fn call(&mut self, node: usize) -> Enter {
        let now = self.now(node);
        let it = &mut self.nodes[node];
        let enter = it.permits.enter(self.limit, now);
        match enter {
            Enter::Entered => {
                self.admitted += 1;
                it.calls.push(true);
            }
            Enter::Dry => it.waiting += 1,
            Enter::Refused => self.refused += 1,
        }
        enter
    }

    /// One of its calls ends. What should go back at once does.
    pub(super) fn end(&mut self, node: usize, call: usize) {
        let now = self.now(node);
        let it = &mut self.nodes[node];
        if it.calls.is_empty() {
            return;
        }
        it.calls.swap_remove(call % it.calls.len());
        if it.permits.leave(|| now) {
            self.tell(node, Permits::settle);
        }
    }

    pub(super) fn ask(&mut self, node: usize) {
        let waiting = self.nodes[node].waiting;
        self.tell(node, |permits, now, number| permits.ask(now, number, waiting));
    }

    /// Asks or tells the store, where there is something to.
    pub(super) fn tell(
        &mut self,
        node: usize,
        what: impl Fn(&Permits, u64, u64) -> Option<Declaration>,
    ) {
        let now = self.now(node);
        let it = &mut self.nodes[node];
        if let Some(told) = what(&it.permits, now, it.number + 1) {
            it.number += 1;
            it.under_way = Some(told);
            self.send(node);
        }
    }

    /// Sends, or sends again, what is under way.
    pub(super) fn send(&mut self, node: usize) {
        let it = &self.nodes[node];
        if let Some(told) = it.under_way {
            self.wire.push(Message::Question { node, name: it.name.clone(), told });
        }
    }

    pub(super) fn give_up(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        if node.under_way.take().is_some() {
            node.permits.give_up();
            node.waiting = 0;
        }
    }

    /// The node's process dies, with all that it had, and another takes its place.
    pub(super) fn crash(&mut self, node: usize) {
        self.crashes += 1;
        let now = self.now(node);
        let clock = self.nodes[node].clock;
        self.nodes[node] = Node::new(format!("again{}", self.crashes), clock, now);
    }

    /// Redis' memory is lost, or its clock jumps: what it counted so far it may count no more.
    pub(super) fn forget(&mut self, micros: Option<u64>) {
        match micros {
            Some(micros) => self.redis.start += micros,
            None => self.store = Store::default(),
        }
        self.look();
    }

    /// Time passes. Where nodes renew in time, each that is about to come too late reaches the store before it does, whatever
    /// became of its messages so far.
    pub(super) fn pass(&mut self, micros: u64, in_time: bool) {
        let until = self.time + micros;
        while self.time < until {
            self.time = (self.time + RENEW_US / 4).min(until);
            for node in (0..self.nodes.len()).filter(|_| in_time) {
                let late = self.now(node).saturating_sub(self.nodes[node].renewed_at) > RENEW_US;
                if late {
                    self.renew(node);
                }
            }
            self.look();
        }
    }

    /// A declaration there, and its answer back.
    pub(super) fn renew(&mut self, node: usize) {
        self.give_up(node);
        self.tell(node, Permits::tell);
        let question = self.wire.pop().expect("it was sent");
        self.deliver(question);
        let answer = self.wire.pop().expect("it was answered");
        self.deliver(answer);
    }

    /// Calls of a node whose declaration is over are counted by nobody until it declares again.
    fn look(&mut self) {
        let now = self.redis.at(self.time);
        for node in &mut self.nodes {
            let counted = self.store.counts(now, &node.name) as usize;
            let beyond = node.calls.len().saturating_sub(counted);
            node.calls.iter_mut().take(beyond).for_each(|counted| *counted = false);
        }
    }

    /// What arrives does what it does; calls that waited for it try again.
    pub(super) fn deliver(&mut self, message: Message) -> Option<Credited> {
        let nodes = u32::try_from(self.nodes.len()).expect("few");
        match message {
            Message::Question { node, name, told } => {
                let now = self.redis.at(self.time);
                let answer = self.store.answer(now, &name, &told, (nodes, TTL_US));
                self.wire.push(Message::Answer { node, name, number: told.number, answer });
                None
            }
            Message::Answer { node, name, number, answer } => {
                let now = self.now(node);
                let it = &mut self.nodes[node];
                let told = it.under_way.filter(|told| it.name == name && told.number == number)?;
                it.under_way = None;
                it.renewed_at = told.sent;
                let credited = it.permits.credit(&told, &answer, nodes, now);
                self.seen_lost += u32::from(credited.lost);
                for _ in 0..std::mem::take(&mut it.waiting) {
                    let _ = self.call(node);
                }
                Some(credited)
            }
        }
    }

    pub(super) fn in_progress(&self) -> usize {
        self.nodes.iter().map(|node| node.calls.len()).sum()
    }

    /// Those that the store has counted ever since they began.
    pub(super) fn counted(&self) -> usize {
        self.nodes.iter().flat_map(|node| &node.calls).filter(|counted| **counted).count()
    }
}
