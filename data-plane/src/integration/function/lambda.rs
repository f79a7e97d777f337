//! What of a call is Lambda's Invoke API: how the event is sent to it, and what its answers say before the function's.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, uri::PathAndQuery};

use super::failed;
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    integration::sigv4::{self, Signed},
    node::now_ms,
    snapshot::{
        Snapshot,
        served::{Invocation, Lambda},
    },
};

/// AWS's bound on what is invoked asynchronously.
const EVENT_BYTES_MAX: usize = 1 << 20;
const INVOCATION_TYPE: HeaderName = HeaderName::from_static("x-amz-invocation-type");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// The most that an event may have.
pub(in crate::integration) fn event_bytes_max(invocation: Invocation) -> usize {
    match invocation {
        Invocation::Event => EVENT_BYTES_MAX,
        Invocation::RequestResponse => super::PAYLOAD_BYTES_MAX,
    }
}

/// Says how the function is to be invoked.
pub(in crate::integration) fn invoke(invocation: Invocation, fields: &mut HeaderMap) {
    let name = match invocation {
        Invocation::RequestResponse => "RequestResponse",
        Invocation::Event => "Event",
    };
    fields.insert(INVOCATION_TYPE, HeaderValue::from_static(name));
}

/// Makes the POST of an event an invocation; gives the target that was signed.
pub(super) fn prepare(
    snapshot: &Snapshot,
    tenant_id: &str,
    lambda: &Lambda,
    target: &PathAndQuery,
    event: &[u8],
    fields: &mut HeaderMap,
) -> Result<PathAndQuery, GatewayResponse> {
    invoke(lambda.invocation, fields);
    let request = Signed { method: &Method::POST, target, body: event, now_ms: now_ms() };
    sigv4::sign(snapshot, tenant_id, &lambda.signing, &request, fields)
}

/// Lambda's own refusals, which no function gave.
pub(in crate::integration) fn refused(status: StatusCode, headers: &HeaderMap) -> GatewayResponse {
    let code = status.as_u16();
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return Kind::RequestTooLarge.because("The event is larger than Lambda takes.");
    }
    // Its name alone: what follows a colon is an address, and its message may tell of the account.
    let name = headers.get(ERROR_TYPE).and_then(|name| name.to_str().ok()).unwrap_or_default();
    let name = name.split(':').next().unwrap_or_default();
    let is_name = name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_name && !name.is_empty() {
        return failed(format!("Lambda refused the invocation with {code} {name}."));
    }
    failed(format!("Lambda refused the invocation with {code}."))
}

/// To whom does not wait for the function.
pub(in crate::integration) fn accepted<B: Default>(exchange: &Exchange) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = exchange.dialect().event_accepted;
    response
}
