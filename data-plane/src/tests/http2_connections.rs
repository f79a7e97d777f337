//! Connections to backends that are spoken to in HTTP/2: which a call gets, and what becomes of it where that is refused,
//! leaves, or is none.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use h2::Reason;
use proto::config::v1::{Dialect::Native, ProtocolVersion};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::{
    http2_backends::{Call, caller, next, node, post, streams, whole},
    world::{Answer, TestNode, api, full, proxy_with, raw_origin, read_until},
};

#[tokio::test]
async fn a_refused_stream_is_asked_once_more_with_its_body() {
    let (address, mut calls, _) = streams(|_| {}).await;
    let node = node(address);
    let mut sender = caller(&node).await;
    let serving = async {
        next(&mut calls).await.answer.send_reset(Reason::REFUSED_STREAM);
        let mut call = next(&mut calls).await;
        let body = call.request.body_mut();
        let sent = poll_fn(|cx| body.poll_data(cx)).await.unwrap().unwrap();
        assert_eq!(sent, "message");
        call.ok("served");
    };
    let (answer, ()) = tokio::join!(sender.send_request(post("x", full("message"))), serving);
    assert_eq!(whole(answer.unwrap().into_body()).await.0, "served");

    let serving = async {
        for _ in 0..2 {
            next(&mut calls).await.answer.send_reset(Reason::REFUSED_STREAM);
        }
    };
    let (answer, ()) = tokio::join!(node.call("POST /prod/x", &["content-length: 0"]), serving);
    assert_eq!(answer.json()["code"], "INTEGRATION_FAILURE", "{answer:?}");
    assert!(calls.try_recv().is_err(), "it was asked twice");
}

#[tokio::test]
async fn what_may_have_been_looked_at_is_not_asked_again() {
    let (address, mut calls, _) = streams(|_| {}).await;
    let node = node(address);
    for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL] {
        let serving = async { next(&mut calls).await.answer.send_reset(reason) };
        let post = node.call("POST /prod/x", &["content-length: 0"]);
        let (answer, ()) = tokio::join!(post, serving);
        assert_eq!(answer.status(), 504, "{answer:?}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("The backend reset the stream"), "{message}");
    }
    assert!(calls.try_recv().is_err());
}

/// A frame's head (RFC 9113 §4.1).
fn frame(kind: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, 0, 0, 0, 0, stream], payload].concat()
}

/// A backend whose first connection says GOAWAY to the first call, up to this stream; the others serve.
async fn goes_away(last: u8) -> (SocketAddr, Arc<AtomicUsize>) {
    const HEADERS: u8 = 1;
    let (address, listener) = raw_origin().await;
    let served = Arc::new(AtomicUsize::new(0));
    let count = served.clone();
    tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        first.write_all(&frame(4, 0, &[])).await.unwrap();
        first.read_exact(&mut [0; 24]).await.unwrap();
        loop {
            let mut head = [0; 9];
            first.read_exact(&mut head).await.unwrap();
            let length = usize::from(head[1]) << 8 | usize::from(head[2]);
            first.read_exact(&mut vec![0; length]).await.unwrap();
            if head[3] == HEADERS {
                break;
            }
        }
        first.write_all(&frame(7, 0, &[0, 0, 0, last, 0, 0, 0, 0])).await.unwrap();
        drop(first);
        while let Ok((stream, _)) = listener.accept().await {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, answer))) = connection.accept().await {
                count.fetch_add(1, SeqCst);
                Call { request, answer }.ok("served");
            }
        }
    });
    (address, served)
}

#[tokio::test]
async fn what_a_leaving_backend_did_not_look_at_is_asked_on_a_new_connection() {
    let (address, served) = goes_away(0).await;
    let node = node(address);
    let answer = node.call("POST /prod/x", &["content-length: 0"]).await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    assert!(answer.body().contains("served"));
    assert_eq!((served.load(SeqCst), node.shared.metrics.upstream_connects.get()), (1, 2));
}

#[tokio::test]
async fn what_a_leaving_backend_may_have_looked_at_fails() {
    let (address, served) = goes_away(1).await;
    let node = node(address);
    let answer = node.call("POST /prod/x", &["content-length: 0"]).await;
    assert_eq!(answer.json()["code"], "INTEGRATION_FAILURE", "{answer:?}");
    assert_eq!(served.load(SeqCst), 0);
    assert!(node.get("/prod/x").await.body().contains("served"), "the next one is served");
}

#[tokio::test]
async fn calls_beyond_what_a_connection_takes_get_another() {
    let (address, mut calls, connections) =
        streams(|builder| _ = builder.max_concurrent_streams(2)).await;
    let node = node(address);
    let serving = async {
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(next(&mut calls).await);
        }
        assert_eq!(connections.load(SeqCst), 3);
        for call in held {
            call.ok("ok");
        }
    };
    let asking = futures_util::future::join_all((0..5).map(|_| node.get("/prod/x")));
    let (answers, ()) = tokio::join!(asking, serving);
    assert!(answers.iter().all(|answer: &Answer| answer.status() == 200), "{answers:?}");
}

#[tokio::test]
async fn a_connection_that_its_backend_closed_costs_no_call() {
    let (address, listener) = raw_origin().await;
    let node = node(address);
    for _ in 0..3 {
        let serving = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (request, answer) = connection.accept().await.unwrap().unwrap();
            Call { request, answer }.ok("ok");
            connection.graceful_shutdown();
            while connection.accept().await.is_some() {}
        };
        let post = node.call("POST /prod/x", &["content-length: 0"]);
        let (answer, ()) = tokio::join!(post, serving);
        assert_eq!(answer.status(), 200, "{answer:?}");
    }
}

/// A backend over TLS that offers these protocols, and serves HTTP/2; what proves it.
async fn over_tls(alpn: &[&str]) -> (u16, CertificateDer<'static>) {
    let signed = rcgen::generate_simple_self_signed(["pets.localhost".to_owned()]).unwrap();
    let certificate = signed.cert.der().clone();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let Ok(mut connection) = h2::server::handshake(stream).await else { continue };
            while let Some(Ok((request, answer))) = connection.accept().await {
                assert_eq!(request.uri().scheme_str(), Some("https"));
                Call { request, answer }.ok("served");
            }
        }
    });
    (port, certificate)
}

#[tokio::test]
async fn over_tls_the_backend_must_choose_h2() {
    for (alpn, status) in [(&["http/1.1", "h2"][..], 200), (&["http/1.1"], 504), (&[], 504)] {
        let (port, root) = over_tls(alpn).await;
        let route = proxy_with(format!("https://pets.localhost:{port}/"), |proxy| {
            proxy.set_protocol_version(ProtocolVersion::Http2);
        });
        let node = TestNode::start_with(api(Native, &[("GET /x", route)]), |config| {
            config.backend_roots = vec![root];
        });
        let answer = node.get("/prod/x").await;
        assert_eq!(answer.status(), status, "{alpn:?}: {answer:?}");
        if status == 504 {
            assert_eq!(
                answer.json()["message"],
                "The backend cannot be reached: the host does not choose HTTP/2 (h2 by ALPN)."
            );
        }
    }
}

#[tokio::test]
async fn a_backend_that_speaks_only_http1_is_told_of() {
    let (address, listener) = raw_origin().await;
    let node = node(address);
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        let refusal = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(refusal.as_bytes()).await.unwrap();
        stream
    };
    let (answer, _stream) = tokio::join!(node.get("/prod/x"), serving);
    assert_eq!((answer.status(), &answer.json()["code"]), (504, &"INTEGRATION_FAILURE".into()));
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert_eq!(
        message,
        "The backend does not speak HTTP/2, which is the integration's protocolVersion."
    );
}
