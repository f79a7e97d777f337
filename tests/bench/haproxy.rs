//! HAProxy with one thread: a proxy that we are measured against, plain or with a gateway's work.

use std::fs;

use anyhow::Result;

use crate::peer::{Features, Peer};

/// Passes everything to the backend, over kept connections.
pub(crate) fn plain(backend: &Peer) -> Result<Peer> {
    start(Peer::prepare("haproxy")?, backend, "", "")
}

/// The same with maps for keys and services, and a stick table for the throttle.
pub(crate) fn featured(backend: &Peer, features: &Features<'_>) -> Result<Peer> {
    let peer = Peer::prepare("haproxy-featured")?;
    let keys = features.keys.iter().map(|key| format!("{key} ample\n"));
    let small = format!("{} small\n", features.small_key);
    fs::write(peer.directory.join("keys.map"), keys.collect::<String>() + &small)?;
    let services = (0..features.services).map(|number| format!("svc{number} known\n"));
    fs::write(peer.directory.join("services.map"), services.collect::<String>())?;
    let here = peer.directory.display();
    let rules = format!(
        "http-request set-var(txn.plan) req.hdr(x-api-key),map_str({here}/keys.map)
         http-request deny deny_status 403 unless {{ var(txn.plan) -m found }}
         http-request set-var(txn.service) path,field(4,/),map_str({here}/services.map)
         acl is_service var(txn.service) -m found
         http-request deny deny_status 404 unless is_service or {{ path /m1 /up }}
         http-request track-sc0 req.hdr(x-api-key) table keys
         http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 1000000 }}
         http-request deny deny_status 429 if {{ var(txn.plan) -m str small }} {{ sc_http_req_rate(0) gt 1 }}"
    );
    let table =
        "backend keys\n stick-table type string len 64 size 100k expire 1m store http_req_rate(1s)";
    start(peer, backend, &rules, table)
}

fn start(peer: Peer, backend: &Peer, rules: &str, more: &str) -> Result<Peer> {
    let (here, port, tls_port) = (peer.directory.display(), peer.port, peer.tls_port);
    let configuration = format!(
        "global
         nbthread 1
         maxconn 4096
defaults
         mode http
         timeout connect 5s
         timeout client 60s
         timeout server 60s
         timeout http-keep-alive 60s
         option http-keep-alive
         option splice-response
         http-reuse always
frontend callers
         bind 127.0.0.1:{port}
         bind 127.0.0.1:{tls_port} ssl crt {here}/both.pem alpn h2,http/1.1
         unique-id-format %[uuid()]
         unique-id-header x-request-id
         {rules}
         default_backend upstream
backend upstream
         server one 127.0.0.1:{backend_port} pool-max-conn 256
{more}\n",
        backend_port = backend.port
    );
    let file = peer.directory.join("haproxy.cfg");
    fs::write(&file, configuration)?;
    peer.start("haproxy", &["-db", "-f"], &file, 0)
}
