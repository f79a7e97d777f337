//! Callers who write and read at the socket, and count what goes over it.

use std::time::Duration;

use harness::Api;
use harness::kept::trusting;
use rustls_pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::LINE;
use crate::http2::{DATA, END_HEADERS, END_STREAM, HEADERS, frame, literal, next, opening};

/// A frame of data begins with the length of the zeros at its end.
const PADDED: u8 = 8;

/// An answer as it came.
pub(super) struct Answer {
    /// Bytes of the head that asked for it.
    pub(super) asked: usize,
    pub(super) status: u16,
    pub(super) head: String,
    /// Statuses of what came before it.
    pub(super) interim: Vec<u16>,
    /// The body without what lies between chunks.
    pub(super) content: Vec<u8>,
}

impl Answer {
    /// # Panics
    /// Where the status is another.
    pub(super) fn expect(self, status: u16) -> Self {
        let content = String::from_utf8_lossy(&self.content);
        assert_eq!(self.status, status, "{}{content}", self.head);
        self
    }
}

/// A head for the last stage, with these fields beside the host.
pub(super) fn request(api: &Api<'_>, method: &str, path: &str, fields: &[&str]) -> String {
    let (host, stage) = (api.host(), &api.stage);
    let head = format!("{method} /{stage}{path} HTTP/1.1\r\nhost: {host}");
    [&[head.as_str()], fields, &["\r\n"]].concat().join("\r\n")
}

pub(super) async fn connect(api: &Api<'_>) -> TcpStream {
    TcpStream::connect(api.world.endpoint_address()).await.unwrap()
}

pub(super) async fn connect_tls(api: &Api<'_>, http2: bool) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(api.world.tls_endpoint_address()).await.unwrap();
    let name = ServerName::try_from(format!("{}.execute-api.localhost", api.api_id)).unwrap();
    let connector = TlsConnector::from(trusting(&api.world.node_directory(0), http2));
    connector.connect(name, stream).await.unwrap()
}

/// A call of the line's route on a connection of its own.
pub(super) async fn call(api: &Api<'_>, method: &str, fields: &[&str], body: &[u8]) -> Answer {
    call_at(api, LINE, method, fields, body).await
}

pub(super) async fn call_at(
    api: &Api<'_>,
    path: &str,
    method: &str,
    fields: &[&str],
    body: &[u8],
) -> Answer {
    send(connect(api).await, &request(api, method, path, &closing(fields)), body).await
}

/// After the answer the connection ends.
pub(super) fn closing<'a>(fields: &[&'a str]) -> Vec<&'a str> {
    [fields, &["connection: close"]].concat()
}

/// Sends a head and a body as they stand, and reads until the connection ends.
pub(super) async fn send(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    head: &str,
    body: &[u8],
) -> Answer {
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    stream.flush().await.unwrap();
    answer(&mut stream, head).await
}

/// The rest of what a connection brings, which is one answer.
pub(super) async fn answer(stream: &mut (impl AsyncRead + Unpin), asked: &str) -> Answer {
    let mut interim = Vec::new();
    let (status, head) = loop {
        let head = head(stream).await;
        let status = status(&head);
        if status >= 200 {
            break (status, head);
        }
        interim.push(status);
    };
    let mut wire = Vec::new();
    stream.read_to_end(&mut wire).await.unwrap();
    let content =
        if field(&head, "transfer-encoding") == Some("chunked") { unchunked(&wire) } else { wire };
    if let Some(length) =
        field(&head, "content-length").filter(|_| !asked.starts_with("HEAD ") && status != 304)
    {
        assert_eq!(length, content.len().to_string(), "{head}");
    }
    Answer { asked: asked.len(), status, head, interim, content }
}

pub(crate) fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

pub(crate) fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

/// Bytes of an answer's head that are counted: all but those of the fields that are about its connection.
pub(crate) fn counted(head: &str) -> usize {
    let own = |line: &&str| {
        let line = line.to_ascii_lowercase();
        line.starts_with("connection: ") || line.starts_with("transfer-encoding: ")
    };
    head.len() - head.split_inclusive("\r\n").filter(own).map(str::len).sum::<usize>()
}

/// Up to the empty line, and with it.
pub(super) async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// The data of a body in chunks, which must be whole.
pub(crate) fn unchunked(mut wire: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    loop {
        let line = wire.windows(2).position(|it| it == b"\r\n").unwrap();
        let size = str::from_utf8(&wire[..line]).unwrap().split(';').next().unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let data = &wire[line + 2..];
        if size == 0 {
            return content;
        }
        content.extend(&data[..size]);
        wire = &data[size + 2..];
    }
}

/// The connection ends as by a crash.
pub(super) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// HTTP/2's POST or GET of the line's route.
pub(super) fn head_frame(api: &Api<'_>, method: u8, scheme: u8, flags: u8) -> Vec<u8> {
    let path = format!("/{}{LINE}", api.stage);
    let fields = [
        vec![method, scheme],
        literal(0x44, path.as_bytes()),
        literal(0x41, api.host().as_bytes()),
    ];
    frame(HEADERS, END_HEADERS | flags, 1, &fields.concat())
}

/// A POST over HTTP/2 whose body comes in two frames, the first of them padded; the data of a good answer.
pub(super) async fn post_http2(
    api: &Api<'_>,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    scheme: u8,
    body: &[u8],
) -> Vec<u8> {
    let (first, last) = body.split_at(body.len() / 2);
    let padded = [&[100], first, &[0; 100]].concat();
    let sent = [
        opening(),
        head_frame(api, 0x83, scheme, 0),
        frame(DATA, PADDED, 1, &padded),
        frame(DATA, END_STREAM, 1, last),
    ];
    stream.write_all(&sent.concat()).await.unwrap();
    stream.flush().await.unwrap();
    let mut content = Vec::new();
    loop {
        let (kind, flags, of, payload) = next(&mut stream).await.expect("an answer");
        if of != 1 {
            continue;
        }
        match kind {
            HEADERS => assert_eq!(payload[0], 0x88, "a status that is not 200"),
            DATA => {
                assert_eq!(flags & PADDED, 0);
                content.extend(payload);
            }
            _ => {}
        }
        if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
            return content;
        }
    }
}
