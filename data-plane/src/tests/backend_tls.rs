//! Backends over TLS, known as their integrations say: by authorities of the tenant's own, by another name, or by none.

use std::{convert::Infallible, future::ready, net::SocketAddr, sync::Arc};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto::config::v1::{CircuitBreaker, Dialect::Native, ProtocolVersion, TlsConfig};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{ServerConfig, ServerConnection, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsAcceptor;

use super::world::{TestNode, api_with, proxy, proxy_with, raw_origin};

/// A private authority.
pub(super) struct Authority {
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A backend with a certificate for this name; `expired`: whose time is over.
    async fn backend(&self, name: &str, expired: bool) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        if expired {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        serve(vec![certificate.der().clone()], key).await
    }
}

/// Answers with the name that was asked for by SNI, the number of the connection, and how its handshake went. Over HTTP/1.1
/// a request to `/close` is a connection's last.
async fn serve(chain: Vec<CertificateDer<'static>>, key: KeyPair) -> SocketAddr {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    serve_by(config, |tls| tls.server_name().unwrap_or("none").to_owned()).await
}

/// What a backend calls a connection by.
type Named = fn(&ServerConnection) -> String;

/// The same, with another name for a connection.
pub(super) async fn serve_by(mut config: ServerConfig, named: Named) -> SocketAddr {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (address, listener) = raw_origin().await;
    tokio::spawn(async move {
        let mut connections = 0;
        while let Ok((stream, _)) = listener.accept().await {
            connections += 1;
            tokio::spawn(answer_all(acceptor.clone(), stream, connections, named));
        }
    });
    address
}

async fn answer_all(acceptor: TlsAcceptor, stream: TcpStream, connection: usize, named: Named) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let tls = stream.get_ref().1;
    let name = named(tls);
    let told = format!("{name} {connection} {:?}", tls.handshake_kind().unwrap());
    if tls.alpn_protocol() == Some(b"h2") {
        let service = service_fn(move |_: Request<Incoming>| {
            ready(Ok::<_, Infallible>(Response::new(told.clone())))
        });
        let served = http2::Builder::new(TokioExecutor::new());
        let _ = served.serve_connection(TokioIo::new(stream), service).await;
        return;
    }
    let (mut read, mut buffer) = (String::new(), [0; 4096]);
    loop {
        while !read.contains("\r\n\r\n") {
            match stream.read(&mut buffer).await {
                Ok(bytes) if bytes > 0 => read += &String::from_utf8_lossy(&buffer[..bytes]),
                _ => return,
            }
        }
        let last = read.starts_with("GET /close");
        let close = if last { "connection: close\r\n" } else { "" };
        let length = told.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n{close}\r\n{told}");
        let written = stream.write_all(answer.as_bytes()).await;
        if last || written.is_err() {
            let _ = stream.shutdown().await;
            return;
        }
        read.clear();
    }
}

fn node(address: SocketAddr, host: &str, tls_config: Option<TlsConfig>) -> TestNode {
    let uri = format!("https://{host}:{}/", address.port());
    let route = ("GET /", proxy_with(uri, |proxy| proxy.tls_config = tls_config), false);
    TestNode::start(api_with(Native, vec![route], |(_, deployment, _)| {
        for route in &mut deployment.routes {
            route.restrictions.push("tlsConfig".to_owned());
        }
    }))
}

/// The status, and what the backend was asked for by SNI or why the node does not trust it.
async fn answer(
    address: SocketAddr,
    host: &str,
    tls_config: impl Into<Option<TlsConfig>>,
) -> (u16, String) {
    let answer = node(address, host, tls_config.into()).get("/prod/").await;
    let body = answer.body();
    let told = if answer.status() == 200 { body.split(' ').next().unwrap() } else { body };
    (answer.status(), told.to_owned())
}

async fn refused(address: SocketAddr, tls_config: impl Into<Option<TlsConfig>>, why: &str) {
    let (status, body) = answer(address, "localhost", tls_config).await;
    assert_eq!(status, 504, "{body}");
    assert!(body.contains("TLS handshake failed: ") && body.contains(why), "{body}");
}

const UNTRUSTED: &str = "the issuer of its certificate is not trusted";
const MISNAMED: &str = "its certificate is for another name";
const EXPIRED: &str = "its certificate has expired";

fn bundle(pem: &str) -> TlsConfig {
    TlsConfig { ca_bundle: pem.to_owned(), ..TlsConfig::default() }
}

fn skipped() -> TlsConfig {
    TlsConfig { insecure_skip_verification: true, ..TlsConfig::default() }
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_the_integration_has_it_and_nowhere_else() {
    let (own, other) = (Authority::new(), Authority::new());
    let address = own.backend("localhost", false).await;

    let told = answer(address, "localhost", bundle(&own.pem)).await;
    assert_eq!(told, (200, "localhost".to_owned()));
    let both = bundle(&format!("{}{}", other.pem, own.pem));
    assert_eq!(answer(address, "localhost", both).await.0, 200, "any of the bundle's");
    refused(address, None, UNTRUSTED).await;
    refused(address, bundle(&other.pem), UNTRUSTED).await;
    refused(own.backend("elsewhere.test", false).await, bundle(&own.pem), MISNAMED).await;
    refused(own.backend("localhost", true).await, bundle(&own.pem), EXPIRED).await;
}

#[tokio::test]
async fn whom_the_installation_trusts_counts_for_nothing_beside_an_integrations_own_authorities() {
    let (installation, own) = (Authority::new(), Authority::new());
    let address = installation.backend("localhost", false).await;
    let uri = format!("https://localhost:{}/", address.port());
    let routes = vec![
        ("GET /usual", proxy(uri.clone()), false),
        ("GET /own", proxy_with(uri, |proxy| proxy.tls_config = Some(bundle(&own.pem))), false),
    ];
    let node = TestNode::start_with(api_with(Native, routes, |_| {}), |config| {
        let root = CertificateDer::from_pem_slice(installation.pem.as_bytes()).unwrap();
        config.backend_roots.push(root);
    });
    assert_eq!(node.get("/prod/usual").await.status(), 200);
    let answer = node.get("/prod/own").await;
    assert!(answer.status() == 504 && answer.body().contains(UNTRUSTED), "{}", answer.body());
}

#[tokio::test]
async fn another_name_is_asked_for_and_verified_where_the_integration_says_so() {
    let own = Authority::new();
    let address = own.backend("inside.test", false).await;
    let named =
        |name: &str| TlsConfig { server_name_to_verify: name.to_owned(), ..bundle(&own.pem) };

    let told = answer(address, "localhost", named("inside.test")).await;
    assert_eq!(told, (200, "inside.test".to_owned()));
    refused(address, named("other.test"), MISNAMED).await;
    refused(address, named(""), MISNAMED).await;
    let alone = TlsConfig { server_name_to_verify: "inside.test".into(), ..TlsConfig::default() };
    refused(address, alone, UNTRUSTED).await;
}

#[tokio::test]
async fn any_issuer_will_do_where_verification_is_skipped_but_not_any_name_or_date() {
    let own = Authority::new();
    let address = own.backend("localhost", false).await;
    let told = answer(address, "localhost", skipped()).await;
    assert_eq!(told, (200, "localhost".to_owned()));
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let self_signed = serve(vec![params.self_signed(&key).unwrap().der().clone()], key).await;
    assert_eq!(answer(self_signed, "localhost", skipped()).await.0, 200);
    refused(own.backend("elsewhere.test", false).await, skipped(), MISNAMED).await;
    refused(own.backend("localhost", true).await, skipped(), EXPIRED).await;
}

#[tokio::test]
async fn a_certificate_that_was_made_for_itself_is_known_by_itself() {
    let made = |name: &str, is_ca: IsCa, expired: bool| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.is_ca = is_ca;
        if expired {
            params.not_after = date_time_ymd(2002, 1, 1);
        }
        (params.self_signed(&key).unwrap(), key)
    };
    let authority = || IsCa::Ca(BasicConstraints::Unconstrained);
    for is_ca in [authority(), IsCa::NoCa, IsCa::ExplicitNoCa] {
        let (own, key) = made("localhost", is_ca, false);
        let address = serve(vec![own.der().clone()], key).await;
        assert_eq!(answer(address, "localhost", bundle(&own.pem())).await.0, 200);
        refused(address, bundle(&Authority::new().pem), "certificate is not").await;
    }
    let (twin, _) = made("localhost", authority(), false);
    let (own, key) = made("localhost", authority(), false);
    refused(serve(vec![own.der().clone()], key).await, bundle(&twin.pem()), "certificate").await;
    for (name, expired, why) in [("elsewhere.test", false, MISNAMED), ("localhost", true, EXPIRED)]
    {
        let (own, key) = made(name, authority(), expired);
        let pem = own.pem();
        refused(serve(vec![own.der().clone()], key).await, bundle(&pem), why).await;
    }
}

/// Neither a connection nor a session's ticket of one identity is used by calls of another.
#[tokio::test]
async fn a_connection_and_its_session_are_of_one_identity_alone() {
    let own = Authority::new();
    let address = own.backend("localhost", false).await;
    let at = |path: &str, tls_config: Option<TlsConfig>| {
        let uri = format!("https://localhost:{}{path}", address.port());
        proxy_with(uri, |proxy| proxy.tls_config = tls_config)
    };
    let routes = vec![
        ("GET /in", at("/", Some(bundle(&own.pem))), false),
        ("GET /in/close", at("/close", Some(bundle(&own.pem))), false),
        ("GET /any", at("/", Some(skipped())), false),
        ("GET /out", at("/", None), false),
    ];
    let node = TestNode::start(api_with(Native, routes, |_| {}));
    let told = async |path: &str| node.get(path).await.body().to_owned();

    let first = told("/prod/in").await;
    assert_eq!(first, "localhost 1 Full");
    assert_eq!(told("/prod/in").await, first, "one identity's calls share a connection");
    assert_eq!(node.get("/prod/out").await.status(), 504, "that one trusts public authorities");
    let any = told("/prod/any").await;
    assert!(any != first && any.ends_with(" Full"), "{any}");
    assert_eq!(told("/prod/in/close").await, first);
    let resumed = told("/prod/in").await;
    assert!(resumed != first && resumed.ends_with(" Resumed"), "{resumed}");
    assert_eq!(told("/prod/any").await, any);
    assert_eq!(node.get("/prod/out").await.status(), 504, "a ticket proves nothing to it");
}

#[tokio::test]
async fn connections_that_calls_share_over_http_2_are_of_one_identity_alone() {
    let own = Authority::new();
    let address = own.backend("localhost", false).await;
    let at = |tls_config: Option<TlsConfig>| {
        proxy_with(format!("https://localhost:{}/", address.port()), |proxy| {
            proxy.protocol_version = ProtocolVersion::Http2.into();
            proxy.tls_config = tls_config;
        })
    };
    let routes = vec![
        ("GET /in", at(Some(bundle(&own.pem))), false),
        ("GET /any", at(Some(skipped())), false),
        ("GET /out", at(None), false),
    ];
    let node = TestNode::start(api_with(Native, routes, |_| {}));
    let told = async |path: &str| node.get(path).await.body().to_owned();

    let first = told("/prod/in").await;
    assert_eq!(first, "localhost 1 Full");
    assert_eq!(told("/prod/in").await, first);
    let any = told("/prod/any").await;
    assert!(any != first && any.ends_with(" Full"), "{any}");
    assert_eq!(node.get("/prod/out").await.status(), 504);
}

/// A handshake that fails under one identity opens no circuit of another.
#[tokio::test]
async fn circuits_are_of_one_identity_alone() {
    let own = Authority::new();
    let address = own.backend("localhost", false).await;
    let at = |tls_config: Option<TlsConfig>| {
        proxy_with(format!("https://localhost:{}/", address.port()), |proxy| {
            proxy.tls_config = tls_config;
            proxy.circuit_breaker = Some(CircuitBreaker {
                consecutive_failures: 1,
                open_ms: 60_000,
                half_open_probes: 1,
                ..CircuitBreaker::default()
            });
        })
    };
    let routes =
        vec![("GET /in", at(Some(bundle(&own.pem))), false), ("GET /out", at(None), false)];
    let node = TestNode::start(api_with(Native, routes, |_| {}));
    for why in [UNTRUSTED, "left alone for a while"] {
        let answer = node.get("/prod/out").await;
        assert!(answer.status() == 504 && answer.body().contains(why), "{}", answer.body());
    }
    assert_eq!(node.get("/prod/in").await.status(), 200);
}
