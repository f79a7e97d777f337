//! A Redis that is reached over TLS and with a password only: by itself, or as a cluster of one.

use std::path::PathBuf;
use std::time::Duration;

use redis::{Client, TlsCertificates};

use crate::ports::Port;
use crate::process::{Process, command, in_path, make_directory};
use crate::within;

const START_MAX: Duration = Duration::from_mins(1);
const PASSWORD: &str = "s3cret";

pub struct RedisOverTls {
    directory: PathBuf,
    port: Port,
    _bus: Port,
    process: Option<Process>,
}

impl RedisOverTls {
    /// # Panics
    /// Where it cannot be started.
    pub async fn start() -> Self {
        let name = hex::encode(rand::random::<[u8; 4]>());
        let directory = std::env::temp_dir().join(format!("tollgate-{name}"));
        make_directory(&directory.join("log"), None, 0o700);
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a name");
        let (certificate, key) = (directory.join("redis.pem"), directory.join("redis.key"));
        std::fs::write(&certificate, own.cert.pem()).expect("the directory can be written");
        std::fs::write(&key, own.signing_key.serialize_pem()).expect("it can be written");
        let (port, bus) = (Port::reserve(), Port::reserve());
        let program =
            in_path("redis-server").expect("redis-server is missing; tests/run installs it");
        let mut server = command(&program, None);
        server.args(["--bind", "127.0.0.1", "--port", "0", "--save", ""]);
        server.args(["--requirepass", PASSWORD, "--tls-auth-clients", "no"]);
        server.args(["--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-port"]);
        server.arg(bus.address().port().to_string());
        server.arg("--tls-port").arg(port.address().port().to_string());
        server.arg("--tls-cert-file").arg(&certificate).arg("--tls-key-file").arg(&key);
        server.arg("--tls-ca-cert-file").arg(&certificate).arg("--dir").arg(&directory);
        let mut process = Process::start("redis-tls", server, &directory.join("log"));
        let tls = TlsCertificates { client_tls: None, root_cert: Some(own.cert.pem().into()) };
        let address = port.address();
        let client = Client::build_with_tls(format!("rediss://:{PASSWORD}@{address}"), tls);
        let client = client.expect("a Redis URL");
        let mut connection = within(START_MAX, "Redis's start", async || {
            process.check();
            client.get_multiplexed_async_connection().await.ok()
        })
        .await;
        let mut cluster = redis::cmd("CLUSTER");
        let all = cluster.clone().arg("ADDSLOTSRANGE").arg(0).arg(16_383).to_owned();
        all.exec_async(&mut connection).await.expect("it takes all slots");
        let state = cluster.arg("INFO");
        within(START_MAX, "a cluster", async || {
            let state: String = state.query_async(&mut connection).await.ok()?;
            state.contains("cluster_state:ok").then_some(())
        })
        .await;
        Self { directory, port, _bus: bus, process: Some(process) }
    }

    /// For `REDIS_URL`.
    pub fn url(&self) -> String {
        format!("rediss://default:{PASSWORD}@{}", self.port.address())
    }

    /// For `REDIS_URL`, as a cluster.
    pub fn cluster_url(&self) -> String {
        format!("rediss-cluster://default:{PASSWORD}@{}", self.port.address())
    }

    /// For `TOLLGATE_REDIS_CA_FILE`.
    pub fn authority(&self) -> PathBuf {
        self.directory.join("redis.pem")
    }
}

impl Drop for RedisOverTls {
    fn drop(&mut self) {
        self.process = None;
        std::fs::remove_dir_all(&self.directory).ok();
    }
}
