//! What a web app is for, and what each call must see of it, whatever language and adapter it is deployed with.

use harness::client::Answer;
use harness::tenant::Api;
use serde_json::{Value, json};

use super::Shape;
use super::hosts::Host;

struct Call {
    method: &'static str,
    path: &'static str,
    fields: &'static [(&'static str, &'static str)],
    body: Vec<u8>,
    status: u16,
    /// Fields of the answer, each with all of its values; those of media types and cookies without their parameters.
    has: Vec<(&'static str, &'static [&'static str])>,
    seen: Seen,
}

enum Seen {
    Json(Value),
    Bytes(Vec<u8>),
    /// A page of the framework's.
    Any,
}

const PLAIN: Call = Call {
    method: "GET",
    path: "/",
    fields: &[],
    body: Vec::new(),
    status: 200,
    has: Vec::new(),
    seen: Seen::Any,
};

fn table(host: &Host, shape: Shape, origin: &str) -> Vec<Call> {
    let cat = json!({ "name": "Tom", "friend": "Jérôme" });
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    vec![
        Call {
            path: "/pets/tom%20cat?q=1&q=a%26b",
            fields: &[("cookie", "a=1; b=2"), ("x-many", "one"), ("x-many", "two")],
            has: vec![
                ("content-type", &["application/json"]),
                ("x-seen", host.many_answered.by(shape)),
            ],
            seen: Seen::Json(json!({
                "name": "tom cat",
                "q": ["1", "a&b"],
                "cookies": { "a": "1", "b": "2" },
                "many": host.many_told.by(shape),
                "client": "127.0.0.1",
                "origin": origin,
                "stage": shape.stage(),
                "proxy": "pets/tom cat",
            })),
            ..PLAIN
        },
        Call {
            method: "POST",
            path: "/pets",
            fields: &[("content-type", "application/json")],
            body: cat.to_string().into_bytes(),
            status: 201,
            has: vec![
                ("content-type", &["application/json"]),
                ("set-cookie", &["first=1", "second=2"]),
            ],
            seen: Seen::Json(cat),
        },
        Call {
            method: "PUT",
            path: "/turned",
            fields: &[("content-type", "image/png")],
            seen: Seen::Bytes(bytes.iter().rev().copied().collect()),
            body: bytes,
            has: vec![("content-type", &["application/octet-stream"])],
            ..PLAIN
        },
        Call {
            path: "/image",
            has: vec![("content-type", &["image/png"])],
            seen: Seen::Bytes(b"\x89PNG\r\n\x1a\n\0\xff".to_vec()),
            ..PLAIN
        },
        Call { path: "/moved", status: 303, has: vec![("location", &["/pets/tom"])], ..PLAIN },
        Call { path: "/nothing", status: 404, ..PLAIN },
        // The app's own answer, and not the node's.
        Call { path: "/crash", status: 500, has: vec![("x-amzn-errortype", &[])], ..PLAIN },
    ]
}

/// By an API whose function is at `host`, and has its events in that shape.
pub(super) async fn everything(api: &Api<'_>, shape: Shape, host: &Host) {
    let client = api.client();
    let at = |path| format!("{}{path}", shape.base_path());
    for call in table(host, shape, &format!("http://{}", api.host())) {
        let asked = call.fields.iter().fold(
            client.call(call.method, &at(call.path)).body(call.body),
            |asked, (name, value)| asked.header(name, value),
        );
        let answer = asked.await.expect(call.status);
        for (name, values) in call.has {
            assert_eq!(values_of(&answer, name), values, "{name} of {} by {shape:?}", call.path);
        }
        match call.seen {
            Seen::Json(expected) => {
                assert_eq!(answer.json(), expected, "{} by {shape:?}", call.path);
            }
            Seen::Bytes(expected) => {
                assert!(answer.bytes() == expected, "the body of {} by {shape:?}", call.path);
            }
            Seen::Any => {}
        }
    }
    for failure in host.failures {
        let refused = client.get(&at(failure)).await.expect(502).json();
        let (field, told) = match shape {
            Shape::Rest => ("message", "Internal server error"),
            Shape::V1 | Shape::V2 => ("code", "FUNCTION_FAILURE"),
        };
        assert_eq!(refused[field], told, "{failure} by {shape:?}: {refused}");
    }
    // A function that failed serves on.
    client.get(&at("/image")).await.expect(200);
}

/// One that came joined, as 2.0 tells several, is split.
fn values_of<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    let sent = answer.headers(name).into_iter();
    let parts = sent.flat_map(|value| value.split(';').next().unwrap_or_default().split(','));
    parts.map(str::trim).collect()
}
