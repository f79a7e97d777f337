//! What counting costs a request: `begin` and `finish` with names known, and its share of sealing a segment each
//! 10,000 requests. It is the thread's CPU time, kernel included, so that a busy machine gives the same figure.

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use data_plane::counter::{Journal, Names, Outcome, Settings};
use rustix::time::{ClockId, clock_gettime};

const SEGMENT_REQUESTS: u64 = 10_000;

fn journal(c: &mut Criterion) {
    let dir = std::env::temp_dir().join(format!("tollgate-bench-{}", std::process::id()));
    let (journal, mut counters) =
        Journal::open(Settings::new(dir.clone(), 1), 0).expect("a writable directory");
    let mut counter = counters.pop().expect("one thread");
    let routes: Vec<String> =
        (0..100).map(|route| format!("GET /pets/{route}/toys/{{toy}}")).collect();
    let outcome =
        Outcome { ended_ms: 1, status: 200, bytes_in: 300, bytes_out: 1200, ..Outcome::default() };
    let mut sealed = 0;

    let mut group = c.benchmark_group("journal");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    group.bench_function("count a request", |bencher| {
        bencher.iter_custom(|requests| {
            let mut spent = Duration::ZERO;
            let mut left = requests;
            while left > 0 {
                let now = left.min(SEGMENT_REQUESTS);
                left -= now;
                let started = cpu_time();
                for route in
                    routes.iter().cycle().take(usize::try_from(now).expect("10,000 at most"))
                {
                    let names = Names {
                        cell: "default",
                        tenant_id: "0198a0f2-8b11-7c3e-9d52-3f1f6a7e5b01",
                        consumer_id: "0198a0f2-8b11-7c3e-9d52-3f1f6a7e5b02",
                        api_id: "k3v9x0q2ab",
                        stage: "prod",
                        route,
                        api_key_id: "a1b2c3d4e5",
                        usage_plan_id: "z9y8x7w6v5",
                    };
                    let slot = counter.begin(black_box(&names), 0).expect("room");
                    counter.finish(slot, black_box(&outcome));
                }
                counter.tick(1);
                spent += cpu_time().saturating_sub(started);
                sealed += 1;
                while journal.metrics().sealed.get() < sealed {
                    std::thread::yield_now();
                }
            }
            spent
        });
    });
    group.finish();

    drop(counter);
    drop(journal);
    let _ = std::fs::remove_dir_all(dir);
}

fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a clock that counts up")
}

criterion_group!(benches, journal);
criterion_main!(benches);
