//! What AWS's custom integrations, `HTTP` and `AWS`, have in common: no more of a call goes on than is said, and what was
//! answered becomes an integration response.

use http::{
    HeaderMap, HeaderName, Response, StatusCode,
    header::{self, ACCEPT, CONTENT_TYPE},
    uri::PathAndQuery,
};
use http_body::Body as _;
use plan::media::Conversion;

use super::{AnswerBody, buffered, function, http_proxy, media, mock};
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    snapshot::served::{HttpProxy, MockResponse, Responses},
};

/// AWS's bound on a body that is read whole.
pub(super) const BODY_BYTES_MAX: usize = 10 << 20;
/// Those of a caller that a backend or a service gets.
const PASSED: [HeaderName; 14] = [
    ACCEPT,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    CONTENT_TYPE,
    header::EXPIRES,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
    HeaderName::from_static("content-md5"),
];

/// The integration's URI alone: a caller's query is its own.
pub(super) fn target(
    exchange: &Exchange,
    backend: &HttpProxy,
) -> Result<PathAndQuery, GatewayResponse> {
    let target = http_proxy::target(exchange, backend, None, None)?;
    // A parameter that steps out of its place would be asked for, and signed, as another path.
    let path = plan::path::decode(target.path());
    if path.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(http_proxy::unfit());
    }
    Ok(target)
}

/// The fields that say what a body is, or which answer a caller takes, and those of its trace.
pub(super) fn passed(of: &HeaderMap) -> HeaderMap {
    all_of(of, PASSED.iter().chain(&function::TRACE_FIELDS))
}

/// Those of a call's trace alone.
pub(super) fn traced(of: &HeaderMap) -> HeaderMap {
    all_of(of, function::TRACE_FIELDS.iter())
}

fn all_of<'a>(of: &HeaderMap, names: impl Iterator<Item = &'a HeaderName>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for name in names {
        for value in of.get_all(name) {
            fields.append(name, value.clone());
        }
    }
    fields
}

/// What callers get where this status was answered; `None`: what was answered.
pub(super) fn by_status(
    responses: &Responses,
    status: StatusCode,
) -> Result<Option<&MockResponse>, GatewayResponse> {
    if responses.is_empty() {
        return Ok(None);
    }
    responses.of(status.as_str()).map(Some).ok_or_else(unanswered)
}

pub(super) fn unanswered() -> GatewayResponse {
    Kind::ApiConfigurationError
        .because("No integration response takes what was answered, and none is the default.")
}

/// As the integration response has it: its status, its fields and its body where it has one; what was answered, where there is
/// none.
pub(super) async fn rendered(
    exchange: &Exchange,
    of: Option<&MockResponse>,
    status: StatusCode,
    mut fields: HeaderMap,
    mut body: AnswerBody,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    if let Some(of) = of.filter(|of| !of.bodies.is_empty()) {
        return mock::chosen(exchange, of);
    }
    let conversion = media::of_answer(exchange, &fields, of.and_then(|of| of.handling));
    // What is compressed is no text.
    let keeps = conversion == Conversion::Text && fields.contains_key(header::CONTENT_ENCODING);
    if conversion != Conversion::Keep && !keeps && !body.is_end_stream() {
        let tenant = exchange.stage.as_deref().map(|stage| &stage.tenant_id);
        let tenant = tenant.ok_or_else(|| Kind::Internal.because("The API has no tenant."))?;
        let mut held = exchange.node.functions.enter(tenant);
        let bytes = buffered::whole(body, &mut held).await?;
        let bytes = media::converted(bytes, conversion, &mut held)?;
        fields.insert(header::CONTENT_LENGTH, bytes.len().into());
        body = AnswerBody::whole(held.keep(bytes));
    }
    let Some(of) = of else {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        return Ok(response);
    };
    let mut response = Response::new(body);
    *response.status_mut() = of.status;
    response.headers_mut().clone_from(&of.headers);
    for name in [CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LENGTH] {
        if let Some(value) = fields.get(&name).filter(|_| !of.headers.contains_key(&name)) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    Ok(response)
}
