//! What is allowed is also given, and asked for seldom: calls that come as they do, and messages that take their time.

use std::collections::BTreeMap;

use proptest::{prelude::*, test_runner::TestCaseError};

use super::world::{Message, World, runner};
use crate::{Bucket, Lease, PACE_MAX_US, TTL_US, Take};

const SECOND: u64 = 1_000_000;
const SWEEP_US: u64 = 250_000;

enum Event {
    Call(usize),
    Arrives(Message),
    Sweep(usize),
    Report(usize),
    /// Something else refuses the calls that took a token.
    Refused(usize),
}

struct Run {
    world: World,
    events: BTreeMap<(u64, u64), Event>,
    number: u64,
    /// When calls come.
    calls: Vec<u64>,
    /// Xorshift.
    random: u64,
    /// Each call that takes a token is refused after so long.
    refused_in: Option<u64>,
}

impl Run {
    fn new(bucket: Bucket, nodes: usize, seed: u64) -> Self {
        let world = World::new(bucket, 0, &vec![0; nodes]);
        let mut run = Self {
            world,
            events: BTreeMap::new(),
            number: 0,
            calls: Vec::new(),
            random: seed | 1,
            refused_in: None,
        };
        for node in 0..nodes {
            let first = run.random(SWEEP_US);
            run.at(first, Event::Sweep(node));
        }
        run
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below.max(1)
    }

    fn at(&mut self, time: u64, event: Event) {
        self.number += 1;
        self.events.insert((time, self.number), event);
    }

    /// Calls in this span, so many a second, each at the node that is chosen for it.
    fn calls(&mut self, (from, to): (u64, u64), each: f64, node: impl Fn(u64) -> usize) {
        let mut count = 0_u32;
        loop {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "minutes")]
            let time = from + (f64::from(count) * 1e6 / each) as u64;
            if time >= to {
                return;
            }
            let chosen = node(self.random(u64::MAX));
            self.at(time, Event::Call(chosen));
            self.calls.push(time);
            count += 1;
        }
    }

    /// Until this time; gives how many calls were admitted and refused in it.
    fn until(&mut self, end: u64) -> (usize, usize) {
        let before = (self.world.count(), self.world.refused);
        while let Some(entry) = self.events.first_entry().filter(|it| it.key().0 < end) {
            let ((time, _), event) = entry.remove_entry();
            self.world.time = time;
            self.happen(event);
            for message in std::mem::take(&mut self.world.wire) {
                let arrives = time + 100 + self.random(200);
                self.at(arrives, Event::Arrives(message));
            }
        }
        (self.world.count() - before.0, self.world.refused - before.1)
    }

    fn happen(&mut self, event: Event) {
        let world = &mut self.world;
        match event {
            Event::Call(node) => match world.call(node) {
                Take::Taken(token) if token.ask => {
                    world.ask(node, |it, now, no| it.ask(now, no, 0));
                    self.decide(node);
                }
                Take::Taken(_) => self.decide(node),
                Take::Dry => self.ask_for_waiting(node),
                Take::Refused { .. } => {}
            },
            Event::Arrives(message) => {
                let (Message::Question { node, .. } | Message::Answer { node, .. }) = message;
                let Some(credited) = world.deliver(message) else { return };
                self.decide(node);
                self.ask_for_waiting(node);
                if let Some(micros) = credited.report_in_us {
                    self.at(self.world.time + micros.max(1000), Event::Report(node));
                }
            }
            Event::Report(node) => world.ask(node, Lease::report),
            Event::Refused(node) => world.decide(node, 0, true),
            Event::Sweep(node) => {
                world.ask(node, Lease::return_idle);
                self.at(self.world.time + SWEEP_US, Event::Sweep(node));
            }
        }
    }

    fn decide(&mut self, node: usize) {
        match self.refused_in {
            Some(micros) => self.at(self.world.time + micros, Event::Refused(node)),
            None => self.world.decide_all(node),
        }
    }

    fn ask_for_waiting(&mut self, node: usize) {
        let waiting = self.world.nodes[node].waiting;
        if waiting > 0 {
            self.world.ask(node, |lease, now, number| lease.ask(now, number, waiting));
        }
    }

    /// How many of the calls in this span one bucket would let through that sees each of them at once.
    fn allowed(&self, (from, to): (u64, u64)) -> f64 {
        let Bucket { rate, burst } = self.world.bucket;
        let (mut tokens, mut last, mut admitted) = (f64::from(burst), 0, 0.0);
        for time in self.calls.iter().copied().filter(|time| *time < to) {
            #[expect(clippy::cast_precision_loss, reason = "seconds in µs")]
            let passed = (time - last) as f64 / 1e6;
            (tokens, last) = ((tokens + passed * rate).min(f64::from(burst)), time);
            if tokens >= 1.0 {
                tokens -= 1.0;
                admitted += f64::from(u8::from(time >= from));
            }
        }
        admitted
    }

    fn asks(&self) -> u64 {
        self.world.nodes.iter().map(super::world::Node::asked).sum()
    }
}

fn within_bound(run: &Run) -> Result<(), TestCaseError> {
    let excess = run.world.excess();
    prop_assert!(excess < 1e-6, "{excess} beyond the bound");
    Ok(())
}

/// A bucket that runs in for this many seconds at least.
fn bucket(rate: std::ops::Range<f64>, seconds: f64) -> impl Strategy<Value = Bucket> {
    (rate, 1.0_f64..60.0).prop_map(move |(rate, times)| {
        let burst = (rate * seconds * times).ceil().max(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
        Bucket { rate, burst: burst as u32 }
    })
}

#[test]
fn under_demand_nearly_all_that_is_allowed_is_admitted() {
    let cases = (bucket(20.0..400.0, 0.025), 1_usize..9, 1.3_f64..8.0, any::<u64>());
    let outcome = runner(60).run(&cases, |(bucket, nodes, overload, seed)| {
        let mut run = Run::new(bucket, nodes, seed);
        let (nodes_count, end) = (u64::try_from(nodes).expect("few"), 10 * SECOND);
        // The burst goes first; it is not what this is about.
        let burst = f64::from(bucket.burst) / bucket.rate / (overload - 1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds")]
        let begin = 2 * SECOND + (burst * 1e6) as u64;
        run.calls((0, begin + end), bucket.rate * overload, |random| {
            usize::try_from(random % nodes_count).expect("few")
        });
        run.until(begin);
        let asked = run.asks();
        let (admitted, _) = run.until(begin + end);
        within_bound(&run)?;
        let allowed = run.allowed((begin, begin + end));
        let admitted = f64::from(u32::try_from(admitted).expect("few"));
        // What lies with a node at the end is spent after it.
        let edge = f64::from(u32::try_from(nodes).expect("few")) + 1.0;
        prop_assert!(admitted + edge >= 0.97 * allowed, "{admitted} of {allowed}");
        // Most nodes keep the pace, 20 questions a second. One that gets what it wants while the others do need not.
        if f64::from(bucket.burst) >= bucket.rate / 2.0 && overload > 3.0 {
            let asked = run.asks() - asked;
            prop_assert!(asked <= 10 * nodes_count * 45, "{asked} questions in 10 s");
        }
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_flood_that_is_refused_asks_twenty_times_a_second_at_most() {
    let rates = prop_oneof![Just(0.0), 0.001..1.0];
    let cases = (rates, 1_u32..20, 1_usize..4, any::<u64>());
    let outcome = runner(30).run(&cases, |(rate, burst, nodes, seed)| {
        let mut run = Run::new(Bucket { rate, burst }, nodes, seed);
        let nodes = u64::try_from(nodes).expect("few");
        run.calls((0, 4 * SECOND), 3000.0, |random| usize::try_from(random % nodes).expect("few"));
        run.until(SECOND);
        let before = run.asks();
        let (_, refused) = run.until(4 * SECOND);
        within_bound(&run)?;
        prop_assert!(refused > 8_000, "{refused}");
        let asked = run.asks() - before;
        prop_assert!(asked <= 3 * nodes * 20, "{asked} questions for {refused} refused calls");
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_caller_under_its_limit_is_not_refused_for_tokens_that_lie_elsewhere() {
    let cases = (bucket(2.0..100.0, 0.025), 2_usize..6, any::<u64>());
    let outcome = runner(60).run(&cases, |(bucket, nodes, seed)| {
        let mut run = Run::new(bucket, nodes, seed);
        let nodes = u64::try_from(nodes).expect("few");
        run.calls((0, 3 * SECOND), bucket.rate * 3.0, |random| {
            usize::try_from(random % nodes).expect("few")
        });
        // From here on it keeps to its limit, at one node. What was before is over in a lease, and known to be when the
        // node has asked twice.
        run.calls((3 * SECOND, 9 * SECOND), bucket.rate * 0.9, |_| 0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds")]
        let settled = 3 * SECOND + TTL_US + 2 * PACE_MAX_US + (2e6 / bucket.rate) as u64;
        run.until(settled);
        let (admitted, refused) = run.until(9 * SECOND);
        within_bound(&run)?;
        prop_assert!(refused == 0, "{refused} refused, {admitted} admitted");
        prop_assert!(admitted > 0);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_burst_at_one_node_is_admitted_to_the_last_token() {
    for (burst, calls) in [(1, 3), (2, 2), (10, 64), (100, 64), (64, 1000)] {
        let mut run = Run::new(Bucket { rate: 0.001, burst }, 1, 7);
        run.calls((0, 1000), f64::from(calls) * 1000.0, |_| 0);
        let (admitted, _) = run.until(SECOND);
        assert_eq!(admitted, usize::try_from(burst.min(calls)).expect("few"), "{burst} {calls}");
    }
}

#[test]
fn a_token_that_is_given_back_is_there_for_the_next_call_whatever_was_asked_meanwhile() {
    for (burst, every) in [(1, 10_000), (3, 10_000), (3, 600_000), (40, 100)] {
        let mut run = Run::new(Bucket { rate: 0.001, burst }, 1, 7);
        run.refused_in = Some(every / 2);
        #[expect(clippy::cast_precision_loss, reason = "µs")]
        run.calls((0, 50 * every), 1e6 / every as f64, |_| 0);
        let (_, refused) = run.until(50 * every);
        assert_eq!(refused, 0, "by the bucket of {burst}, each {every} µs");
        assert!(run.asks() > 1);
    }
}
