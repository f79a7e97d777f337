//! What AWS's custom integrations, `HTTP` and `AWS`, have in common: no more of a call goes on than is said, and what was
//! answered becomes an integration response.

use http::{
    HeaderMap, HeaderName, Response, StatusCode,
    header::{self, ACCEPT, CONTENT_TYPE},
    uri::PathAndQuery,
};

use super::{AnswerBody, function, http_proxy, mock};
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    snapshot::served::{HttpProxy, MockResponse, Responses},
};

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
    let mut fields = HeaderMap::new();
    for name in PASSED.iter().chain(&function::TRACE_FIELDS) {
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
pub(super) fn rendered(
    exchange: &Exchange,
    of: Option<&MockResponse>,
    status: StatusCode,
    fields: HeaderMap,
    body: AnswerBody,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    let Some(of) = of else {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = fields;
        return Ok(response);
    };
    if !of.bodies.is_empty() {
        return mock::chosen(exchange, of);
    }
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
