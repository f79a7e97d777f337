//! The targets: each takes any bytes, and panics only where the parser or a property of it is broken.

#[path = "targets/answer.rs"]
mod answer;
#[path = "targets/backend.rs"]
mod backend;
#[path = "targets/caller.rs"]
mod caller;
#[path = "targets/mock.rs"]
mod mock;
#[path = "targets/node.rs"]
mod node;
#[path = "targets/parameter.rs"]
mod parameter;
#[path = "targets/statement.rs"]
mod statement;
#[path = "targets/template.rs"]
mod template;

use std::net::IpAddr;
use std::sync::LazyLock;

use async_graphql::Variables;
use aws_lc_rs::signature::Ed25519KeyPair;
use axum::body::Body;
use axum::extract::FromRequest;
use control_plane::access::api_version;
use control_plane::access::authority::{self, Authority};
use control_plane::access::refresh::RefreshToken;
use control_plane::access::sealed::WrappingKey;
use control_plane::access::token::{Bearer, TokenSigner};
use control_plane::clock::Clock;
use control_plane::domain::api_key::KeyMode;
use control_plane::domain::api_key_value::KeyValue;
use control_plane::domain::audit_chain::{self, Head};
use control_plane::domain::integration::Settings;
use control_plane::domain::page::Key;
use control_plane::domain::user::Email;
use control_plane::graphql::limits::{NODES_MAX, Shape};
use control_plane::graphql::node::Kind;
use control_plane::graphql::persisted::{DocumentHash, Persisted};
use control_plane::graphql::request;
use control_plane::graphql::socket::message::{self, Close, REASON_BYTES_MAX, Said};
use control_plane::ids::{AccessKeyId, ApiId, ConsumerId, Rng, StageId};
use control_plane::rest::extract::Json;
use control_plane::rest::{etag, idempotency};
use data_plane::Propagator;
use data_plane::hostile::{self, ConfigFile};
use data_plane::listener::proxy_protocol::{self, Parsed};
use data_plane::snapshot::join::JoinToken;
use egress::Target;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use plan::{OriginPattern, RouteKey, RoutePath, UriTemplate, path, path::Normalization};
use prost::Message;
use proto::config::v1::{NodeMessage, Signed, SnapshotChunk, Update};
use proto::segment::{self, BLOCK_BYTES};
use rcgen::{CertificateParams, DnType, IsCa, KeyPair, PublicKeyData};

pub(crate) use answer::{cors, gateway_response};
pub(crate) use backend::{
    chunked_body, function_answer, function_stream, response_cookies, response_head,
    tls_authorities, tls_client,
};
pub(crate) use caller::{accept_encoding, content_encoding, pipeline, request_head};
pub(crate) use mock::{mock_examples, preferences};
pub(crate) use node::{count_report, quotas_asked};
pub(crate) use parameter::{json_path, request_parameter};
pub(crate) use statement::usage_statement;
pub(crate) use template::template;

/// What is accepted once is accepted again, unchanged: no second reading of a path finds another route.
pub(crate) fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let raw = format!("/{text}");
    for policy in [Normalization::Reject, Normalization::Normalize] {
        if let Ok(once) = path::normalize(&raw, policy) {
            assert!(once.starts_with('/'), "{once:?}");
            assert_eq!(path::normalize(&once, policy).as_deref(), Ok(&*once));
            assert_eq!(path::normalize(&once, Normalization::Reject).as_deref(), Ok(&*once));
        }
    }
    path::decode(text);
    path::with_slashes(text);
}

/// A route's key means the same after it was written out.
pub(crate) fn route(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = RouteKey::parse_key(text) {
        assert_eq!(RouteKey::parse_key(&key.to_string()), Ok(key));
    }
    drop((RouteKey::parse_throttle_key(text), RoutePath::parse(text)));
}

/// A filled-in URI still begins with the origin that the template names.
pub(crate) fn uri_template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(template) = UriTemplate::parse(text) else { return };
    if let Ok(bound) = template.bind(|_| Some("value".to_owned())) {
        let path = bound.render(|_| Some("a%2Fb"), None, Some("q=1"));
        assert!(path.starts_with('/'), "{text:?} gives {path:?}");
    }
}

/// What is read from a URI is what the connector is told: writing the authority out changes nothing.
pub(crate) fn egress_target(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(target) = Target::parse(text) {
        let again = Target::from_authority(target.scheme, &target.authority());
        let again = again.unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(
            (again.scheme, again.host, again.port),
            (target.scheme, target.host, target.port)
        );
    }
}

/// What follows a header does not change it, and a shorter part of it is never a header of its own.
pub(crate) fn proxy_protocol(bytes: &[u8]) {
    let parsed = proxy_protocol::parse(bytes);
    if let Ok(Parsed::Complete { bytes: length, .. }) = &parsed {
        assert!(*length <= bytes.len());
        assert_eq!(proxy_protocol::parse(&bytes[..*length]), parsed);
        assert_eq!(proxy_protocol::parse(&bytes[..*length - 1]), Ok(Parsed::Incomplete));
    }
}

/// A value that is taken fits into a header field, and its hint is its end.
pub(crate) fn api_key_value(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for mode in [KeyMode::Live, KeyMode::Test] {
        if let Ok(value) = KeyValue::supplied(text.to_owned().into(), mode) {
            assert!((20..=128).contains(&text.len()) && text.is_ascii());
            assert!(text.ends_with(value.hint()) && value.hint().len() == 4);
        }
    }
}

/// A pattern that is taken reads the same once it was kept, and its `*` is one label.
pub(crate) fn origin(bytes: &[u8]) {
    let Ok(pattern) = OriginPattern::parse(&String::from_utf8_lossy(bytes)) else { return };
    let kept = pattern.to_string();
    assert_eq!(OriginPattern::parse(&kept).as_ref(), Ok(&pattern));
    let matches = |label| pattern.matches(kept.replace('*', label).as_bytes());
    assert!(matches("a") && (!kept.contains('*') || !matches("a.b")));
}

/// A parameter that is taken out is gone, and the others are as they were written.
pub(crate) fn query_key(bytes: &[u8]) {
    let query = String::from_utf8_lossy(bytes);
    let Some(taken) = plan::take_parameter(&query, "key") else { return };
    let kept = |pair: &str| pair.is_empty() || query.split('&').any(|of| of == pair);
    assert!(taken.rest.split('&').all(kept) && plan::take_parameter(&taken.rest, "key").is_none());
}

/// A cursor that is taken leads to the same place after it was written out.
pub(crate) fn cursor(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = Key::from_cursor(text, "cursor") {
        assert!(!key.id.contains('\0'));
        assert_eq!(Key::from_cursor(&key.to_cursor(), "cursor").ok(), Some(key));
    }
}

/// An id that is taken is the one that its kind and its plain id make.
pub(crate) fn global_id(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let id = async_graphql::ID(text.to_owned());
    if let Ok(plain) = Kind::Api.parse::<ApiId>(&id, "id") {
        assert_eq!(Kind::Api.id(plain), id);
    }
    drop(Kind::AccessKey.parse::<AccessKeyId>(&id, "id"));
    drop(Kind::Consumer.parse::<ConsumerId>(&id, "id"));
    drop(Kind::Stage.parse::<StageId>(&id, "id"));
}

/// A token that is taken names an authority by a whole hash.
pub(crate) fn join_token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if text.parse::<JoinToken>().is_ok() {
        assert_eq!(text.trim().split_once('.').map(|(_, hash)| hash.len()), Some(64));
    }
}

/// Messages of the stream: what is read can be written out and read again.
pub(crate) fn stream_message(bytes: &[u8]) {
    fn again<M: Message + Default + PartialEq>(bytes: &[u8]) {
        if let Ok(message) = M::decode(bytes) {
            let read = M::decode(message.encode_to_vec().as_slice());
            assert!(read.is_ok_and(|read| read == message));
        }
    }
    again::<Signed>(bytes);
    again::<Update>(bytes);
    again::<SnapshotChunk>(bytes);
    again::<NodeMessage>(bytes);
}

/// A damaged segment gives no more than it has blocks for, and no record without its names.
pub(crate) fn usage_segment(bytes: &[u8]) {
    let Ok(read) = segment::decode(bytes) else { return };
    assert!(read.blocks as usize <= bytes.len().div_ceil(BLOCK_BYTES));
    assert!(read.records.len() + read.damaged as usize <= read.blocks as usize);
    assert!(read.records.iter().all(|record| read.names.contains_key(&record.names)));
}

/// Fields of one name, a line each.
fn fields(name: &HeaderName, lines: &[u8]) -> HeaderMap {
    let lines = lines.split(|byte| *byte == b'\n');
    let values = lines.filter_map(|line| HeaderValue::from_bytes(line).ok());
    values.map(|value| (name.clone(), value)).collect()
}

/// `original`, changed as the bytes say: each three are a place and what is done there. Mere noise would never come
/// past a signature.
fn changed(original: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut changed = original.to_vec();
    for edit in bytes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % (changed.len() + 1);
        match edit[2] {
            0 => changed.truncate(at),
            1 => drop(changed.splice(at..at, original.to_vec())),
            other if at < changed.len() => changed[at] ^= other,
            other => changed.push(other),
        }
    }
    changed
}

/// An Api is one that the host or the path names, and what follows is a path.
pub(crate) fn address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (host, uri) = text.split_once('\n').unwrap_or((text, "/"));
    let Ok(request) = Request::get(uri).header(header::HOST, host).body(()) else { return };
    let (head, ()) = request.into_parts();
    let Some(named) = hostile::address(&head, "execute-api.localhost") else { return };
    let id = &named.api_id;
    assert!(id.len() == 10 && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    assert!(named.path.starts_with('/'), "{named:?}");
    let said = head.uri.authority().map_or(host, http::uri::Authority::as_str);
    let said = if named.by_path { head.uri.path() } else { said };
    assert!(said.to_ascii_lowercase().contains(id), "{named:?} of {said:?}");
}

/// A trace that is continued keeps its id; one that is not leaves nothing behind.
pub(crate) fn traceparent(bytes: &[u8]) {
    let mut headers = fields(&HeaderName::from_static("traceparent"), bytes);
    headers.insert("tracestate", HeaderValue::from_static("a=b"));
    let traced = hostile::traced(headers.clone(), Propagator::TraceContext);
    let Some(ours) = traced.get("traceparent") else {
        assert!(traced.is_empty(), "{traced:?}");
        return;
    };
    let (theirs, ours) = (headers["traceparent"].as_bytes(), ours.as_bytes());
    assert_eq!((ours.len(), &ours[..3], &ours[3..36]), (55, b"00-".as_slice(), &theirs[3..36]));
    assert_ne!(ours[36..52], theirs[36..52], "the parent is this node now");
}

/// Past the first node, which may fill up what is short, a trace told of in Zipkin's or AWS's way keeps its id.
pub(crate) fn trace_fields(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    let names = ["b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-amzn-trace-id"];
    for (name, line) in names.into_iter().zip(bytes.split(|byte| *byte == b'\n')) {
        headers.extend(
            HeaderValue::from_bytes(line).map(|value| (HeaderName::from_static(name), value)),
        );
    }
    let id = |headers: &HeaderMap, name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        let end = if name == "b3" { value.find('-') } else { value.find(";Parent") };
        Some(value[..end.unwrap_or(value.len())].to_owned())
    };
    let ways = [Propagator::B3, Propagator::B3Multi, Propagator::XRay];
    for (way, name) in ways.into_iter().zip(["b3", "x-b3-traceid", "x-amzn-trace-id"]) {
        let once = hostile::traced(headers.clone(), way);
        let twice = hostile::traced(once.clone(), way);
        assert_eq!(id(&once, name), id(&twice, name), "{way:?}");
    }
}

/// A backend never gets a cookie of ours, and always gets a caller's other ones.
pub(crate) fn request_cookies(bytes: &[u8]) {
    let text = |value: &HeaderValue| String::from_utf8(value.as_bytes().to_vec()).ok();
    let pairs = |headers: &HeaderMap| -> Vec<String> {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(text);
        lines
            .flat_map(|line| line.split(';').map(|pair| pair.trim().to_owned()).collect::<Vec<_>>())
            .collect()
    };
    let is_own = |pair: &String| pair.to_ascii_lowercase().starts_with("tollgate_");
    let before = fields(&header::COOKIE, bytes);
    let after = pairs(&hostile::request_cookies(before.clone()));
    assert!(!after.iter().any(is_own), "{after:?}");
    let mut kept = pairs(&before);
    kept.retain(|pair| !is_own(pair));
    assert_eq!(after, kept);
}

/// The proxy's own last word decides, whatever the caller wrote before it; without a trusted proxy nothing does.
pub(crate) fn forwarded_for(bytes: &[u8]) {
    let proxies = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
    let (proxy, stranger): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [192, 0, 2, 7].into());
    let mut headers = fields(&HeaderName::from_static("x-forwarded-for"), bytes);
    assert_eq!(hostile::client(stranger, &headers, &proxies), stranger);
    hostile::client(proxy, &headers, &proxies);
    headers.append("x-forwarded-for", HeaderValue::from_static("192.0.2.7"));
    assert_eq!(hostile::client(proxy, &headers, &proxies), stranger);
}

/// Whatever Redis says about limits can be told to a caller.
pub(crate) fn redis_answer(bytes: &[u8]) {
    if let Some(headers) = hostile::redis_answer(bytes) {
        assert!(headers.contains_key("ratelimit") && headers.contains_key("ratelimit-policy"));
    }
}

/// How a connection's bytes were cut makes no difference to what was counted.
pub(crate) fn http2_frames(bytes: &[u8]) {
    let (came, went) = bytes.split_at(bytes.len() * 2 / 3);
    let missed = hostile::missed_streams(came, went, usize::MAX);
    for piece in [1, 2, 9, 10] {
        assert_eq!(hostile::missed_streams(came, went, piece), missed, "in pieces of {piece}");
    }
}

/// A changed file is believed up to the change, and never said to be whole.
pub(crate) fn last_good(bytes: &[u8]) {
    static FILE: LazyLock<ConfigFile> = LazyLock::new(ConfigFile::new);
    let content = changed(&FILE.content, bytes);
    let same = content.iter().zip(&FILE.content).take_while(|(a, b)| a == b).count();
    match FILE.read(&content) {
        Some((version, whole)) => {
            // Cut between two records it is a file as it was earlier.
            let earlier = FILE.content.starts_with(&content);
            assert!((1..=4).contains(&version) && (!whole || earlier), "{version} {whole}");
            assert!(version < 4 || same == FILE.content.len(), "{version}, and only {same} bytes");
        }
        None => assert!(same < FILE.content.len(), "a whole file is read"),
    }
    FILE.read(bytes);
}

/// The guard of GraphQL ends, whatever the document.
pub(crate) fn graphql_guard(bytes: &[u8]) {
    static SHAPE: LazyLock<Shape> =
        LazyLock::new(|| Shape::new(&control_plane::graphql::schema_sdl()).unwrap());
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (query, variables) = text.split_once('\0').unwrap_or((text, "{}"));
    let variables = serde_json::from_str(variables).map(Variables::from_json).unwrap_or_default();
    if let Ok(measured) = SHAPE.measure(query, &variables) {
        assert!(measured.nodes <= NODES_MAX);
    }
}

/// A document is run under its own hash, and under none where it does not fit.
pub(crate) fn graphql_request(bytes: &[u8]) {
    type Members = serde_json::Map<String, serde_json::Value>;
    const KNOWN: &str = "query Known { viewer { operator } }";
    // Its SHA-256, which the corpus has too.
    const HASH: &str = "b41730c3a5dde1edaa20abf0d684ab77375824121913eb985e30fdde485a41c9";
    static PERSISTED: LazyLock<Persisted> = LazyLock::new(|| {
        Persisted::new(serde_json::json!({ HASH: KNOWN }).to_string().as_bytes()).unwrap()
    });
    let Ok(fields) = serde_json::from_slice::<Members>(bytes) else { return };
    let sent = fields.get("query").and_then(|text| text.as_str()).unwrap_or_default().to_owned();
    let extension = fields.get("extensions").and_then(|given| given.get("persistedQuery")).cloned();
    let Ok(body) = request::Body::read(fields, &PERSISTED) else { return };
    match extension.filter(|given| !given.is_null()) {
        Some(given) => {
            assert!(sent.is_empty() || sent == body.query);
            assert_eq!(DocumentHash::named(&given).unwrap(), DocumentHash::of(&body.query));
        }
        None => assert_eq!(sent, body.query),
    }
}

/// No token is good but the one that was signed.
pub(crate) fn access_token(bytes: &[u8]) {
    static SIGNED: LazyLock<(TokenSigner, String)> = LazyLock::new(|| {
        let key = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
        let signer = TokenSigner::new(key.as_ref()).unwrap();
        let api_version = api_version::FIRST;
        let bearer = Bearer { user: Rng.id(), session: Rng.id(), tenant: None, api_version };
        let token = signer.sign(&Clock::system(), bearer).unwrap();
        (signer, token)
    });
    let (signer, token) = &*SIGNED;
    for tried in [changed(token.as_bytes(), bytes), bytes.to_vec()] {
        let Ok(tried) = String::from_utf8(tried) else { continue };
        assert_eq!(signer.verify(&Clock::system(), &tried).is_ok(), tried == *token, "{tried:?}");
    }
}

/// No refresh cookie is ours but the one that we made.
pub(crate) fn refresh_cookie(bytes: &[u8]) {
    static MADE: LazyLock<(WrappingKey, String)> = LazyLock::new(|| {
        let master = WrappingKey::new([7; 32]);
        let cookie = RefreshToken::fresh(Rng, Rng.id()).to_cookie(&master);
        (master, cookie)
    });
    let (master, cookie) = &*MADE;
    for tried in [changed(cookie.as_bytes(), bytes), bytes.to_vec()] {
        let Ok(tried) = String::from_utf8(tried) else { continue };
        assert_eq!(
            RefreshToken::from_cookie(master, &tried).is_some(),
            tried == *cookie,
            "{tried:?}"
        );
    }
}

/// A key is one field of 1 to 255 visible characters.
pub(crate) fn idempotency_key(bytes: &[u8]) {
    let headers = fields(&idempotency::HEADER, bytes);
    match idempotency::key(&headers) {
        Ok(Some(key)) => {
            assert!((1..=255).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()));
            assert_eq!(headers.len(), 1);
        }
        Ok(None) => assert!(headers.is_empty()),
        Err(error) => assert_eq!(error.param(), Some("Idempotency-Key")),
    }
}

/// A precondition that cannot be read is refused, and never left out.
pub(crate) fn if_match(bytes: &[u8]) {
    let headers = fields(&header::IF_MATCH, bytes);
    if let Err(error) = etag::precondition(&headers) {
        assert_eq!(error.param(), Some("If-Match"));
        assert!(!headers.is_empty());
    }
}

/// A body is an object, and means the same after it was written out.
pub(crate) fn rest_body(bytes: &[u8]) {
    fn read(bytes: &[u8]) -> Option<Settings> {
        let request = Request::post("/").header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Body::from(bytes.to_vec())).unwrap();
        let body = <Json<Settings> as FromRequest<()>>::from_request(request, &()).now_or_never();
        body.unwrap().ok().map(|Json(settings)| settings)
    }
    if let Some(settings) = read(bytes) {
        assert!(bytes.trim_ascii().starts_with(b"{"));
        let again = read(&serde_json::to_vec(&settings).unwrap());
        // An operation is only ever written: what is read are the examples made of it.
        assert_eq!(again, Some(Settings { openapi_operation: None, ..settings }));
    }
}

/// An address that is taken is taken again, fits into one line of a letter, and has one spelling that counts.
pub(crate) fn email(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(email) = Email::new(text) {
        assert!(!email.as_str().contains(|c: char| c.is_control() || c.is_whitespace()));
        assert!(email.as_str().contains('@') && email.as_str().chars().count() <= Email::CHARS_MAX);
        assert_eq!(Email::new(email.as_str()).ok(), Some(email));
    }
}

/// An export counts no more entries than it has lines, and a noted head reads back.
pub(crate) fn audit_export(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match audit_chain::verify_export(text, None) {
        Ok(head) => assert!(head.sequence < text.lines().count() as u64),
        Err(fault) => assert!(!fault.reason.is_empty()),
    }
    if let Ok(head) = text.parse::<Head>() {
        assert_eq!(head.to_string().parse::<Head>().ok(), Some(head));
    }
}

/// A message that is taken is taken again once it was written out, as the same; what is refused is told why in a frame.
pub(crate) fn socket_message(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let said = match Said::parse(text) {
        Ok(said) => said,
        Err(Close { code, reason }) => {
            assert!(code == 4400 && reason.len() <= REASON_BYTES_MAX, "{code} {reason}");
            return;
        }
    };
    let told = |said: &Said| match said {
        Said::ConnectionInit { payload } => {
            let payload = payload.clone().unwrap_or_default();
            let token = message::token(&payload);
            if let Ok(token) = &token {
                let mut texts = payload.values().filter_map(serde_json::Value::as_str);
                assert!(texts.any(|text| text.contains(token)), "{token}");
            }
            token.map_err(|close| assert_eq!(close.code, 4401)).ok()
        }
        Said::Subscribe { id, .. } => {
            assert!((1..=message::ID_BYTES_MAX).contains(&id.len()));
            assert!(Close::taken(id).reason.len() <= REASON_BYTES_MAX);
            Some(id.clone())
        }
        Said::Complete { id } => Some(id.clone()),
        Said::Ping { .. } | Said::Pong {} => None,
    };
    let again = Said::parse(&serde_json::to_string(&said).unwrap()).unwrap();
    assert_eq!(std::mem::discriminant(&again), std::mem::discriminant(&said));
    assert_eq!(told(&again), told(&said));
}

/// A certificate is for the key that signed the request, and takes nothing else from it.
pub(crate) fn certificate_request(bytes: &[u8]) {
    static MADE: LazyLock<(Authority, Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
        let now = Clock::system().now();
        let authority = Authority::new(authority::make(now).unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut greedy = CertificateParams::new(vec!["greedy.example".to_owned()]).unwrap();
        greedy.distinguished_name.push(DnType::CommonName, "greedy");
        greedy.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let request = greedy.serialize_request(&key).unwrap();
        (authority, request.der().to_vec(), key.subject_public_key_info())
    });
    let (authority, request, key) = &*MADE;
    let (node, now) = (Rng.id(), Clock::system().now());
    let certified = |request: &[u8]| match authority.certify_node(node, request, now) {
        Ok(issued) => Some(issued.certificate),
        Err(error) => {
            assert_eq!(error.param(), Some("certificateRequest"), "{error:?}");
            None
        }
    };
    let holds = |certificate: &[u8], part: &[u8]| {
        certificate.windows(part.len()).any(|window| window == part)
    };
    let tried = changed(request, bytes);
    let of_ours = certified(&tried);
    assert!(of_ours.is_some() || tried != *request, "a whole request is refused");
    if let Some(certificate) = &of_ours {
        assert!(holds(certificate, key), "it is for another key");
    }
    for certificate in of_ours.into_iter().chain(certified(bytes)) {
        assert!(!holds(&certificate, b"greedy"), "the request's own names");
        assert!(holds(&certificate, node.to_string().as_bytes()));
    }
}
