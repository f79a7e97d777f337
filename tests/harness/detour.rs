//! A way to a world's Redis that can be slow, and on which connections can break.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rand::RngExt;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream, tcp, unix};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

/// Leads from an address of its own to a Redis until it is dropped.
pub struct Detour {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

#[derive(Default)]
struct Shared {
    /// The Redis' socket, once there is a world.
    target: OnceLock<PathBuf>,
    delay_ms: AtomicU64,
    /// One of so many messages breaks its connection; 0: none.
    breaks_at: AtomicU32,
    broken: AtomicU32,
}

impl Detour {
    /// # Panics
    /// Where no port can be had.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::<Shared>::default();
        let accepting = tokio::spawn(accept(listener, shared.clone())).abort_handle();
        Self { address, shared, accepting }
    }

    /// As `REDIS_URL` has it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Callers before are turned away.
    pub(crate) fn leads_to(&self, socket: &Path) {
        let _ = self.shared.target.set(socket.to_owned());
    }

    /// Each answer takes so long.
    pub fn delay(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_ms.store(ms, Relaxed);
    }

    /// One of so many messages, either way, never arrives, and its connection is reset; 0: none.
    pub fn break_one_of(&self, messages: u32) {
        self.shared.breaks_at.store(messages, Relaxed);
    }

    /// How many connections were reset.
    pub fn broken(&self) -> u32 {
        self.shared.broken.load(Relaxed)
    }
}

impl Drop for Detour {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn breaks(&self) -> bool {
        let at = self.breaks_at.load(Relaxed);
        let breaks = at > 0 && rand::rng().random_range(0..at) == 0;
        self.broken.fetch_add(breaks.into(), Relaxed);
        breaks
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((caller, _)) = listener.accept().await {
        tokio::spawn(pass(caller, shared.clone()));
    }
}

async fn pass(caller: TcpStream, shared: Arc<Shared>) {
    // What ends early is reset, not closed.
    let resets = SockRef::from(&caller).set_linger(Some(Duration::ZERO)).is_ok();
    let target = shared.target.get().filter(|_| resets && caller.set_nodelay(true).is_ok());
    let Some(target) = target else { return };
    let Ok(redis) = UnixStream::connect(target).await else { return };
    let ((from_caller, to_caller), (from_redis, to_redis)) =
        (caller.into_split(), redis.into_split());
    let (late, due) = mpsc::unbounded_channel();
    tokio::select! {
        () = ask(from_caller, to_redis, &shared) => {}
        () = hear(from_redis, late, &shared) => {}
        () = answer(due, to_caller) => {}
    }
}

async fn ask(mut caller: tcp::OwnedReadHalf, mut redis: unix::OwnedWriteHalf, shared: &Shared) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(bytes @ 1..) = caller.read(&mut buffer).await {
        if shared.breaks() || redis.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}

async fn hear(
    mut redis: unix::OwnedReadHalf,
    late: mpsc::UnboundedSender<(Instant, Vec<u8>)>,
    shared: &Shared,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(bytes @ 1..) = redis.read(&mut buffer).await {
        let due = Instant::now() + Duration::from_millis(shared.delay_ms.load(Relaxed));
        if shared.breaks() || late.send((due, buffer[..bytes].to_vec())).is_err() {
            return;
        }
    }
}

async fn answer(
    mut due: mpsc::UnboundedReceiver<(Instant, Vec<u8>)>,
    mut caller: tcp::OwnedWriteHalf,
) {
    while let Some((at, bytes)) = due.recv().await {
        sleep_until(at).await; // this is the fault
        if caller.write_all(&bytes).await.is_err() {
            return;
        }
    }
}
