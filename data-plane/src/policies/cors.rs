//! Cross-origin calls: preflights are answered here, before keys and limits, which they do not carry; and every answer
//! tells the browser who may read it, refusals too.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};
use plan::{Allowed, Cors, Found};

use crate::{
    exchange::Exchange, gateway_response::GatewayResponse, integration::AnswerBody,
    snapshot::Snapshot,
};

/// What a backend may say of it, and does not where the Api does.
const OWN: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// Notes which page calls, and gives the answer to a preflight, whether or not a route takes OPTIONS; nothing where the call is none, or where nobody
/// configured what to tell.
pub(crate) fn preflight(
    snapshot: &Snapshot,
    exchange: &mut Exchange,
) -> Option<Result<Response<AnswerBody>, GatewayResponse>> {
    let configured = exchange.deployment()?.cors.is_some();
    if configured || exchange.route().is_some_and(|route| route.cors.is_some()) {
        exchange.origin = exchange.head.headers.get(ORIGIN).cloned();
    }
    let fields = &exchange.head.headers;
    if exchange.head.method != Method::OPTIONS || !fields.contains_key(ORIGIN) {
        return None;
    }
    let asked = fields.get(ACCESS_CONTROL_REQUEST_METHOD)?.clone();
    let method = Method::from_bytes(asked.as_bytes()).ok()?;
    let stage = exchange.stage.clone()?;
    let deployment = stage.deployment.as_ref()?;
    if exchange.path.is_empty() {
        return None; // refused for its path, whatever it asks
    }
    // The call that is to follow decides by whose rules.
    let next = match deployment.router.find(&method, &exchange.path) {
        Found::Route { index, .. } => deployment.routes.get(index),
        Found::Redirect | Found::MethodNotAllowed(_) | Found::NotFound => None,
    };
    let cors = next.and_then(|route| route.cors.as_deref()).or(deployment.cors.as_deref());
    let cors = cors.filter(|cors| !cors.is_off())?;
    exchange.route = None; // no route is called, though one may take OPTIONS
    if let Err(refusal) = super::restriction::of_stage(snapshot, exchange) {
        return Some(Err(refusal));
    }

    let dialect = deployment.dialect;
    let mut response = Response::new(AnswerBody::whole(Bytes::new()));
    *response.status_mut() =
        StatusCode::from_u16(dialect.preflight_status).unwrap_or(StatusCode::NO_CONTENT);
    if exchange.head.headers.get(ORIGIN).and_then(|it| cors.allows(it.as_bytes())).is_some() {
        let headers = response.headers_mut();
        if !cors.methods.is_empty() {
            tell(headers, ACCESS_CONTROL_ALLOW_METHODS, &cors.methods);
        } else if dialect.preflight_tells_methods && next.is_some() {
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, asked);
        }
        tell(headers, ACCESS_CONTROL_ALLOW_HEADERS, &cors.headers);
        tell(headers, ACCESS_CONTROL_MAX_AGE, cors.max_age.as_deref().unwrap_or_default());
    }
    exchange.preflight = true;
    allow(response.headers_mut(), cors, exchange.head.headers.get(ORIGIN));
    Some(Ok(response))
}

/// Gives an answer the Api's own fields in the place of its backend's.
pub(crate) fn apply(headers: &mut HeaderMap, exchange: &Exchange) {
    if exchange.preflight {
        return; // has them
    }
    let Some(deployment) = exchange.deployment() else { return };
    let own = exchange.route().and_then(|route| route.cors.as_deref());
    let Some(cors) = own.or(deployment.cors.as_deref()).filter(|cors| !cors.is_off()) else {
        return;
    };
    for name in &OWN {
        headers.remove(name);
    }
    let origin = exchange.origin.as_ref();
    if origin.is_some_and(|origin| cors.allows(origin.as_bytes()).is_some()) {
        tell(headers, ACCESS_CONTROL_EXPOSE_HEADERS, &cors.exposed);
    }
    allow(headers, cors, origin);
}

fn allow(headers: &mut HeaderMap, cors: &Cors, origin: Option<&HeaderValue>) {
    if cors.varies() {
        vary(headers);
    }
    let Some(origin) = origin else { return };
    let Some(allowed) = cors.allows(origin.as_bytes()) else { return };
    let value = match allowed {
        Allowed::Anybody => HeaderValue::from_static("*"),
        Allowed::Itself => origin.clone(),
    };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, value);
    if cors.credentials {
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

/// Says to caches that the answer is another one for another page, unless it is said.
fn vary(headers: &mut HeaderMap) {
    let mut told =
        headers.get_all(VARY).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    let origin = |name: &[u8]| {
        let name = name.trim_ascii();
        name == b"*" || name.eq_ignore_ascii_case(b"origin")
    };
    if !told.any(origin) {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}

fn tell(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if !text.is_empty()
        && let Ok(value) = HeaderValue::from_str(text)
    {
        headers.insert(name, value);
    }
}
