//! Backends over TLS: the name in the URI is the one that is asked for and the one that must be proved.

use std::{sync::Arc, time::Duration};

use egress::{ConnectError, Connector, Own, Policy, Stream, Target};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
};
use tokio_rustls::TlsAcceptor;

const LIMIT: Duration = Duration::from_secs(20);

/// A TLS server that proves to be `name`; its port, its certificate, and the names that callers ask for.
async fn server(name: &str) -> (u16, CertificateDer<'static>, UnboundedReceiver<Option<String>>) {
    let signed = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    let certificate = signed.cert.der().clone();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let (ask, asked) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = ask.send(stream.get_ref().1.server_name().map(str::to_owned));
            }
        }
    });
    (port, certificate, asked)
}

#[tokio::test]
async fn a_backend_must_prove_the_name_that_the_uri_says() {
    let (port, root, mut asked) = server("pets.localhost").await;
    let policy = Policy::new(["127.0.0.0/8".parse().unwrap()]);
    let trusting = Connector::new(Own::default(), &[root]).unwrap();
    let target = |host: &str| Target::parse(&format!("https://{host}:{port}/")).unwrap();

    let stream = trusting.dial(&target("pets.localhost"), &policy, LIMIT).await.unwrap();
    assert!(matches!(stream, Stream::Tls(_)));
    assert_eq!(asked.recv().await.unwrap().as_deref(), Some("pets.localhost"));

    for host in ["other.localhost", "127.0.0.1"] {
        let refused = trusting.dial(&target(host), &policy, LIMIT).await.unwrap_err();
        assert!(matches!(refused, ConnectError::Tls(_)), "{host}: {refused}");
    }
    let public_roots_only = Connector::new(Own::default(), &[]).unwrap();
    let refused =
        public_roots_only.dial(&target("pets.localhost"), &policy, LIMIT).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Tls(_)), "{refused}");
}
