//! Which fields pass through, in both directions (RFC 9110 §7.6).

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{self, CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE},
};

use egress::Protocol;

use super::{cookies, forwarded};
use crate::{
    dialect::headers::{Headers, REMAPPED},
    exchange::Exchange,
    router::Addressing,
    snapshot::served::HttpProxy,
};

const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];
pub(crate) use super::forwarded::FORWARDED_FOR;
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Removes what concerns one connection only: the fixed list, and whatever `Connection` names.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    // Most messages have one of them or none, and a look at each name costs less than a search for each of the list.
    let found = headers.keys().filter_map(|name| HOP_BY_HOP.iter().position(|it| it == name));
    let found = found.fold(0_u8, |found, index| found | 1 << index);
    if found == 0 {
        return;
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH); // it is not the body's (RFC 9112 §6.3)
    }
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    for name in named {
        // Framing and addressing are not the caller's to drop.
        if name != HOST && name != header::CONTENT_LENGTH {
            headers.remove(name);
        }
    }
    for (index, name) in HOP_BY_HOP.iter().enumerate() {
        if found & 1 << index != 0 {
            headers.remove(name);
        }
    }
}

/// Leaves of trailers what means something after a body, and is not of the connection that they came on.
pub(crate) fn keep_trailing(trailers: &mut HeaderMap) {
    remove_hop_by_hop(trailers);
    let out_of_place = |name: &&HeaderName| !upstream::may_trail(name);
    let never: Vec<HeaderName> = trailers.keys().filter(out_of_place).cloned().collect();
    for name in never {
        trailers.remove(name);
    }
}

/// Turns a caller's fields into those of the request to the backend. A field with an API key is passed on, as AWS does.
pub(crate) fn prepare_request(exchange: &mut Exchange, proxy: &HttpProxy) {
    let authority = exchange.head.uri.authority().map(|authority| authority.as_str().to_owned());
    let asked_host = authority
        .and_then(|authority| HeaderValue::try_from(authority).ok())
        .or_else(|| exchange.head.headers.get(HOST).cloned());
    let by_path = matches!(exchange.addressing, Addressing::Path { .. });
    let (peer, client, dialect) = (exchange.peer, exchange.client(), exchange.dialect());
    let is_http2 = exchange.head.version == Version::HTTP_2;

    let headers = &mut exchange.head.headers;
    // gRPC's servers want to hear it. It is said for this node, which takes them from whoever speaks HTTP/2.
    let takes_trailers = proxy.protocol == Protocol::Http2 && takes_trailers(headers);
    remove_hop_by_hop(headers);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if is_http2 {
        cookies::join(headers);
    }
    headers.remove(header::EXPECT); // the caller was told to go on when the body was first read
    let host = asked_host.as_ref().filter(|_| proxy.preserve_host).unwrap_or(&proxy.authority);
    headers.insert(HOST, host.clone());
    let told = look(headers, dialect.headers);
    let origin = forwarded::Origin { peer, client, host: asked_host.as_ref() };
    forwarded::forward(headers, told, proxy.forwarding, &origin);
    if let Ok(id) = HeaderValue::try_from(&exchange.id) {
        headers.insert(REQUEST_ID, id);
    }
    if let Some(trace) = &mut exchange.trace {
        let tracer = exchange.node.shared.config.tracer.as_ref();
        let method = proxy.method.as_ref().unwrap_or(&exchange.head.method);
        let propagators = &exchange.node.shared.config.propagators;
        trace.forward(tracer, propagators, &proxy.authority, method, headers);
    }
    if by_path {
        cookies::drop_own(headers);
    }
}

/// Removes what the dialect does not pass on; gives whether there are fields that tell where the call comes from. One look
/// at the names, and nothing else where there are none of either.
fn look(headers: &mut HeaderMap, table: &Headers) -> bool {
    let (mut told, mut dropped) = (false, false);
    for name in headers.keys() {
        let name = name.as_str();
        told |= forwarded::tells(name);
        dropped |= table.request_drops.find(name).is_some();
    }
    if dropped {
        let drops = |name: &&HeaderName| {
            // `TE` is this node's own word here.
            **name != TE && table.request_drops.find(name.as_str()).is_some()
        };
        let names: Vec<_> = headers.keys().filter(drops).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
    told
}

/// Turns a backend's fields into those of the answer to its caller.
pub(crate) fn prepare_answer(headers: &mut HeaderMap, table: &Headers) {
    remap(headers, table);
    remove_hop_by_hop(headers);
}

/// What the dialect calls otherwise, or keeps to itself.
pub(crate) fn remap(headers: &mut HeaderMap, table: &Headers) {
    if table.answer_remaps.is_empty() && table.answer_drops.is_empty() {
        return;
    }
    let concerned = |name: &&HeaderName| {
        let name = name.as_str();
        table.answer_remaps.find(name).is_some() || table.answer_drops.find(name).is_some()
    };
    let names: Vec<_> = headers.keys().filter(concerned).cloned().collect();
    for name in names {
        if table.answer_remaps.find(name.as_str()).is_some()
            && let Ok(other) = HeaderName::try_from(format!("{REMAPPED}{name}"))
        {
            let values: Vec<_> = headers.get_all(&name).iter().cloned().collect();
            headers.remove(&other); // that is the gateway's to say
            for value in values {
                headers.append(&other, value);
            }
        }
        // These say which others go with them, and are gone then.
        if name != CONNECTION && name != TRANSFER_ENCODING {
            headers.remove(name);
        }
    }
}

fn takes_trailers(headers: &HeaderMap) -> bool {
    let mut codings =
        headers.get_all(TE).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

#[cfg(test)]
mod tests {
    use proto::config::v1::Dialect as Name;

    use super::*;
    use crate::dialect::Dialect;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_concerns_one_connection_is_not_passed_on() {
        let mut headers = map(&[
            ("connection", "close, X-Secret , host,content-length"),
            ("connection", "x-other"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("x-secret", "1"),
            ("x-other", "1"),
            ("host", "h"),
            ("content-length", "0"),
            ("x-kept", "1"),
            ("www-authenticate", "Basic"),
        ]);
        remove_hop_by_hop(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host", "www-authenticate", "x-kept"]);

        let mut headers = map(&[("content-length", "5"), ("transfer-encoding", "chunked")]);
        remove_hop_by_hop(&mut headers);
        assert!(headers.is_empty(), "the length is not the body's: {headers:?}");
    }

    #[test]
    fn aws_rest_calls_some_fields_of_answers_otherwise() {
        let backends = [
            ("www-authenticate", "Basic"),
            ("www-authenticate", "Digest"),
            ("x-amzn-remapped-www-authenticate", "forged"),
            ("server", "nginx"),
            ("date", "Mon, 23 Nov 2026 00:00:00 GMT"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("trailer", "x-sum"),
            ("host", "h"),
            ("content-type", "text/plain"),
        ];
        let mut rest = map(&backends);
        prepare_answer(&mut rest, Dialect::of(Name::AwsRest.into()).unwrap().headers);
        let mut expected = map(&[
            ("x-amzn-remapped-www-authenticate", "Basic"),
            ("x-amzn-remapped-www-authenticate", "Digest"),
            ("x-amzn-remapped-server", "nginx"),
            ("x-amzn-remapped-date", "Mon, 23 Nov 2026 00:00:00 GMT"),
            ("x-amzn-remapped-connection", "close, x-hop"),
            ("content-type", "text/plain"),
        ]);
        assert_eq!(rest, expected);

        for name in [Name::Native, Name::AwsHttp] {
            let mut others = map(&backends);
            prepare_answer(&mut others, Dialect::of(name.into()).unwrap().headers);
            expected = map(&backends);
            for gone in ["connection", "x-hop"] {
                expected.remove(gone);
            }
            assert_eq!(others, expected, "{name:?}");
        }
    }
}
