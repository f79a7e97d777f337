//! A backend within the suite's own process, over a real socket.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::TlsAcceptor;

/// Answers whole requests by HTTP/1.1 until the runtime ends. Where it listens.
pub(crate) async fn serve<A, F>(answer: A) -> SocketAddr
where
    A: Fn(Request<Bytes>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    listen(None, answer).await
}

/// The same over TLS.
pub(crate) async fn serve_over_tls<A, F>(tls: TlsAcceptor, answer: A) -> SocketAddr
where
    A: Fn(Request<Bytes>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    listen(Some(tls), answer).await
}

async fn listen<A, F>(tls: Option<TlsAcceptor>, answer: A) -> SocketAddr
where
    A: Fn(Request<Bytes>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    Ok::<_, hyper::Error>(answer(Request::from_parts(head, body)).await)
                }
            });
            let server = hyper::server::conn::http1::Builder::new();
            let Some(tls) = tls.clone() else {
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
                continue;
            };
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// A private authority.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Who has a certificate by it for `localhost` and `inside.test`, and lets in only those of `clients`, where there are any.
    pub(crate) fn acceptor(&self, clients: Option<&Self>) -> TlsAcceptor {
        let names = ["localhost", "inside.test"].map(str::to_owned);
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = match clients {
            None => config.with_no_client_auth(),
            Some(clients) => {
                let mut roots = rustls::RootCertStore::empty();
                let root = CertificateDer::from_pem_slice(clients.pem.as_bytes()).unwrap();
                roots.add(root).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
                config.with_client_cert_verifier(verifier.unwrap())
            }
        };
        let config = config.with_single_cert(vec![own.der().clone()], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// A client's certificate and its private key, in PEM.
    pub(crate) fn client(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::default().signed_by(&key, &self.issuer).unwrap();
        (own.pem(), key.serialize_pem())
    }
}
