//! What becomes of payloads that are binary by their Api's `binaryMediaTypes`, where integrations are not transparent to
//! bytes: functions, whose events and answers are text, fixed answers, and custom integrations. Those that pass through keep
//! their bytes.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName,
    header::{ACCEPT, CONTENT_TYPE},
};
use plan::media::{BinaryMediaTypes, ContentHandling, Conversion};

use super::function::{
    self,
    memory::{Full, Held},
};
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
};

/// A field's first value, where it is text.
pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// By which media types a payload is converted, if at all: outside of AWS's REST APIs only one that is told to be.
fn types(exchange: &Exchange, handling: Option<ContentHandling>) -> Option<&BinaryMediaTypes> {
    let deployment = exchange.deployment()?;
    let converts = deployment.dialect.converts_media || handling.is_some();
    converts.then_some(&deployment.binary_media_types)
}

/// What the caller gets of a payload that is text; asked before its fields go to a backend.
pub(super) fn of_text(exchange: &Exchange, handling: Option<ContentHandling>) -> Conversion {
    let accept = text(&exchange.head.headers, ACCEPT);
    let types = types(exchange, handling);
    types.map_or(Conversion::Keep, |types| types.of_response(false, accept, handling))
}

/// What a custom integration's backend gets of the caller's payload.
pub(super) fn of_request(exchange: &Exchange, handling: Option<ContentHandling>) -> Conversion {
    let content_type = text(&exchange.head.headers, CONTENT_TYPE);
    let types = types(exchange, handling);
    types.map_or(Conversion::Keep, |types| types.of_request(content_type, handling))
}

/// What the caller gets of a payload with these fields, of a custom integration's backend.
pub(super) fn of_answer(
    exchange: &Exchange,
    fields: &HeaderMap,
    handling: Option<ContentHandling>,
) -> Conversion {
    let Some(types) = types(exchange, handling) else { return Conversion::Keep };
    let accept = text(&exchange.head.headers, ACCEPT);
    types.of_response(types.cover(text(fields, CONTENT_TYPE)), accept, handling)
}

/// The payload as it is then. `held` grows by what is made of it.
pub(super) fn converted(
    bytes: Bytes,
    conversion: Conversion,
    held: &mut Held,
) -> Result<Bytes, GatewayResponse> {
    let made: Vec<u8> = match conversion {
        Conversion::Keep => return Ok(bytes),
        Conversion::Text => match String::from_utf8_lossy(&bytes) {
            Cow::Borrowed(_) => return Ok(bytes),
            Cow::Owned(text) => text.into_bytes(),
        },
        Conversion::Encode => STANDARD.encode(&bytes).into_bytes(),
        Conversion::Decode => STANDARD.decode(&bytes).map_err(|_| {
            Kind::ApiConfigurationError.because("A body is to be decoded, and is not base64.")
        })?,
    };
    held.grow(made.len()).map_err(|Full| function::full())?;
    Ok(made.into())
}

/// Whether the caller gets the bytes of which a function's answer is the base64, or the base64 itself.
pub(super) fn decodes_answer(exchange: &Exchange) -> bool {
    !exchange.dialect().converts_media || of_text(exchange, None) == Conversion::Decode
}
