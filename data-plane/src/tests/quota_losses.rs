//! Quotas whose Redis loses its memory while keys call.

use std::{rc::Rc, sync::Arc};

use ::plan::Unit;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use redis::{AsyncCommands, ConnectionAddr, IntoConnectionInfo, aio::MultiplexedConnection};
use tokio::task::spawn_local;

use super::{
    limits::{Node, local, redis_url},
    world::PATIENCE,
};
use crate::{
    config::{LimiterMode, LimiterOutage},
    policies::{
        limiter::{self, Limiter},
        quota::Claim,
        recall::{Known, Line},
        spending::{Asked, Spending},
        store::{Redis, Told},
    },
    reconciliation::QuotaUses,
};

/// Where these tests let a Redis forget: others would be told of it.
const FORGETFUL: u8 = 9;
/// Where it remembers since ever.
const FAITHFUL: u8 = 10;
const LIMIT: u64 = 40;

fn database(number: u8) -> String {
    match redis_url().into_connection_info().expect("a URL").addr() {
        ConnectionAddr::Tcp(host, port) => format!("redis://{host}:{port}/{number}"),
        ConnectionAddr::Unix(path) => format!("redis+unix://{}?db={number}", path.display()),
        other => panic!("{other:?}"),
    }
}

async fn connect(number: u8) -> MultiplexedConnection {
    let client = redis::Client::open(database(number)).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

fn new_key() -> String {
    format!("test:{{{}}}", uuid::Uuid::now_v7())
}

/// A quota of a key, and the Redis that counts it.
struct Quota {
    key: String,
    claim: Claim,
    redis: MultiplexedConnection,
    admitted: u64,
}

impl Quota {
    async fn start() -> Self {
        let claim = Claim::calendar(LIMIT, Unit::Month);
        Self { key: new_key(), claim, redis: connect(FORGETFUL).await, admitted: 0 }
    }

    /// So many calls, of which each is let through.
    async fn calls(&mut self, threads: &[&Limiter], count: usize) {
        for call in 0..count {
            let spent = threads[call % threads.len()].spend(&self.key, &self.claim).await;
            assert!(spent.expect("Redis").allowed, "call {call} of {count}");
            self.admitted += 1;
        }
    }

    /// Until one is refused.
    async fn use_up(&mut self, threads: &[&Limiter]) {
        for call in 0..=2 * LIMIT {
            let thread = threads[usize::try_from(call).unwrap() % threads.len()];
            if !thread.spend(&self.key, &self.claim).await.expect("Redis").allowed {
                return;
            }
            self.admitted += 1;
        }
    }

    async fn lose(&mut self) {
        let marker = proto::redis_keys::memory(0, 1);
        let (): () = self.redis.del(&[&*self.key, &*marker]).await.unwrap();
    }
}

fn thread(node: &Node, number: u8, outage: LimiterOutage) -> Limiter {
    node.thread(limiter::Settings {
        url: Some(&database(number)),
        authority: None,
        budget: PATIENCE,
        mode: LimiterMode::Exact,
        outage,
    })
}

fn one_of(node: &Node) -> Limiter {
    thread(node, FORGETFUL, LimiterOutage::LocalFallback)
}

/// A control plane that knows of so many calls.
fn ledger(uses: &Arc<QuotaUses>, calls: u64) -> Rc<std::cell::Cell<usize>> {
    let (uses, asked) = (uses.clone(), Rc::new(std::cell::Cell::new(0)));
    let count = asked.clone();
    spawn_local(async move {
        loop {
            for question in uses.next().await {
                count.set(count.get() + 1);
                let _ = question.answer.send(calls);
            }
        }
    });
    asked
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} in time"));
}

#[tokio::test]
async fn live_nodes_tell_an_emptied_redis_what_they_remember_and_exactly_the_limit_passes() {
    local(async {
        let nodes = [Node::default(), Node::default()];
        let [one, other] = nodes.each_ref().map(one_of);
        let mut quota = Quota::start().await;
        quota.calls(&[&one, &other], 20).await;
        quota.lose().await;
        quota.calls(&[&other, &one], 4).await;
        quota.lose().await;
        quota.use_up(&[&one, &other]).await;
        assert_eq!(quota.admitted, LIMIT);
        let restored: u64 = nodes.iter().map(|node| node.metrics.calls_restored("node")).sum();
        assert_eq!(restored, 20 + 24);
    })
    .await;
}

#[tokio::test]
async fn what_an_idle_node_remembers_is_told_as_soon_as_it_looks() {
    local(async {
        let nodes = [Node::default(), Node::default()];
        let [one, other] = nodes.each_ref().map(one_of);
        let mut quota = Quota::start().await;
        quota.calls(&[&one, &other], 2).await;
        quota.calls(&[&one], 29).await;
        quota.lose().await;
        // The other remembers two.
        quota.calls(&[&other], 1).await;
        one.tick();
        let restored = |node: &Node| node.metrics.calls_restored("node");
        until("what one remembers", || nodes.iter().map(restored).sum::<u64>() == 31).await;
        quota.use_up(&[&other]).await;
        assert_eq!(quota.admitted, LIMIT);
    })
    .await;
}

#[tokio::test]
async fn what_no_live_node_remembers_comes_from_the_ledger() {
    local(async {
        let mut quota = Quota::start().await;
        quota.calls(&[&one_of(&Node::default())], 25).await;
        quota.lose().await;
        let again = Node::default();
        let thread = one_of(&again);
        ledger(&again.uses, 25);
        quota.calls(&[&thread], 1).await;
        until("the ledger's count", || again.metrics.calls_restored("ledger") == 24).await;
        quota.use_up(&[&thread]).await;
        // The call before the ledger answered may be in what that has.
        assert_eq!(quota.admitted, LIMIT + 1);
        let line: String = quota.redis.hget(&quota.key, "line").await.unwrap();
        assert!(line.ends_with(" 24 0 1"), "{line}");
    })
    .await;
}

#[tokio::test]
async fn without_a_control_plane_calls_go_on_from_what_is_known() {
    local(async {
        let mut quota = Quota::start().await;
        quota.calls(&[&one_of(&Node::default())], 25).await;
        quota.lose().await;
        let again = Node::default();
        quota.use_up(&[&one_of(&again)]).await;
        assert_eq!(quota.admitted, 25 + LIMIT, "nobody knows of the others");
        assert_eq!(again.metrics.calls_restored("ledger"), 0);
    })
    .await;
}

#[tokio::test]
async fn who_would_rather_refuse_than_exceed_lets_nothing_through_until_it_is_known() {
    local(async {
        let mut quota = Quota::start().await;
        let closed = LimiterOutage::FailClosed;
        let node = Node::default();
        ledger(&node.uses, 0);
        let before = thread(&node, FORGETFUL, closed);
        let settled = async |quota: &mut Quota, thread: &Limiter| {
            while thread.spend(&quota.key, &quota.claim).await.is_err() {}
            quota.admitted += 1;
        };
        tokio::time::timeout(PATIENCE, settled(&mut quota, &before)).await.expect("in time");
        quota.calls(&[&before], 24).await;
        quota.lose().await;
        let again = Node::default();
        let thread = thread(&again, FORGETFUL, closed);
        for _ in 0..3 {
            assert!(thread.spend(&quota.key, &quota.claim).await.is_err(), "nobody knows yet");
        }
        ledger(&again.uses, 25);
        tokio::time::timeout(PATIENCE, settled(&mut quota, &thread)).await.expect("in time");
        quota.use_up(&[&thread]).await;
        assert_eq!(quota.admitted, LIMIT);
        // Nothing is missing of a key that is new.
        let joined_s = Some(i64::MAX);
        let new = Claim { joined_s, ..quota.claim.clone() };
        assert!(thread.spend(&new_key(), &new).await.expect("Redis").allowed);
    })
    .await;
}

#[tokio::test]
async fn a_key_that_a_faithful_redis_does_not_know_was_not_used() {
    local(async {
        let mut redis = connect(FAITHFUL).await;
        let (): () = redis.set(proto::redis_keys::memory(0, 1), 1).await.unwrap();
        let (node, key) = (Node::default(), new_key());
        let thread = thread(&node, FAITHFUL, LimiterOutage::FailClosed);
        let asked = ledger(&node.uses, LIMIT);
        let claim = Claim::calendar(LIMIT, Unit::Month);
        assert!(thread.spend(&key, &claim).await.expect("Redis").allowed);
        let mut line = String::new();
        while !line.ends_with(" 1") {
            line = redis.hget(&key, "line").await.unwrap();
        }
        assert!(thread.spend(&key, &claim).await.expect("Redis").allowed);
        assert_eq!((asked.get(), node.metrics.calls_restored("ledger")), (0, 0));
    })
    .await;
}

#[derive(Clone, Copy, Debug)]
enum Op {
    /// A node calls; late: its call goes back.
    Call { node: usize, late: bool },
    /// It takes so many more ahead.
    Ahead { node: usize, calls: u64 },
    /// Of all that it holds, it made all but so many at most.
    Settle { node: usize, unmade: u64 },
    /// Redis forgets everything.
    Lose,
    /// The ledger is asked, which lacks the last calls.
    Ledger { node: usize, lacks: u64 },
    /// What Redis has is written to a file.
    Save,
    /// It starts again from its file, or a replica that lags takes its place.
    Rewind,
}

const NODES: usize = 3;

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0..NODES, prop::bool::weighted(0.1)).prop_map(|(node, late)| Op::Call { node, late }),
        3 => (0..NODES, 1..9_u64).prop_map(|(node, calls)| Op::Ahead { node, calls }),
        3 => (0..NODES, 0..9_u64).prop_map(|(node, unmade)| Op::Settle { node, unmade }),
        1 => Just(Op::Lose),
        1 => (0..NODES, 0..4_u64).prop_map(|(node, lacks)| Op::Ledger { node, lacks }),
        1 => Just(Op::Save),
        1 => Just(Op::Rewind),
    ]
}

/// Nodes of which each remembers what it was answered last.
struct Run {
    store: Redis,
    redis: MultiplexedConnection,
    key: String,
    claim: Claim,
    known: [Option<Known>; NODES],
    held: [u64; NODES],
    file: Option<Vec<u8>>,
    /// Calls that were taken and did not go back, and those that did.
    made: u64,
    back: u64,
    losses: u32,
    rewinds: u32,
}

impl Run {
    fn told(&self, node: usize) -> Told {
        Told { known: self.known[node].clone(), ..Told::default() }
    }

    fn hears(&mut self, node: usize, line: &Line) -> Result<(), TestCaseError> {
        let remembered = self.known[node].as_ref().map_or(0, |known| known.used);
        // What went back after the last look may count, and nothing else that was not called.
        prop_assert!(line.known.used <= self.made + self.back, "{line:?}");
        prop_assert!(line.known.used + self.back >= remembered, "{line:?} of {remembered}");
        self.known[node] = Some(line.known.clone());
        Ok(())
    }

    async fn apply(&mut self, op: Op) -> Result<(), TestCaseError> {
        match op {
            Op::Call { node, late } => {
                let told = self.told(node);
                let spent = self.store.spend(&self.key, &self.claim, &told, 1).await;
                let Spending(spent, line) = spent.expect("Redis");
                prop_assert!(spent.allowed);
                self.made += 1;
                self.hears(node, &line)?;
                if late {
                    self.store.unspend(&self.key, &line.known.period).await;
                    (self.made, self.back) = (self.made - 1, self.back + 1);
                }
            }
            Op::Ahead { node, calls } => {
                let asked = Asked { ahead: calls, ..Asked::ONE };
                let told = Told { asked, ..self.told(node) };
                let spent = self.store.spend(&self.key, &self.claim, &told, 1).await;
                let Spending(_, line) = spent.expect("Redis");
                prop_assert_eq!(line.ahead, calls);
                self.made += 1 + calls;
                self.held[node] += calls;
                self.hears(node, &line)?;
            }
            Op::Settle { node, unmade } => {
                let settled = std::mem::take(&mut self.held[node]);
                let back = unmade.min(settled);
                let asked = Asked { settled, ..Asked::ONE };
                let told = Told { asked, back, ..self.told(node) };
                let line = self.store.tell(&self.key, &self.claim, &told).await;
                (self.made, self.back) = (self.made - back, self.back + back);
                self.hears(node, &line.expect("Redis"))?;
            }
            Op::Lose => {
                let (): () = self.redis.del(&self.key).await.unwrap();
                self.losses += 1;
            }
            Op::Ledger { node, lacks } => {
                let ledger = Some(self.made.saturating_sub(lacks));
                let told = Told { ledger, ..self.told(node) };
                let line = self.store.tell(&self.key, &self.claim, &told).await;
                self.hears(node, &line.expect("Redis"))?;
            }
            Op::Save => {
                let dump = redis::cmd("DUMP").arg(&self.key).to_owned();
                self.file = dump.query_async(&mut self.redis).await.unwrap();
            }
            Op::Rewind => {
                let Some(file) = &self.file else { return Ok(()) };
                let mut restore = redis::cmd("RESTORE");
                restore.arg(&self.key).arg(0).arg(file).arg("REPLACE");
                let (): () = restore.query_async(&mut self.redis).await.unwrap();
                self.rewinds += 1;
            }
        }
        Ok(())
    }

    async fn check(mut self, ops: Vec<Op>) -> Result<(), TestCaseError> {
        for op in ops {
            self.apply(op).await?;
        }
        let (mut used, mut held) = (0, 0);
        for node in 0..NODES {
            let line = self.store.tell(&self.key, &self.claim, &self.told(node)).await;
            let line = line.expect("Redis");
            self.hears(node, &line)?;
            (used, held) = (line.known.used, line.held);
        }
        if self.losses + self.rewinds == 0 {
            prop_assert_eq!((used, held), (self.made, self.held.iter().sum()));
        } else if (self.losses, self.rewinds) == (1, 0) {
            prop_assert!(used >= self.made, "{} of {}", used, self.made);
        }
        let (): () = self.redis.del(&self.key).await.unwrap();
        Ok(())
    }
}

#[test]
fn a_count_is_never_below_what_a_node_knows_and_never_above_what_was_called() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner =
        TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(192) });
    runner
        .run(&vec(op(), 0..60), |ops| {
            runtime.block_on(local(async {
                let run = Run {
                    store: Redis::new(&database(FORGETFUL), None, "node").expect("a URL"),
                    redis: connect(FORGETFUL).await,
                    key: new_key(),
                    claim: Claim::calendar(1_000_000, Unit::Day),
                    known: Default::default(),
                    held: Default::default(),
                    file: None,
                    made: 0,
                    back: 0,
                    losses: 0,
                    rewinds: 0,
                };
                run.check(ops).await
            }))
        })
        .unwrap();
}
