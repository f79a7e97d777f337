//! Binary payloads from both ends: transparent proxies, and functions and fixed answers by AWS's tables.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use proto::config::v1::{
    ContentHandling::{self, ConvertToBinary, ConvertToText, Unspecified},
    Dialect::{self, AwsHttp, AwsRest, Native},
    Function, Http, HttpProxy, IntegrationResponse, Mock,
    PayloadFormatVersion::PayloadFormatVersion10,
    integration,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::world::{API, PATIENCE, TestNode, api_with, full, origin, proxy};

fn node(dialect: Dialect, binary: &[&str], to: integration::Kind) -> TestNode {
    TestNode::start(api_with(dialect, vec![("ANY /", to, false)], |all| {
        let types = binary.iter().map(|it| (*it).to_owned());
        all.1.api.as_mut().unwrap().binary_media_types = types.collect();
    }))
}

/// The status and the body, byte for byte.
async fn call(node: &TestNode, fields: &[&str], body: &[u8]) -> (u16, Vec<u8>) {
    let mut request = format!(
        "POST /prod HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for field in fields {
        request.push_str(field);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(&[request.as_bytes(), body].concat()).await.unwrap();
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    let end = bytes.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let status = std::str::from_utf8(&bytes[9..12]).unwrap().parse().unwrap();
    (status, bytes[end + 4..].to_vec())
}

/// A backend that gives back what it got, in the media type that it came in.
async fn mirror() -> SocketAddr {
    origin(|request: Request<Incoming>| async {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut response = Response::new(full(body));
        for name in ["content-type", "content-encoding"] {
            let value = head.headers.get(name).cloned();
            response.headers_mut().extend(value.map(|it| (HeaderName::from_static(name), it)));
        }
        response
    })
    .await
}

#[tokio::test]
async fn a_proxy_passes_every_byte_both_ways_whatever_its_api_calls_binary() {
    let at = mirror().await;
    let bytes: Vec<u8> = (0..=255_u8).cycle().take(70_000).collect();
    for dialect in [Native, AwsRest, AwsHttp] {
        for binary in [&[][..], &["image/*"], &["*/*"]] {
            let node = node(dialect, binary, proxy(format!("http://{at}/")));
            for fields in [
                &["content-type: image/png", "accept: image/png"][..],
                &["content-type: text/plain; charset=utf-8", "accept: image/png"],
                &["content-type: application/json"],
                &["content-encoding: gzip", "accept: */*"], // what is no gzip at all
            ] {
                let got = call(&node, fields, &bytes).await;
                if dialect == AwsRest && fields[0].starts_with("content-encoding") {
                    assert_eq!(got.0, 415, "REST APIs undo codings");
                    continue;
                }
                assert!(got == (200, bytes.clone()), "{dialect:?} {binary:?} {fields:?}");
            }
        }
    }
}

/// A function that answers with its event's body and whether it says to be base64, and `body` in the place of that.
async fn function(body: &'static str) -> integration::Kind {
    let at = origin(move |request: Request<Incoming>| async move {
        let event = request.into_body().collect().await.unwrap().to_bytes();
        let event: Value = serde_json::from_slice(&event).unwrap();
        let told = format!("{} {}", event["body"], event["isBase64Encoded"]);
        let answer = json!({
            "statusCode": 200, "headers": { "x-told": told }, "body": body, "isBase64Encoded": true,
        });
        let mut response = Response::new(full(answer.to_string()));
        let media_type = HeaderValue::from_static("application/json");
        response.headers_mut().insert("content-type", media_type);
        response
    })
    .await;
    integration::Kind::Function(Function {
        backend: Some(HttpProxy { uri: format!("http://{at}/"), ..HttpProxy::default() }),
        payload_format_version: PayloadFormatVersion10.into(),
    })
}

#[tokio::test]
async fn a_functions_base64_becomes_bytes_for_whom_the_dialect_says() {
    let to = function("iVBORw==").await;
    let (bytes, base64) = (&b"\x89PNG"[..], &b"iVBORw=="[..]);
    for (dialect, binary, accept, expected) in [
        (Native, &[][..], "accept: text/html", bytes),
        (AwsHttp, &[][..], "accept: text/html", bytes),
        (AwsRest, &[][..], "accept: image/png", base64),
        (AwsRest, &["image/png"][..], "accept: image/png", bytes),
        (AwsRest, &["image/png"][..], "accept: image/png;q=0.1, text/html", bytes),
        (AwsRest, &["image/png"][..], "accept: text/html, image/png", base64),
        (AwsRest, &["image/png"][..], "accept: */*", base64),
        (AwsRest, &["image/png"][..], "x-none: 1", base64),
        (AwsRest, &["image/*"][..], "accept: image/webp", bytes),
        (AwsRest, &["*/*"][..], "accept: text/html", bytes),
        (AwsRest, &["*/*"][..], "x-none: 1", bytes),
    ] {
        let node = node(dialect, binary, to.clone());
        let got = call(&node, &[accept], b"").await;
        assert_eq!(got, (200, expected.to_vec()), "{dialect:?} {binary:?} {accept}");
    }
}

#[tokio::test]
async fn base64_that_is_none_is_the_fault_of_the_api_in_aws_rest_and_elsewhere_of_the_function() {
    let to = function("no base64!").await;
    for (dialect, status, code) in [
        (AwsRest, 500, "Internal server error"),
        (Native, 502, "base64"),
        (AwsHttp, 500, "Internal Server Error"),
    ] {
        let node = node(dialect, &["*/*"], to.clone());
        let (got, body) = call(&node, &[], b"").await;
        assert_eq!(got, status, "{dialect:?}");
        assert!(String::from_utf8_lossy(&body).contains(code), "{dialect:?}");
    }
}

/// Each row of the request's table that changes something, and those beside it, by what the backend gets.
#[tokio::test]
async fn a_custom_integrations_backend_gets_bodies_as_the_table_says() {
    let got = Arc::new(Mutex::new(Vec::new()));
    let keeping = got.clone();
    let at = origin(move |request: Request<Incoming>| {
        let keeping = keeping.clone();
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            *keeping.lock().unwrap() = body.to_vec();
            Response::new(full(""))
        }
    })
    .await;
    let (png, text) = ("content-type: image/png", "content-type: text/plain");
    let (raw, base64, mangled) = (&b"\xffa"[..], &b"/2E="[..], "\u{fffd}a".as_bytes());
    for (dialect, binary, kind, handling, body, expected) in [
        (AwsRest, &[][..], png, Unspecified, raw, Ok(mangled)),
        (AwsRest, &[], png, ConvertToText, raw, Ok(mangled)),
        (AwsRest, &[], text, ConvertToBinary, base64, Ok(raw)),
        (AwsRest, &["image/*"], text, Unspecified, raw, Ok(raw)),
        (AwsRest, &["image/*"], text, ConvertToBinary, base64, Ok(raw)),
        (AwsRest, &["image/*"], text, ConvertToBinary, b"no!", Err(500)),
        (AwsRest, &["image/*"], png, Unspecified, raw, Ok(raw)),
        (AwsRest, &["image/*"], png, ConvertToBinary, raw, Ok(raw)),
        (AwsRest, &["image/*"], png, ConvertToText, raw, Ok(base64)),
        (Native, &["image/*"], png, Unspecified, raw, Ok(raw)),
        (Native, &[], png, Unspecified, raw, Ok(raw)),
        (Native, &["image/*"], png, ConvertToText, raw, Ok(base64)),
        (AwsHttp, &[], text, ConvertToBinary, base64, Ok(raw)),
        (AwsHttp, &[], text, ConvertToBinary, b"no!", Err(500)),
    ] {
        let backend = HttpProxy { uri: format!("http://{at}/"), ..HttpProxy::default() };
        let content_handling = handling.into();
        let to = Http { backend: Some(backend), content_handling, ..Http::default() };
        let node = node(dialect, binary, integration::Kind::Http(to));
        let (status, _) = call(&node, &[kind], body).await;
        let got = std::mem::take(&mut *got.lock().unwrap());
        let expected = expected.map_or_else(|status| (status, &b""[..]), |body| (200, body));
        assert_eq!((status, &got[..]), expected, "{dialect:?} {binary:?} {kind} {handling:?}");
    }
}

/// The same of the answer's.
#[tokio::test]
async fn a_custom_integrations_callers_get_bodies_as_the_table_says() {
    let at = mirror().await;
    let (png, text) = ("image/png", "text/plain");
    let (raw, base64, mangled) = (&b"\xffa"[..], &b"/2E="[..], "\u{fffd}a".as_bytes());
    let image = &["image/*"][..];
    for (dialect, binary, kind, accept, handling, body, expected) in [
        (AwsRest, &[][..], text, text, Unspecified, raw, Ok(mangled)),
        (AwsRest, &[], png, png, ConvertToBinary, base64, Ok(raw)),
        (AwsRest, &[], png, png, ConvertToText, raw, Ok(mangled)),
        (AwsRest, image, text, text, Unspecified, raw, Ok(raw)),
        (AwsRest, image, text, text, ConvertToBinary, base64, Ok(raw)),
        (AwsRest, image, text, text, ConvertToText, raw, Ok(mangled)),
        (AwsRest, image, text, png, Unspecified, base64, Ok(raw)),
        (AwsRest, image, text, png, Unspecified, b"no!", Err(500)),
        (AwsRest, image, text, png, ConvertToBinary, base64, Ok(raw)),
        (AwsRest, image, text, png, ConvertToText, raw, Ok(mangled)),
        (AwsRest, image, png, text, Unspecified, raw, Ok(base64)),
        (AwsRest, image, png, text, ConvertToBinary, raw, Ok(raw)),
        (AwsRest, image, png, text, ConvertToText, raw, Ok(base64)),
        (AwsRest, image, png, png, Unspecified, raw, Ok(raw)),
        (AwsRest, image, png, png, ConvertToBinary, raw, Ok(raw)),
        (AwsRest, image, png, png, ConvertToText, raw, Ok(base64)),
        (Native, &[], text, text, Unspecified, raw, Ok(raw)),
        (Native, image, png, text, Unspecified, raw, Ok(raw)),
        (Native, image, png, text, ConvertToText, raw, Ok(base64)),
        (AwsHttp, &[], text, text, ConvertToBinary, b"no!", Err(500)),
    ] {
        let uri = format!("http://{at}/");
        // Without binary media types bodies are text on their way there, too.
        let encoded = dialect == AwsRest && binary.is_empty();
        let content_handling = if encoded { ConvertToBinary } else { Unspecified }.into();
        let to = Http {
            backend: Some(HttpProxy { uri, ..HttpProxy::default() }),
            content_handling,
            responses: vec![IntegrationResponse {
                status_code: 200,
                content_handling: handling.into(),
                ..IntegrationResponse::default()
            }],
            ..Http::default()
        };
        let node = node(dialect, binary, integration::Kind::Http(to));
        let fields = [&*format!("content-type: {kind}"), &*format!("accept: {accept}")];
        let sent = if encoded { STANDARD.encode(body).into() } else { body.to_vec() };
        let (status, got) = call(&node, &fields, &sent).await;
        let what = format!("{dialect:?} {binary:?} {kind} {accept} {handling:?}");
        match expected {
            Ok(body) => assert_eq!((status, &got[..]), (200, body), "{what}"),
            Err(code) => assert_eq!(status, code, "{what}"),
        }
    }
}

/// What is compressed is no text, whatever its media type.
#[tokio::test]
async fn what_is_compressed_is_not_made_text_of() {
    let at = origin(|_| async {
        let mut response = Response::new(full(&b"\xffa"[..]));
        response.headers_mut().insert("content-encoding", HeaderValue::from_static("br"));
        response
    })
    .await;
    let backend = Some(HttpProxy { uri: format!("http://{at}/"), ..HttpProxy::default() });
    let node = node(AwsRest, &[], integration::Kind::Http(Http { backend, ..Http::default() }));
    let (status, got) = call(&node, &["accept-encoding: br"], b"").await;
    assert_eq!((status, &got[..]), (200, &b"\xffa"[..]));
}

#[tokio::test]
async fn a_fixed_answer_is_converted_as_the_tables_say() {
    let mock = |body: &str, handling: ContentHandling| {
        integration::Kind::Mock(Mock {
            status: 200,
            body: body.into(),
            content_handling: handling.into(),
            ..Mock::default()
        })
    };
    let (png, html) = ("accept: image/png", "accept: text/html");
    for (dialect, binary, accept, body, handling, expected) in [
        (AwsRest, &[][..], png, "aGk=", Unspecified, Ok("aGk=")),
        (AwsRest, &[][..], png, "aGk=", ConvertToBinary, Ok("hi")),
        (AwsRest, &[][..], png, "aGk=", ConvertToText, Ok("aGk=")),
        (AwsRest, &["image/png"][..], html, "aGk=", Unspecified, Ok("aGk=")),
        (AwsRest, &["image/png"][..], html, "aGk=", ConvertToBinary, Ok("hi")),
        (AwsRest, &["image/png"][..], png, "aGk=", Unspecified, Ok("hi")),
        (AwsRest, &["image/png"][..], png, "aGk=", ConvertToText, Ok("aGk=")),
        (AwsRest, &["image/png"][..], png, "{}", Unspecified, Err(500)),
        (AwsRest, &["*/*"][..], html, "{}", Unspecified, Err(500)),
        (AwsRest, &["*/*"][..], html, "{}", ConvertToText, Ok("{}")),
        (AwsRest, &["*/*"][..], html, "", Unspecified, Ok("")),
        (Native, &["*/*"][..], png, "{}", Unspecified, Ok("{}")),
        (Native, &[][..], html, "aGk=", ConvertToBinary, Ok("hi")),
        (AwsHttp, &[][..], html, "{}", ConvertToBinary, Err(500)),
    ] {
        let node = node(dialect, binary, mock(body, handling));
        let (status, got) = call(&node, &[accept], b"").await;
        match expected {
            Ok(text) => assert_eq!((status, &got[..]), (200, text.as_bytes()), "{accept} {body}"),
            Err(code) => assert_eq!(status, code, "{accept} {body}"),
        }
    }
}
