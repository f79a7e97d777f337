//! All of them at once among good calls, thousands of times: what a node holds afterwards is what it held before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use harness::{World, at_length, within};
use tokio::task::JoinSet;

use super::backend::Backend;
use super::calls::{ALL, Caller, Kind, Told, told};
use super::{Duration, api};

/// What follows is looked at so often.
const PARTS: u64 = 10;
const CALLERS: u64 = 24;
/// Good calls on a connection that is kept, for each that is not good; those that take a backend's silence are rarer.
const GOOD_FOR_ONE: u64 = 3;
const SLOW_ONE_IN: u64 = 4;
const KINDS: u64 = ALL.len() as u64;
/// More that stays than this is a leak: not 20 bytes for each of a million calls.
const MEMORY_MAX: i64 = 16 << 20;
/// The allocator keeps what was freed for as long as it chooses; here it gives it back at once, so that what is resident
/// is what is held.
const ALLOCATOR: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "0");

/// What a node holds when nobody calls.
#[derive(Clone, Copy, Debug)]
struct Held {
    descriptors: usize,
    memory: u64,
}

/// Until everybody's connection has ended, and what is held then.
async fn at_rest(world: &World, backend: &Backend, descriptors_max: usize) -> Held {
    backend.hang_up().await;
    let node = world.running_node();
    within(Duration::from_mins(1), "a node at rest", async || {
        let open = world.metric("tollgate_connections").await;
        let in_flight = world.metric("tollgate_requests_in_flight").await;
        let descriptors = node.descriptors();
        let is_at_rest = (open, in_flight) == (0, 0) && descriptors <= descriptors_max;
        is_at_rest.then(|| Held { descriptors, memory: node.memory() })
    })
    .await
}

/// What the memory grew by over all parts: as the median of every two looks at it would have it (Theil and Sen), for
/// how far the heap is stretched at rest differs from one look to the next by as much as a leak, and only a leak goes on.
fn grown(looks: &[Held]) -> i64 {
    let looks = (0i64..).zip(looks.iter().map(|held| held.memory.cast_signed()));
    let pairs = looks.clone().flat_map(|(from, earlier)| {
        let later = looks.clone().filter(move |(to, _)| *to > from);
        later.map(move |(to, later)| (later - earlier) * PARTS.cast_signed() / (to - from))
    });
    let mut growths: Vec<i64> = pairs.collect();
    growths.sort_unstable();
    growths[growths.len() / 2]
}

/// So many calls by all callers together; how many there were of each line that the log must have.
async fn run(callers: &[Caller; 2], numbers: &Arc<AtomicU64>, calls: u64) -> BTreeMap<Told, u64> {
    let until = numbers.load(Ordering::Relaxed) + calls;
    let mut tasks = JoinSet::new();
    for first in 0..CALLERS {
        // Every fourth over TLS.
        let tls = first.is_multiple_of(4);
        let (caller, numbers) = (callers[usize::from(tls)].clone(), numbers.clone());
        tasks.spawn(async move {
            let mut lines = BTreeMap::<Told, u64>::new();
            let mut kept = caller.connect().await;
            for turn in first.. {
                let number = numbers.fetch_add(1 + GOOD_FOR_ONE, Ordering::Relaxed);
                if number >= until {
                    break;
                }
                let kind = ALL[usize::try_from(turn % KINDS).unwrap()];
                let is_slow = matches!(kind, Kind::NeverAnswers | Kind::SilentInItsAnswer);
                if !is_slow || (turn / KINDS).is_multiple_of(SLOW_ONE_IN) {
                    caller.call(kind, number).await;
                    *lines.entry(kind.told(tls)).or_default() += 1;
                    // Its caller asks once more.
                    *lines.entry(Kind::Good.told(tls)).or_default() +=
                        u64::from(kind == Kind::EarlyAnswer);
                }
                for number in number + 1..=number + GOOD_FOR_ONE {
                    caller.call_again(&mut kept, number).await;
                    *lines.entry(Kind::Good.told(tls)).or_default() += 1;
                }
            }
            lines
        });
    }
    let mut all = BTreeMap::new();
    while let Some(lines) = tasks.join_next().await {
        for (line, times) in lines.unwrap() {
            *all.entry(line).or_default() += times;
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_held_and_nothing_is_lost_after_thousands_of_calls_that_broke_off() {
    let calls = at_length(20_000, 1_000_000);
    // Before anything is measured. What is kept of the newest requests is full only after hundreds of thousands.
    let warm_up = at_length(8_000, 200_000);
    let world = World::start_with(&[ALLOCATOR]).await;
    let backend = Arc::new(Backend::start().await);
    let acme = world.tenant("acme").await;
    let api = api(&acme, &backend).await;
    let callers = [false, true].map(|tls| Caller::new(&api, backend.clone(), tls));
    let (numbers, mut read) = (Arc::new(AtomicU64::new(1)), 0);

    let mut expected = run(&callers, &numbers, warm_up).await;
    let mut looks = vec![at_rest(&world, &backend, usize::MAX).await];
    let descriptors = looks[0].descriptors;
    println!("before: {:?}", looks[0]);
    for _ in 0..PARTS {
        for (line, times) in run(&callers, &numbers, calls / PARTS).await {
            *expected.entry(line).or_default() += times;
        }
        let held = at_rest(&world, &backend, descriptors).await;
        println!("after {} calls: {held:?}", expected.values().sum::<u64>());
        looks.push(held);
    }
    let calls: u64 = expected.values().sum();

    let mut written = BTreeMap::<Told, u64>::new();
    within(Duration::from_mins(1), "a line of each call in the log", async || {
        for line in world.access_log(&mut read) {
            *written.entry(told(&line)).or_default() += 1;
        }
        (written.values().sum::<u64>() >= calls).then_some(())
    })
    .await;
    assert_eq!(written, expected);
    assert_eq!(world.metric("tollgate_panics_total").await, 0);
    let grown = grown(&looks);
    println!("grown by {} KiB", grown >> 10);
    assert!(grown <= MEMORY_MAX, "{} KiB more than before", grown >> 10);
}
