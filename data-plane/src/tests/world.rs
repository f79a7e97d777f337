//! What the tests of this plane say: a node, a backend, a caller.

use std::{
    fmt::Write,
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Collected, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use proto::{
    config::v1::{
        Api, ApiKey, ApiStage, Deployment, Dialect, HttpProxy, Integration, Mock, Protocol,
        Resource, Route, Stage, Tenant, UsagePlan, integration, resource::Kind,
    },
    segment::{self, Names, Record},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    Config,
    config::{Http1Server, Limits},
    counter::{Journal, Settings},
    listener::sockets::{Given, Sockets},
    node::{Shared, now_ms},
    snapshot::{
        compile,
        resources::{Applied, Resources},
    },
    threads::Threads,
};

pub(super) const API: &str = "abcdefghi1";
pub(super) const TENANT: &str = "018f0000-0000-7000-8000-000000000001";
pub(super) const PEPPER: [u8; 32] = [7; 32];
/// Whatever a test waits for comes within this, or it fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A node without a control plane: what it serves is given.
pub(super) struct TestNode {
    pub(super) address: SocketAddr,
    pub(super) tls_address: Option<SocketAddr>,
    pub(super) shared: Arc<Shared>,
    resources: Resources,
    version: u64,
    pub(super) threads: Option<Threads>,
    _journal: Journal,
    pub(super) dir: PathBuf,
}

impl TestNode {
    pub(super) fn start(resources: Vec<Resource>) -> Self {
        Self::start_with(resources, |_| {})
    }

    pub(super) fn start_with(resources: Vec<Resource>, change: impl FnOnce(&mut Config)) -> Self {
        let dir = std::env::temp_dir().join(format!("tollgate-node-{}", uuid::Uuid::now_v7()));
        let mut config = Config::new(dir.clone());
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.admin_listen = config.listen;
        config.threads = 1;
        config.path_addressing = true;
        config.egress_allow = vec!["127.0.0.0/8".parse().expect("a range")];
        config.limits = Limits { drain_timeout: Duration::from_secs(5), ..Limits::default() };
        // Every test can be run on either server: `TOLLGATE_NODE_HTTP1_SERVER=hyper cargo nextest run -p data-plane`.
        if std::env::var("TOLLGATE_NODE_HTTP1_SERVER").is_ok_and(|server| server == "hyper") {
            config.http1_server = Http1Server::Hyper;
        }
        change(&mut config);
        let shared = Shared::new(config).expect("metrics");
        let threads = u32::try_from(shared.config.threads).expect("few threads");
        let settings = Settings::new(dir.join("usage"), threads);
        let (journal, counters) = Journal::open(settings, now_ms()).expect("a journal");
        let sockets = Sockets::open(&shared.config, Given::default()).expect("ports");
        let own = &shared.config.own;
        let threads = Threads::start(&shared, counters, own, &sockets).expect("threads");
        let (address, tls_address) =
            (sockets.http.address, sockets.https.as_ref().map(|port| port.address));
        let mut node = Self {
            address,
            tls_address,
            shared,
            resources: Resources::default(),
            version: 0,
            threads: Some(threads),
            _journal: journal,
            dir,
        };
        node.publish(resources);
        node
    }

    /// Puts these in the place of all that was served.
    pub(super) fn publish(&mut self, resources: Vec<Resource>) {
        self.version += 1;
        let applied = self.resources.replace("default", self.version, resources);
        let Ok(Applied::Changed(changed)) = applied else { panic!("not applied: {applied:?}") };
        let (next, refusals) = compile(&self.resources, &changed, &self.shared.snapshot.load());
        assert!(refusals.is_empty(), "{refusals:?}");
        self.shared.snapshot.store(Arc::new(next));
    }

    pub(super) async fn drain(&mut self) {
        self.threads.take().expect("drained once").drain().await;
    }

    /// The status and the code of what speaks another version than HTTP/1.1 and HTTP/1.0.
    pub(super) fn version_refused(&self) -> (u64, &'static str) {
        match self.shared.config.http1_server {
            Http1Server::Tollgate => (505, "HTTP_VERSION_NOT_SUPPORTED"),
            Http1Server::Hyper => (400, "MALFORMED_REQUEST"),
        }
    }

    /// One request by raw text, with `Connection: close` and the Api's host added; the whole answer.
    pub(super) async fn call(&self, request_line: &str, fields: &[&str]) -> Answer {
        let mut text = format!("{request_line} HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n");
        for field in fields {
            text.push_str(field);
            text.push_str("\r\n");
        }
        text.push_str("connection: close\r\n\r\n");
        self.raw(text.as_bytes()).await
    }

    /// The same with a body.
    pub(super) async fn send(
        &self,
        request_line: &str,
        fields: &[&str],
        body: impl AsRef<[u8]>,
    ) -> Answer {
        let body = body.as_ref();
        let mut text = format!("{request_line} HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n");
        for field in fields {
            text.push_str(field);
            text.push_str("\r\n");
        }
        let _ = write!(text, "connection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        self.raw(&[text.as_bytes(), body].concat()).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call(&format!("GET {path}"), &[]).await
    }

    /// Writes bytes and reads until the node closes.
    pub(super) async fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        stream.write_all(bytes).await.expect("written");
        let mut answer = Vec::new();
        let in_time = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(in_time.is_ok(), "not closed after {:?}", String::from_utf8_lossy(&answer));
        Answer { text: String::from_utf8_lossy(&answer).into_owned() }
    }

    /// Waits until so many requests are in progress.
    pub(super) async fn until_in_flight(&self, requests: i64) {
        until(|| self.shared.metrics.in_flight.get() == requests).await;
    }

    /// Stops the node and gives the records of its journal, of which there must be `count`.
    pub(super) async fn counted(mut self, count: usize) -> Vec<(Names<String>, Record)> {
        self.drain().await;
        let mut records = Vec::new();
        until(|| {
            records.clear();
            for file in
                std::fs::read_dir(self.dir.join("usage/sealed")).into_iter().flatten().flatten()
            {
                let bytes = std::fs::read(file.path()).unwrap_or_default();
                let Ok(segment) = segment::decode(&bytes) else { continue };
                let named = |record: &Record| (segment.names[&record.names].clone(), *record);
                records.extend(segment.records.iter().map(named));
            }
            records.len() >= count
        })
        .await;
        assert_eq!(records.len(), count, "{records:?}");
        records
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Yields until something holds.
pub(super) async fn until(mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "it did not come to hold");
        // Those who are to bring it about need the core.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// An HTTP/1.1 answer as text.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) text: String,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        let status = self.text.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("no status in {:?}", self.text))
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let head = self.text.split("\r\n\r\n").next()?;
        head.lines().skip(1).find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// As sent; chunked bodies keep their framing.
    pub(super) fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.body()).unwrap_or_else(|_| panic!("no JSON in {:?}", self.text))
    }
}

type Body = BoxBody<Bytes, std::convert::Infallible>;

/// A backend that answers by `handler`, for as long as the test's runtime lives.
pub(super) async fn origin<H, F>(handler: H) -> SocketAddr
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handler = handler.clone();
            let service = service_fn(move |request| {
                let answer = handler(request);
                async { Ok::<_, std::convert::Infallible>(answer.await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// A backend that says what it was asked, as text: request line, fields, empty line, body.
pub(super) async fn echo() -> SocketAddr {
    origin(|request| async {
        let (head, body) = request.into_parts();
        let mut text = format!("{} {}\n", head.method, head.uri);
        for (name, value) in &head.headers {
            let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
        let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
        text.push('\n');
        text.push_str(&String::from_utf8_lossy(&body));
        Response::new(full(text))
    })
    .await
}

pub(super) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

/// A backend that accepts one connection and hands it to the test.
pub(super) async fn raw_origin() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    (listener.local_addr().expect("bound"), listener)
}

/// Reads until `end` has come.
pub(super) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&read).contains(end) {
            let bytes = stream.read(&mut buffer).await.expect("bytes");
            assert!(bytes > 0, "closed after {:?}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&buffer[..bytes]);
        }
    };
    timeout(PATIENCE, reading).await.expect("bytes in time");
    String::from_utf8_lossy(&read).into_owned()
}

/// The tenant, a deployment of these routes and a stage `prod`.
pub(super) fn api(dialect: Dialect, routes: &[(&str, integration::Kind)]) -> Vec<Resource> {
    let routes = routes.iter().map(|(key, kind)| (*key, kind.clone(), false)).collect();
    api_with(dialect, routes, |_| {})
}

/// As `api`; the third of each route says whether it needs a key.
pub(super) fn api_with(
    dialect: Dialect,
    routes: Vec<(&str, integration::Kind, bool)>,
    change: impl FnOnce(&mut (Tenant, Deployment, Stage)),
) -> Vec<Resource> {
    let mut deployment = Deployment {
        id: "deploy0001".into(),
        api: Some(Api {
            id: API.into(),
            tenant_id: TENANT.into(),
            name: "pets".into(),
            protocol: Protocol::Http.into(),
            dialect: dialect.into(),
            ..Api::default()
        }),
        ..Deployment::default()
    };
    for (index, (key, kind, api_key_required)) in routes.into_iter().enumerate() {
        let (method, path) = key.split_once(' ').unwrap_or(("", key));
        deployment.routes.push(Route {
            id: format!("route{index:05}"),
            method: method.into(),
            path: path.into(),
            integration_id: format!("integ{index:05}"),
            api_key_required,
            authorization_type: "NONE".into(),
            ..Route::default()
        });
        let integration = Integration { id: format!("integ{index:05}"), kind: Some(kind) };
        deployment.integrations.push(integration);
    }
    let tenant = Tenant { id: TENANT.into(), key_pepper: PEPPER.to_vec(), ..Tenant::default() };
    let stage = Stage {
        api_id: API.into(),
        tenant_id: TENANT.into(),
        name: "prod".into(),
        deployment_id: deployment.id.clone(),
        ..Stage::default()
    };
    let mut all = (tenant, deployment, stage);
    change(&mut all);
    let (tenant, deployment, stage) = all;
    [Kind::Tenant(tenant), Kind::Deployment(deployment), Kind::Stage(stage)]
        .map(|kind| Resource { kind: Some(kind) })
        .into()
}

pub(super) fn proxy(uri: impl Into<String>) -> integration::Kind {
    proxy_with(uri, |_| {})
}

pub(super) fn proxy_with(
    uri: impl Into<String>,
    change: impl FnOnce(&mut HttpProxy),
) -> integration::Kind {
    let mut proxy = HttpProxy { uri: uri.into(), ..HttpProxy::default() };
    change(&mut proxy);
    integration::Kind::HttpProxy(proxy)
}

pub(super) fn mock(status: u32, body: &str) -> integration::Kind {
    integration::Kind::Mock(Mock { status, body: body.as_bytes().to_vec(), ..Mock::default() })
}

/// A key with this value on this plan, which gives access to the stage `prod`.
pub(super) fn key(value: &str, plan: UsagePlan, change: impl FnOnce(&mut ApiKey)) -> Vec<Resource> {
    let plan = UsagePlan {
        tenant_id: TENANT.into(),
        api_stages: plan.api_stages.into_iter().chain([prod()]).collect(),
        ..plan
    };
    let mut key = ApiKey {
        id: "keyaaaaaa1".into(),
        tenant_id: TENANT.into(),
        digest: proto::digest::api_key(&PEPPER, value.as_bytes()).to_vec(),
        enabled: true,
        usage_plan_ids: vec![plan.id.clone()],
        ..ApiKey::default()
    };
    change(&mut key);
    [Kind::UsagePlan(plan), Kind::ApiKey(key)].map(|kind| Resource { kind: Some(kind) }).into()
}

fn prod() -> ApiStage {
    ApiStage { api_id: API.into(), stage: "prod".into(), ..ApiStage::default() }
}
