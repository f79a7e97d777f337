//! Compresses answers on their way out, where an Api asks for it by `minimumCompressionSize`.
//!
//! - [`accept`]: which coding a caller prefers.
//! - [`eligible`]: which answers may be compressed at all.
//! - [`encode`]: the codings.
//! - [`body`]: an answer's body while it is compressed, piece by piece.
//! - [`desk`]: whose piece is next, so that a data thread compresses a little at a time between all else that it does.

pub(crate) mod accept;
mod body;
mod desk;
mod eligible;
mod encode;

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response,
    header::{ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, VARY},
};
use http_body::Body as _;

pub(crate) use self::{
    accept::{Coding, Offer},
    body::Compressed,
    desk::{Codecs, Place},
    eligible::DIGESTS,
};
use crate::{exchange::Exchange, integration::AnswerBody};

/// What an Api and a caller want of an answer; judged before the caller's fields go to the backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Smaller bodies stay as they are.
    bytes_min: u64,
    /// `None`: the caller takes none that its Api's dialect has.
    coding: Option<Coding>,
}

/// `None` where the Api compresses nothing.
pub(crate) fn wanted(exchange: &Exchange) -> Option<Wanted> {
    let bytes_min = exchange.deployment()?.compression_bytes_min?;
    let fields = exchange.head.headers.get_all(ACCEPT_ENCODING);
    let values = fields.iter().map(HeaderValue::as_bytes);
    Some(Wanted { bytes_min, coding: accept::choose(values, &exchange.dialect().compression) })
}

/// The answer, compressed where that is wanted and right. Refusals stay as they are.
pub(crate) fn compress(
    exchange: &Exchange,
    mut response: Response<AnswerBody>,
) -> Response<AnswerBody> {
    let offer = &exchange.dialect().compression;
    let Some(wanted) = exchange.compression.filter(|_| exchange.refused.is_none()) else {
        return response;
    };
    let is_head = exchange.head.method == Method::HEAD;
    let bytes = length(&response, is_head);
    let small = bytes.is_some_and(|bytes| bytes < wanted.bytes_min.max(1));
    if small || !eligible::may_be_coded(response.status(), response.headers(), offer) {
        return response;
    }
    if offer.careful {
        vary(response.headers_mut());
    }
    let Some(coding) = wanted.coding else { return response };
    if is_head {
        // Without a length nobody knows what GET would get.
        if bytes.is_some() {
            mark(response.headers_mut(), coding);
            *response.body_mut() = AnswerBody::whole(Bytes::new());
        }
        return response;
    }
    let Some(tenant) = exchange.stage.as_ref().map(|stage| stage.tenant_id.clone()) else {
        return response;
    };
    compressed(exchange, &tenant, coding, response)
}

fn compressed(
    exchange: &Exchange,
    tenant: &Arc<str>,
    coding: Coding,
    response: Response<AnswerBody>,
) -> Response<AnswerBody> {
    let codecs = &exchange.node.codecs;
    // Where no more memory may be held for it, the answer goes as it is: that is always right.
    let Some(place) = codecs.enter(tenant, body::held_bytes_max(coding)) else {
        exchange.node.shared.metrics.uncompressed.inc();
        return response;
    };
    let (mut head, body) = response.into_parts();
    mark(&mut head.headers, coding);
    let body = Compressed::new(body, coding, place);
    Response::from_parts(head, AnswerBody::Compressed(Box::new(body)))
}

/// How long the body is; `None`: nobody knows yet.
fn length(response: &Response<AnswerBody>, is_head: bool) -> Option<u64> {
    let told = || response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    match response.body().size_hint().exact() {
        Some(0) if is_head => told(),
        exact => exact,
    }
}

/// Says that the body is coded, and unsays what was so of the body before.
fn mark(headers: &mut HeaderMap, coding: Coding) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    // The same resource in other bytes: equal weakly, not strongly (RFC 9110 §8.8.1).
    if let Some(strong) = headers.get(ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""))
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", strong.as_bytes()].concat())
    {
        headers.insert(ETAG, weak);
    }
}

/// Tells caches that callers with other codings get other bytes.
fn vary(headers: &mut HeaderMap) {
    let named = |value: &HeaderValue| {
        let mut names = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
    };
    if !headers.get_all(VARY).iter().any(named) {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let fields = fields.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), HeaderValue::from_static(value))
        });
        fields.collect()
    }

    #[test]
    fn a_coded_body_has_another_length_no_ranges_and_a_weak_tag() {
        for (tag, weak) in [("\"abc\"", "W/\"abc\""), ("W/\"abc\"", "W/\"abc\""), ("abc", "abc")] {
            let mut headers = map(&[("content-length", "9"), ("accept-ranges", "bytes")]);
            headers.insert(ETAG, HeaderValue::from_static(tag));
            mark(&mut headers, Coding::Gzip);
            let mut expected = map(&[("content-encoding", "gzip")]);
            expected.insert(ETAG, HeaderValue::from_static(weak));
            assert_eq!(headers, expected);
        }
    }

    #[test]
    fn vary_names_the_field_once() {
        for (before, after) in [
            (None, vec!["Accept-Encoding"]),
            (Some("origin"), vec!["origin", "Accept-Encoding"]),
            (Some("origin, accept-encoding"), vec!["origin, accept-encoding"]),
            (Some("*"), vec!["*"]),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(before.map(|value| (VARY, HeaderValue::from_static(value))));
            vary(&mut headers);
            assert_eq!(headers.get_all(VARY).iter().collect::<Vec<_>>(), after);
        }
    }
}
