//! Both servers of HTTP/1.1 get what smugglers send (`shapes/http1.txt`), and do what stands there: our own, and hyper's
//! where that differs, with the reason. Ours may be the stricter one.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{HeaderMap, Response, header};
use http_body_util::BodyExt;
use proto::config::v1::Dialect::Native;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::world::{API, PATIENCE, TestNode, api, full, origin, proxy_with};
use crate::config::Http1Server;

const SHAPES: &str = include_str!("shapes/http1.txt");
/// The last request on each connection: where it is answered, the connection had stayed and was in step.
const LAST: &str = "/last";
const LONG_BYTES: usize = 600;

/// One thing to send, and what comes of it.
#[derive(Default)]
struct Shape {
    send: Vec<u8>,
    tollgate: String,
    hyper: Option<String>,
    why: Option<String>,
}

fn shapes() -> BTreeMap<String, Shape> {
    let mut shapes = BTreeMap::<String, Shape>::new();
    let mut name = String::new();
    for line in SHAPES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            name = title.to_owned();
            assert!(
                shapes.insert(name.clone(), Shape::default()).is_none(),
                "{name} is there twice"
            );
            continue;
        }
        let shape = shapes.get_mut(&name).unwrap_or_else(|| panic!("{line} has no name"));
        match line.split_once(' ').unwrap_or((line, "")) {
            ("send", text) => shape.send = bytes(text),
            ("tollgate", text) => shape.tollgate = text.to_owned(),
            ("hyper", text) => shape.hyper = Some(text.to_owned()),
            ("why", text) => shape.why = Some(text.to_owned()),
            _ => panic!("{name}: {line}"),
        }
    }
    shapes
}

/// The bytes that a line stands for: `\r`, `\n`, `\t`, `\0`, `\\`, `\x41`; `$HOST` and `$LONG`.
fn bytes(text: &str) -> Vec<u8> {
    let text = text.replace("$HOST", &host()).replace("$LONG", &"x".repeat(LONG_BYTES));
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, byte == b'\\') {
            (_, true) => match rest.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'0') => 0,
                Some(b'\\') => b'\\',
                Some(b'x') => {
                    let digits = [rest.next().unwrap_or_default(), rest.next().unwrap_or_default()];
                    let digits = std::str::from_utf8(&digits).expect("digits");
                    u8::from_str_radix(digits, 16).expect("two digits")
                }
                other => panic!("\\{other:?} in {text}"),
            },
            (byte, false) => byte,
        });
    }
    bytes
}

fn host() -> String {
    format!("{API}.execute-api.localhost")
}

type Seen = Arc<Mutex<Vec<String>>>;

/// A node with this server, before a backend that notes each whole request.
async fn node(server: Http1Server) -> (TestNode, Seen) {
    let seen = Seen::default();
    let notes = seen.clone();
    let address = origin(move |request| {
        let notes = notes.clone();
        async move {
            let (head, body) = request.into_parts();
            assert_framed_once(&head.headers);
            if let Ok(body) = body.collect().await {
                let trailers = body.trailers().map(|trailers| format!(" {trailers:?}"));
                let body = body.to_bytes();
                let mut note = format!("{} {}", head.method, head.uri);
                if !body.is_empty() {
                    let _ = write!(note, " {:?}", String::from_utf8_lossy(&body));
                }
                note.push_str(&trailers.unwrap_or_default());
                notes.lock().expect("notes").push(note);
            }
            Response::new(full("ok"))
        }
    })
    .await;
    let backend = |path: &str| {
        proxy_with(format!("http://{address}{path}"), |proxy| proxy.idle_timeout_ms = 300)
    };
    let routes = [("ANY /", backend("/")), ("GET /last", backend(LAST))];
    let node = TestNode::start_with(api(Native, &routes), |config| {
        config.http1_server = server;
        config.limits.header_timeout = Duration::from_millis(300);
        config.limits.keep_alive_timeout = Duration::from_secs(1); // for who took the last request for another's body
    });
    (node, seen)
}

/// Whatever a caller sends, a backend is told the end of a body in one way.
fn assert_framed_once(headers: &HeaderMap) {
    let said = |name| headers.get_all(name).iter().count();
    let (lengths, codings) = (said(header::CONTENT_LENGTH), said(header::TRANSFER_ENCODING));
    assert!(lengths + codings <= 1, "{headers:?}");
}

/// What comes of these bytes: the statuses of the answers, whether the connection stayed, and what the backend saw.
async fn outcome((node, seen): &(TestNode, Seen), send: &[u8]) -> String {
    let last = format!("GET /prod{LAST} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", host());
    let mut stream = TcpStream::connect(node.address).await.expect("a connection");
    stream.write_all(&[send, last.as_bytes()].concat()).await.expect("written");
    let mut answers = Vec::new();
    let reading = async {
        // Closed with bytes unread, it is reset; what came before that is here.
        let mut piece = [0; 4096];
        while let Ok(bytes @ 1..) = stream.read(&mut piece).await {
            answers.extend_from_slice(&piece[..bytes]);
        }
    };
    let closed = timeout(PATIENCE, reading).await;
    let answers = String::from_utf8_lossy(&answers).into_owned();
    assert!(closed.is_ok(), "{:?} hangs after {answers:?}", String::from_utf8_lossy(send));
    let heads = answers.match_indices("HTTP/1.").map(|(at, _)| &answers[at..]);
    let statuses = heads.filter_map(|head| head.get("HTTP/1.1 ".len()..)?.get(..3));
    let mut statuses: Vec<&str> = statuses.filter(|it| it.parse::<u16>().is_ok()).collect();
    let mut seen = std::mem::take(&mut *seen.lock().expect("notes"));
    let stayed = seen.pop_if(|note| *note == format!("GET {LAST}")).is_some();
    if stayed {
        assert_eq!(statuses.pop(), Some("200"), "{answers}");
    }
    let how = if stayed { "stays" } else { "closed" };
    let mut outcome = format!("{} {how}", statuses.join(" ")).trim().to_owned();
    for note in seen {
        let _ = write!(outcome, " | {note}");
    }
    outcome
}

#[tokio::test]
async fn each_shape_comes_out_as_it_is_written_down_on_either_server() {
    let (ours, hyper) = tokio::join!(node(Http1Server::Tollgate), node(Http1Server::Hyper));
    let shapes = shapes();
    assert!(shapes.len() > 200, "{}", shapes.len());
    let mut wrong = String::new();
    for (name, shape) in &shapes {
        let (came, of_hyper) =
            (outcome(&ours, &shape.send).await, outcome(&hyper, &shape.send).await);
        let wanted = shape.hyper.as_ref().unwrap_or(&shape.tollgate);
        if came != shape.tollgate || of_hyper != *wanted {
            let _ = writeln!(wrong, "[{name}]\ntollgate {came}\nhyper {of_hyper}");
        }
        let differs = shape.hyper.as_ref().is_some_and(|hyper| *hyper != shape.tollgate);
        let explained = shape.why.as_ref().is_some_and(|why| !why.is_empty());
        assert_eq!(differs, explained, "{name}: a difference, and no other line, has its reason");
        assert_eq!(differs, shape.hyper.is_some(), "{name}: hyper's stands there where it differs");
    }
    assert!(wrong.is_empty(), "these came out differently:\n{wrong}");
}

#[test]
fn where_the_servers_differ_ours_lets_no_more_through() {
    let reached = |outcome: &str| outcome.matches(" | ").count();
    for (name, shape) in shapes() {
        let Some(hyper) = &shape.hyper else { continue };
        assert!(reached(&shape.tollgate) <= reached(hyper), "{name}");
    }
}
