//! Client certificates: who a node is to backends that ask, by their stage or their integration.

use std::{net::SocketAddr, sync::Arc};

use proto::config::v1::{
    Canary, ClientCertificate, Deployment, Dialect::Native, Function, HttpProxy, LinkedProxy,
    PayloadFormatVersion, ProtocolVersion, Resource, Stage, TlsConfig, VpcLink, VpcLinkTarget,
    integration, resource::Kind,
};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{
    backend_tls::{Authority, serve_by},
    world::{TENANT, TestNode, api_with, proxy_with},
};

const NOBODY: &str = "nobody";

/// A backend for `localhost`, which trusts clients of `clients`. It answers with who called, the number of the connection,
/// and how its handshake went.
struct Backend {
    authority: Authority,
    clients: Authority,
    address: SocketAddr,
}

impl Backend {
    /// `requires`: whoever shows nothing is refused.
    async fn start(requires: bool) -> Self {
        Self::start_by(requires, &[&TLS13, &TLS12]).await
    }

    async fn start_by(requires: bool, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let (authority, clients) = (Authority::new(), Authority::new());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(clients.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let verifier = if requires { verifier } else { verifier.allow_unauthenticated() };
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let own = params.signed_by(&key, &authority.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![own.der().clone()], key)
            .unwrap();
        let address = serve_by(config, caller).await;
        Self { authority, clients, address }
    }

    fn uri(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    fn trusted(&self) -> TlsConfig {
        TlsConfig { ca_bundle: self.authority.pem.clone(), ..TlsConfig::default() }
    }

    fn integration(&self, path: &str) -> integration::Kind {
        self.integration_with(path, |_| {})
    }

    fn integration_with(
        &self,
        path: &str,
        change: impl FnOnce(&mut HttpProxy),
    ) -> integration::Kind {
        proxy_with(self.uri(path), |proxy| {
            proxy.tls_config = Some(self.trusted());
            change(proxy);
        })
    }
}

fn caller(tls: &ServerConnection) -> String {
    let Some([leaf, ..]) = tls.peer_certificates() else { return NOBODY.to_owned() };
    let (_, certificate) = X509Certificate::from_der(leaf).unwrap();
    let name = certificate.subject().iter_common_name().next().unwrap();
    name.as_str().unwrap().to_owned()
}

/// A certificate of this id, by which its caller is known.
fn certificate(id: &str, by: &Authority) -> Resource {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, id);
    let certificate = params.signed_by(&key, &by.issuer).unwrap();
    Kind::ClientCertificate(ClientCertificate {
        id: id.into(),
        tenant_id: TENANT.into(),
        chain: vec![certificate.der().to_vec()],
        private_key: key.serialize_der(),
    })
    .into()
}

fn shows(stage: &mut Stage, id: &str) {
    stage.client_certificate_id = id.into();
    stage.restrictions = vec!["clientCertificateId".into()];
}

fn showing(kind: integration::Kind, id: &str, certificates: &[Resource]) -> Vec<Resource> {
    let routes = vec![("GET /", kind, false)];
    let api = api_with(Native, routes, |(_, _, stage)| shows(stage, id));
    certificates.iter().cloned().chain(api).collect()
}

async fn told(node: &TestNode, path: &str) -> String {
    let answer = node.get(path).await;
    assert_eq!(answer.status(), 200, "{}", answer.body());
    answer.body().to_owned()
}

async fn who(node: &TestNode, path: &str) -> String {
    told(node, path).await.split(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_stages_certificate_is_shown_to_a_backend_that_asks() {
    for versions in [&[&TLS13], &[&TLS12]] {
        let backend = Backend::start_by(true, versions).await;
        let (right, wrong) =
            (certificate("right", &backend.clients), certificate("wrong", &Authority::new()));
        let both = [right, wrong];
        let node = TestNode::start(showing(backend.integration("/"), "right", &both));
        assert_eq!(who(&node, "/prod/").await, "right");
        for id in ["wrong", ""] {
            let mut api = showing(backend.integration("/"), id, &both);
            for resource in &mut api {
                if let (Some(Kind::Stage(stage)), "") = (&mut resource.kind, id) {
                    stage.restrictions.clear();
                }
            }
            let answer = TestNode::start(api).get("/prod/").await;
            assert_eq!(answer.status(), 504, "{id:?}: {}", answer.body());
        }
    }
}

#[tokio::test]
async fn over_tls_1_2_it_is_told_what_a_backend_has_against_a_certificate() {
    let backend = Backend::start_by(true, &[&TLS12]).await;
    let wrong = certificate("wrong", &Authority::new());
    let node = TestNode::start(showing(backend.integration("/"), "wrong", &[wrong]));
    let answer = node.get("/prod/").await;
    assert!(answer.body().contains("does not accept the client certificate"), "{}", answer.body());
}

#[tokio::test]
async fn a_backend_that_does_not_insist_sees_nobody_where_none_is_named() {
    let backend = Backend::start(false).await;
    let resources = api_with(Native, vec![("GET /", backend.integration("/"), false)], |_| {});
    assert_eq!(who(&TestNode::start(resources), "/prod/").await, NOBODY);
}

#[tokio::test]
async fn whom_the_node_trusts_counts_where_an_integration_says_nothing_of_tls() {
    let backend = Backend::start(true).await;
    let plain = proxy_with(backend.uri("/"), |_| {});
    let resources = showing(plain, "right", &[certificate("right", &backend.clients)]);
    let root = CertificateDer::from_pem_slice(backend.authority.pem.as_bytes()).unwrap();
    let node = TestNode::start_with(resources.clone(), |config| config.backend_roots.push(root));
    let first = told(&node, "/prod/").await;
    assert!(first.starts_with("right "), "{first}");
    assert_eq!(told(&node, "/prod/").await, first, "calls share a connection");
    let answer = TestNode::start(resources).get("/prod/").await;
    assert!(answer.status() == 504 && answer.body().contains("not trusted"), "{}", answer.body());
}

#[tokio::test]
async fn an_integrations_own_certificate_goes_before_its_stages() {
    let backend = Backend::start(true).await;
    let certificates = ["stages", "own"].map(|id| certificate(id, &backend.clients));
    let own = backend.integration_with("/", |proxy| {
        proxy.tls_config.as_mut().unwrap().client_certificate_id = "own".into();
    });
    let routes = vec![("GET /own", own, false), ("GET /usual", backend.integration("/"), false)];
    let api = api_with(Native, routes, |(_, deployment, stage)| {
        shows(stage, "stages");
        deployment.routes[0].restrictions =
            ["clientCertificateId", "tlsConfig"].map(Into::into).into();
    });
    let mut node = TestNode::start(certificates.iter().cloned().chain(api.clone()).collect());
    assert_eq!(who(&node, "/prod/own").await, "own");
    assert_eq!(who(&node, "/prod/usual").await, "stages");

    let without = api.into_iter().map(|mut resource| {
        if let Some(Kind::Stage(stage)) = &mut resource.kind {
            (stage.client_certificate_id, stage.restrictions) = Default::default();
        }
        resource
    });
    node.publish(certificates.into_iter().chain(without).collect());
    assert_eq!(who(&node, "/prod/own").await, "own", "where its stage has none too");
}

/// A stage's change of certificate reaches each call that begins after it; what is under way goes on.
#[tokio::test]
async fn a_waiting_connection_of_one_certificate_is_never_used_for_another() {
    for protocol in [ProtocolVersion::Http1, ProtocolVersion::Http2] {
        let backend = Backend::start(false).await;
        let certificates = ["old", "new"].map(|id| certificate(id, &backend.clients));
        let integration =
            || backend.integration_with("/", |proxy| proxy.protocol_version = protocol.into());
        let mut node = TestNode::start(showing(integration(), "old", &certificates));
        let old = told(&node, "/prod/").await;
        assert!(old.starts_with("old 1 "), "{old}");
        assert_eq!(told(&node, "/prod/").await, old, "calls share a connection");

        node.publish(showing(integration(), "new", &certificates));
        let new = told(&node, "/prod/").await;
        assert!(new.starts_with("new 2 ") && new.ends_with(" Full"), "no session of old's: {new}");
        assert_eq!(told(&node, "/prod/").await, new);

        // Both are valid until the old one is deleted.
        node.publish(showing(integration(), "old", &certificates));
        assert!(told(&node, "/prod/").await.starts_with("old "));

        let without = api_with(Native, vec![("GET /", integration(), false)], |_| {});
        node.publish(without);
        let nobody = told(&node, "/prod/").await;
        assert!(nobody.starts_with(NOBODY) && nobody.ends_with(" Full"), "{nobody}");
    }
}

#[tokio::test]
async fn a_session_is_resumed_under_its_own_certificate() {
    let backend = Backend::start(true).await;
    let certificates = [certificate("right", &backend.clients)];
    let node = TestNode::start(showing(backend.integration("/close"), "right", &certificates));
    let first = told(&node, "/prod/").await;
    let again = told(&node, "/prod/").await;
    assert!(first.ends_with(" Full") && again.ends_with(" Resumed"), "{first}, {again}");
    assert!(again.starts_with("right "), "{again}");
}

#[tokio::test]
async fn a_call_waits_for_no_certificate_that_is_not_on_the_node() {
    let backend = Backend::start(false).await;
    let mut late = showing(backend.integration("/"), "late", &[]);
    let mut node = TestNode::start(late.clone());
    let answer = node.get("/prod/").await;
    assert_eq!(answer.status(), 500, "{}", answer.body());
    assert!(answer.body().contains("late is not on this node"), "{}", answer.body());

    let mut strangers = certificate("late", &backend.clients);
    let Some(Kind::ClientCertificate(of)) = &mut strangers.kind else { panic!() };
    of.tenant_id = "somebody-elses".into();
    node.publish(late.iter().cloned().chain([strangers]).collect());
    assert_eq!(node.get("/prod/").await.status(), 500, "another tenant's is not this one's");

    late.push(certificate("late", &backend.clients));
    node.publish(late);
    assert_eq!(who(&node, "/prod/").await, "late");
}

#[tokio::test]
async fn what_goes_over_plain_http_shows_nothing_and_lacks_nothing() {
    let origin =
        super::world::origin(|_| async { http::Response::new(super::world::full("plain")) }).await;
    let plain = proxy_with(format!("http://{origin}/"), |_| {});
    let node = TestNode::start(showing(plain, "missing", &[]));
    assert_eq!(node.get("/prod/").await.body(), "plain");
}

#[tokio::test]
async fn a_canary_shows_its_stages_certificate() {
    let backend = Backend::start(true).await;
    let mut resources =
        showing(backend.integration("/"), "stages", &[certificate("stages", &backend.clients)]);
    let mut beside = None;
    for resource in &mut resources {
        match &mut resource.kind {
            Some(Kind::Deployment(of)) => {
                beside = Some(Deployment { id: "deploy0002".into(), ..of.clone() });
            }
            Some(Kind::Stage(stage)) => {
                stage.canary = Some(Canary {
                    deployment_id: "deploy0002".into(),
                    percent_traffic: 100.0,
                    ..Canary::default()
                });
            }
            _ => {}
        }
    }
    resources.push(Kind::Deployment(beside.unwrap()).into());
    assert_eq!(who(&TestNode::start(resources), "/prod/").await, "stages");
}

#[tokio::test]
async fn a_vpc_links_targets_are_shown_the_stages_certificate() {
    let backend = Backend::start(true).await;
    let mut of = HttpProxy { uri: "https://localhost/".into(), ..HttpProxy::default() };
    of.tls_config = Some(backend.trusted());
    let linked = LinkedProxy { backend: Some(of), vpc_link_id: "link000001".into() };
    let link = VpcLink {
        id: "link000001".into(),
        tenant_id: TENANT.into(),
        targets: vec![VpcLinkTarget {
            host: "127.0.0.1".into(),
            port: backend.address.port().into(),
            weight: 1,
        }],
        ..VpcLink::default()
    };
    let kind = integration::Kind::LinkedProxy(linked);
    let mut resources = showing(kind, "right", &[certificate("right", &backend.clients)]);
    resources.push(Kind::VpcLink(link).into());
    assert_eq!(who(&TestNode::start(resources), "/prod/").await, "right");
}

#[tokio::test]
async fn a_function_by_its_url_is_shown_the_stages_certificate() {
    let backend = Backend::start(true).await;
    let integration::Kind::HttpProxy(of) = backend.integration("/") else { panic!() };
    let function = Function {
        backend: Some(of),
        payload_format_version: PayloadFormatVersion::PayloadFormatVersion20.into(),
    };
    let kind = integration::Kind::Function(function);
    let node = TestNode::start(showing(kind, "right", &[certificate("right", &backend.clients)]));
    let answer = node.get("/prod/").await;
    // It let the event in, which is all that this one can do with it.
    assert_eq!(answer.status(), 502, "{}", answer.body());
    assert!(answer.body().contains("function's answer is malformed"), "{}", answer.body());
}
