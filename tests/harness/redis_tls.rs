//! A Redis that is reached over TLS only, with a certificate of its own.

use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::ports::Port;
use crate::process::{Process, command, in_path, make_directory};
use crate::within;

const START_MAX: Duration = Duration::from_mins(1);

pub struct RedisOverTls {
    directory: PathBuf,
    port: Port,
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
        let port = Port::reserve();
        let program =
            in_path("redis-server").expect("redis-server is missing; tests/run installs it");
        let mut server = command(&program, None);
        server.args([
            "--bind",
            "127.0.0.1",
            "--port",
            "0",
            "--save",
            "",
            "--tls-auth-clients",
            "no",
        ]);
        server.arg("--tls-port").arg(port.address().port().to_string());
        server.arg("--tls-cert-file").arg(&certificate).arg("--tls-key-file").arg(&key);
        server.arg("--tls-ca-cert-file").arg(&certificate).arg("--dir").arg(&directory);
        let mut process = Process::start("redis-tls", server, &directory.join("log"));
        within(START_MAX, "Redis's start", async || {
            process.check();
            TcpStream::connect(port.address()).await.ok()
        })
        .await;
        Self { directory, port, process: Some(process) }
    }

    /// For `REDIS_URL`.
    pub fn url(&self) -> String {
        format!("rediss://{}", self.port.address())
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
