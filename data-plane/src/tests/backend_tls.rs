//! Backends over TLS, known as their integrations say: by authorities of the tenant's own, by another name, or by none.

use std::{net::SocketAddr, sync::Arc};

use proto::config::v1::{Dialect::Native, TlsConfig};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::world::{TestNode, api_with, proxy_with, raw_origin};

/// A private authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
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

/// Answers one request on each connection, with the name that was asked for by SNI.
async fn serve(chain: Vec<rustls_pki_types::CertificateDer<'static>>, key: KeyPair) -> SocketAddr {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (address, listener) = raw_origin().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let name = stream
                    .get_ref()
                    .1
                    .server_name()
                    .unwrap_or("none")
                    .to_owned();
                let (mut read, mut buffer) = (String::new(), [0; 4096]);
                while !read.contains("\r\n\r\n") {
                    match stream.read(&mut buffer).await {
                        Ok(bytes) if bytes > 0 => {
                            read += &String::from_utf8_lossy(&buffer[..bytes])
                        }
                        _ => return,
                    }
                }
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{name}",
                    name.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

fn node(address: SocketAddr, host: &str, tls_config: Option<TlsConfig>) -> TestNode {
    let uri = format!("https://{host}:{}/", address.port());
    let route = (
        "GET /",
        proxy_with(uri, |proxy| proxy.tls_config = tls_config),
        false,
    );
    TestNode::start(api_with(Native, vec![route], |(_, deployment, _)| {
        for route in &mut deployment.routes {
            route.restrictions.push("tlsConfig".to_owned());
        }
    }))
}

/// What is answered where all is well, and what the node says where it trusts nobody.
async fn answer(address: SocketAddr, host: &str, tls_config: Option<TlsConfig>) -> (u16, String) {
    let answer = node(address, host, tls_config).get("/prod/").await;
    (answer.status(), answer.body().to_owned())
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_the_integration_has_it_and_nowhere_else() {
    let (own, other) = (Authority::new(), Authority::new());
    let address = own.backend("localhost", false).await;
    let bundle = |pem: &str| {
        Some(TlsConfig {
            ca_bundle: pem.to_owned(),
            ..TlsConfig::default()
        })
    };

    let told = answer(address, "localhost", bundle(&own.pem)).await;
    assert_eq!(told, (200, "localhost".to_owned()));
    let both = answer(
        address,
        "localhost",
        bundle(&format!("{}{}", other.pem, own.pem)),
    )
    .await;
    assert_eq!(both.0, 200, "any of the bundle's");
    for refused in [None, bundle(&other.pem)] {
        let (status, body) = answer(address, "localhost", refused).await;
        assert!(
            status == 502 && body.contains("TLS handshake failed"),
            "{status} {body}"
        );
    }
    let misnamed = own.backend("elsewhere.test", false).await;
    assert_eq!(answer(misnamed, "localhost", bundle(&own.pem)).await.0, 502);
    let expired = own.backend("localhost", true).await;
    assert_eq!(answer(expired, "localhost", bundle(&own.pem)).await.0, 502);
}

#[tokio::test]
async fn another_name_is_asked_for_and_verified_where_the_integration_says_so() {
    let own = Authority::new();
    let address = own.backend("inside.test", false).await;
    let named = |name: &str| {
        let (server_name_to_verify, ca_bundle) = (name.to_owned(), own.pem.clone());
        Some(TlsConfig {
            server_name_to_verify,
            ca_bundle,
            ..TlsConfig::default()
        })
    };

    let told = answer(address, "localhost", named("inside.test")).await;
    assert_eq!(told, (200, "inside.test".to_owned()));
    assert_eq!(
        answer(address, "localhost", named("other.test")).await.0,
        502
    );
    assert_eq!(answer(address, "localhost", named("")).await.0, 502);
}

#[tokio::test]
async fn any_issuer_will_do_where_verification_is_skipped_but_not_any_name_or_date() {
    let own = Authority::new();
    let skipped = || {
        Some(TlsConfig {
            insecure_skip_verification: true,
            ..TlsConfig::default()
        })
    };

    let address = own.backend("localhost", false).await;
    assert_eq!(
        answer(address, "localhost", skipped()).await,
        (200, "localhost".to_owned())
    );
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let self_signed = serve(vec![params.self_signed(&key).unwrap().der().clone()], key).await;
    assert_eq!(answer(self_signed, "localhost", skipped()).await.0, 200);
    let misnamed = own.backend("elsewhere.test", false).await;
    assert_eq!(answer(misnamed, "localhost", skipped()).await.0, 502);
    let expired = own.backend("localhost", true).await;
    assert_eq!(answer(expired, "localhost", skipped()).await.0, 502);
}

#[tokio::test]
async fn a_connection_is_of_one_identity_alone() {
    let own = Authority::new();
    let address = own.backend("localhost", false).await;
    let uri = format!("https://localhost:{}/", address.port());
    let trusted = proxy_with(uri.clone(), |proxy| {
        proxy.tls_config = Some(TlsConfig {
            ca_bundle: own.pem.clone(),
            ..TlsConfig::default()
        });
    });
    let routes = vec![
        ("GET /in", trusted, false),
        ("GET /out", proxy_with(uri, |_| {}), false),
    ];
    let node = TestNode::start(api_with(Native, routes, |_| {}));
    for _ in 0..3 {
        assert_eq!(node.get("/prod/in").await.status(), 200);
        assert_eq!(
            node.get("/prod/out").await.status(),
            502,
            "that one trusts public authorities"
        );
    }
}
