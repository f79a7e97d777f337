//! Who is one client to a throttle: an address, or a field's value. It is known by a digest, and nothing else of it is kept.

use std::net::IpAddr;

use proto::digest;

use crate::{exchange::Exchange, snapshot::served::ClientKey};

/// Values that begin with so many equal bytes are one client's.
const VALUE_BYTES_MAX: usize = 1024;

/// `None`: the call says nothing of what clients are known by, and the throttle does not count it.
pub(super) fn digest(key: &ClientKey, pepper: &[u8], exchange: &Exchange) -> Option<String> {
    match key {
        ClientKey::Ip => Some(of_address(exchange.client(), pepper)),
        ClientKey::Header(name) => {
            let fields = exchange.head.headers.get_all(name).iter();
            of_values(name.as_str(), fields.map(http::HeaderValue::as_bytes), pepper)
        }
    }
}

/// The /64 of an IPv6 address: a network's subscriber has all of it, and may call from any.
fn of_address(address: IpAddr, pepper: &[u8]) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => digest::client(pepper, "ip", [&address.octets()[..]]),
        IpAddr::V6(address) => digest::client(pepper, "ip", [&address.octets()[..8]]),
    }
}

/// Fields of one name are one value, with commas between, as RFC 9110 (5.3) reads them.
fn of_values<'a>(
    name: &str,
    mut values: impl Iterator<Item = &'a [u8]>,
    pepper: &[u8],
) -> Option<String> {
    let first = values.next()?;
    let rest = values.flat_map(|value| [&b", "[..], value]);
    let parts = std::iter::once(first).chain(rest);
    let within = parts.scan(VALUE_BYTES_MAX, |room, part| {
        let part = &part[..part.len().min(*room)];
        *room -= part.len();
        Some(part)
    });
    Some(digest::client(pepper, &format!("header:{name}"), within))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEPPER: &[u8] = b"pepper";

    #[test]
    fn an_ipv4_address_is_one_client_and_so_is_the_64_of_an_ipv6_address() {
        let of = |address: &str| of_address(address.parse().unwrap(), PEPPER);
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    }

    #[test]
    fn fields_of_one_name_are_one_value_of_bounded_length_and_none_is_no_client() {
        let of = |values: &[&str]| {
            of_values("x-user", values.iter().map(|value| value.as_bytes()), PEPPER)
        };
        assert_eq!(of(&[]), None);
        assert!(of(&[""]).is_some() && of(&[""]) != of(&["a"]));
        assert_eq!(of(&["a", "b"]), of(&["a, b"]));
        assert_ne!(of(&["a", "b"]), of(&["b", "a"]));
        let long = "x".repeat(VALUE_BYTES_MAX);
        assert_eq!(of(&[&long]), of(&[&format!("{long}y"), "z"]));
        assert_ne!(of(&[&long]), of(&[&long[1..], "y"]));
        assert_ne!(of(&["a"]), of_values("x-other", [&b"a"[..]].into_iter(), PEPPER));
        assert_ne!(of(&["\u{7f}\0\0\u{1}"]), Some(of_address([127, 0, 0, 1].into(), PEPPER)));
    }
}
