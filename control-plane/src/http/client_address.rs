//! Whose request it is, when proxies stand between.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// The caller's address: the peer's own, unless that is a trusted proxy. Then `X-Forwarded-For` is read from its
/// right end, where the nearest proxy wrote, through all that are trusted; the first that is not is the caller.
/// What stands further left was written by the caller and means nothing. `forwarded_for` is the field's lines in
/// order.
pub(super) fn client_address<'a, I>(peer: IpAddr, forwarded_for: I, trusted: &[IpNet]) -> IpAddr
where
    I: IntoIterator<Item = &'a [u8]>,
    I::IntoIter: DoubleEndedIterator,
{
    let mut nearest = peer.to_canonical();
    for line in forwarded_for.into_iter().rev() {
        for entry in line.rsplit(|byte| *byte == b',') {
            if !is_trusted(nearest, trusted) {
                return nearest;
            }
            // A proxy that writes what cannot be read is as far as we can see.
            let Some(address) = str::from_utf8(entry).ok().and_then(address) else {
                return nearest;
            };
            nearest = address;
        }
    }
    nearest
}

pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|net| net.contains(&address))
}

/// With a port, as some proxies write it, or without.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().ok().or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()))?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(peer: &str, lines: &[&str]) -> String {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        client_address(peer.parse().unwrap(), lines, &trusted).to_string()
    }

    #[test]
    fn a_stranger_is_who_he_is_whatever_he_says() {
        assert_eq!(caller("192.0.2.1", &["198.51.100.1"]), "192.0.2.1");
        assert_eq!(caller("192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(caller("::ffff:192.0.2.1", &["10.0.0.1"]), "192.0.2.1");
    }

    #[test]
    fn trusted_hops_are_read_from_the_right_and_what_a_caller_wrote_is_not() {
        assert_eq!(caller("10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
        assert_eq!(caller("10.0.0.1", &["8.8.8.8, 192.0.2.1, 10.0.0.2"]), "192.0.2.1");
        assert_eq!(caller("10.0.0.1", &["8.8.8.8", "192.0.2.1", "10.0.0.2"]), "192.0.2.1");
        assert_eq!(caller("fd00::1", &["10.0.0.9,2001:db8::1"]), "2001:db8::1");
        assert_eq!(caller("::ffff:10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
    }

    #[test]
    fn an_address_may_carry_its_port() {
        assert_eq!(caller("10.0.0.1", &["192.0.2.1:4711"]), "192.0.2.1");
        assert_eq!(caller("10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(caller("10.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
    }

    #[test]
    fn where_nothing_can_be_read_the_last_known_hop_is_the_caller() {
        assert_eq!(caller("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(caller("10.0.0.1", &["192.0.2.1, unknown"]), "10.0.0.1");
        assert_eq!(caller("10.0.0.1", &["192.0.2.1, , 10.0.0.2"]), "10.0.0.2");
        assert_eq!(caller("10.0.0.1", &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }
}
