//! nginx: as the backend, and as a proxy that we are measured against, plain or with a gateway's work.

use std::fmt::Write as _;
use std::fs;

use anyhow::Result;

use crate::peer::{Features, Peer};

/// Its defaults cost it 1.8 times as much for large bodies.
const BUFFERS: &str = "proxy_buffers 16 64k; proxy_buffer_size 16k; proxy_busy_buffers_size 128k; \
                       proxy_max_temp_file_size 0; proxy_request_buffering off; client_max_body_size 2m;";
const PASS: &str = "proxy_http_version 1.1; proxy_set_header Connection \"\"; \
                    proxy_set_header X-Request-Id $request_id;";
const MIB: usize = 1024 * 1024;

/// Answers everything below `/api/`, and `/b.json`, with 1 KiB, `/m1` with 1 MiB, and `/up` with 1 KiB when it has read what
/// came.
pub(crate) fn backend() -> Result<Peer> {
    let peer = Peer::prepare("backend")?;
    fs::write(peer.directory.join("b.json"), format!("{{\"pad\":\"{}\"}}", "x".repeat(1014)))?;
    fs::write(peer.directory.join("m1"), vec![b'x'; MIB])?;
    // `return` would answer before the body is there, and end the connection.
    let server = format!(
        "root {};
         location /api/ {{ try_files /b.json =404; }}
         location = /up {{
             client_body_buffer_size 2m; proxy_request_buffering on; proxy_pass_request_body off;
             proxy_method GET; proxy_set_header Content-Length \"\"; proxy_set_header Connection \"\";
             proxy_http_version 1.1; proxy_pass http://backend/b.json;
         }}",
        peer.directory.display()
    );
    let itself = upstream(&peer);
    start(peer, &itself, &server)
}

/// Passes everything to the backend, over kept connections.
pub(crate) fn plain(backend: &Peer) -> Result<Peer> {
    let server = format!("{PASS} location / {{ proxy_pass http://backend; }}");
    start(Peer::prepare("nginx")?, &upstream(backend), &server)
}

/// The same with `map` for the keys, `limit_req` for the throttle and a `location` for each service.
pub(crate) fn featured(backend: &Peer, features: &Features<'_>) -> Result<Peer> {
    let mut http = upstream(backend);
    http.push_str(
        "map_hash_max_size 262144; map_hash_bucket_size 128;
         map $http_x_api_key $known { default 0;",
    );
    for key in features.keys.iter().map(String::as_str).chain([features.small_key]) {
        write!(http, " \"{key}\" 1;")?;
    }
    write!(
        http,
        "}}
         map $http_x_api_key $small {{ default \"\"; \"{}\" small; }}
         limit_req_zone $http_x_api_key zone=ample:16m rate=1000000r/s;
         limit_req_zone $small zone=small:1m rate=1r/s;",
        features.small_key
    )?;
    let mut server = format!(
        "{PASS} limit_req_status 429;
         limit_req zone=ample burst=1000000 nodelay;
         limit_req zone=small;
         if ($known = 0) {{ return 403; }}
         location / {{ return 404; }}"
    );
    let services = (0..features.services).map(|number| format!("/api/v1/svc{number}/"));
    for path in services.chain(["= /m1".to_owned(), "= /up".to_owned()]) {
        write!(server, "\nlocation {path} {{ proxy_pass http://backend; }}")?;
    }
    start(Peer::prepare("nginx-featured")?, &http, &server)
}

fn upstream(backend: &Peer) -> String {
    format!("upstream backend {{ server 127.0.0.1:{}; keepalive 256; }}\n", backend.port)
}

fn start(peer: Peer, http: &str, server: &str) -> Result<Peer> {
    let (here, port, tls_port) = (peer.directory.display(), peer.port, peer.tls_port);
    let configuration = format!(
        "user root; worker_processes 1; worker_rlimit_nofile 20000; daemon off; pid {here}/pid; error_log {here}/error.log;
         events {{ worker_connections 16384; }}
         http {{
             access_log off; sendfile on; tcp_nodelay on; default_type application/json;
             keepalive_requests 1000000000; server_tokens off;
             client_body_temp_path {here}/1; proxy_temp_path {here}/2; fastcgi_temp_path {here}/3;
             uwsgi_temp_path {here}/4; scgi_temp_path {here}/5;
             {BUFFERS}
             {http}
             server {{
                 listen 127.0.0.1:{port} reuseport;
                 listen 127.0.0.1:{tls_port} ssl http2 reuseport;
                 ssl_certificate {here}/chain.pem; ssl_certificate_key {here}/key.pem; ssl_protocols TLSv1.2 TLSv1.3;
                 {server}
             }}
         }}"
    );
    let file = peer.directory.join("nginx.conf");
    fs::write(&file, configuration)?;
    peer.start("nginx", &["-c"], &file, 1)
}
