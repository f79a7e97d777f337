//! Without the control plane and its database a node serves on as before.

use std::time::{Duration, Instant};

use harness::kept::{Ask, KeptLoad, KeptSeen, Way};
use harness::{World, at_length, eventually};

/// Together they call a thousand times a second.
const CALLERS: usize = 20;
const PACE: Duration = Duration::from_millis(20);
const CALLS_A_SECOND: usize = 1_000;

/// What nine of ten seconds did better than the middle one is no measure: a machine has other things to do at times.
fn median(mut seconds: Vec<Duration>) -> Duration {
    seconds.sort_unstable();
    seconds[seconds.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_serves_as_before_while_the_control_plane_and_the_database_are_dead() {
    let (alone, dead) = at_length((8, 20), (60, 600));
    let (alone, dead) = (Duration::from_secs(alone), Duration::from_secs(dead));
    let mut world = World::start_alone().await;
    let origin = world.origin().await.replies(200, "hello");
    let ask = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/open", &origin).await;
        let api = api.get_route_with_key("/keyed", &origin).await.deploy("prod").await;
        let plan = api.usage_plan("gold").throttle(100_000.0, 100_000).quota(100_000_000, "DAY");
        let key = plan.key().await.value;
        Ask { key: Some(key), ..Ask::get(&api.host(), &["/prod/open", "/prod/keyed"]) }
    };
    let way =
        |turn| Way { addresses: vec![world.endpoint_address()], http2: turn % 2 == 1, tls: None };
    let ways: Vec<_> = (0..CALLERS).map(way).collect();
    let load = KeptLoad::start(&ways, &ask, PACE);
    // The same calls without a node between show what the machine adds in the same seconds.
    let way = |turn| Way { addresses: vec![origin.address()], http2: turn % 2 == 1, tls: None };
    let ways: Vec<_> = (0..CALLERS).map(way).collect();
    let direct = KeptLoad::start(&ways, &Ask::get("origin.test", &["/"]), PACE);
    // Everything that is slow once is behind it.
    eventually("the first thousand", async || (load.answered() > 1_000).then_some(())).await;

    let before = Instant::now();
    tokio::time::sleep(alone).await; // this is how long it is measured
    world.kill_control_plane();
    world.kill_database();
    let killed = Instant::now();
    tokio::time::sleep(dead).await; // this is how long they are away
    let after = Instant::now();
    world.start_database().await;
    world.start_control_plane().await;
    let (seen, direct) = (load.end().await, direct.end().await);

    assert!(direct.failed.is_empty(), "{:?}", direct.failed);
    let p99 = |from, to| {
        let by_second = |seen: &KeptSeen| seen.per_mille_by_second(from, to, 990);
        let pairs = by_second(&seen).into_iter().zip(by_second(&direct));
        median(pairs.map(|(node, direct)| node.saturating_sub(direct)).collect())
    };
    let (base, without) = (p99(before, killed), p99(killed, after));
    let meanwhile = seen.answers.iter().filter(|(due, _)| (killed..after).contains(due)).count();
    let wanted = CALLS_A_SECOND * usize::try_from(dead.as_secs()).unwrap();
    println!(
        "{dead:?} without control plane and PostgreSQL: {meanwhile} of {wanted} calls answered, {} failed; \
         p99 {without:.2?} above that without a node, before that {base:.2?}",
        seen.failed.len(),
    );
    assert!(seen.failed.is_empty(), "of {}: {:?}", seen.answered(), seen.failed);
    // Callers catch up with what they missed, so this holds on a busy machine, and does not where calls wait for the dead.
    assert!(meanwhile * 100 >= wanted * 99, "{meanwhile} of {wanted}");
    // A fifth of a few milliseconds is less than what a scheduler adds.
    let noise = at_length(Duration::from_millis(10), Duration::from_millis(1));
    assert!(without <= (base * 12 / 10).max(base + noise), "{without:?}, before {base:?}");

    // Nothing of it is lost, and changes are taken again.
    let mut database = world.database().await;
    let billed = eventually("every answered call in the ledger", async || {
        let sum = "select coalesce(sum(billed_requests), 0)::bigint from usage_minute";
        let sum: i64 = sqlx::query_scalar(sum).fetch_one(&mut database).await.ok()?;
        usize::try_from(sum).ok().filter(|sum| *sum >= seen.answered())
    })
    .await;
    assert_eq!(billed, seen.answered());
    let late = world.tenant("late").await;
    let api = late.api("cats").await.get_route("/cats", &origin).await.deploy("prod").await;
    api.get("/cats").await.expect(200);
}
