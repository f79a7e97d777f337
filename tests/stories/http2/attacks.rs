//! Attacks by HTTP/2, driven by Python's `h2`, `hpack` and `hyperframe`: `tests/http2/attacks.py` has what each does.
//! Whoever breaks the rules is sent away, and those beside are served as before (SEC-4).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use harness::kept::{Ask, KeptLoad, ways};
use harness::{Api, World, at_length, eventually};
use serde::Deserialize;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// What all the attackers together may cost.
const MEMORY_MAX: u64 = 32 << 20;
/// From a head's first byte to its last. Whoever floods is cut for that, and sooner.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may be left untaken.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an attacker waits to be sent away. A machine that compiles meanwhile is no reason to fail.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often each good caller calls.
const PACE: Duration = Duration::from_millis(50);
/// Of the answers that are not taken.
const LARGE_BYTES: usize = 1 << 20;

/// SEC-4's, for 99 of 100 of their calls; where a machine has other work, that says nothing of the node.
fn wait_max() -> Duration {
    at_length(Duration::MAX, Duration::from_millis(50))
}

/// From the last frame that is sent: SEC-4's second. A machine that compiles meanwhile gets more, and yet less than the
/// clock of heads would give.
fn cut_within() -> Duration {
    at_length(HEADER_TIMEOUT, Duration::from_secs(1))
}

/// RFC 9113 §7.
const PROTOCOL_ERROR: u32 = 1;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What an attacker saw.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Saw {
    /// That it sent.
    frames: u64,
    /// That it opened.
    streams: u64,
    ended: bool,
    /// From the last frame that it sent to the connection's end.
    after_seconds: Option<f64>,
    seconds: Option<f64>,
    goaway: Option<u32>,
    /// How many answers had each status, and how many streams were reset for each reason.
    statuses: BTreeMap<u16, u64>,
    resets: BTreeMap<u32, u64>,
}

async fn attack(name: &str, world: &World, host: &str, tls: bool) -> Saw {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = tests.parent().unwrap().join("var/tools/http2");
    assert!(packages.is_dir(), "{} is missing; tests/run installs it", packages.display());
    let at = if tls { world.tls_endpoint_address() } else { world.endpoint_address() };
    let target = json!({
        "address": at.ip(), "port": at.port(), "host": host, "stage": "/prod",
        "authority": tls.then(|| world.node_directory(0).join("tls/development.pem")),
        "patience": PATIENCE.as_secs(),
    });
    let mut attacker = Command::new("python3")
        .arg(tests.join("http2/attacks.py"))
        .arg(name)
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = attacker.stdin.take().unwrap();
    input.write_all(target.to_string().as_bytes()).await.unwrap();
    drop(input);
    let output = attacker.wait_with_output().await.unwrap();
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {failed}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What becomes of an attack.
#[derive(Clone, Copy)]
enum End {
    /// Its connection ends within SEC-4's second of the last frame, for one of these reasons, as far as it was told.
    Cut(&'static [u32]),
    /// The same, by the count of frames that bring nothing.
    CutAsFlood,
    /// Its connection ends when the head's time is over.
    CutAsLate,
    /// So many of its streams get an answer of this status, and so many are refused; the connection goes on.
    Refused { answered: (u16, u64), refused: u64 },
    /// So many answers begin, and are given up as nothing of them is taken.
    GivenUp(u64),
}

use End::{Cut, CutAsFlood, CutAsLate, GivenUp, Refused};

/// By their names in `tests/http2/attacks.py`. Whoever makes us reset streams is cut for that, or at once where HTTP/2
/// makes of it an error of the connection.
const ATTACKS: &[(&str, End)] = &[
    ("rapid_reset", Cut(&[ENHANCE_YOUR_CALM])),
    ("made_you_reset_by_an_empty_window_update", Cut(&[ENHANCE_YOUR_CALM, PROTOCOL_ERROR])),
    ("made_you_reset_by_a_window_too_large", Cut(&[ENHANCE_YOUR_CALM])),
    ("made_you_reset_by_a_priority_on_itself", Cut(&[ENHANCE_YOUR_CALM])),
    ("made_you_reset_by_data_after_the_end", Cut(&[ENHANCE_YOUR_CALM, PROTOCOL_ERROR])),
    ("made_you_reset_by_a_head_after_the_end", Cut(&[ENHANCE_YOUR_CALM, PROTOCOL_ERROR])),
    ("made_you_reset_by_a_body_of_another_length", Cut(&[ENHANCE_YOUR_CALM])),
    ("continuation_flood", Cut(&[ENHANCE_YOUR_CALM])),
    ("empty_continuation_flood", Cut(&[ENHANCE_YOUR_CALM])),
    ("trickled_headers", Cut(&[ENHANCE_YOUR_CALM])),
    ("hpack_bomb", Cut(&[ENHANCE_YOUR_CALM])),
    ("hpack_table_too_large", Cut(&[COMPRESSION_ERROR, PROTOCOL_ERROR])),
    ("empty_data_flood", Cut(&[ENHANCE_YOUR_CALM])),
    ("padding_flood", Cut(&[ENHANCE_YOUR_CALM])),
    ("stream_overrun", Refused { answered: (200, 128), refused: 20 }),
    ("stream_flood", Cut(&[ENHANCE_YOUR_CALM])),
    ("header_list_overrun", Refused { answered: (431, 4), refused: 0 }),
    ("settings_flood", CutAsFlood),
    ("ping_flood", CutAsFlood),
    ("priority_flood", CutAsFlood),
    ("window_update_flood", CutAsFlood),
    ("unknown_frame_flood", CutAsFlood),
    ("frame_too_long", Cut(&[FRAME_SIZE_ERROR])),
    ("data_before_its_head", Cut(&[PROTOCOL_ERROR])),
    ("stalled_headers", CutAsLate),
    ("windows_that_never_open", GivenUp(100)),
    ("a_connection_window_that_never_opens", GivenUp(100)),
];

impl End {
    /// Whether that is what the attacker saw.
    fn was_seen(self, saw: &Saw) -> bool {
        // Both: neither the last frames' time nor that of all may be what the clock of heads made it.
        let is_less =
            |took: Option<f64>, than: Duration| took.is_some_and(|it| it < than.as_secs_f64());
        let soon = is_less(saw.seconds, HEADER_TIMEOUT) && is_less(saw.after_seconds, cut_within());
        match self {
            Cut(codes) => soon && saw.goaway.is_none_or(|code| codes.contains(&code)),
            CutAsFlood => soon,
            CutAsLate => saw.seconds.is_some_and(|took| took >= HEADER_TIMEOUT.as_secs_f64()),
            Refused { answered, refused } => {
                !saw.ended && saw.heard(answered, (REFUSED_STREAM, refused))
            }
            GivenUp(streams) => !saw.ended && saw.heard((200, streams), (CANCEL, streams)),
        }
    }

    /// Whether that is what the log says: of a connection that goes on exactly what its caller was told, of one that
    /// was cut no less, and of no more than there was.
    fn was_told(self, saw: &Saw, lines: &Lines) -> bool {
        let only = |those: &[(Line<&str>, u64)]| {
            let those = those.iter().map(|((route, status, code, aborted), times)| {
                (((*route).to_owned(), *status, (*code).to_owned(), *aborted), *times)
            });
            *lines == those.collect::<Lines>()
        };
        match self {
            Refused { answered: (200, times), refused } => only(&[
                (("ANY /small", 200, "", false), times),
                (("-", 0, "HTTP2_PROTOCOL_ERROR", false), refused),
            ]),
            Refused { answered: (status, times), .. } => {
                only(&[(("-", status.into(), "HEADERS_TOO_LARGE", false), times)])
            }
            GivenUp(streams) => only(&[(("GET /large", 200, "", true), streams)]),
            Cut(_) | CutAsFlood | CutAsLate => {
                let count: u64 = lines.values().sum();
                let is_known = |(route, status, code, aborted): &Line| {
                    match (route.as_str(), status, code.as_str()) {
                        ("ANY /small", 0, "") => *aborted,
                        // Its answer may have been on its way out.
                        ("ANY /small", 200, "")
                        | ("-", 0, "HTTP2_PROTOCOL_ERROR")
                        | ("-", 431, "HEADERS_TOO_LARGE") => true,
                        _ => false,
                    }
                };
                lines.keys().all(is_known) && saw.streams_told() <= count && count <= saw.streams
            }
        }
    }
}

impl Saw {
    /// These answers and these resets, and no others.
    fn heard(&self, answers: (u16, u64), resets: (u32, u64)) -> bool {
        let resets = (resets.1 > 0).then_some(resets);
        self.statuses == BTreeMap::from([answers]) && self.resets == resets.into_iter().collect()
    }

    fn streams_told(&self) -> u64 {
        self.statuses.values().chain(self.resets.values()).sum()
    }
}

/// A line of the access log: its route, status, code, and whether the caller left.
type Line<T = String> = (T, u64, T, bool);
/// How many there are of each.
type Lines = BTreeMap<Line, u64>;

/// Everything that the log has of an attacker whose connection is over. A good call's line stands after it.
async fn lines(world: &World, api: &Api<'_>, read: &mut usize) -> Lines {
    let last = uuid::Uuid::new_v4().to_string();
    api.get("/beside").header("x-request-id", &last).await.expect(200);
    let (mut lines, mut is_last) = (Lines::new(), false);
    eventually("the last line", async || {
        for line in world.access_log(read) {
            is_last |= line["client_request.id"] == *last;
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let status = line["status"].as_u64().unwrap();
            let line = (text("route"), status, text("code"), line["aborted"] == true);
            if line.0 != "GET /beside" {
                *lines.entry(line).or_default() += 1;
            }
        }
        is_last.then_some(())
    })
    .await;
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_attacks_by_http2_is_sent_away_and_those_beside_are_served() {
    let ms = |time: Duration| time.as_millis().to_string();
    let world = World::start_with(&[
        ("TOLLGATE_NODE_HEADER_TIMEOUT_MS", &ms(HEADER_TIMEOUT)),
        ("TOLLGATE_NODE_WRITE_TIMEOUT_MS", &ms(WRITE_TIMEOUT)),
    ])
    .await;
    let small = world.origin().await.replies(200, "hello");
    let large = world.origin().await.replies(200, &"x".repeat(LARGE_BYTES));
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await.route("ANY", "/small", false, &small.url()).await;
    let api = api.get_route("/large", &large).await.get_route("/beside", &small).await;
    let api = api.deploy("prod").await;
    let ways = ways(&world);
    let ask = Ask::get(&api.host(), &["/prod/beside"]);
    let load = KeptLoad::start(&ways, &ask, PACE);
    eventually("calls", async || (load.answered() > 200).then_some(())).await;
    let node = world.running_node();
    node.forget_peak_memory();
    let before = node.memory();

    let (mut wrong, mut read, mut frames_most) = (Vec::new(), 0, 0);
    let (mut floods, mut slow) = (0, 0);
    lines(&world, &api, &mut read).await;
    let all = [false, true].into_iter().flat_map(|tls| ATTACKS.iter().map(move |it| (tls, it)));
    let rounds = at_length(1, 10);
    for (tls, (name, end)) in (0..rounds).flat_map(|_| all.clone()) {
        let saw = attack(name, &world, &api.host(), tls).await;
        eventually("the end of the attacker's connection", async || {
            (world.metric("tollgate_connections").await == ways.len() as u64).then_some(())
        })
        .await;
        let lines = lines(&world, &api, &mut read).await;
        println!("{name}, TLS {tls}: {saw:?}; {} KiB", node.memory() >> 10);
        if !end.was_seen(&saw) || !end.was_told(&saw, &lines) {
            wrong.push(format!("{name}, TLS {tls}: {saw:?}; in the log: {lines:?}"));
        }
        frames_most = frames_most.max(saw.frames);
        match end {
            CutAsFlood => floods += 1,
            GivenUp(streams) => slow += streams,
            _ => {}
        }
    }
    let grown = node.peak_memory().saturating_sub(before);
    let seen = load.end().await;
    println!(
        "{frames_most} frames at most, {} KiB more memory at most; beside them {} answered, p99 {:.1?}",
        grown >> 10,
        seen.answered(),
        seen.per_mille(990),
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(grown <= MEMORY_MAX, "{} KiB", grown >> 10);
    assert!(seen.failed.is_empty(), "of {}: {:?}", seen.answered(), seen.failed);
    assert!(seen.per_mille(990) <= wait_max(), "{:?}", seen.per_mille(990));
    assert_eq!(world.metric("tollgate_panics_total").await, 0);
    assert_eq!(world.metric("tollgate_http2_floods_total").await, floods);
    assert_eq!(world.metric("tollgate_slow_callers_cut_total").await, slow);
}
