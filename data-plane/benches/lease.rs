//! What a throttle costs: a call that finds a token in its node's lease, alone and beside another thread that takes from
//! the same one; and the question to Redis that fills it, there and back. The latter needs a Redis: `REDIS_URL`, or the
//! one on port 6399.

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use criterion::{Criterion, criterion_group, criterion_main};
use lease::{Answer, Bucket, Lease, TTL_US, Take};
use redis::Script;
use rustix::time::{ClockId, clock_gettime};

const BUCKET: Bucket = Bucket { rate: 1e9, burst: u32::MAX };

/// A lease with more tokens than a bench takes.
fn full() -> Lease {
    let lease = Lease::new(0);
    let ask = lease.ask(1, 1, 0).expect("the first question");
    lease.credit(&ask, &Answer::from_store([u32::MAX.into(), 0, 0, 1, 0, -1]), BUCKET, 1);
    lease
}

fn take(lease: &Lease) {
    // As a request does it: the clock is read, whatever it says.
    black_box(clock_gettime(ClockId::Boottime));
    let Take::Taken(token) = black_box(lease).take(black_box(2)) else { panic!("a full lease") };
    lease.spend(token);
}

fn by_lease(c: &mut Criterion) {
    let mut group = c.benchmark_group("lease");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    let lease = full();
    group.bench_function("take a token", |bencher| bencher.iter(|| take(&lease)));
    let (lease, stop) = (full(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                take(&lease);
            }
        });
        group.bench_function("take a token beside another thread", |bencher| {
            bencher.iter(|| take(&lease));
        });
        stop.store(true, Ordering::Relaxed);
    });
    group.finish();
}

fn by_redis(c: &mut Criterion) {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6399/5".to_owned());
    let client = redis::Client::open(url).expect("a Redis URL");
    let mut redis = client.get_connection().expect("a Redis");
    let key = format!("bench:{{{}}}", std::process::id());
    let mut group = c.benchmark_group("redis");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    let exchange = Script::new(lease::script::EXCHANGE);
    let mut number = 0;
    group.bench_function("ask for 100 tokens", |bencher| {
        bencher.iter(|| {
            number += 1;
            let mut call = exchange.key(&key);
            call.arg(1e6).arg(1_000_000).arg("node").arg(number).arg(0).arg(0).arg(100);
            call.arg(0).arg(1).arg(1000).arg(TTL_US);
            call.invoke::<[i64; 6]>(&mut redis).expect("an answer")
        });
    });
    let take = Script::new(lease::script::TAKE);
    group.bench_function("take one token", |bencher| {
        bencher.iter(|| {
            let mut call = take.key(&key);
            call.arg(1e6).arg(1_000_000);
            call.invoke::<[i64; 4]>(&mut redis).expect("an answer")
        });
    });
    group.finish();
    let _: i64 = redis::cmd("DEL").arg(&key).query(&mut redis).expect("an answer");
}

criterion_group!(benches, by_lease, by_redis);
criterion_main!(benches);
