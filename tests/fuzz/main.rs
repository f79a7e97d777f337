//! Hostile bytes for every parser that is a pure function: a committed corpus, mutated from a printed seed.
//!
//! Each target is a test, so that the runner gives it a process of its own; it takes limits of memory and CPU time
//! on itself. What kills it stands in `fuzz-TARGET.bin` in the target directory's `tmp`; a file that is put into
//! `corpus/TARGET/` is tried first from then on. `FUZZ_SEED` repeats a run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod targets;

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The longest input that mutation makes.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// A token is repeated, and a part nested, up to two to the power of this: what is read by recursion ends there, if not before.
const REPEATED_MAX_LOG2: u32 = 15;
const MEMORY_BYTES_MAX: u64 = 2 << 30;

/// What parsers are likely to stumble over.
const TOKENS: &[&[u8]] = &[
    b"\0",
    b"\r\n",
    b"%",
    b"%2e",
    b"%2F",
    b"%00",
    b"..",
    b"//",
    b"\\",
    b"{",
    b"}",
    b"{a+}",
    b"${stageVariables.",
    b"://",
    b"@",
    b"[",
    b"]",
    b"(",
    b":",
    b"?",
    b"#",
    b"$default",
    b"\xff\xff\xff\xff",
    b"\xc3\xa9",
    b"-1",
    b"9223372036854775808",
];

/// What opens a level and what closes it.
const BRACKETS: &[(&[u8], &[u8])] =
    &[(b"[", b"]"), (b"(", b")"), (b"{", b"}"), (b"{a", b"}"), (b"{\"a\":", b"}")];

/// Seconds, or minutes where `tests/run --long` set `TESTS_LONG`.
fn length() -> Duration {
    let long = std::env::var_os("TESTS_LONG").is_some();
    if long { Duration::from_mins(4) } else { Duration::from_secs(10) }
}

fn limit(length: Duration) {
    let status = Command::new("prlimit")
        .arg(format!("--pid={}", std::process::id()))
        .arg(format!("--as={MEMORY_BYTES_MAX}"))
        .arg(format!("--cpu={}", length.as_secs() * 2 + 10))
        .status()
        .unwrap();
    assert!(status.success(), "prlimit: {status}");
}

fn token(random: &mut StdRng) -> &'static [u8] {
    TOKENS[random.random_range(0..TOKENS.len())]
}

/// Puts a part of the input that many brackets deep.
fn nest(input: &mut Vec<u8>, part: Range<usize>, levels: usize, random: &mut StdRng) {
    let (open, close) = BRACKETS[random.random_range(0..BRACKETS.len())];
    let within = input[part.clone()].to_vec();
    let nested = [open.repeat(levels), within, close.repeat(levels)].concat();
    drop(input.splice(part, nested));
}

fn mutate(random: &mut StdRng, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=input.len());
        match random.random_range(0..7) {
            0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
            1 if at < input.len() => input[at] = random.random(),
            2 => drop(input.splice(at..at, token(random).to_vec())),
            // As often a few times as near the limit.
            3 if random.random_ratio(1, 8) => {
                let most = 1 << random.random_range(0..=REPEATED_MAX_LOG2);
                let times = random.random_range(0..most);
                drop(input.splice(at..at, token(random).repeat(times)));
            }
            4 if random.random_ratio(1, 8) => {
                let end = random.random_range(at..=input.len());
                let most = 1 << random.random_range(0..=REPEATED_MAX_LOG2);
                nest(input, at..end, random.random_range(0..most), random);
            }
            3 | 4 => {
                let end = random.random_range(at..=input.len());
                input.drain(at..end);
            }
            5 => {
                let end = random.random_range(at..=input.len());
                let again = input[at..end].to_vec();
                drop(input.splice(at..at, again));
            }
            _ => {
                let other = &corpus[random.random_range(0..corpus.len())];
                let from = random.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
        input.truncate(INPUT_BYTES_MAX);
    }
}

fn fuzz(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    let given = std::env::var("FUZZ_SEED").ok();
    let seed: u64 = given.map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("{name}: FUZZ_SEED={seed}");
    let length = length();
    limit(length);

    let saved = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}.bin"));
    // Written before the target runs: a killed process could not do it afterwards.
    // And kept open: closing a file that was cut short goes to the disk.
    let file = File::create(&saved).unwrap();
    let run = |input: &[u8]| {
        file.set_len(input.len() as u64).unwrap();
        file.write_all_at(input, 0).unwrap();
        target(input);
    };
    for input in &corpus {
        run(input);
    }
    let mut random = StdRng::seed_from_u64(seed);
    let (started, mut runs) = (Instant::now(), 0_u64);
    while started.elapsed() < length {
        let mut input = corpus[random.random_range(0..corpus.len())].clone();
        mutate(&mut random, &mut input, &corpus);
        let began = Instant::now();
        run(&input);
        assert!(began.elapsed() < Duration::from_secs(5), "{name} is slow: {}", saved.display());
        runs += 1;
    }
    println!("{name}: {runs} inputs");
    std::fs::remove_file(&saved).unwrap();
}

macro_rules! fuzzed {
    ($($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                fuzz(stringify!($name), targets::$name);
            }
        )*
    };
}

fuzzed! {
    path route uri_template egress_target proxy_protocol api_key_value cors gateway_response origin query_key cursor
    global_id join_token stream_message count_report quotas_asked usage_segment
    address traceparent trace_fields request_cookies response_cookies forwarded_for redis_answer http2_frames
    last_good graphql_guard graphql_request access_token refresh_cookie idempotency_key if_match rest_body email
    audit_export socket_message certificate_request usage_statement response_head chunked_body
    request_head pipeline function_answer function_stream accept_encoding preferences mock_examples template
    tls_authorities tls_client content_encoding json_path request_parameter
}

/// `cargo fuzz` builds what lies here, outside the workspace: a file for each target, all alike.
#[test]
fn every_target_is_listed_and_can_be_run_by_libfuzzer() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let read = |file: &str| std::fs::read_to_string(here.join(file)).unwrap();
    let (readme, package, targets) = (read("README.md"), read("Cargo.toml"), read("targets.rs"));
    for name in NAMES {
        let wrapper = format!(
            "#![no_main]\n\n#[path = \"../targets.rs\"]\n#[expect(dead_code, reason = \"the others have files of \
             their own\")]\nmod targets;\n\nlibfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::{name}(bytes));\n"
        );
        assert_eq!(read(&format!("fuzz_targets/{name}.rs")), wrapper);
        let binary = format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"");
        assert!(package.contains(&binary), "Cargo.toml has no {binary}");
        assert!(readme.contains(&format!("| `{name}` |")), "README.md says nothing of {name}");
    }
    let parts = std::fs::read_dir(here.join("targets")).unwrap();
    let parts = parts.map(|part| std::fs::read_to_string(part.unwrap().path()).unwrap());
    let written = targets + &parts.collect::<String>();
    let written = written.matches("\npub(crate) fn ").count();
    assert_eq!(written, NAMES.len(), "a target is not run");
    assert_eq!(std::fs::read_dir(here.join("fuzz_targets")).unwrap().count(), NAMES.len());
    assert_eq!(std::fs::read_dir(here.join("corpus")).unwrap().count(), NAMES.len());
}
