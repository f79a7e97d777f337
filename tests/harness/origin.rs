//! A tenant's backend: answers what it is told to, and remembers what it was asked.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Listens on a port of its own until it is dropped.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// One request as the backend saw it.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

struct Shared {
    reply: Mutex<(u16, Bytes)>,
    received: Mutex<Vec<Received>>,
    arrived: Notify,
    /// While set, answers wait for [`Origin::release`].
    held: Mutex<Option<Arc<Notify>>>,
    /// What each answer takes.
    takes: Mutex<Duration>,
    in_progress: AtomicUsize,
    most_in_progress: AtomicUsize,
}

/// A request in progress, until this is dropped.
struct InProgress(Arc<Shared>);

impl InProgress {
    fn begin(shared: Arc<Shared>) -> Self {
        let now = shared.in_progress.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_in_progress.fetch_max(now, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.in_progress.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Origin {
    /// # Panics
    /// Where no port can be had.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            reply: Mutex::new((200, Bytes::new())),
            received: Mutex::default(),
            arrived: Notify::new(),
            held: Mutex::default(),
            takes: Mutex::default(),
            in_progress: AtomicUsize::default(),
            most_in_progress: AtomicUsize::default(),
        });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Self { address, shared, task }
    }

    /// What it answers from now on.
    #[must_use]
    pub fn replies(self, status: u16, body: &str) -> Self {
        *lock(&self.shared.reply) = (status, Bytes::copy_from_slice(body.as_bytes()));
        self
    }

    /// Each answer takes so long.
    #[must_use]
    pub fn takes(self, time: Duration) -> Self {
        *lock(&self.shared.takes) = time;
        self
    }

    /// Requests that it has and has not answered.
    pub fn in_progress(&self) -> usize {
        self.shared.in_progress.load(Ordering::SeqCst)
    }

    /// The most that it had at once since this was last asked.
    pub fn most_in_progress(&self) -> usize {
        self.shared.most_in_progress.swap(self.in_progress(), Ordering::SeqCst)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything it was asked so far, in the order of arrival.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// From now on it takes requests and leaves them unanswered, until [`Origin::release`].
    pub fn hold(&self) {
        *lock(&self.shared.held) = Some(Arc::new(Notify::new()));
    }

    /// Answers what was held.
    pub fn release(&self) {
        if let Some(held) = lock(&self.shared.held).take() {
            held.notify_waiters();
        }
    }

    /// Until it has been asked so many times.
    pub async fn asked(&self, times: usize) {
        loop {
            let arrived = self.shared.arrived.notified();
            if lock(&self.shared.received).len() >= times {
                return;
            }
            arrived.await;
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        let service = service_fn(move |request| answer(shared.clone(), request));
        tokio::spawn(async move {
            auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await
                .ok();
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let _in_progress = InProgress::begin(shared.clone());
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let held = lock(&shared.held).clone();
    // Listening begins before the arrival is told, so that a release right after it is not missed.
    let released = held.as_ref().map(|held| held.notified());
    lock(&shared.received).push(Received {
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        headers: parts.headers,
        body,
    });
    shared.arrived.notify_waiters();
    if let Some(released) = released {
        released.await;
    }
    let takes = *lock(&shared.takes);
    tokio::time::sleep(takes).await;
    let (status, body) = lock(&shared.reply).clone();
    let mut response = http::Response::new(Full::new(body));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    Ok(response)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
