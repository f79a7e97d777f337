//! Which pages may call: what browsers send in `Origin` (RFC 6454, 6.1), and patterns of it.

use std::fmt;

const TEXT_BYTES_MAX: usize = 300;
const HOST_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// `scheme://host[:port]`, as browsers write an origin: in lower case and without the scheme's own port. `*` may stand
/// in the place of the leftmost label of the host, for any one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    text: Box<str>,
    /// Where the `*` is.
    any_label_at: Option<usize>,
}

/// Why a text is no pattern of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OriginError(&'static str);

impl OriginPattern {
    /// Reads a pattern, and brings it into the form in which browsers send origins.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(OriginError("must have at most 300 characters"));
        }
        if !text.is_ascii() {
            return Err(OriginError("must be ASCII; write an international name in punycode"));
        }
        let text = text.to_ascii_lowercase();
        let (scheme, rest) = text
            .split_once("://")
            .ok_or(OriginError("must be scheme://host or scheme://host:port"))?;
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            || !scheme.bytes().all(known)
        {
            return Err(OriginError("must begin with a scheme, such as https"));
        }
        if rest.contains(['/', '?', '#', '@']) {
            return Err(OriginError("must end with the host or its port: no path, no user"));
        }
        let (host, port) = split_port(rest)?;
        check_host(host)?;
        let port = match (scheme, port) {
            (_, None) | ("http", Some(80)) | ("https", Some(443)) => String::new(),
            (_, Some(port)) => format!(":{port}"),
        };
        let any_label_at = host.starts_with('*').then_some(scheme.len() + "://".len());
        Ok(Self { text: format!("{scheme}://{host}{port}").into(), any_label_at })
    }

    /// Whether the value of an `Origin` field is one of these. `null` is none of any.
    pub fn matches(&self, origin: &[u8]) -> bool {
        let pattern = self.text.as_bytes();
        let Some(at) = self.any_label_at else { return origin.eq_ignore_ascii_case(pattern) };
        let (head, tail) = (&pattern[..at], &pattern[at + 1..]);
        let Some((start, rest)) = origin.split_at_checked(head.len()) else { return false };
        let Some(label) = rest.len().checked_sub(tail.len()) else { return false };
        let (label, end) = rest.split_at(label);
        start.eq_ignore_ascii_case(head)
            && end.eq_ignore_ascii_case(tail)
            && (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.iter().copied().all(in_label)
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.text)
    }
}

/// The host, an IPv6 address in its brackets, and the port behind it.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), OriginError> {
    let end = match authority.strip_prefix('[') {
        Some(address) => address.find(']').map_or(authority.len(), |end| end + 2),
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(end);
    if port.is_empty() {
        return Ok((host, None));
    }
    let digits = port.strip_prefix(':').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok()).filter(|port| *port > 0);
    number.map(|port| (host, Some(port))).ok_or(OriginError("has a port that is no port"))
}

fn check_host(host: &str) -> Result<(), OriginError> {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').unwrap_or_default();
        let parsed: Result<std::net::Ipv6Addr, _> = address.parse();
        return match parsed {
            Ok(parsed) if parsed.to_string() == address => Ok(()),
            Ok(_) => Err(OriginError("must have its IPv6 address in the shortest form")),
            Err(_) => Err(OriginError("has an IPv6 address that is none")),
        };
    }
    if host.len() > HOST_BYTES_MAX {
        return Err(OriginError("must have a host of at most 253 characters"));
    }
    let labels = host.strip_prefix("*.").unwrap_or(host);
    if labels.contains('*') {
        return Err(OriginError("may have a * only in the place of the leftmost label"));
    }
    for label in labels.split('.') {
        if !(1..=LABEL_BYTES_MAX).contains(&label.len()) || !label.bytes().all(in_label) {
            return Err(OriginError(
                "must have a host of letters, digits and hyphens, with single dots between",
            ));
        }
    }
    Ok(())
}

fn in_label(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> OriginPattern {
        OriginPattern::parse(text).unwrap_or_else(|error| panic!("{text} {error}"))
    }

    #[test]
    fn a_pattern_is_kept_as_browsers_write_origins() {
        for (written, kept) in [
            ("https://Example.COM", "https://example.com"),
            ("https://example.com:443", "https://example.com"),
            ("http://example.com:80", "http://example.com"),
            ("http://example.com:443", "http://example.com:443"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://*.example.com:8443", "https://*.example.com:8443"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(pattern(written).to_string(), kept);
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_in_words() {
        for (text, why) in [
            ("example.com", "scheme://"),
            ("null", "scheme://"),
            ("*", "scheme://"),
            ("://example.com", "begin with a scheme"),
            ("1s://example.com", "begin with a scheme"),
            ("https://", "must have a host"),
            ("https://example.com/", "no path"),
            ("https://user@example.com", "no user"),
            ("https://example.com:", "no port"),
            ("https://example.com:0", "no port"),
            ("https://example.com:65536", "no port"),
            ("https://example.com:+80", "no port"),
            ("https://exa mple.com", "must have a host"),
            ("https://example..com", "must have a host"),
            ("https://example.com.", "must have a host"),
            ("https://*", "only in the place of the leftmost"),
            ("https://a.*.com", "only in the place of the leftmost"),
            ("https://a*.com", "only in the place of the leftmost"),
            ("https://*.*.com", "only in the place of the leftmost"),
            ("https://bücher.example", "punycode"),
            ("http://[::1", "IPv6"),
            ("http://[::1]x", "no port"),
            ("http://[0::1]", "shortest"),
        ] {
            let error = OriginPattern::parse(text).expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(OriginPattern::parse(&format!("https://{}", "a.".repeat(200))).is_err());
    }

    #[test]
    fn a_star_is_one_label_and_nothing_else() {
        let any = pattern("https://*.example.com");
        for origin in
            ["https://a.example.com", "https://A-1.Example.com", "HTTPS://x_y.example.com"]
        {
            assert!(any.matches(origin.as_bytes()), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://.example.com",
            "https://a.b.example.com",
            "http://a.example.com",
            "https://a.example.com:8443",
            "https://a.example.com.evil.test",
            "https://evil.test/.example.com",
            "https://user@a.example.com",
            "https://aexample.com",
            "https://",
            "null",
            "",
        ] {
            assert!(!any.matches(origin.as_bytes()), "{origin}");
        }
        let one = pattern("http://localhost:3000");
        assert!(one.matches(b"http://localhost:3000"));
        assert!(!one.matches(b"http://localhost") && !one.matches(b"http://localhost:30000"));
    }

    proptest! {
        #[test]
        fn what_is_kept_reads_as_the_same_and_matches_itself(text in "[a-z*:/.\\[\\]0-9-]{0,40}") {
            if let Ok(read) = OriginPattern::parse(&text) {
                prop_assert_eq!(&OriginPattern::parse(&read.to_string()).unwrap(), &read);
                let origin = read.to_string().replace('*', "a");
                prop_assert!(read.matches(origin.as_bytes()));
            }
        }
    }
}
