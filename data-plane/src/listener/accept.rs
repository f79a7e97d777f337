//! One data thread: its share of the port, until it is drained.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use futures_util::future::try_join_all;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::connection;
use crate::{inquiry, node::Node, policies::leased::SWEEP_EVERY};

/// Connections that the kernel holds ready for each thread.
const BACKLOG: i32 = 4096;
/// A packet filter that keeps all but a connection's first packet: `flags & (SYN | ACK) == SYN` gives 0 bytes.
const NO_SYN: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13), // BPF_LD BPF_B BPF_ABS: the byte of TCP's flags
    SockFilter::new(0x54, 0, 0, 0x12), // BPF_ALU BPF_AND
    SockFilter::new(0x15, 0, 1, 0x02), // BPF_JMP BPF_JEQ: else the next but one
    SockFilter::new(0x06, 0, 0, 0),  // BPF_RET: nothing
    SockFilter::new(0x06, 0, 0, u32::MAX), // BPF_RET: all of it
];
/// In a drain, how long connections whose first packet was answered have to be complete.
const HANDSHAKE_GRACE: Duration = Duration::from_millis(10);

/// Opens one listening socket for each thread on the same port; the kernel spreads callers over them.
pub(super) fn bind(address: SocketAddr, threads: usize) -> io::Result<Vec<StdListener>> {
    let mut address = address;
    let mut listeners = Vec::with_capacity(threads);
    for _ in 0..threads.max(1) {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        // With one process per port otherwise: an older node that still listens must be an error.
        if listeners.is_empty() && address.port() != 0 {
            refuse_if_taken(address)?;
        }
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = StdListener::from(socket);
        address = listener.local_addr()?; // port 0 is known now
        listeners.push(listener);
    }
    Ok(listeners)
}

/// `SO_REUSEPORT` would let two nodes of one user share a port silently.
fn refuse_if_taken(address: SocketAddr) -> io::Result<()> {
    let probe = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    probe.set_reuse_address(true)?;
    probe.bind(&address.into())
}

/// One of a thread's listening sockets.
pub(crate) struct Door {
    pub(crate) listener: StdListener,
    /// Whether what comes in is TLS.
    pub(crate) tls: Option<TlsAcceptor>,
    /// Whether it is open for others when this process has ended.
    pub(crate) stays: bool,
}

/// Accepts and serves until `drain` is true; then finishes what is in progress, for at most the drain timeout.
pub(crate) async fn run(
    node: Rc<Node>,
    doors: Vec<Door>,
    drain: watch::Receiver<bool>,
) -> io::Result<()> {
    let limits = node.shared.config.limits.clone();
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let ticking = tokio::task::spawn_local(tick(node.clone()));
    let sweeping = tokio::task::spawn_local(sweep(node.clone()));
    let tended = node.clone();
    let tending = tokio::task::spawn_local(async move { tended.limiter.tend().await });
    let giver = node.clone();
    let giving = tokio::task::spawn_local(async move { giver.turns.give_out().await });
    let questions = node.shared.inquiries.listen();
    let answering = tokio::task::spawn_local(inquiry::answer(node.clone(), questions));
    try_join_all(doors.into_iter().map(|door| keep_open(&node, door, &room, drain.clone())))
        .await?;

    let all = u32::try_from(limits.connections_max).unwrap_or(u32::MAX);
    if timeout(limits.drain_timeout, room.acquire_many(all)).await.is_err() {
        tracing::warn!(
            requests = node.in_flight.get(),
            "the drain's time is over; the rest is cut off"
        );
    }
    ticking.abort();
    sweeping.abort();
    tending.abort();
    giving.abort();
    answering.abort();
    tokio::join!(node.limiter.return_all(), node.limiter.return_permits());
    node.tick();
    Ok(())
}

/// Lets callers in until the drain begins.
async fn keep_open(
    node: &Rc<Node>,
    Door { listener, tls, stays }: Door,
    room: &Arc<Semaphore>,
    mut drain: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let draining = drain.clone();
        tokio::select! {
            _ = drain.wait_for(|draining| *draining) => break,
            (accepted, permit) = accept(&listener, room) => match accepted {
                Ok((stream, peer)) => start(node, stream, peer, tls.clone(), draining, permit),
                Err(error) => {
                    // Out of file descriptors, mostly: those in use must end first.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    if stays || node.shared.is_handed_over() {
        return Ok(()); // who still knocks is let in by another process
    }
    // From here on the kernel ignores whoever still knocks: they knock again a second later, and are refused once
    // the port is closed. Without it, who is let in between the last look and the close is reset.
    if let Err(error) = SockRef::from(&listener).attach_filter(&NO_SYN) {
        tracing::debug!(%error, "the kernel takes no filter");
    }
    let begun = async {
        while let (Ok((stream, peer)), permit) = accept(&listener, room).await {
            start(node, stream, peer, tls.clone(), drain.clone(), permit);
        }
    };
    let _ = timeout(HANDSHAKE_GRACE, begun).await;
    // Whoever the kernel has let in already is served, not reset. It is asked itself: what tokio knows is older.
    let listener = listener.into_std()?;
    while let Ok(permit) = room.clone().try_acquire_owned()
        && let Ok((stream, peer)) = listener.accept()
        && stream.set_nonblocking(true).is_ok()
        && let Ok(stream) = TcpStream::from_std(stream)
    {
        start(node, stream, peer, tls.clone(), drain.clone(), Some(permit));
    }
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (io::Result<(TcpStream, SocketAddr)>, Option<OwnedSemaphorePermit>) {
    let permit = room.clone().acquire_owned().await.ok();
    (listener.accept().await, permit)
}

fn start(
    node: &Rc<Node>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    drain: watch::Receiver<bool>,
    permit: Option<OwnedSemaphorePermit>,
) {
    let _ = stream.set_nodelay(true);
    let write_timeout = node.shared.config.limits.write_timeout;
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(write_timeout));
    let node = node.clone();
    tokio::task::spawn_local(async move {
        node.shared.metrics.connections.inc();
        let gauge = node.shared.metrics.connections.clone();
        connection::serve(node, stream, peer, tls, drain).await;
        gauge.dec();
        drop(permit);
    });
}

async fn tick(node: Rc<Node>) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        node.tick();
    }
}

async fn sweep(node: Rc<Node>) {
    let mut rounds = interval(SWEEP_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        node.limiter.sweep();
    }
}
