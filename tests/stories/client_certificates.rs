//! Client certificates: a backend lets in none but the gateway, and goes over from one certificate to the next.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use harness::World;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

/// A backend for `localhost` over TLS that answers `met` to who shows one of these certificates.
async fn backend(clients: &[&str]) -> (SocketAddr, String, Arc<Mutex<Vec<Vec<u8>>>>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let own = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let own = own.self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    for pem in clients {
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![own.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let met = Arc::new(Mutex::new(Vec::new()));
    let told = met.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, told) = (acceptor.clone(), told.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let who = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
                let (mut read, mut piece) = (Vec::new(), [0; 4096]);
                loop {
                    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
                        match stream.read(&mut piece).await {
                            Ok(bytes) if bytes > 0 => read.extend_from_slice(&piece[..bytes]),
                            _ => return,
                        }
                    }
                    read.clear();
                    told.lock().unwrap().push(who.clone());
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nmet";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, own.pem(), met)
}

fn text(of: &Value) -> String {
    of.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_backend_meets_the_stages_certificate_and_then_the_next() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let generate = async |description: &str| {
        let body = json!({ "description": description });
        let made = acme.rest("POST", "/v1/client-certificates").json(&body).await.expect(201);
        assert!(!made.text().contains("PRIVATE KEY"), "{}", made.text());
        let made = made.json();
        assert_eq!(made["expiresSoon"], json!(false));
        (text(&made["clientCertificateId"]), text(&made["pemEncodedCertificate"]))
    };
    let (old, old_pem) = generate("old").await;
    let (new, new_pem) = generate("new").await;
    let (address, authority, met) = backend(&[&old_pem, &new_pem]).await;
    let uri = format!("https://localhost:{}/", address.port());
    let integration = json!({
        "type": "HTTP_PROXY", "method": "ANY", "uri": uri, "tlsConfig": { "caBundle": authority },
    });
    let route = json!({
        "method": "GET", "path": "/pets", "apiKeyRequired": false, "integration": integration,
    });
    let api = acme.api("pets").await.route_of(route).await.deploy("prod").await;
    api.get("/pets").await.expect(504);
    assert!(met.lock().unwrap().is_empty());

    let stage = format!("/v1/apis/{}/stages/prod", api.api_id);
    for (id, pem) in [(&old, &old_pem), (&new, &new_pem)] {
        let shown = json!({ "clientCertificateId": id });
        acme.rest("PATCH", &stage).json(&shown).await.expect(200);
        world.settled().await;
        for _ in 0..4 {
            assert_eq!(api.get("/pets").await.expect(200).text(), "met");
        }
        let expected = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let seen = met.lock().unwrap().split_off(0);
        assert_eq!(seen.len(), 4);
        assert!(seen.iter().all(|one| *one == *expected), "no other's connection is used");
    }

    let certificate = |id: &str| format!("/v1/client-certificates/{id}");
    acme.rest("DELETE", &certificate(&old)).await.expect(204);
    let refused = acme.rest("DELETE", &certificate(&new)).await.expect(409);
    let used = format!("the stage prod of the API {} uses this client certificate", api.api_id);
    assert!(refused.text().contains(&used), "{}", refused.text());
}
