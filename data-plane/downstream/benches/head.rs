//! What the head of a request costs to read, that of an answer to write, and what a chunked body costs to take apart.

use std::{hint::black_box, time::SystemTime};

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use downstream::{Asked, Limits, date, request};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use http_body::SizeHint;
use http1::{Framing, Piece};

const LIMITS: Limits = Limits { line_bytes_max: 32 * 1024, head_bytes_max: 64 * 1024 };

/// As a caller with a key sends it, and as a browser does.
const REQUESTS: [(&str, &str); 2] = [
    (
        "request head, 5 fields, read",
        "GET /v1/pets/12?page=2 HTTP/1.1\r\nHost: abcdefghi1.execute-api.example.com\r\nUser-Agent: curl/8.14.1\r\n\
         Accept: */*\r\nX-Api-Key: tg_live_00000000000000000000000000000000000001\r\n\
         traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
    ),
    (
        "request head, 12 fields, read",
        "POST /v1/pets HTTP/1.1\r\nHost: abcdefghi1.execute-api.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; \
         rv:140.0) Gecko/20100101 Firefox/140.0\r\nAccept: application/json\r\nAccept-Language: en-US,en;q=0.5\r\n\
         Accept-Encoding: gzip, deflate, br, zstd\r\nReferer: https://shop.example.com/pets\r\nContent-Type: application/json\r\n\
         Content-Length: 2\r\nOrigin: https://shop.example.com\r\nConnection: keep-alive\r\nX-Api-Key: \
         tg_live_00000000000000000000000000000000000001\r\nSec-Fetch-Mode: cors\r\n\r\n",
    ),
];

const ANSWER: [(&str, &str); 8] = [
    ("server", "nginx/1.22.1"),
    ("date", "Sun, 22 Nov 2026 05:00:00 GMT"),
    ("content-type", "application/json"),
    ("content-length", "1024"),
    ("last-modified", "Sun, 22 Nov 2026 04:00:00 GMT"),
    ("etag", "\"6921e0a0-400\""),
    ("accept-ranges", "bytes"),
    ("x-request-id", "0199a0c2-7d52-7c7e-b6f2-7a1f4c7d9f10"),
];

fn heads(criterion: &mut Criterion) {
    let mut buffer = BytesMut::new();
    for (name, text) in REQUESTS {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                buffer.reserve(text.len());
                buffer.extend_from_slice(text.as_bytes());
                let read = request::parse(&mut buffer, &mut request::Progress::default(), LIMITS);
                black_box(read.expect("a good head"));
            });
        });
    }
    let fields = ANSWER
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let headers = HeaderMap::from_iter(fields);
    let asked = Asked { is_head: false, version: Version::HTTP_11 };
    let body = SizeHint::with_exact(1024);
    let mut out = BytesMut::new();
    criterion.bench_function("answer head, 8 fields, written", |bencher| {
        bencher.iter(|| {
            out.clear();
            asked.encode(&mut out, StatusCode::OK, black_box(&headers), &body, true);
            black_box(&out);
        });
    });
    criterion.bench_function("date", |bencher| {
        bencher.iter(|| date::with(black_box(SystemTime::now()), str::len));
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
            let mut framing = Framing::Chunked(http1::Chunked::default());
            while let Some(Piece::Data(data)) = framing.take(&mut buffer).expect("a good body") {
                black_box(data);
            }
            assert!(framing.is_ended());
        });
    });
    group.finish();
}

criterion_group!(benches, heads, chunks);
criterion_main!(benches);
