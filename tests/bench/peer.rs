//! What other programs need to run beside us: a directory, ports, a certificate; and what they are to do for each call.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Until a program listens, its configuration of 10,000 keys read.
const START_MAX: Duration = Duration::from_secs(15);

/// What a gateway does before it passes a call on; each program in the way it has.
pub(crate) struct Features<'a> {
    /// Paths `/api/v1/svc{number}/…` that lead to the backend; others are answered 404.
    pub(crate) services: usize,
    /// Who may call, within a limit that is never reached; others are answered 403.
    pub(crate) keys: &'a [String],
    /// May call once a second; beyond it 429.
    pub(crate) small_key: &'a str,
}

/// A program of one process, or of a master and its workers; it ends when this is dropped.
pub(crate) struct Peer {
    pub(crate) directory: PathBuf,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
    process: Option<Child>,
}

impl Peer {
    /// An empty directory, two free ports, and a certificate of an ECDSA key on P-256 in `chain.pem`, `key.pem` and, both
    /// together, `both.pem`.
    pub(crate) fn prepare(name: &str) -> Result<Self> {
        let name = format!("tollgate-bench-{}-{name}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory)?;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        fs::write(directory.join("both.pem"), format!("{chain}{key}"))?;
        fs::write(directory.join("chain.pem"), chain)?;
        fs::write(directory.join("key.pem"), key)?;
        // Both at once, or they could be one.
        let ports = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let [port, tls_port] = ports.map(|port| port.local_addr().map(|address| address.port()));
        Ok(Self { directory, port: port?, tls_port: tls_port?, process: None })
    }

    /// Starts a program with this configuration, and waits until it listens and has so many workers.
    pub(crate) fn start(
        mut self,
        program: &str,
        options: &[&str],
        file: &Path,
        workers: usize,
    ) -> Result<Self> {
        // Asked to end when the benchmark does, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", program]).args(options).arg(file);
        let process = command.spawn().with_context(|| format!("{program} cannot be started"))?;
        let process = self.process.insert(process);
        let until = Instant::now() + START_MAX;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(status) = process.try_wait()? {
                bail!("{program} ended with {status}; what it said is above");
            }
            ensure!(Instant::now() < until, "{program} does not listen");
            std::thread::yield_now();
        }
        // A master listens before it has any, and what they spend must count.
        while self.processes()?.len() <= workers {
            ensure!(Instant::now() < until, "{program} starts no worker");
            std::thread::yield_now();
        }
        Ok(self)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn tls_url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.tls_port)
    }

    /// The process and those that it started.
    pub(crate) fn processes(&self) -> Result<Vec<u32>> {
        let process = self.process.as_ref().context("it was not started")?.id();
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
        let children = children.split_whitespace().map(str::parse);
        Ok([vec![process], children.collect::<Result<_, _>>()?].concat())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // A quick TERM lets a master end its workers.
            let _ = Command::new("kill").arg(process.id().to_string()).status();
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}
