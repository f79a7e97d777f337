//! One caller's connection: which protocol it speaks, and each request on it.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use downstream::request::FIELDS_MAX;
use http::{HeaderMap, HeaderValue, Request, Response, Version, header::CONNECTION};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use ipnet::IpNet;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::either::Either;
use uuid::Uuid;

use super::{
    body::RequestBody,
    client_io::{ClientIo, ClientStream, HeadClock, Serving},
    http1,
    pace::{Streamer, Watch},
    proxy_protocol,
    streams::Streams,
    unserved::Unserved,
};
use crate::{
    config::Http1Server,
    node::Node,
    response::{Followed, headers::FORWARDED_FOR},
    serve,
    telemetry::Phase,
    tls::ALPN_HTTP2,
};

/// What every HTTP/2 connection starts with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Streams at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// Streams that a caller opened and reset before they were taken up; beyond it the connection ends, as it does for
/// whoever goes on making us reset theirs (CVE-2023-44487 and what followed it).
const RESETS_PENDING_MAX: usize = 20;
const RESETS_FORCED_MAX: usize = 128;
/// Unread bytes of request bodies that one stream, and one connection, may send ahead.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// An HTTP/2 caller that does not answer a ping is gone.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that says nothing for so long while the node drains is closed.
const DRAIN_GRACE: Duration = Duration::from_millis(250);
/// One that has been served is closed after so long without a request.
const DRAIN_IDLE: Duration = Duration::from_secs(3);

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Of the connection, or what a trusted proxy's PROXY header says.
    pub(crate) address: IpAddr,
    /// Whether that is a trusted proxy, whose `X-Forwarded-…` fields are believed. Behind a PROXY header they are not
    /// the balancer's, but of whoever it let through.
    pub(crate) trusted: bool,
    pub(crate) tls: bool,
}

impl Peer {
    /// Who called through however many trusted proxies: of those that `X-Forwarded-For` lists, the last that is none of
    /// them. What stands before that is anyone's word.
    pub(crate) fn client(self, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
        if !self.trusted {
            return self.address;
        }
        let is_proxy = |address: IpAddr| proxies.iter().any(|range| range.contains(&address));
        let fields: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
        let mut client = self.address;
        let listed = fields.into_iter().rev().flat_map(|field| {
            field.to_str().unwrap_or_default().rsplit(',').map(|it| it.trim().parse::<IpAddr>())
        });
        for address in listed.map_while(Result::ok) {
            if !is_proxy(client) {
                break;
            }
            client = address.to_canonical();
        }
        client
    }

    pub(crate) fn scheme(self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// A connection that has said which protocol it speaks.
struct Opened {
    stream: ClientStream,
    /// Read already.
    prefix: Bytes,
    is_http2: bool,
    peer: Peer,
}

/// Serves until the caller leaves or the drain ends the connection between two requests.
pub(super) async fn serve(
    node: Rc<Node>,
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    drain: watch::Receiver<bool>,
) {
    let mut draining = drain.clone();
    let silent_at_drain = async {
        let _ = draining.wait_for(|draining| *draining).await;
        tokio::time::sleep(DRAIN_GRACE).await;
    };
    let opened = tokio::select! {
        opened = Box::pin(open(&node, stream, peer, tls)) => opened,
        () = silent_at_drain => return,
    };
    let Opened { stream, prefix, is_http2, peer } = match opened {
        Ok(Some(opened)) => opened,
        Ok(None) => return,
        Err(error) => return tracing::debug!(%error, "a caller's connection did not begin"),
    };
    if !is_http2 && node.shared.config.http1_server == Http1Server::Tollgate {
        return http1::serve(node, stream, &prefix, peer, drained(drain)).await;
    }
    let clock = Rc::new(HeadClock::default());
    let io = ClientIo::new(stream, prefix, clock.clone(), &node.shared.config.limits);
    // A connection is as large as the largest of these, so they lie elsewhere.
    let ended = if is_http2 {
        Box::pin(http2(node, io, peer, clock, drain)).await
    } else {
        Box::pin(hyper_http1(node, io, peer, clock, drain)).await
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a caller's connection ended badly");
    }
}

/// The PROXY header where one must come, the TLS handshake where there is one, and the first bytes. `None`: the caller
/// left.
async fn open(
    node: &Node,
    mut stream: TcpStream,
    from: SocketAddr,
    tls: Option<TlsAcceptor>,
) -> io::Result<Option<Opened>> {
    let config = &node.shared.config;
    let limits = &config.limits;
    let address = from.ip().to_canonical();
    let is_trusted =
        |address| config.trusted_proxies.iter().any(|proxies| proxies.contains(&address));
    let mut peer = Peer { address, trusted: is_trusted(address), tls: tls.is_some() };
    if peer.trusted && config.proxy_protocol {
        let header = timeout(limits.header_timeout, proxy_protocol::read(&mut stream, from)).await;
        peer.address = header.map_err(io::Error::from).flatten().inspect_err(|_| {
            Unserved::NoProxyHeader.record(node, peer, Version::HTTP_11);
        })?;
        peer.trusted = is_trusted(peer.address);
    }
    let Some(tls) = tls else {
        let greeting = greeting(&mut stream, limits.header_timeout);
        let greeting = timeout(limits.keep_alive_timeout, greeting).await??;
        return Ok(greeting.map(|(prefix, is_http2)| Opened {
            stream: Either::Left(stream),
            prefix,
            is_http2,
            peer,
        }));
    };
    let handshake = timeout(limits.header_timeout, handshake(node, peer, stream, tls)).await;
    let stream = match handshake.map_err(io::Error::from).flatten() {
        Ok(stream) => stream,
        Err(error) => {
            node.shared.metrics.tls_handshakes_failed.inc();
            return Err(error);
        }
    };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
    Ok(Some(Opened {
        stream: Either::Right(Box::new(stream)),
        prefix: Bytes::new(),
        is_http2,
        peer,
    }))
}

async fn handshake(
    node: &Node,
    peer: Peer,
    mut stream: TcpStream,
    tls: TlsAcceptor,
) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    if first[0].is_ascii_uppercase() {
        // A method's first letter; a TLS record begins with 22.
        let id = Uuid::now_v7();
        let answer = Unserved::HttpOnHttpsPort.answer(id);
        Unserved::HttpOnHttpsPort.record_as(id, node, peer, Version::HTTP_11);
        stream.write_all(answer.as_bytes()).await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "http on the port for https"));
    }
    let began = Instant::now();
    let stream = tls.accept(stream).await?;
    node.metrics.phase(Phase::Tls, began.elapsed());
    Ok(stream)
}

/// Reads until it is clear which protocol follows, or nothing does for too long; gives what was read. `None`: the
/// caller left.
async fn greeting(
    stream: &mut TcpStream,
    header_timeout: Duration,
) -> io::Result<Option<(Bytes, bool)>> {
    let mut read = BytesMut::with_capacity(PREFACE.len());
    loop {
        let first = read.is_empty();
        let more = stream.read_buf(&mut read);
        let bytes = if first {
            more.await?
        } else {
            let more = timeout(header_timeout, more).await;
            more.map_err(io::Error::from).flatten().unwrap_or(0) // HTTP/1.1 says what becomes of it
        };
        if bytes == 0 {
            return Ok((!first).then(|| (read.freeze(), false)));
        }
        let same = read.iter().zip(PREFACE).take_while(|(a, b)| a == b).count();
        if same == PREFACE.len() || same < read.len() {
            return Ok(Some((read.freeze(), same == PREFACE.len())));
        }
    }
}

async fn hyper_http1(
    node: Rc<Node>,
    io: ClientIo,
    peer: Peer,
    clock: Rc<HeadClock>,
    drain: watch::Receiver<bool>,
) -> hyper::Result<()> {
    let limits = &node.shared.config.limits;
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.keep_alive_timeout) // the head's own clock is `HeadClock`
        .max_headers(FIELDS_MAX)
        .max_buf_size(limits.head_bytes_max());
    let service = service_fn(|request| one(node.clone(), peer, clock.clone(), request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut watch = Watch::new(clock.clone());
    let mut late = poll_fn(|cx| watch.poll_late(cx));
    let too_slow = || {
        node.shared.metrics.callers_cut.inc();
        Ok(())
    };
    let ended = tokio::select! {
        // What was read of a request must be known to hyper before the drain: it closes a connection that said nothing.
        biased;
        ended = connection.as_mut() => ended,
        () = &mut late => too_slow(),
        () = drained(drain) => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = &mut late => too_slow(),
            }
        }
    };
    // Before the connection is dropped: whether a request was served then is still known.
    if let Err(error) = &ended
        && let Some(unserved) = Unserved::of(error, &clock)
    {
        unserved.record_as(clock.unserved_id(), &node, peer, Version::HTTP_11);
    }
    ended
}

/// Until a connection that has been served may be closed. Whoever asks once more before that learns from the answer
/// that the connection ends; a close might cross their request.
async fn drained(mut drain: watch::Receiver<bool>) {
    let _ = drain.wait_for(|draining| *draining).await;
    tokio::time::sleep(DRAIN_IDLE).await;
}

async fn http2(
    node: Rc<Node>,
    io: ClientIo,
    peer: Peer,
    clock: Rc<HeadClock>,
    mut drain: watch::Receiver<bool>,
) -> hyper::Result<()> {
    let limits = &node.shared.config.limits;
    let streamer = Streamer::new(&node.shared.metrics.callers_cut);
    let mut builder = http2::Builder::new(streamer.clone());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(RESETS_FORCED_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(u32::try_from(limits.header_bytes_max * 2).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    // The clock of HTTP/1.1 does not run: streams share one way in, and `Streams` has theirs.
    let _serving = Serving::begin(clock);
    let streams = Rc::new(RefCell::new(Streams::new(PREFACE.len())));
    let service = service_fn(|request| {
        streams.borrow_mut().served();
        one(node.clone(), peer, streamer.begin(), request)
    });
    let io = TokioIo::new(io.following(streams.clone()));
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut look = tokio::time::interval(limits.write_timeout.min(limits.keep_alive_timeout) / 4);
    let (mut was_stuck, mut told_to_go) = (false, false);
    let ended = loop {
        let settled = poll_fn(|cx| {
            let polled = connection.as_mut().poll(cx);
            streams.borrow_mut().settle().record(&node, peer);
            polled
        });
        tokio::select! {
            ended = settled => break ended,
            _ = look.tick() => {
                // No window lets out what the service handed over whole; once may be just on its way out.
                let stuck = streams.borrow().stuck(limits.write_timeout) > streamer.working();
                if stuck && was_stuck {
                    node.shared.metrics.callers_cut.inc();
                    break Ok(());
                }
                was_stuck = stuck;
                if streams.borrow_mut().look() <= limits.keep_alive_timeout {
                    continue;
                }
                if told_to_go {
                    break Ok(()); // it stays, and asks for nothing
                }
            }
            _ = drain.wait_for(|draining| *draining), if !told_to_go => {}
        }
        connection.as_mut().graceful_shutdown();
        told_to_go = true;
    };
    if streams.borrow().is_flooded() {
        node.shared.metrics.http2_floods.inc();
    }
    streams.borrow_mut().end().record(&node, peer);
    ended
}

async fn one(
    node: Rc<Node>,
    peer: Peer,
    clock: Rc<HeadClock>,
    request: Request<Incoming>,
) -> Result<Response<Followed>, std::convert::Infallible> {
    let is_http1 = request.version() < Version::HTTP_2;
    let request = request.map(RequestBody::Hyper);
    // On the heap: hyper moves what this gives into a task of its own, and moves it more than once.
    let serving = serve::serve(node.clone(), peer, Serving::begin(clock), request);
    let mut response = Box::pin(serving).await;
    if is_http1 && node.shared.is_draining() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_last_address_that_is_no_trusted_proxys() {
        let proxies: [IpNet; 2] = ["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        let client = |trusted, address: &str, fields: &[&str]| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(FORWARDED_FOR, field.parse().unwrap());
            }
            let address = address.parse().unwrap();
            Peer { address, trusted, tls: false }.client(&headers, &proxies).to_string()
        };
        assert_eq!(client(false, "192.0.2.1", &["198.51.100.9"]), "192.0.2.1");
        assert_eq!(client(true, "127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(client(true, "127.0.0.1", &["198.51.100.9"]), "198.51.100.9");
        assert_eq!(
            client(true, "127.0.0.1", &["203.0.113.5, 198.51.100.9,10.0.0.2"]),
            "198.51.100.9"
        );
        assert_eq!(
            client(true, "127.0.0.1", &["203.0.113.5", "198.51.100.9", "10.0.0.2"]),
            "198.51.100.9"
        );
        assert_eq!(client(true, "127.0.0.1", &["198.51.100.9, anyone, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client(true, "127.0.0.1", &["::ffff:198.51.100.9"]), "198.51.100.9");
        // A trusted balancer's PROXY header named someone who is no proxy: their own field is not believed.
        assert_eq!(client(true, "192.0.2.1", &["198.51.100.9"]), "192.0.2.1");
    }
}
