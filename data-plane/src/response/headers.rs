//! Which fields pass through, in both directions (RFC 9110 §7.6).

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{self, CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE},
};

use egress::Protocol;

use super::cookies;
use crate::{exchange::Exchange, router::Addressing, snapshot::served::HttpProxy};

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
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
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
    let peer = exchange.peer;
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
    headers.remove(header::FORWARDED); // would contradict the fields below
    let host = asked_host.as_ref().filter(|_| proxy.preserve_host).unwrap_or(&proxy.authority);
    headers.insert(HOST, host.clone());
    forward_for(headers, peer.address, peer.trusted);
    if !(peer.trusted && headers.contains_key(FORWARDED_PROTO)) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(peer.scheme()));
    }
    if let Some(host) = asked_host
        && !(peer.trusted && headers.contains_key(FORWARDED_HOST))
    {
        headers.insert(FORWARDED_HOST, host);
    }
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

fn takes_trailers(headers: &HeaderMap) -> bool {
    let mut codings =
        headers.get_all(TE).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// The caller's address, after those that a trusted proxy vouches for.
fn forward_for(headers: &mut HeaderMap, peer: IpAddr, trusted: bool) {
    let mut value = String::new();
    if trusted {
        for earlier in headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok())
        {
            value.push_str(earlier);
            value.push_str(", ");
        }
    }
    push_address(&mut value, peer.to_canonical());
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(FORWARDED_FOR, value);
    }
}

/// Each call to a backend has one, and formatting would take longer than all the rest of it.
fn push_address(text: &mut String, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        text.push_str(&address.to_string());
        return;
    };
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            text.push('.');
        }
        text.push_str(itoa::Buffer::new().format(octet));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn forwarded_for_is_replaced_unless_a_trusted_proxy_sent_it() {
        for (trusted, expected) in [(false, "192.0.2.1"), (true, "10.0.0.1, 10.0.0.2, 192.0.2.1")] {
            let mut headers =
                map(&[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "10.0.0.2")]);
            forward_for(&mut headers, "::ffff:192.0.2.1".parse().unwrap(), trusted);
            let values: Vec<&HeaderValue> = headers.get_all(FORWARDED_FOR).iter().collect();
            assert_eq!(values, [expected]);
        }
        for address in ["0.0.0.0", "255.10.9.100", "2001:db8::1"] {
            let mut headers = HeaderMap::new();
            forward_for(&mut headers, address.parse().unwrap(), false);
            assert_eq!(headers[FORWARDED_FOR], address);
        }
    }
}
