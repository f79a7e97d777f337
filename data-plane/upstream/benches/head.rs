//! What the head of a request costs to write, that of an answer to read, and a chunked body to put together.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method, uri::PathAndQuery};
use upstream::{Chunked, Length, answer, request};

/// As a gateway sends it: the caller's fields and its own.
const FIELDS: [(&str, &str); 9] = [
    ("host", "pets.internal:8080"),
    ("user-agent", "curl/8.14.1"),
    ("accept", "*/*"),
    ("x-api-key", "tg_live_00000000000000000000000000000000000001"),
    ("x-forwarded-for", "192.0.2.7"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "abcdefghi1.execute-api.example.com"),
    ("x-request-id", "0199a0c2-7d52-7c7e-b6f2-7a1f4c7d9f10"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
];

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 22 Nov 2026 05:00:00 GMT\r\n\
    Content-Type: application/json\r\nContent-Length: 1024\r\nLast-Modified: Sun, 22 Nov 2026 04:00:00 GMT\r\n\
    Connection: keep-alive\r\nETag: \"6921e0a0-400\"\r\nAccept-Ranges: bytes\r\n\r\n";

fn heads(criterion: &mut Criterion) {
    let fields = FIELDS
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let headers = HeaderMap::from_iter(fields);
    let target = PathAndQuery::from_static("/v1/pets/12?page=2");
    let mut out = BytesMut::new();
    criterion.bench_function("request head, 9 fields, written", |bencher| {
        bencher.iter(|| {
            out.clear();
            request::encode(&mut out, &Method::GET, &target, black_box(&headers), Length::None);
            black_box(&out);
        });
    });
    let mut buffer = BytesMut::new();
    criterion.bench_function("answer head, 8 fields, read", |bencher| {
        bencher.iter(|| {
            buffer.reserve(ANSWER.len());
            buffer.extend_from_slice(ANSWER);
            black_box(answer::parse(&mut buffer, &mut 0).expect("a good head"));
        });
    });
}

fn chunks(criterion: &mut Criterion) {
    const CHUNK_BYTES: usize = 4096;
    let body =
        format!("{CHUNK_BYTES:x}\r\n{}\r\n", "x".repeat(CHUNK_BYTES)).repeat(16) + "0\r\n\r\n";
    let mut group = criterion.benchmark_group("chunked body");
    group.throughput(Throughput::Bytes(body.len() as u64));
    let mut buffer = BytesMut::new();
    group.bench_function("16 chunks of 4 KiB", |bencher| {
        bencher.iter(|| {
            buffer.extend_from_slice(body.as_bytes());
            let mut chunked = Chunked::default();
            while let Some(piece) = chunked.take(&mut buffer).expect("a good body") {
                black_box(piece);
            }
            assert!(chunked.is_ended());
        });
    });
    group.finish();
}

criterion_group!(benches, heads, chunks);
criterion_main!(benches);
