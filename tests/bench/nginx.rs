//! nginx, twice: as the backend that answers 1 KiB, and as the proxy that we are measured against.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::pin;

/// A running nginx with one worker; it ends when this is dropped.
pub(crate) struct Nginx {
    directory: PathBuf,
    port: u16,
    master: Child,
}

impl Nginx {
    /// Answers `/b.json` with 1 KiB.
    pub(crate) fn backend() -> Result<Self> {
        Self::start("backend", "", |directory| {
            format!("root {}; keepalive_requests 1000000000;", directory.display())
        })
    }

    /// Passes everything to `backend`, over kept connections.
    pub(crate) fn proxy(backend: &Self) -> Result<Self> {
        let port = backend.port;
        let upstream = format!("upstream backend {{ server 127.0.0.1:{port}; keepalive 256; }}");
        let nginx = Self::start("proxy", &upstream, |_| {
            "keepalive_requests 1000000000;
             location / {
                 proxy_pass http://backend;
                 proxy_http_version 1.1;
                 proxy_set_header Connection \"\";
                 proxy_set_header X-Request-Id $request_id;
             }"
            .to_owned()
        })?;
        for process in nginx.processes()? {
            pin(process)?;
        }
        Ok(nginx)
    }

    fn start(name: &str, upstream: &str, server: impl FnOnce(&PathBuf) -> String) -> Result<Self> {
        let directory =
            std::env::temp_dir().join(format!("tollgate-bench-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("b.json"), format!("{{\"pad\":\"{}\"}}", "x".repeat(1014)))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (here, server) = (directory.display().to_string(), server(&directory));
        let upstream_hint = "proxy_buffers 16 64k; proxy_buffer_size 16k; proxy_busy_buffers_size 128k; \
                             proxy_max_temp_file_size 0;";
        let configuration = format!(
            "user root; worker_processes 1; daemon off; pid {here}/pid; error_log {here}/error.log;
             events {{ worker_connections 8192; }}
             http {{
                 access_log off; sendfile on; tcp_nodelay on; default_type application/json;
                 client_body_temp_path {here}/1; proxy_temp_path {here}/2; fastcgi_temp_path {here}/3;
                 uwsgi_temp_path {here}/4; scgi_temp_path {here}/5;
                 {upstream_hint}
                 {upstream}
                 server {{ listen 127.0.0.1:{port} reuseport; {server} }}
             }}"
        );
        let file = directory.join("nginx.conf");
        fs::write(&file, configuration)?;
        let master =
            Command::new("nginx").arg("-c").arg(&file).spawn().context("nginx is not installed")?;
        let nginx = Self { directory, port, master };
        let until = Instant::now() + Duration::from_secs(5);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > until {
                bail!(
                    "nginx does not listen: {}",
                    fs::read_to_string(nginx.directory.join("error.log"))?
                );
            }
            std::thread::yield_now();
        }
        Ok(nginx)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The master and its workers.
    pub(crate) fn processes(&self) -> Result<Vec<u32>> {
        let master = self.master.id();
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
        let workers =
            children.split_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        Ok([vec![master], workers].concat())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A quick TERM lets the master end its workers.
        let _ = Command::new("kill").arg(self.master.id().to_string()).status();
        let _ = self.master.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
