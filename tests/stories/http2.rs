//! Callers who speak HTTP/2 as nobody should. Each is sent away, and those beside it are served as before.

use std::time::{Duration, Instant};

use harness::kept::{Ask, KeptLoad, Way};
use harness::{World, at_length, eventually, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// GET http / with the authority `a`, in HPACK.
const GET: [u8; 6] = [0x82, 0x86, 0x84, 0x41, 1, b'a'];
/// POST instead.
const POST: [u8; 6] = [0x83, 0x86, 0x84, 0x41, 1, b'a'];
/// Frames of the floods; more must not be needed.
const FLOOD: u32 = 50_000;
/// How long a node may go on with one who broke the rules.
const CUT_WITHIN: Duration = Duration::from_secs(1);
/// From a head's first byte to its last.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// What all the attackers together may cost.
const MEMORY_MAX: u64 = 32 << 20;

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

/// `first`, and then for each number what `each` makes of it.
fn attack(
    first: &[Vec<u8>],
    numbers: std::ops::Range<u32>,
    each: impl Fn(u32) -> Vec<u8>,
) -> Vec<u8> {
    [opening(), first.concat(), numbers.map(each).collect::<Vec<_>>().concat()].concat()
}

/// The stream that a caller opens as its so-many-th.
fn stream(number: u32) -> u32 {
    2 * number + 1
}

/// Each breaks off of itself if nobody stops it.
fn attacks() -> Vec<(&'static str, Vec<u8>)> {
    let post = || frame(HEADERS, END_HEADERS, 1, &POST);
    let get = |number| frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &GET);
    let zero = 0u32.to_be_bytes();
    let cancel = 8u32.to_be_bytes();
    // A literal field of 4,000 bytes that goes into the table, and then is said again by one byte, 4,000 times.
    let name = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &[b'y'; 4_000][..]].concat();
    let bomb = [&GET[..], &name, &[0xbe; 4_000]].concat();
    let piece = |number: u32| {
        let flags = if number == u32::MAX { END_HEADERS } else { 0 };
        frame(CONTINUATION, flags, 1, &[[0, 1, b'x', 1, b'y']; 200].concat())
    };
    vec![
        (
            "rapid reset",
            attack(&[], 0..FLOOD, |number| {
                [get(number), frame(RST_STREAM, 0, stream(number), &cancel)].concat()
            }),
        ),
        (
            "resets that it provokes",
            attack(&[], 0..FLOOD, |number| {
                [get(number), frame(WINDOW_UPDATE, 0, stream(number), &zero)].concat()
            }),
        ),
        ("CONTINUATION", attack(&[frame(HEADERS, END_STREAM, 1, &GET)], 0..2_000, piece)),
        (
            "empty CONTINUATION",
            attack(&[frame(HEADERS, END_STREAM, 1, &GET)], 0..FLOOD, |_| {
                frame(CONTINUATION, 0, 1, &[])
            }),
        ),
        (
            "a head that unpacks to megabytes",
            attack(&[], 0..1_000, |number| {
                frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &bomb)
            }),
        ),
        ("empty DATA", attack(&[post()], 0..FLOOD, |_| frame(DATA, 0, 1, &[]))),
        ("padding alone", attack(&[post()], 0..FLOOD, |_| frame(DATA, 8, 1, &[0]))),
        (
            "streams without end",
            attack(&[], 0..FLOOD, |number| frame(HEADERS, END_HEADERS, stream(number), &POST)),
        ),
        ("SETTINGS", attack(&[], 0..FLOOD, |_| frame(SETTINGS, 0, 0, &[]))),
        ("PING", attack(&[], 0..FLOOD, |_| frame(PING, 0, 0, &[0; 8]))),
        (
            "PRIORITY",
            attack(&[], 0..FLOOD, |number| frame(PRIORITY, 0, stream(number), &[0, 0, 0, 0, 1])),
        ),
        (
            "WINDOW_UPDATE",
            attack(&[], 0..FLOOD, |_| frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes())),
        ),
        ("frames of no known kind", attack(&[], 0..FLOOD, |_| frame(0xbb, 0, 0, &[]))),
        (
            "a frame longer than was agreed",
            attack(&[], 0..4, |number| frame(DATA, 0, stream(number), &[0; 100_000])),
        ),
        ("DATA before its head", attack(&[], 0..1, |_| frame(DATA, 0, 1, b"x"))),
    ]
}

/// Sends it all, or as much as is taken, and answers how long the node went on after that, and the last GOAWAY's code.
async fn sent_away(world: &World, attack: &[u8]) -> Option<(Duration, Option<u32>)> {
    let (mut from, mut to) =
        TcpStream::connect(world.endpoint_address()).await.unwrap().into_split();
    let mut done = Instant::now();
    let send = async {
        let _ = to.write_all(attack).await;
        done = Instant::now();
        std::future::pending::<()>().await;
    };
    let mut goaway = None;
    let read = async {
        while let Some((kind, _, _, payload)) = next(&mut from).await {
            if kind == GOAWAY {
                goaway = payload[4..8].first_chunk().map(|code| u32::from_be_bytes(*code));
            }
        }
    };
    let ended = tokio::time::timeout(HEADER_TIMEOUT, async {
        tokio::select! { () = send => {}, () = read => {} }
    })
    .await;
    ended.is_ok().then(|| (done.elapsed(), goaway))
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

/// The node's resident memory.
fn memory(world: &mut World) -> u64 {
    let process = world.node().unwrap().id();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_abuses_http2_is_sent_away_and_those_beside_are_served() {
    let mut world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let host = {
        let acme = world.tenant("acme").await;
        acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await.host()
    };
    let way = |http2| Way { addresses: vec![world.endpoint_address()], http2, tls: None };
    let ask = Ask::get(&host, &["/prod/pets"]);
    let load = KeptLoad::start(&[way(false), way(true)], &ask, Duration::from_millis(5));
    eventually("calls", async || (load.answered() > 200).then_some(())).await;
    let before = memory(&mut world);

    let mut kept = Vec::new();
    let rounds = at_length(1, 100);
    for (name, attack) in (0..rounds).flat_map(|_| attacks()) {
        match sent_away(&world, &attack).await {
            Some((took, goaway)) => {
                println!("{name}: sent away after {took:.1?}, GOAWAY {goaway:?}");
                if took > CUT_WITHIN {
                    kept.push(format!("{name}: {took:?}"));
                }
            }
            None => kept.push(format!("{name}: kept")),
        }
    }
    let grown = memory(&mut world).saturating_sub(before);

    let seen = load.end().await;
    println!(
        "{} KiB more memory; beside them {} answered, p99 {:.1?}",
        grown >> 10,
        seen.answered(),
        seen.per_mille(990),
    );
    assert!(kept.is_empty(), "{kept:?}");
    assert!(grown <= MEMORY_MAX, "{} KiB", grown >> 10);
    assert!(seen.failed.is_empty(), "of {}: {:?}", seen.answered(), seen.failed);
    // What those beside them may wait; more while other stories run on the same cores.
    let wait_max = Duration::from_millis(at_length(250, 50));
    assert!(seen.per_mille(990) <= wait_max, "{:?}", seen.per_mille(990));
    let metrics = world.node_admin().get("/metrics").await.text();
    let floods = metrics.lines().find_map(|line| line.strip_prefix("tollgate_http2_floods_total "));
    assert!(floods.is_some_and(|floods| floods != "0"), "{metrics}");
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
