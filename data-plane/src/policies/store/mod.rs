//! The way to Redis: one server, or a cluster in which each bucket lies on one primary. Every question is one script on
//! one key, so what holds for one server holds for each primary.
//!
//! Nothing is sent twice by itself, since a script that puts something back must not run twice.

mod cluster;
mod connection;
mod parts;
mod scripts;

use std::time::Duration;

use jiff::Timestamp;
use lease::{Answer, Ask};
use permit::{Answer as Permitted, Declaration};
use proto::redis_keys;
use redis::{
    Cmd, ErrorKind, FromRedisValue, IntoConnectionInfo, RedisResult, ServerErrorKind,
    TlsCertificates, Value,
};

use self::{
    cluster::Cluster,
    connection::{Connection, Patience},
    parts::Parts,
    scripts::{Lua, REMEMBER, ROLL_CALL, SHUT_MAX_S, SPEND, UNSPEND},
};
use super::{
    limiter::Taken,
    quota::Claim,
    recall::{Known, Line},
    spending::{Asked, QuotaAnswer, Spending},
};
use crate::snapshot::served::Bucket;

const PATIENCE: Patience =
    Patience { connect: Duration::from_secs(2), answer: Duration::from_secs(5) };
/// A node that did not say so for so long is not alive.
const NODE_SILENT_MAX_S: u64 = 15;
/// What is taken from a quota ahead is no more than such a part of what is left for each node.
const PARTS: u64 = 32;
/// What a probe leaves behind goes by itself.
const PROBE_KEPT_MS: u64 = 1000;

/// One data thread's connection.
pub(crate) struct Redis {
    way: Way,
    exchange: Lua,
    settle: Lua,
    take: Lua,
    declare: Lua,
    spend: Lua,
    roll_call: Lua,
    remember: Lua,
    /// By which name leases are this node's.
    node: Box<str>,
    pub(super) parts: Parts,
}

/// What a quota is told of beside the claim.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Calls that were let through while it could not be asked.
    pub(crate) made: u64,
    /// What is remembered of the count.
    pub(crate) known: Option<Known>,
    /// What the ledger has of the same period.
    pub(crate) ledger: Option<u64>,
    /// Nothing is to be taken from a line that is not whole, where Redis remembers only since this second.
    pub(crate) shut_since: Option<i64>,
    /// What is to be taken, and what became of what was taken ahead.
    pub(crate) asked: Asked,
    /// Of what is settled with it, so many calls were not made.
    pub(crate) back: u64,
}

enum Way {
    One(Connection),
    Cluster(Cluster),
}

/// One server's URL, or one for each of a cluster's nodes that is named: `redis-cluster://login:password@a:7000,b:7000`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    One(String),
    Cluster(Vec<String>),
}

impl Place {
    pub(crate) fn of(url: &str) -> Self {
        let Some((scheme, rest)) = url.split_once("-cluster://") else {
            return Self::One(url.to_owned());
        };
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (format!("{login}@"), hosts),
            None => (String::new(), authority),
        };
        let nodes = hosts.split(',').map(|host| format!("{scheme}://{login}{host}{rest}"));
        Self::Cluster(nodes.collect())
    }

    pub(crate) fn urls(self) -> Vec<String> {
        match self {
            Self::One(url) => vec![url],
            Self::Cluster(urls) => urls,
        }
    }
}

impl Redis {
    /// Connects when it is first asked. `authority`: whom to trust over TLS, instead of the public ones.
    pub(crate) fn new(url: &str, authority: Option<&[u8]>, node: &str) -> RedisResult<Self> {
        let certificates =
            authority.map(|pem| TlsCertificates { client_tls: None, root_cert: Some(pem.into()) });
        let (way, parts) = match Place::of(url) {
            Place::One(url) => {
                let how = url.into_connection_info()?;
                (Way::One(Connection::new(how, certificates, &PATIENCE)?), Parts::of_one())
            }
            Place::Cluster(urls) => {
                (Way::Cluster(Cluster::new(&urls, certificates)?), Parts::of_cluster())
            }
        };
        Ok(Self {
            way,
            exchange: Lua::new(lease::script::EXCHANGE),
            settle: Lua::new(lease::script::SETTLE),
            take: Lua::new(lease::script::TAKE),
            declare: Lua::new(permit::script::DECLARE),
            spend: Lua::new(SPEND),
            roll_call: Lua::new(ROLL_CALL),
            remember: Lua::new(REMEMBER),
            node: node.into(),
            parts,
        })
    }

    pub(super) async fn exchange(
        &self,
        key: &str,
        bucket: Bucket,
        ask: &Ask,
        nodes: u32,
    ) -> RedisResult<Answer> {
        let arguments = |call: &mut Cmd| {
            call.arg(bucket.rate).arg(bucket.burst).arg(&*self.node).arg(ask.number);
            call.arg(ask.unspent).arg(ask.back).arg(ask.want).arg(ask.waiting);
            call.arg(nodes).arg(ask.dry_us).arg(lease::TTL_US);
        };
        Ok(Answer::from_store(self.run(&self.exchange, key, arguments).await?))
    }

    /// Takes what was let through beside the bucket.
    pub(super) async fn settle(&self, key: &str, bucket: Bucket, made: u32) -> RedisResult<()> {
        let arguments = |call: &mut Cmd| {
            call.arg(bucket.rate).arg(bucket.burst).arg(made);
        };
        self.run::<i64>(&self.settle, key, arguments).await.map(drop)
    }

    pub(super) async fn take(&self, key: &str, bucket: Bucket) -> RedisResult<Taken> {
        let arguments = |call: &mut Cmd| {
            call.arg(bucket.rate).arg(bucket.burst);
        };
        self.run(&self.take, key, arguments).await
    }

    pub(super) async fn give_back(&self, key: &str, bucket: Bucket) {
        self.undo(lease::script::GIVE_BACK, key, |call| {
            call.arg(bucket.burst);
        })
        .await;
    }

    /// Says how many permits of a concurrency limit this node holds, and asks for more.
    pub(super) async fn declare(
        &self,
        key: &str,
        told: &Declaration,
        nodes: u32,
    ) -> RedisResult<Permitted> {
        let arguments = |call: &mut Cmd| {
            call.arg(told.limit).arg(&*self.node).arg(told.number).arg(told.holds);
            call.arg(told.want).arg(told.waiting).arg(nodes).arg(permit::TTL_US);
        };
        Ok(Permitted::from_store(self.run(&self.declare, key, arguments).await?))
    }

    /// Takes a call from a quota, beside what it is told.
    pub(crate) async fn spend(
        &self,
        key: &str,
        claim: &Claim,
        told: &Told,
        nodes: u32,
    ) -> RedisResult<Spending> {
        let how = if claim.quota.soft { "soft" } else { "hard" };
        self.of_quota(key, claim, told, (how, nodes), Timestamp::now().as_second()).await
    }

    /// The same by a node whose clock shows this second.
    #[cfg(test)]
    pub(crate) async fn spend_at(
        &self,
        key: &str,
        claim: &Claim,
        second: i64,
    ) -> RedisResult<Spending> {
        self.of_quota(key, claim, &Told::default(), ("hard", 1), second).await
    }

    /// Tells a quota of calls that were made already, or that it forgot.
    pub(crate) async fn tell(&self, key: &str, claim: &Claim, told: &Told) -> RedisResult<Line> {
        let second = Timestamp::now().as_second();
        self.of_quota(key, claim, told, ("none", 1), second).await.map(|Spending(_, line)| line)
    }

    async fn of_quota(
        &self,
        key: &str,
        claim: &Claim,
        told: &Told,
        (how, nodes): (&str, u32),
        mut second: i64,
    ) -> RedisResult<Spending> {
        // Again where it is a period or more later or earlier by Redis's clock than by this node's.
        for _ in 0..2 {
            let periods = claim.quota.periods.around(second);
            let arguments = |call: &mut Cmd| {
                call.arg(told.made).arg(how);
                match &told.known {
                    Some(it) => {
                        call.arg(&*it.period).arg(it.born_us);
                        call.arg(it.used).arg(it.taken).arg(it.base)
                    }
                    None => call.arg("").arg(&[0; 4]),
                };
                match told.ledger {
                    Some(calls) => call.arg(calls),
                    None => call.arg(-1),
                };
                call.arg(told.shut_since.unwrap_or(-1)).arg(SHUT_MAX_S);
                let Asked { waits, ahead, settled, .. } = told.asked;
                call.arg(ahead).arg(u64::from(nodes) * PARTS).arg(u8::from(waits));
                call.arg(settled).arg(told.back);
                for period in &periods {
                    call.arg(period.from).arg(period.until);
                    call.arg(claim.limit_in(period)).arg(period.name());
                }
            };
            match self.run(&self.spend, key, arguments).await? {
                QuotaAnswer::Spent(spending) => return Ok(spending),
                QuotaAnswer::Elsewhen(now) => second = now,
            }
        }
        Err((ErrorKind::UnexpectedReturnType, "Redis' clock stands in no period").into())
    }

    pub(crate) async fn unspend(&self, key: &str, period: &str) {
        self.undo(UNSPEND, key, |call| {
            call.arg(period);
        })
        .await;
    }

    pub(super) async fn roll_call(&self) -> RedisResult<u32> {
        let arguments = |call: &mut Cmd| {
            call.arg(&*self.node).arg(NODE_SILENT_MAX_S);
        };
        self.run(&self.roll_call, &redis_keys::nodes(), arguments).await
    }

    /// Since when a part remembers, and whether it has only just begun to.
    pub(super) async fn remember(&self, part: usize) -> RedisResult<(i64, bool)> {
        self.run(&self.remember, self.parts.marker(part), |_| {}).await
    }

    /// Whether something can be written where this key lies.
    pub(super) async fn probe(&self, key: &str) -> RedisResult<()> {
        let mut set = redis::cmd("SET");
        set.arg(redis_keys::probe(key)).arg(1).arg("PX").arg(PROBE_KEPT_MS);
        self.send(key, &set).await
    }

    /// By its hash; a server that has not seen the script since it started, or since it took another's place, is told.
    async fn run<T: FromRedisValue>(
        &self,
        script: &Lua,
        key: &str,
        arguments: impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        match self.send(key, &call("EVALSHA", &script.hash, key, &arguments)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send(key, &call("EVAL", script.code, key, &arguments)).await
            }
            answer => answer,
        }
    }

    /// The whole script in one round trip: by its hash it may need two, and the next call's question, which must
    /// find what is put back here, would overtake it.
    async fn undo(&self, script: &str, key: &str, arguments: impl Fn(&mut Cmd)) {
        let _: RedisResult<i64> = self.send(key, &call("EVAL", script, key, &arguments)).await;
    }

    async fn send<T: FromRedisValue>(&self, key: &str, command: &Cmd) -> RedisResult<T> {
        let answer: Value = match &self.way {
            Way::One(one) => one.ask(async |mut to| command.query_async(&mut to).await).await,
            Way::Cluster(cluster) => cluster.send(key, command).await,
        }?;
        Ok(T::from_redis_value(answer)?)
    }
}

fn call(by: &str, script: &str, key: &str, arguments: &impl Fn(&mut Cmd)) -> Cmd {
    let mut call = redis::cmd(by);
    call.arg(script).arg(1).arg(key);
    arguments(&mut call);
    call
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_named_by_some_of_its_nodes() {
        let place = |url| Place::of(url).urls();
        assert_eq!(place("redis://a:1/2"), ["redis://a:1/2"]);
        assert_eq!(place("redis+unix:///run/redis.sock"), ["redis+unix:///run/redis.sock"]);
        assert_eq!(place("redis-cluster://a:1"), ["redis://a:1"]);
        assert_eq!(
            place("rediss-cluster://me:p%40ss@a:1,[::1]:2,c/?protocol=resp3"),
            ["a:1", "[::1]:2", "c"]
                .map(|host| format!("rediss://me:p%40ss@{host}/?protocol=resp3"))
        );
        assert!(matches!(Place::of("redis-cluster://a:1"), Place::Cluster(_)));
    }

    #[tokio::test]
    async fn what_names_no_redis_is_refused() {
        for url in [
            "",
            "redis-cluster://",
            "redis-cluster://a:1,,b:2",
            "redis-cluster://a:1,b:x",
            "http-cluster://a:1",
            "http://a",
            "redis-cluster:///run/redis.sock",
            "redis-cluster://a:1/2",
        ] {
            assert!(Redis::new(url, None, "node").is_err(), "{url}");
        }
        for url in ["redis://a", "rediss://a:1", "redis-cluster://a", "rediss-cluster://u:p@a:1,b"]
        {
            assert!(Redis::new(url, None, "node").is_ok(), "{url}");
        }
    }
}
