//! Exchanges inside TLS, where a write may be kept and an end may be a lie.

use std::{future::poll_fn, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, uri::PathAndQuery};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivatePkcs8KeyDer, ServerName},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use upstream::{BoxError, Connection, Error, Length, Sending, request};

const LARGE: usize = 1 << 20;

/// Both ends of a connection whose pipe holds less than one record.
async fn ends() -> (client::TlsStream<DuplexStream>, server::TlsStream<DuplexStream>) {
    let name = "backend.test".to_owned();
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.clone()]).expect("a certificate");
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let theirs = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .expect("a certificate and its key");
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a root");
    let ours = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (near, far) = tokio::io::duplex(4096);
    let name = ServerName::try_from(name).expect("a name");
    let (ours, theirs) = tokio::join!(
        TlsConnector::from(Arc::new(ours)).connect(name, near),
        TlsAcceptor::from(Arc::new(theirs)).accept(far),
    );
    (ours.expect("a handshake"), theirs.expect("a handshake"))
}

type Body = UnsyncBoxBody<Bytes, BoxError>;

fn post(bytes: usize) -> Sending<Body> {
    let (body, length) = if bytes == 0 {
        (Empty::new().map_err(Into::into).boxed_unsync(), Length::None)
    } else {
        let body = Full::from(vec![b'u'; bytes]).map_err(Into::into).boxed_unsync();
        (body, Length::Exact(bytes as u64))
    };
    let mut head = BytesMut::new();
    let target = PathAndQuery::from_static("/");
    request::encode(&mut head, &Method::POST, &target, &HeaderMap::new(), length);
    Sending::new(head, body, length)
}

async fn exchange(
    connection: &mut Connection<client::TlsStream<DuplexStream>>,
    mut request: Sending<Body>,
) -> Result<usize, Error> {
    connection.begin(BytesMut::new());
    poll_fn(|cx| connection.poll_answer(cx, &mut request, false)).await?;
    let mut bytes = 0;
    while let Some(frame) = poll_fn(|cx| connection.poll_frame(cx)).await {
        bytes += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(bytes)
}

/// Reads a request with so long a body.
async fn read(stream: &mut server::TlsStream<DuplexStream>, bytes: usize) {
    let (mut read, mut buffer) = (Vec::new(), vec![0; 16 * 1024]);
    let whole = |read: &[u8]| {
        let end = read.windows(4).position(|window| window == b"\r\n\r\n");
        end.is_some_and(|end| read.len() >= end + 4 + bytes)
    };
    while !whole(&read) {
        let came = stream.read(&mut buffer).await.expect("bytes");
        assert!(came > 0, "cut off after {}", read.len());
        read.extend_from_slice(&buffer[..came]);
    }
}

#[tokio::test]
async fn large_bodies_go_both_ways_and_the_connection_is_used_again() {
    let (near, mut far) = ends().await;
    let mut connection = Connection::new(near);
    for _ in 0..2 {
        let serving = async {
            read(&mut far, LARGE).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
            far.write_all(&[head.as_bytes(), &vec![b'd'; LARGE]].concat()).await.expect("taken");
            far.flush().await.expect("taken");
        };
        let (came, ()) = tokio::join!(exchange(&mut connection, post(LARGE)), serving);
        assert_eq!(came.expect("an answer"), LARGE);
        assert!(connection.is_reusable() && connection.is_quiet());
    }
    far.shutdown().await.expect("taken");
    assert!(!connection.is_quiet(), "its end was said");
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_whole_only_where_that_was_said() {
    for said in [true, false] {
        let (near, mut far) = ends().await;
        let mut connection = Connection::new(near);
        let serving = async move {
            read(&mut far, 0).await;
            far.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").await.expect("taken");
            far.flush().await.expect("taken");
            if said {
                far.shutdown().await.expect("taken");
            }
        };
        let (came, ()) = tokio::join!(exchange(&mut connection, post(0)), serving);
        assert_eq!(came.is_ok_and(|bytes| bytes == 5), said);
        assert!(!connection.is_reusable());
    }
}
