//! What a call's route costs among 100 and among 100,000: the table built, a path normalized, and its route found, or none.

use std::{
    cell::Cell,
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use http::Method;
use plan::{
    Found, Precedence, RouteKey, Router, TrailingSlash,
    path::{Normalization, normalize},
};

/// Routes below one service.
const SERVICE_ROUTES: usize = 100;

/// As a large API has them: services, and in each some resources with a variable.
fn route(number: usize) -> RouteKey {
    let (service, resource) = (number / SERVICE_ROUTES, number % SERVICE_ROUTES);
    RouteKey::parse("GET", &format!("/services/s{service}/r{resource}/{{id}}")).expect("a route")
}

fn path(number: usize) -> String {
    let (service, resource) = (number / SERVICE_ROUTES, number % SERVICE_ROUTES);
    format!("/services/s{service}/r{resource}/{number}")
}

/// What single matches cost: each path once, in an order that memory's caches do not know. The clock's own time is in it.
fn tell_percentiles(what: &str, router: &Router, paths: &[String]) {
    let mut took: Vec<_> = (0..paths.len())
        .map(|number| {
            let path = &paths[number * 7_919 % paths.len()];
            let began = Instant::now();
            let found = black_box(router.find(black_box(&Method::GET), path));
            let took = began.elapsed();
            assert!(matches!(found, Found::Route { .. }));
            took
        })
        .collect();
    took.sort_unstable();
    let at = |share: usize| took[(took.len() - 1) * share / 1000];
    println!("{what}: p50 {:?}, p99 {:?}, p99.9 {:?}", at(500), at(990), at(999));
}

fn routes(c: &mut Criterion) {
    // By `cargo bench`; a test runner asks for the names alone.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let mut group = c.benchmark_group("router");
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    // Where this is only tried, and not measured, few are enough.
    let most = if is_measured { 100_000 } else { 1_000 };
    for (precedence, name) in [(Precedence::Http, "HTTP"), (Precedence::Rest, "REST")] {
        for count in [100, most] {
            let keys: Vec<_> = (0..count).map(route).collect();
            let build = || Router::build(&keys, precedence, TrailingSlash::Strict);
            let router = build().expect("a table");
            // Others each time, so that the memory's caches hold few of them.
            let (paths, number): (Vec<_>, _) = ((0..count).map(path).collect(), Cell::new(0));
            let next = || {
                number.set((number.get() + 7_919) % count);
                number.get()
            };
            group.bench_function(format!("{name}, a route among {count}"), |bencher| {
                bencher.iter(|| {
                    let expected = next();
                    let found = router.find(black_box(&Method::GET), &paths[expected]);
                    assert!(matches!(found, Found::Route { index, .. } if index == expected));
                });
            });
            if is_measured {
                tell_percentiles(&format!("{name}, a route among {count}"), &router, &paths);
            }
            let others: Vec<_> = paths.iter().map(|path| format!("{path}/none")).collect();
            group.bench_function(format!("{name}, none among {count}"), |bencher| {
                bencher.iter(|| {
                    let found = router.find(black_box(&Method::GET), &others[next()]);
                    assert!(matches!(found, Found::NotFound));
                });
            });
            group.bench_function(format!("{name}, a table of {count} built"), |bencher| {
                bencher.iter(|| black_box(build()).is_ok());
            });
        }
    }
    for (name, path) in [
        ("a plain path normalized", "/services/s12/r34/5678"),
        ("an encoded path normalized", "/services/s%2012/./r34//5678"),
    ] {
        group.bench_function(name, |bencher| {
            bencher
                .iter(|| black_box(normalize(black_box(path), Normalization::Normalize)).is_ok());
        });
    }
    group.finish();
}

criterion_group!(benches, routes);
criterion_main!(benches);
