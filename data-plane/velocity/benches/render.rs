//! Parsing a template of some 2 KB, and rendering it over a body of some 4 KB. The median goes to the last lines.

use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use serde_json::{Map, Value, json};
use velocity::{Limits, Options, Program, Progress, Render};

const TEMPLATE: &str = include_str!("order.vtl");

fn context() -> Map<String, Value> {
    let item = |number: u32| {
        json!({
            "sku": format!("SKU-{number:05}"), "name": format!("Item \"{number}\" of the catalogue"),
            "quantity": number % 7 + 1, "price": f64::from(number) + 0.25,
            "tags": ["new", "fragile", "gift"], "dimensions": {"w": 10, "h": 20, "d": number},
        })
    };
    let body = json!({
        "id": "7f9c2ba4-e88f-4d2e-8b6f-000000000001", "customer": {"id": 42, "name": "Grüße & Söhne",
        "email": "someone@example.com", "address": {"street": "Main 1", "city": "Town", "zip": "12345"}},
        "items": (1..=22).map(item).collect::<Vec<_>>(), "note": null, "express": true,
    });
    Map::from_iter([("body".to_owned(), body), ("stage".to_owned(), json!("prod"))])
}

fn render(program: &Program, context: &Map<String, Value>, out: &mut String) {
    out.clear();
    let mut render = Render::new(program, context, Limits::default());
    assert_eq!(render.run(out, u64::MAX), Ok(Progress::Done));
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..5000)
        .map(|_| {
            let began = Instant::now();
            work();
            began.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

fn main() {
    let context = context();
    let bytes = serde_json::to_string(&context["body"]).map_or(0, |text| text.len());
    let mut summary = String::new();
    let program = match Program::parse(TEMPLATE, Options::AWS) {
        Ok(program) => program,
        Err(error) => panic!("{error}"),
    };
    let mut out = String::new();
    render(&program, &context, &mut out);
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("parse", |bencher| {
        bencher.iter(|| Program::parse(black_box(TEMPLATE), Options::AWS));
    });
    criterion.bench_function("render", |bencher| {
        bencher.iter(|| render(black_box(&program), &context, &mut out));
    });
    // Whoever only lists the benches, or runs them as tests, wants no figures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let parse = median(|| drop(black_box(Program::parse(black_box(TEMPLATE), Options::AWS))));
    let rendered = median(|| render(black_box(&program), &context, &mut out));
    let both = median(|| {
        if let Ok(program) = Program::parse(black_box(TEMPLATE), Options::AWS) {
            render(&program, &context, &mut out);
        }
    });
    for (what, time) in [("parse", parse), ("render", rendered), ("parse and render", both)] {
        let written = writeln!(summary, "{what}: p50 {:.1} us", time.as_secs_f64() * 1e6);
        assert!(written.is_ok(), "a string takes everything");
    }
    println!(
        "template {} bytes, body {bytes} bytes, output {} bytes\n{summary}",
        TEMPLATE.len(),
        out.len()
    );
}
