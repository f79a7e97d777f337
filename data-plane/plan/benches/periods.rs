//! What a quota's periods cost a call: the present one with those beside it, alone and beside another thread that asks for
//! periods of the same zone.

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use criterion::{Criterion, criterion_group, criterion_main};
use plan::{Periods, Unit, time_zone};

/// 2026-11-21.
const NOW: i64 = 1_795_219_200;

fn around(periods: &Periods) {
    black_box(black_box(periods).around(black_box(NOW)));
}

fn periods(c: &mut Criterion) {
    let mut group = c.benchmark_group("periods");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    let zone = |name| time_zone(name).expect("a zone");
    let berlin = || zone("Europe/Berlin");
    for (name, periods) in [
        ("a month in UTC", Periods::calendar(Unit::Month, zone("UTC"))),
        ("a month in Berlin", Periods::calendar(Unit::Month, berlin())),
        ("a month in Berlin from a day on", Periods::anniversary(Unit::Month, berlin(), NOW)),
    ] {
        group.bench_function(name, |bencher| bencher.iter(|| around(&periods)));
    }
    let (one, other) =
        (Periods::calendar(Unit::Month, berlin()), Periods::calendar(Unit::Day, berlin()));
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                around(&other);
            }
        });
        let beside = "a month in Berlin beside another thread";
        group.bench_function(beside, |bencher| bencher.iter(|| around(&one)));
        ended.store(true, Ordering::Relaxed);
    });
    group.finish();
}

criterion_group!(benches, periods);
criterion_main!(benches);
