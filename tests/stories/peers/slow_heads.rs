//! Slowloris: a thousand callers who send their heads byte by byte, to hold a place for as long as they like (REL-12).

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::kept::{Ask, KeptLoad, ways};
use harness::{World, eventually, within};
use tokio::task::JoinSet;

use super::api;
use super::backend::Backend;
use super::calls::Caller;
use super::wire::Wire;

const SLOW: usize = 1_000;
const HEADER_TIMEOUT: Duration = Duration::from_secs(4);
/// A byte each; whole heads would take minutes.
const PACE: Duration = Duration::from_millis(400);

/// One of them: until it is told to go, and how long that took from its first byte on.
async fn slow(mut wire: Wire, host: String) -> (Duration, String) {
    let head = format!("GET /prod/good?0 HTTP/1.1\r\nhost: {host}\r\nx: {}", "y".repeat(1_000));
    let began = Instant::now();
    let mut pace = tokio::time::interval(PACE);
    let mut bytes = head.bytes();
    let told = loop {
        tokio::select! {
            biased;
            told = wire.rest() => break told,
            _ = pace.tick() => {}
        }
        let byte = bytes.next().expect("nobody waits for all of it");
        wire.say(&[byte]).await; // where nobody takes it, the end is near
    };
    (began.elapsed(), String::from_utf8_lossy(&told).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_who_send_their_heads_byte_by_byte_are_sent_away_and_others_are_served() {
    let timeout = HEADER_TIMEOUT.as_millis().to_string();
    let world = World::start_with(&[("TOLLGATE_NODE_HEADER_TIMEOUT_MS", &timeout)]).await;
    let backend = Arc::new(Backend::start().await);
    let acme = world.tenant("acme").await;
    let api = api(&acme, &backend).await;
    let ask = Ask::get(&api.host(), &["/prod/good?1"]);
    let load = KeptLoad::start(&ways(&world), &ask, Duration::from_millis(50));
    eventually("calls", async || (load.answered() > 200).then_some(())).await;
    let node = world.running_node();
    let (before, mut read) = (node.descriptors(), 0);

    let mut callers = JoinSet::new();
    for number in 0..SLOW {
        // Every tenth over TLS.
        let caller = Caller::new(&api, backend.clone(), number % 10 == 0);
        let host = api.host();
        callers.spawn(async move { slow(caller.connect().await, host).await });
    }
    let (mut least, mut most, mut told) = (Duration::MAX, Duration::ZERO, 0);
    while let Some(ended) = callers.join_next().await {
        let (took, answer) = ended.unwrap();
        (least, most) = (least.min(took), most.max(took));
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
        told += usize::from(!answer.is_empty());
    }
    let seen = load.end().await;
    println!(
        "{SLOW} ended after {least:.1?} to {most:.1?}, {told} of them told; beside them {} answered, p99 {:.1?}",
        seen.answered(),
        seen.per_mille(990),
    );
    assert!(least >= HEADER_TIMEOUT, "{least:?}");
    assert!(most <= 5 * HEADER_TIMEOUT, "{most:?}");
    assert!(seen.failed.is_empty(), "of {}: {:?}", seen.answered(), seen.failed);

    let mut late = 0;
    eventually("a line for each of them in the log", async || {
        let lines = world.access_log(&mut read).into_iter();
        late += lines.filter(|line| line["code"] == "REQUEST_TIMEOUT").count();
        (late >= SLOW).then_some(())
    })
    .await;
    assert_eq!(late, SLOW);
    within(Duration::from_mins(1), "nothing of them left open", async || {
        (node.descriptors() <= before).then_some(())
    })
    .await;
    assert_eq!(world.metric("tollgate_panics_total").await, 0);
}
