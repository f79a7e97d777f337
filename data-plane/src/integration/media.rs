//! What becomes of payloads that are binary by their Api's `binaryMediaTypes`, where integrations are not transparent to
//! bytes: functions, whose events and answers are text, and fixed answers. Those that pass through keep their bytes.

use http::{HeaderMap, HeaderName, header::ACCEPT};
use plan::media::{ContentHandling, Conversion};

use crate::exchange::Exchange;

/// A field's first value, where it is text.
pub(super) fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// What the caller gets of a payload that is text; asked before its fields go to a backend.
pub(super) fn of_text(exchange: &Exchange, handling: Option<ContentHandling>) -> Conversion {
    let accept = text(&exchange.head.headers, ACCEPT);
    match exchange.deployment() {
        Some(deployment) if deployment.dialect.converts_media => {
            deployment.binary_media_types.of_response(false, accept, handling)
        }
        _ if handling == Some(ContentHandling::ConvertToBinary) => Conversion::Decode,
        _ => Conversion::Keep,
    }
}

/// Whether the caller gets the bytes of which a function's answer is the base64, or the base64 itself.
pub(super) fn decodes_answer(exchange: &Exchange) -> bool {
    !exchange.dialect().converts_media || of_text(exchange, None) == Conversion::Decode
}
