//! The settings of one node.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use opentelemetry_sdk::trace::SdkTracer;
use prometheus::Registry;
use rustls_pki_types::CertificateDer;

use crate::{access_log::AccessLog, tls, trace::Propagator};

/// Everything that `run` needs to know. Build it from [`Config::new`] and change what differs.
#[derive(Clone)]
pub struct Config {
    /// Where tenants' callers connect. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The same over TLS; none where it is off.
    pub tls: Option<tls::Settings>,
    /// `/livez`, `/readyz`, `/metrics`. Never reachable through `listen`.
    pub admin_listen: SocketAddr,
    /// The node's own directory: identity, last good config, journal. Made 0700 when missing.
    pub dir: PathBuf,
    pub start: Start,
    /// gRPC addresses of every control-plane replica, such as `https://127.0.0.1:8081`.
    pub control_planes: Vec<String>,
    /// `{secret}.{SHA-256 of the CA certificate}`; needed only until the node has a certificate.
    pub join_token: Option<String>,
    /// The cells that this node serves; at least one.
    pub cells: Vec<String>,
    /// The domain under which each Api has the host `{apiId}.{zone}`, without port.
    pub zone: String,
    /// Whether `/_api/{apiId}/…` on any other host reaches an Api too.
    pub path_addressing: bool,
    /// Ranges beside public addresses that every tenant may reach.
    pub egress_allow: Vec<IpNet>,
    /// Who may prove who a backend over TLS is, beside the public authorities.
    pub backend_roots: Vec<CertificateDer<'static>>,
    /// Tollgate's other listeners and its stores (control plane, PostgreSQL, Redis): never reached on a
    /// tenant's behalf. The node adds its own listeners, its control planes and its Redis by itself.
    pub own: Vec<SocketAddr>,
    /// Peers whose `X-Forwarded-For` is kept and added to; everyone else's is replaced.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections of trusted proxies begin with a PROXY header, version 1 or 2.
    pub proxy_protocol: bool,
    /// Data threads, each with a runtime of its own.
    pub threads: usize,
    /// `redis://…`, `unix://…`, or `redis-cluster://` and some nodes of a cluster. Without it, `limiter_outage` says what
    /// becomes of throttles and quotas.
    pub redis_url: Option<String>,
    /// Whom to trust for a Redis over TLS, in PEM, instead of the public authorities.
    pub redis_authority: Option<Vec<u8>>,
    pub limiter_mode: LimiterMode,
    pub limiter_outage: LimiterOutage,
    pub limits: Limits,
    pub http1_server: Http1Server,
    /// How callers' traces go on through the node; the fields of other ways pass as any field does.
    pub propagators: Vec<Propagator>,
    /// Makes the node's spans; without it there are none.
    pub tracer: Option<SdkTracer>,
    /// Whether a caller's decision that its trace is kept, or is not, goes before the rules of a stage.
    pub callers_decide: bool,
    /// Holds what this node counts; each node has its own.
    pub registry: Registry,
    /// Where a record of each request goes.
    pub access_log: AccessLog,
}

/// What a new process does about one that runs in the same directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// It is an error.
    #[default]
    Alone,
    /// It takes that one's place: its sockets, then its callers. Where none runs, it starts alone.
    TakeOver,
}

/// How throttles are counted. Quotas are asked for each call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimiterMode {
    /// Redis is asked for each call.
    Exact,
    /// The node takes tokens in advance. All nodes together keep the limit as strictly.
    #[default]
    Leased,
    /// Each node allows its share, the limit ÷ live nodes, and asks nobody.
    Local,
}

/// What becomes of throttles and quotas while Redis is away or slow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimiterOutage {
    /// Each node allows its share: the limit ÷ live nodes.
    #[default]
    LocalFallback,
    /// Every call passes; quotas are told of them afterwards.
    FailOpen,
    /// Calls with a limit are answered 503.
    FailClosed,
}

/// What reads callers' HTTP/1.1. Behind either a request goes the same way; HTTP/2 is always hyper's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http1Server {
    /// `data-plane/downstream`: strict, and each refusal names its cause.
    #[default]
    Tollgate,
    /// The way back, and what the tests compare with.
    Hyper,
}

/// Bounds on what a stranger can push at a node.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests in progress on one data thread; beyond it 503.
    pub in_flight_max: usize,
    /// Of those, one tenant's; beyond it 503 for that tenant alone.
    pub tenant_in_flight_max: usize,
    /// Requests that one data thread has with one backend, each on a connection of its own; further ones wait.
    pub backend_in_flight_max: usize,
    /// How many wait for that, within the connect timeout; beyond it 503.
    pub backend_waiting_max: usize,
    /// Open client connections on one data thread; beyond it new ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Pipes of one data thread, by which large answers go from socket to socket; beyond it they are copied. Each is
    /// two descriptors and, of what the kernel lets a user have (`pipe-user-pages-soft`, 16,384), 32 pages.
    pub pipes_max: usize,
    /// Path and query; beyond it 414.
    pub uri_bytes_max: usize,
    /// Names and values of all request headers together; beyond it 431.
    pub header_bytes_max: usize,
    /// A request body that is streamed through; beyond it 413. A dialect may set less.
    pub body_bytes_max: u64,
    /// From a request head's first byte to its last.
    pub header_timeout: Duration,
    /// How long a client connection may wait between two requests.
    pub keep_alive_timeout: Duration,
    /// How long a caller may take nothing of its answer.
    pub write_timeout: Duration,
    /// How long a call waits for Redis to answer about one of its limits; then it counts as away.
    pub redis_timeout: Duration,
    /// How long a drain waits for requests in progress.
    pub drain_timeout: Duration,
}

impl Config {
    /// The defaults of one machine, with state in `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9080)),
            tls: None,
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 9901)),
            dir,
            start: Start::default(),
            control_planes: vec!["https://127.0.0.1:8081".to_owned()],
            join_token: None,
            cells: vec!["default".to_owned()],
            zone: "execute-api.localhost".to_owned(),
            path_addressing: false,
            egress_allow: Vec::new(),
            backend_roots: Vec::new(),
            own: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            redis_url: None,
            redis_authority: None,
            limiter_mode: LimiterMode::default(),
            limiter_outage: LimiterOutage::default(),
            limits: Limits::default(),
            http1_server: Http1Server::default(),
            propagators: vec![Propagator::TraceContext],
            tracer: None,
            callers_decide: true,
            registry: Registry::new(),
            access_log: AccessLog::default(),
        }
    }
}

impl Limits {
    /// What is read of a request's head at all. What fits into it and not into the other bounds is refused with its
    /// Api's looks, and its connection serves on.
    pub(crate) fn head_bytes_max(&self) -> usize {
        (self.uri_bytes_max + self.header_bytes_max + 16 * 1024).max(64 * 1024)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight_max: 10_000,
            tenant_in_flight_max: 2500,
            backend_in_flight_max: 2500,
            backend_waiting_max: 1024,
            connections_max: 20_000,
            pipes_max: 64,
            uri_bytes_max: 16 * 1024,
            header_bytes_max: 32 * 1024,
            body_bytes_max: 1024 * 1024 * 1024,
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(350),
            write_timeout: Duration::from_mins(1),
            redis_timeout: Duration::from_millis(5),
            drain_timeout: Duration::from_secs(30),
        }
    }
}
