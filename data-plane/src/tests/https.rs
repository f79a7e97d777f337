//! Callers over TLS, and behind proxies that say who called.

use std::{net::SocketAddr, sync::Arc};

use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto::config::v1::{Dialect, Resource};
use rustls::{
    ClientConfig, DigitallySignedStruct, HandshakeKind, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::world::{API, PATIENCE, TestNode, api, echo, mock, proxy, until};
use crate::{Config, tls};

fn pets() -> Vec<Resource> {
    api(Dialect::Native, &[("GET /pets", mock(200, "rex"))])
}

pub(super) fn with_tls(config: &mut Config) {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.tls = Some(tls::Settings { listen, certificates: Vec::new() });
}

/// A client that trusts the certificate which the node made for itself.
fn client(
    node: &TestNode,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> Arc<ClientConfig> {
    let pem = node.dir.join("tls/development.pem");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pem).unwrap()).unwrap();
    let mut client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(client)
}

async fn connect(node: &TestNode, client: &Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(node.tls_address.unwrap()).await.unwrap();
    let name = ServerName::try_from(format!("{API}.execute-api.localhost")).unwrap();
    TlsConnector::from(client.clone()).connect(name, stream).await.unwrap()
}

/// A caller's connection that speaks this protocol.
pub(super) async fn connected(node: &TestNode, alpn: &str) -> TlsStream<TcpStream> {
    connect(node, &client(node, &[&TLS13], &[alpn])).await
}

async fn get(stream: &mut TlsStream<TcpStream>, path: &str) -> String {
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_a_session_is_resumed() {
    let node = TestNode::start_with(pets(), |config| {
        with_tls(config);
        config.threads = 2; // tickets of one thread are good for the other
    });
    for version in [&TLS12, &TLS13] {
        let client = client(&node, &[version], &[]);
        let mut first = connect(&node, &client).await;
        assert!(get(&mut first, "/prod/pets").await.ends_with("rex"));
        assert_eq!(first.get_ref().1.protocol_version(), Some(version.version));
        assert_ne!(first.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));

        for _ in 0..8 {
            let mut again = connect(&node, &client).await;
            assert!(get(&mut again, "/prod/pets").await.ends_with("rex"));
            let kind = again.get_ref().1.handshake_kind();
            assert_eq!(kind, Some(HandshakeKind::Resumed), "{version:?}");
        }
    }
}

#[tokio::test]
async fn http2_is_chosen_by_alpn() {
    let node = TestNode::start_with(pets(), with_tls);
    let stream = connect(&node, &client(&node, &[&TLS13], &["h2", "http/1.1"])).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));

    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::get(format!("https://{API}.execute-api.localhost/prod/pets"))
        .body(Empty::<bytes::Bytes>::new())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "rex");
}

/// The certificate that a caller is shown.
async fn shown(node: &TestNode, trusted: &[CertificateDer<'static>]) -> CertificateDer<'static> {
    let mut roots = RootCertStore::empty();
    for root in trusted {
        roots.add(root.clone()).unwrap();
    }
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut stream = connect(node, &Arc::new(client)).await;
    assert!(get(&mut stream, "/prod/pets").await.ends_with("rex"));
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
    let directory = std::env::temp_dir().join(format!("tollgate-tls-{}", uuid::Uuid::now_v7()));
    std::fs::create_dir(&directory).unwrap();
    let files = tls::Files { chain: directory.join("chain.pem"), key: directory.join("key.pem") };
    let make = || rcgen::generate_simple_self_signed([format!("{API}.execute-api.localhost")]);
    let write = |chain: &str, key: &str| {
        std::fs::write(&files.chain, chain).unwrap();
        std::fs::write(&files.key, key).unwrap();
    };
    let (first, second, third) = (make().unwrap(), make().unwrap(), make().unwrap());
    let trusted = [&first, &second, &third].map(|it| it.cert.der().clone());
    write(&first.cert.pem(), &first.signing_key.serialize_pem());
    let node = TestNode::start_with(pets(), |config| {
        with_tls(config);
        config.tls.as_mut().unwrap().certificates = vec![files.clone()];
    });
    assert_eq!(shown(&node, &trusted).await, trusted[0]);
    let certificate = node.threads.as_ref().unwrap().certificate.clone().unwrap();
    assert!(!certificate.load(0).unwrap(), "nothing changed");

    write(&second.cert.pem(), &second.signing_key.serialize_pem());
    assert!(certificate.load(0).unwrap());
    assert_eq!(shown(&node, &trusted).await, trusted[1]);

    let broken = "-----BEGIN CERTIFICATE-----";
    for (chain, key) in [
        (&*third.cert.pem(), &*first.signing_key.serialize_pem()), // half of a renewal
        (&third.cert.pem(), ""),
        ("", &third.signing_key.serialize_pem()),
        (broken, &third.signing_key.serialize_pem()),
    ] {
        write(chain, key);
        assert!(certificate.load(0).is_err());
        assert_eq!(shown(&node, &trusted).await, trusted[1]);
    }

    // By itself, as soon as the whole of it is there.
    let following = tokio::spawn({
        let shared = node.shared.clone();
        async move { certificate.follow(&shared.metrics).await }
    });
    until(|| node.shared.metrics.tls_certificates_refused.get() == 1).await;
    write(&third.cert.pem(), &third.signing_key.serialize_pem());
    assert!(node.shared.metrics.tls_certificate_expires.get() > 0);
    timeout(PATIENCE, async { while shown(&node, &trusted).await != trusted[2] {} }).await.unwrap();
    following.abort();
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn a_caller_is_shown_the_certificate_for_the_name_that_it_asks_for() {
    let directory = std::env::temp_dir().join(format!("tollgate-tls-{}", uuid::Uuid::now_v7()));
    std::fs::create_dir(&directory).unwrap();
    let names =
        [&["*.zone.example"][..], &["*.shop.example", "Pets.Shop.Example"], &["one.shop.example"]];
    let made = names.map(|names| {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        rcgen::generate_simple_self_signed(names).unwrap()
    });
    let files = [0, 1, 2].map(|index| {
        let file = |what: &str| directory.join(format!("{index}.{what}"));
        let files = tls::Files { chain: file("pem"), key: file("key") };
        std::fs::write(&files.chain, made[index].cert.pem()).unwrap();
        std::fs::write(&files.key, made[index].signing_key.serialize_pem()).unwrap();
        files
    });
    let node = TestNode::start_with(pets(), |config| {
        with_tls(config);
        config.tls.as_mut().unwrap().certificates = files.to_vec();
    });
    let client = Arc::new(
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone))
            .with_no_client_auth(),
    );
    for (asked, shown) in [
        ("abc.zone.example", 0),
        ("ABC.zone.example", 0),
        ("pets.shop.example", 1),
        ("two.shop.example", 1),
        ("one.shop.example", 2),
        ("a.one.shop.example", 0), // a wildcard is for one label
        ("shop.example", 0),
        ("bank.example", 0),
        ("127.0.0.1", 0), // no name is asked for
    ] {
        let stream = TcpStream::connect(node.tls_address.unwrap()).await.unwrap();
        let name = ServerName::try_from(asked).unwrap();
        let stream = TlsConnector::from(client.clone()).connect(name, stream).await.unwrap();
        let certificate = &stream.get_ref().1.peer_certificates().unwrap()[0];
        assert_eq!(certificate, made[shown].cert.der(), "{asked}");
    }
    std::fs::remove_dir_all(directory).unwrap();
}

/// Looks at no name.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn a_backend_learns_that_its_caller_came_over_tls() {
    let origin = echo().await;
    let routes = [("GET /pets", proxy(format!("http://{origin}/pets")))];
    let node = TestNode::start_with(api(Dialect::Native, &routes), with_tls);
    let mut stream = connect(&node, &client(&node, &[&TLS13], &["http/1.1"])).await;

    let answer = get(&mut stream, "/prod/pets").await;
    assert!(answer.contains("\nx-forwarded-proto: https\n"), "{answer}");
}

#[tokio::test]
async fn http_on_the_port_for_https_is_told_so() {
    let node = TestNode::start_with(pets(), with_tls);
    let mut stream = TcpStream::connect(node.tls_address.unwrap()).await.unwrap();
    stream.write_all(b"GET /prod/pets HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Closed with the request unread, so the kernel may reset the connection behind the answer.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();

    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("This port speaks https; you sent http."));
    until(|| node.shared.metrics.tls_handshakes_failed.get() == 1).await;
}

#[tokio::test]
async fn a_handshake_that_stalls_is_closed_at_the_header_timeout() {
    let node = TestNode::start_with(pets(), |config| {
        with_tls(config);
        config.limits.header_timeout = std::time::Duration::from_millis(200);
    });
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = TcpStream::connect(node.tls_address.unwrap()).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("closed in time");
    }
    until(|| node.shared.metrics.tls_handshakes_failed.get() == 3).await;
}

#[tokio::test]
async fn who_chooses_http2_and_says_nothing_is_closed_at_the_header_timeout() {
    let node = TestNode::start_with(pets(), |config| {
        with_tls(config);
        config.limits.header_timeout = std::time::Duration::from_millis(200);
    });
    for begun in [&b""[..], b"PRI * HTTP/2.0\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = connect(&node, &client(&node, &[&TLS13], &["h2"])).await;
        stream.write_all(begun).await.unwrap();
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("closed in time");
    }
    until(|| node.shared.metrics.connections.get() == 0).await;
}

/// What a caller gets from a node that trusts these proxies and is called with these bytes before its request.
async fn behind_balancer(trusted: &[&str], head: &[u8], fields: &str) -> String {
    let origin = echo().await;
    let routes = [("GET /pets", proxy(format!("http://{origin}/pets")))];
    let node = TestNode::start_with(api(Dialect::Native, &routes), |config| {
        config.proxy_protocol = true;
        config.trusted_proxies = trusted.iter().map(|range| range.parse().unwrap()).collect();
    });
    let request = format!(
        "GET /prod/pets HTTP/1.1\r\nhost: {API}.execute-api.localhost\r\n{fields}connection: close\r\n\r\n"
    );
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream.write_all(&[head, request.as_bytes()].concat()).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("closed in time");
    String::from_utf8(answer).unwrap()
}

/// A node behind a balancer on this machine, and the `x-forwarded-for` that a backend saw.
async fn forwarded_for(trusted: bool, head: &[u8]) -> String {
    let trusted: &[_] = if trusted { &["127.0.0.0/8"] } else { &[] };
    let answer = behind_balancer(trusted, head, "").await;
    let field = answer.lines().find_map(|line| line.strip_prefix("x-forwarded-for: "));
    field.unwrap_or(answer.lines().next().unwrap_or("closed")).to_owned()
}

#[tokio::test]
async fn a_trusted_proxy_says_who_called_and_nobody_else_does() {
    let first = b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n";
    let second = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(),
        &[192, 0, 2, 8, 198, 51, 100, 1, 0x13, 0x88, 1, 0xbb],
    ]
    .concat();
    assert_eq!(forwarded_for(true, first).await, "192.0.2.7");
    assert_eq!(forwarded_for(true, &second).await, "192.0.2.8");
    assert_eq!(forwarded_for(true, b"PROXY UNKNOWN\r\n").await, "127.0.0.1");

    assert_eq!(forwarded_for(true, b"").await, "closed", "a header must come");
    assert_eq!(forwarded_for(true, b"PROXY TCP4 nobody\r\n").await, "closed");
    assert!(forwarded_for(false, first).await.contains("400"), "no header is read");
}

#[tokio::test]
async fn what_a_stranger_behind_a_balancer_of_connections_forwards_is_not_believed() {
    let head = b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\n";
    let fields = "x-forwarded-for: 10.0.0.1\r\nx-forwarded-proto: https\r\nx-forwarded-host: x\r\n";

    let stranger = behind_balancer(&["127.0.0.0/8"], head, fields).await;
    assert!(stranger.contains("\nx-forwarded-for: 192.0.2.7\n"), "{stranger}");
    assert!(stranger.contains("\nx-forwarded-proto: http\n"), "{stranger}");
    let host = format!("\nx-forwarded-host: {API}.execute-api.localhost\n");
    assert!(stranger.contains(&host), "{stranger}");

    let proxy = behind_balancer(&["127.0.0.0/8", "192.0.2.0/24"], head, fields).await;
    assert!(proxy.contains("\nx-forwarded-for: 10.0.0.1, 192.0.2.7\n"), "{proxy}");
    assert!(proxy.contains("\nx-forwarded-proto: https\n"), "{proxy}");
}
