//! HTTP/2 at the level of frames: who speaks it as nobody should, and what is said at the end.

mod attacks;

use std::time::{Duration, Instant};

use harness::{World, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// GET http / with the authority `a`, in HPACK.
const GET: [u8; 6] = [0x82, 0x86, 0x84, 0x41, 1, b'a'];
/// From a head's first byte to its last.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How much later than that an end may come.
const CUT_WITHIN: Duration = Duration::from_secs(1);

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

pub(crate) fn opening() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// A field that HPACK's table knows by name, with a short value.
pub(crate) fn literal(name: u8, value: &[u8]) -> Vec<u8> {
    [&[name, u8::try_from(value.len()).unwrap()], value].concat()
}

/// The next frame's kind, flags, stream and payload, until the connection ends.
pub(crate) async fn next(from: &mut (impl AsyncReadExt + Unpin)) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    from.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, stream @ ..] = head;
    let length = u32::from_be_bytes([0, a, b, c]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    from.read_exact(&mut payload).await.ok()?;
    Some((kind, flags, u32::from_be_bytes(stream), payload))
}

#[tokio::test]
async fn what_has_begun_and_never_goes_on_ends_at_the_header_timeout() {
    let world = World::start().await;
    let began = Instant::now();
    let stalled = [
        ("the preface", PREFACE[..20].to_vec()),
        ("what follows the preface", PREFACE.to_vec()),
        ("a head", [opening(), frame(HEADERS, END_STREAM, 1, &GET)].concat()),
        ("a head in many pieces", {
            let head = frame(HEADERS, END_STREAM, 1, &GET);
            [opening(), head, frame(CONTINUATION, 0, 1, &[])].concat()
        }),
    ];
    let mut tasks = tokio::task::JoinSet::new();
    for (name, bytes) in stalled {
        let mut stream = TcpStream::connect(world.endpoint_address()).await.unwrap();
        tasks.spawn(async move {
            stream.write_all(&bytes).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
            (name, began.elapsed())
        });
    }
    let ended = within(2 * HEADER_TIMEOUT, "the end of all", async || {
        let (name, took) = tasks.try_join_next()?.unwrap();
        println!("{name}: ended after {took:.1?}");
        assert!(took >= HEADER_TIMEOUT, "{name}: {took:?}");
        assert!(took <= HEADER_TIMEOUT + CUT_WITHIN, "{name}: {took:?}");
        tasks.is_empty().then_some(())
    });
    ended.await;
}

#[tokio::test]
async fn a_node_that_drains_says_goaway_and_answers_what_it_took() {
    let mut world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    origin.hold();
    let host = {
        let acme = world.tenant("acme").await;
        acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await.host()
    };
    let head =
        [vec![0x82, 0x86], literal(0x44, b"/prod/pets"), literal(0x41, host.as_bytes())].concat();
    let mut stream = TcpStream::connect(world.endpoint_address()).await.unwrap();
    let request = frame(HEADERS, END_HEADERS | END_STREAM, 1, &head);
    stream.write_all(&[opening(), request].concat()).await.unwrap();
    origin.asked(1).await;

    let node = world.take_node();
    node.ask_to_end();
    let (mut goaways, mut body) = (Vec::new(), Vec::new());
    while let Some((kind, _, of, payload)) = next(&mut stream).await {
        match kind {
            GOAWAY => {
                goaways.push(payload[..8].to_vec());
                origin.release();
            }
            PING => {
                let _ = stream.write_all(&frame(PING, 1, 0, &payload)).await;
            }
            DATA if of == 1 => body.extend(payload),
            _ => {}
        }
    }
    node.ended().await;
    assert_eq!(body, b"hello");
    // First that no more be sent, then which was the last that it took; both without an error.
    assert_eq!(goaways, [[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0]]);
}
