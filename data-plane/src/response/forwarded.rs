//! What a backend is told of where a call comes from: `X-Forwarded-…`, or `Forwarded` (RFC 7239). What a stranger says of
//! that is never passed on; what a trusted proxy says is believed.

use std::{fmt::Write as _, net::IpAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};

use crate::{
    dialect::headers::Form,
    listener::Peer,
    snapshot::served::{Forwarding, ForwardingPolicy},
};

const PREFIX: &str = "x-forwarded-";
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Who calls, and what.
pub(super) struct Origin<'a> {
    pub(super) peer: Peer,
    /// Behind trusted proxies too.
    pub(super) client: IpAddr,
    pub(super) host: Option<&'a HeaderValue>,
}

/// Whether a field tells where a call comes from.
pub(super) fn tells(name: &str) -> bool {
    name.starts_with(PREFIX) || name == "forwarded"
}

/// Says in the request's fields where it comes from. `told` is whether it came with such fields.
pub(super) fn forward(
    headers: &mut HeaderMap,
    told: bool,
    forwarding: Forwarding,
    origin: &Origin<'_>,
) {
    let trusted = origin.peer.trusted;
    let earlier = if told && trusted { Earlier::of(headers) } else { Earlier::default() };
    let remove_all = forwarding.policy == ForwardingPolicy::Remove
        || !trusted
        || forwarding.form == Form::Forwarded;
    if told && remove_all {
        remove(headers);
    }
    match (forwarding.policy, forwarding.form) {
        (ForwardingPolicy::Remove, _) => {}
        (policy, Form::XForwarded) => {
            let append = policy == ForwardingPolicy::Append;
            let list = if append {
                earlier.addresses_and(origin.peer.address)
            } else {
                let mut client = String::new();
                push_address(&mut client, origin.client.to_canonical());
                client
            };
            insert(headers, FORWARDED_FOR, list);
            if earlier.proto.is_none() {
                headers.insert(FORWARDED_PROTO, HeaderValue::from_static(origin.peer.scheme()));
            }
            if let Some(host) = origin.host
                && earlier.host.is_none()
            {
                headers.insert(FORWARDED_HOST, host.clone());
            }
            match earlier.forwarded.filter(|_| append) {
                // One that a trusted proxy began goes on, or it would end with somebody else.
                Some(begun) => insert(headers, FORWARDED, begun + ", " + &element(origin, None)),
                None if told => drop(headers.remove(FORWARDED)),
                None => {}
            }
        }
        (policy, Form::Forwarded) => {
            let value = if policy == ForwardingPolicy::Append {
                let before = earlier.elements();
                let own = element(origin, None);
                if before.is_empty() { own } else { before + ", " + &own }
            } else {
                element(origin, Some(&earlier))
            };
            insert(headers, FORWARDED, value);
        }
    }
}

/// What a trusted proxy said.
#[derive(Default)]
struct Earlier {
    addresses: Vec<String>,
    host: Option<String>,
    proto: Option<String>,
    forwarded: Option<String>,
}

impl Earlier {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let all = |name: &HeaderName| {
            let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.map(str::to_owned).collect::<Vec<_>>()
        };
        let forwarded = all(&FORWARDED);
        Self {
            addresses: all(&FORWARDED_FOR),
            host: text(&FORWARDED_HOST),
            proto: text(&FORWARDED_PROTO),
            forwarded: (!forwarded.is_empty()).then(|| forwarded.join(", ")),
        }
    }

    fn addresses_and(&self, peer: IpAddr) -> String {
        let mut value = String::new();
        for earlier in &self.addresses {
            value.push_str(earlier);
            value.push_str(", ");
        }
        push_address(&mut value, peer.to_canonical());
        value
    }

    /// As `Forwarded` has it: what came so, else what `X-Forwarded-…` says, of which host and scheme are the client's.
    fn elements(&self) -> String {
        if let Some(forwarded) = &self.forwarded {
            return forwarded.clone();
        }
        let addresses = self.addresses.iter().flat_map(|it| it.split(',')).map(str::trim);
        let mut elements = Vec::new();
        for address in addresses.filter(|it| !it.is_empty()) {
            let mut element = format!("for={}", node(address));
            if elements.is_empty() {
                self.describe(&mut element);
            }
            elements.push(element);
        }
        elements.join(", ")
    }

    fn describe(&self, element: &mut String) {
        for (name, value) in [("host", &self.host), ("proto", &self.proto)] {
            if let Some(value) = value {
                let _ = write!(element, ";{name}={}", quoted(value));
            }
        }
    }
}

/// Of the peer; or of the client, with the host and the scheme that a trusted proxy names.
fn element(origin: &Origin<'_>, of_client: Option<&Earlier>) -> String {
    let address = if of_client.is_some() { origin.client } else { origin.peer.address };
    let mut element = String::from("for=");
    match address.to_canonical() {
        address @ IpAddr::V4(_) => push_address(&mut element, address),
        address @ IpAddr::V6(_) => element.push_str(&node(&address.to_string())),
    }
    let host = of_client.and_then(|earlier| earlier.host.as_deref());
    let host = host.or_else(|| origin.host.and_then(|host| host.to_str().ok()));
    let proto = of_client.and_then(|earlier| earlier.proto.as_deref());
    if let Some(host) = host {
        let _ = write!(element, ";host={}", quoted(host));
    }
    let _ = write!(element, ";proto={}", quoted(proto.unwrap_or(origin.peer.scheme())));
    element
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

/// RFC 7239 §6: an IPv6 address stands in brackets.
fn node(address: &str) -> String {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) => quoted(&format!("[{v6}]")),
        _ => quoted(address),
    }
}

/// A token as it is, anything else as a quoted string.
fn quoted(value: &str) -> String {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !value.is_empty() && value.bytes().all(token) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

fn remove(headers: &mut HeaderMap) {
    let names: Vec<_> = headers.keys().filter(|name| tells(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields = [(&'static str, &'static str)];

    /// What becomes of `fields` from a peer at 192.0.2.1 whose client is 198.51.100.7.
    fn told(fields: &Fields, trusted: bool, forwarding: Forwarding) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let host = HeaderValue::from_static("api.test:9080");
        let peer = Peer { address: "::ffff:192.0.2.1".parse().unwrap(), trusted, tls: true };
        let client = if trusted { "198.51.100.7".parse().unwrap() } else { peer.address };
        let origin = Origin { peer, client, host: Some(&host) };
        let told = headers.keys().any(|name| tells(name.as_str()));
        forward(&mut headers, told, forwarding, &origin);
        let mut lines: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn an_address_is_written_as_it_is_formatted() {
        for address in ["0.0.0.0", "255.10.9.100", "2001:db8::1"] {
            let mut text = String::new();
            push_address(&mut text, address.parse().unwrap());
            assert_eq!(text, address);
        }
    }

    const CAME: &Fields = &[
        ("x-forwarded-for", "203.0.113.9, 198.51.100.7"),
        ("x-forwarded-for", "2001:db8::1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "shop.test"),
        ("x-forwarded-prefix", "/a"),
    ];

    #[test]
    fn a_strangers_word_is_never_passed_on() {
        use ForwardingPolicy::{Append, Remove, Replace};
        let came: Vec<_> = CAME.iter().copied().chain([("forwarded", "for=10.0.0.1")]).collect();
        let x = [
            "x-forwarded-for: 192.0.2.1",
            "x-forwarded-host: api.test:9080",
            "x-forwarded-proto: https",
        ];
        let standard = ["forwarded: for=192.0.2.1;host=\"api.test:9080\";proto=https"];
        for fields in [&came[..], &[]] {
            for policy in [Append, Replace] {
                assert_eq!(told(fields, false, Forwarding { policy, form: Form::XForwarded }), x);
                assert_eq!(
                    told(fields, false, Forwarding { policy, form: Form::Forwarded }),
                    standard
                );
            }
            for form in [Form::XForwarded, Form::Forwarded] {
                assert!(told(fields, false, Forwarding { policy: Remove, form }).is_empty());
            }
        }
    }

    #[test]
    fn a_trusted_proxys_word_goes_on_is_summed_up_or_ends() {
        use ForwardingPolicy::{Append, Remove, Replace};
        let form = Form::XForwarded;
        assert_eq!(
            told(CAME, true, Forwarding { policy: Append, form }),
            [
                "x-forwarded-for: 203.0.113.9, 198.51.100.7, 2001:db8::1, 192.0.2.1",
                "x-forwarded-host: shop.test",
                "x-forwarded-prefix: /a",
                "x-forwarded-proto: http",
            ]
        );
        assert_eq!(
            told(CAME, true, Forwarding { policy: Replace, form }),
            [
                "x-forwarded-for: 198.51.100.7",
                "x-forwarded-host: shop.test",
                "x-forwarded-prefix: /a",
                "x-forwarded-proto: http",
            ]
        );
        assert!(told(CAME, true, Forwarding { policy: Remove, form }).is_empty());
        let begun = &[("forwarded", "for=203.0.113.9")];
        assert_eq!(
            told(begun, true, Forwarding { policy: Append, form }),
            [
                "forwarded: for=203.0.113.9, for=192.0.2.1;host=\"api.test:9080\";proto=https",
                "x-forwarded-for: 192.0.2.1",
                "x-forwarded-host: api.test:9080",
                "x-forwarded-proto: https",
            ]
        );
    }

    #[test]
    fn x_forwarded_fields_are_folded_into_forwarded() {
        use ForwardingPolicy::{Append, Replace};
        let form = Form::Forwarded;
        assert_eq!(
            told(CAME, true, Forwarding { policy: Append, form }),
            [
                "forwarded: for=203.0.113.9;host=shop.test;proto=http, for=198.51.100.7, for=\"[2001:db8::1]\", \
             for=192.0.2.1;host=\"api.test:9080\";proto=https",
            ]
        );
        assert_eq!(
            told(CAME, true, Forwarding { policy: Replace, form }),
            ["forwarded: for=198.51.100.7;host=shop.test;proto=http",]
        );
        let begun = &[("forwarded", "for=_a"), ("x-forwarded-for", "10.0.0.1")];
        assert_eq!(
            told(begun, true, Forwarding { policy: Append, form }),
            ["forwarded: for=_a, for=192.0.2.1;host=\"api.test:9080\";proto=https",]
        );
    }
}
