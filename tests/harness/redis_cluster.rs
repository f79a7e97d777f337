//! A Redis Cluster of three primaries with a replica each, as real processes.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, cmd};

use crate::ports::Port;
use crate::process::{Process, command, in_path, make_directory};
use crate::within;

const PRIMARIES: usize = 3;
const START_MAX: Duration = Duration::from_mins(1);
const SLOTS: u32 = 16384;
/// When a primary is silent for so long the others agree that it failed. As short as this is what they wait for at first.
const NODE_TIMEOUT_MS: &str = "1000";
/// Once they agree. On a machine that is busy one of them may be silent for a while.
const PATIENT_TIMEOUT_MS: &str = "60000";

pub struct RedisCluster {
    directory: PathBuf,
    /// The first three begin as primaries; each of the others as a replica of the one three before.
    servers: Vec<Server>,
}

struct Server {
    port: Port,
    bus: Port,
    process: Option<Process>,
    /// Listens in its place, and answers nobody.
    silent: Option<TcpListener>,
    id: String,
}

/// A slot on its way from one primary to another.
pub struct Move {
    slot: u32,
    from: usize,
    to: usize,
}

impl RedisCluster {
    /// Six servers that agree on who has what, and replicas that have it too.
    ///
    /// # Panics
    /// Where they cannot be started, or do not come to agree.
    pub async fn start() -> Self {
        let name = hex::encode(rand::random::<[u8; 4]>());
        let directory = std::env::temp_dir().join(format!("tollgate-{name}"));
        make_directory(&directory.join("log"), None, 0o700);
        let mut cluster = Self { directory, servers: Vec::new() };
        for index in 0..2 * PRIMARIES {
            cluster.start_server(index).await;
        }
        for index in 0..2 * PRIMARIES {
            let (port, bus) = (cluster.port(index), cluster.servers[index].bus.address().port());
            let epoch = ["SET-CONFIG-EPOCH", &(index + 1).to_string()].map(str::to_owned);
            cluster.told(index, &epoch).await;
            let meet =
                ["MEET".to_owned(), "127.0.0.1".to_owned(), port.to_string(), bus.to_string()];
            cluster.told(0, &meet).await;
        }
        for index in 0..PRIMARIES {
            let first = |index| SLOTS * u32::try_from(index).unwrap_or(0) / 3;
            let range = [first(index), first(index + 1) - 1].map(|slot| slot.to_string());
            let [first, last] = range;
            cluster.told(index, &["ADDSLOTSRANGE".to_owned(), first, last]).await;
        }
        for index in 0..PRIMARIES {
            let id = cluster.servers[index].id.clone();
            // It must have heard of it first.
            within(START_MAX, "acquaintance", async || {
                let replicate = cmd("CLUSTER").arg("REPLICATE").arg(&id).to_owned();
                cluster.ask::<()>(index + PRIMARIES, &replicate).await
            })
            .await;
        }
        for index in 0..2 * PRIMARIES {
            within(START_MAX, "agreement", async || {
                let state: String = cluster.ask(index, cmd("CLUSTER").arg("INFO")).await?;
                let role: String = cluster.ask(index, cmd("INFO").arg("replication")).await?;
                let copies =
                    if index < PRIMARIES { "connected_slaves:1" } else { "link_status:up" };
                let agreed = state.contains("cluster_state:ok") && role.contains(copies);
                agreed.then_some(())
            })
            .await;
        }
        for index in 0..2 * PRIMARIES {
            let mut patient = cmd("CONFIG");
            patient.arg("SET").arg("cluster-node-timeout").arg(PATIENT_TIMEOUT_MS);
            let set: Option<String> = cluster.ask(index, &patient).await;
            assert!(set.is_some(), "server {index} takes no setting");
        }
        cluster
    }

    async fn start_server(&mut self, index: usize) {
        let (port, bus) = (Port::reserve(), Port::reserve());
        let number = |port: &Port| port.address().port().to_string();
        let program =
            in_path("redis-server").expect("redis-server is missing; tests/run installs it");
        let mut server = command(&program, None);
        server.args(["--bind", "127.0.0.1", "--port", &number(&port), "--save", ""]);
        server.args(["--cluster-enabled", "yes", "--cluster-port", &number(&bus)]);
        // Only when it is told to does a replica take its primary's place.
        server.args(["--cluster-replica-no-failover", "yes"]);
        server.args(["--cluster-node-timeout", NODE_TIMEOUT_MS, "--cluster-config-file"]);
        server.arg(format!("nodes-{index}.conf")).arg("--dir").arg(&self.directory);
        let log = self.directory.join("log");
        let process = Some(Process::start(&format!("redis{index}"), server, &log));
        self.servers.push(Server { port, bus, process, silent: None, id: String::new() });
        let id = within(START_MAX, "a Redis' start", async || {
            self.ask(index, cmd("CLUSTER").arg("MYID")).await
        })
        .await;
        self.servers[index].id = id;
    }

    /// For `REDIS_URL`: two of the six are named.
    pub fn url(&self) -> String {
        format!("redis-cluster://127.0.0.1:{},127.0.0.1:{}", self.port(0), self.port(1))
    }

    fn port(&self, index: usize) -> u16 {
        self.servers[index].port.address().port()
    }

    async fn connection(&self, index: usize) -> Option<MultiplexedConnection> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port(index)));
        client.expect("a Redis URL").get_multiplexed_async_connection().await.ok()
    }

    /// The server's answer, where it gives one.
    async fn ask<T: FromRedisValue>(&self, index: usize, command: &Cmd) -> Option<T> {
        let mut connection = self.connection(index).await?;
        command.query_async(&mut connection).await.ok()
    }

    async fn told(&self, index: usize, words: &[String]) {
        let told: Option<String> = self.ask(index, cmd("CLUSTER").arg(words)).await;
        assert!(told.is_some(), "server {index} refuses CLUSTER {words:?}");
    }

    async fn is_primary(&self, index: usize) -> bool {
        let role: Option<String> = self.ask(index, cmd("INFO").arg("replication")).await;
        role.is_some_and(|role| role.contains("role:master"))
    }

    /// The primary on which keys with this beginning lie, and one of them.
    ///
    /// # Panics
    /// Where there is none.
    pub async fn holder(&self, prefix: &str) -> (usize, String) {
        let first = self.holders(prefix).await.into_iter().next();
        first.unwrap_or_else(|| panic!("no primary has a key {prefix}*"))
    }

    /// All keys with this beginning, each with the primary on which it lies.
    pub async fn holders(&self, prefix: &str) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for index in 0..self.servers.len() {
            if self.servers[index].process.is_some() && self.is_primary(index).await {
                let keys: Option<Vec<String>> =
                    self.ask(index, cmd("KEYS").arg(format!("{prefix}*"))).await;
                // Not what lies beside a bucket for a moment.
                let buckets = keys.into_iter().flatten().filter(|key| key.ends_with('}'));
                found.extend(buckets.map(|key| (index, key)));
            }
        }
        found
    }

    /// SIGKILL. Whoever connects from now on waits for an answer in vain, as where a whole machine is gone.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn lose(&mut self, primary: usize) {
        let server = &mut self.servers[primary];
        server.process.take().expect("it runs").kill();
        server.silent = Some(TcpListener::bind(server.port.address()).expect("its port is ours"));
    }

    /// SIGKILL, where it still runs, and its replica takes its place.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn fail_over(&mut self, primary: usize) {
        if let Some(process) = self.servers[primary].process.take() {
            process.kill();
        }
        let replica = primary + PRIMARIES;
        // No other is asked: they have not agreed yet that it is gone.
        self.told(replica, &["FAILOVER", "TAKEOVER"].map(str::to_owned)).await;
        within(START_MAX, "the failover", async || {
            let state: String = self.ask(replica, cmd("CLUSTER").arg("INFO")).await?;
            let ready = self.is_primary(replica).await && state.contains("cluster_state:ok");
            ready.then_some(())
        })
        .await;
    }

    /// A slot begins to move to the next primary: its keys are where they were, new ones go there.
    pub async fn begin_move(&self, from: usize, key: &str) -> Move {
        let slot: Option<u32> = self.ask(from, cmd("CLUSTER").arg("KEYSLOT").arg(key)).await;
        let (slot, to) = (slot.expect("a slot"), (from + 1) % PRIMARIES);
        for (at, state, other) in [(to, "IMPORTING", from), (from, "MIGRATING", to)] {
            let id = self.servers[other].id.clone();
            let words = ["SETSLOT".to_owned(), slot.to_string(), state.to_owned(), id];
            self.told(at, &words).await;
        }
        Move { slot, from, to }
    }

    /// Its keys are on the other side, but nobody is told so except who asks for them. Gives how many there were.
    ///
    /// # Panics
    /// Where they cannot be moved.
    pub async fn move_keys(&self, Move { slot, from, to }: &Move) -> usize {
        let mut of_slot = cmd("CLUSTER");
        of_slot.arg("GETKEYSINSLOT").arg(slot).arg(100);
        let keys: Vec<String> = self.ask(*from, &of_slot).await.expect("keys");
        let mut migrate = cmd("MIGRATE");
        migrate.arg("127.0.0.1").arg(self.port(*to)).arg("").arg(0).arg(5000);
        migrate.arg("KEYS").arg(&keys);
        let moved: Option<String> = self.ask(*from, &migrate).await;
        assert!(moved.is_some(), "{keys:?} cannot be moved");
        keys.len()
    }

    /// The slot belongs to the other side.
    pub async fn end_move(&self, Move { slot, from, to }: Move) {
        let id = self.servers[to].id.clone();
        for at in [to, from] {
            let words = ["SETSLOT".to_owned(), slot.to_string(), "NODE".to_owned(), id.clone()];
            self.told(at, &words).await;
        }
    }
}

impl Drop for RedisCluster {
    fn drop(&mut self) {
        self.servers.clear();
        std::fs::remove_dir_all(&self.directory).ok();
    }
}
