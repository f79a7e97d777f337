//! A connection to a backend that many calls share (RFC 9113), and what drives it.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use egress::{Checked, Stream};
use h2::{
    Ping, SendStream,
    client::{Builder, Connection, ResponseFuture, SendRequest},
};
use http::Request;
use tokio::sync::Notify;
use upstream::{Alarm, answer::HEAD_BYTES_MAX};

/// Calls at once on one connection, where its backend allows as many.
const STREAMS_MAX: usize = 100;
/// Bytes of one answer that nobody took yet.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// As much for all of them, so that a caller who takes nothing keeps none waiting beside it.
const CONNECTION_WINDOW_BYTES: u32 = 100 * STREAM_WINDOW_BYTES;
/// Bytes of one request that wait for the connection.
const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Streams that the backend makes us reset by what it sends; beyond it the connection ends.
const RESETS_FORCED_MAX: usize = 128;
/// A backend that does not answer a ping is gone.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Dropped, it takes no more calls, and ends with the last that it has.
pub(super) struct Session {
    send: SendRequest<Bytes>,
    pub(super) address: Checked,
    state: Rc<State>,
}

struct State {
    /// Calls that have a place here.
    calls: Cell<usize>,
    idle_since: Cell<Instant>,
    /// An answer did not come in time: until a ping is answered nobody knows whether anyone is there.
    doubted: Cell<bool>,
    driver: RefCell<Option<Waker>>,
    /// Told when a call leaves.
    changed: Rc<Notify>,
}

/// A call's place on a connection.
pub(in crate::integration) struct Slot {
    send: SendRequest<Bytes>,
    state: Rc<State>,
    /// Whether others were there before: its backend may have gone unseen.
    pub(super) reused: bool,
}

impl Session {
    /// Opens HTTP/2 on a connection. The backend's SETTINGS come first: so it is known to speak HTTP/2, and how many
    /// calls it takes at once, before it gets any. Who breaks off cleanly leaves no error.
    pub(super) async fn open(
        io: Stream,
        address: Checked,
        changed: Rc<Notify>,
    ) -> Result<Self, Option<h2::Error>> {
        let mut builder = Builder::new();
        builder
            .initial_max_send_streams(0) // until the SETTINGS came
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
            .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
            .max_local_error_reset_streams(Some(RESETS_FORCED_MAX))
            .enable_push(false);
        let (send, mut connection) = builder.handshake::<_, Bytes>(io).await?;
        poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Err(ended.err())),
            Poll::Pending if send.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await?;
        let state = Rc::new(State {
            calls: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            doubted: Cell::new(false),
            driver: RefCell::default(),
            changed,
        });
        tokio::task::spawn_local(drive(connection, state.clone()));
        Ok(Self { send, address, state })
    }

    /// Whether it can take calls: it did not break, and its backend did not say GOAWAY.
    pub(super) fn is_open(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        !matches!(self.send.poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    /// A place for a call, where one is free.
    pub(super) fn enter(&self, reused: bool) -> Option<Slot> {
        let max = self.send.current_max_send_streams().min(STREAMS_MAX);
        let calls = self.state.calls.get();
        (calls < max && !self.state.doubted.get()).then(|| {
            self.state.calls.set(calls + 1);
            Slot { send: self.send.clone(), state: self.state.clone(), reused }
        })
    }

    /// How long it has had no call.
    pub(super) fn idle(&self) -> Duration {
        let idle = self.state.calls.get() == 0;
        if idle { self.state.idle_since.get().elapsed() } else { Duration::ZERO }
    }
}

impl Slot {
    /// Opens a stream. Where that fails nothing of the request was sent.
    pub(super) fn begin(
        &self,
        request: Request<()>,
        is_whole: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.send.clone().send_request(request, is_whole)
    }

    /// The backend did not answer in time: unless it answers a ping, its connection ends. Pings are for this alone, since
    /// many a gRPC server takes those that come by the clock for an attack.
    pub(in crate::integration) fn doubt(&self) {
        self.state.doubted.set(true);
        self.state.wake_driver();
    }
}

impl State {
    fn wake_driver(&self) {
        if let Some(driver) = self.driver.borrow().as_ref() {
            driver.wake_by_ref();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.state.calls.set(self.state.calls.get() - 1);
        self.state.idle_since.set(Instant::now());
        self.state.changed.notify_waiters();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.state.wake_driver(); // it ends where nobody holds it; nothing else tells it so
    }
}

/// Reads and writes until the connection's end.
async fn drive(mut connection: Connection<Stream, Bytes>, state: Rc<State>) {
    let mut pings = connection.ping_pong();
    let (mut pinged, mut alarm) = (None, Alarm::default());
    let ended = poll_fn(|cx| {
        state.driver.borrow_mut().get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
        if let Some(pings) = &mut pings
            && state.doubted.get()
            && pinged.is_none()
            && pings.send_ping(Ping::opaque()).is_ok()
        {
            pinged = Some(Instant::now());
        }
        if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
            return Poll::Ready(ended);
        }
        if let (Some(since), Some(pings)) = (pinged, &mut pings) {
            if pings.poll_pong(cx).is_ready() {
                pinged = None;
                state.doubted.set(false);
                state.changed.notify_waiters();
            } else if alarm.poll_due(cx, since + PING_TIMEOUT).is_ready() {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "a backend's HTTP/2 connection ended badly");
    }
    drop(connection); // whoever still has a stream learns that it broke
    state.changed.notify_waiters();
}
