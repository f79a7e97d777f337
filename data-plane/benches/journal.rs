//! What counting costs a request: `begin` and `finish`, names known, a segment sealed each 10,000 requests.

use criterion::{Criterion, criterion_group, criterion_main};
use data_plane::counter::{Journal, Names, Outcome, Settings};

fn journal(c: &mut Criterion) {
    let dir = std::env::temp_dir().join(format!("tollgate-bench-{}", std::process::id()));
    let (journal, mut counters) =
        Journal::open(Settings::new(dir.clone(), 1), 0).expect("a writable directory");
    let mut counter = counters.pop().expect("one thread");
    let routes: Vec<String> =
        (0..100).map(|route| format!("GET /pets/{route}/toys/{{toy}}")).collect();
    let outcome =
        Outcome { ended_ms: 1, status: 200, bytes_in: 300, bytes_out: 1200, ..Outcome::default() };
    let mut requests = 0_usize;

    c.bench_function("count a request", |bencher| {
        bencher.iter(|| {
            let names = Names {
                cell: "default",
                tenant_id: "0198a0f2-8b11-7c3e-9d52-3f1f6a7e5b01",
                consumer_id: "0198a0f2-8b11-7c3e-9d52-3f1f6a7e5b02",
                api_id: "k3v9x0q2ab",
                stage: "prod",
                route: &routes[requests % routes.len()],
                api_key_id: "a1b2c3d4e5",
                usage_plan_id: "z9y8x7w6v5",
            };
            let slot = counter.begin(&names, 0).expect("room");
            counter.finish(slot, &outcome);
            requests += 1;
            if requests.is_multiple_of(10_000) {
                counter.tick(1);
            }
        });
    });

    drop(counter);
    drop(journal);
    let _ = std::fs::remove_dir_all(dir);
}

criterion_group!(benches, journal);
criterion_main!(benches);
