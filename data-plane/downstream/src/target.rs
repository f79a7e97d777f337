//! What a request is for: its target and its `Host`, which must not name two hosts (RFC 9112 §3.2).

use bytes::Bytes;
use http::{Method, Uri};

use crate::error::RequestError;

/// Reads a target in the form that its method has: an authority for `CONNECT`, an asterisk for `OPTIONS` alone, for all
/// others a path or a whole URI of `http` or `https`.
pub(crate) fn parse(method: &Method, target: Bytes) -> Result<Uri, RequestError> {
    // No fragment is ever sent, and no byte that a URI has no place for (RFC 3986 §2); what else may not stand there is
    // for the type to find.
    if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        return Err(RequestError::Target);
    }
    let is_path = target.first() == Some(&b'/');
    let is_asterisk = &target[..] == b"*";
    let uri = Uri::from_maybe_shared(target).map_err(|_| RequestError::Target)?;
    let has_form = if *method == Method::CONNECT {
        let has_port =
            uri.authority().is_some_and(|it| it.port().is_some() && is_plain(it.as_str()));
        uri.scheme().is_none() && has_port && !is_path
    } else if is_asterisk {
        *method == Method::OPTIONS
    } else if is_path {
        true
    } else {
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        is_http
            && uri
                .authority()
                .is_some_and(|it| is_plain(it.as_str()) && is_host(it.as_str().as_bytes()))
    };
    has_form.then_some(uri).ok_or(RequestError::Target)
}

/// Without a user, which a request's target never has (RFC 9110 §4.2.4).
fn is_plain(authority: &str) -> bool {
    !authority.contains('@')
}

/// Whether a `Host` can be one: the characters of names, addresses and ports, without the comma that two of them joined
/// to one would have. Empty where the target has no authority.
pub(crate) fn is_host(host: &[u8]) -> bool {
    let (name, port) = split_port(host);
    let is_name = match name {
        [b'[', address @ .., b']'] => {
            !address.is_empty()
                && address.iter().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(byte))
        }
        _ => name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte)),
    };
    is_name && port.iter().all(u8::is_ascii_digit) && port.len() <= 5
}

/// Whether a `Host` names the host of such a URI, whatever the case and with or without its scheme's own port.
pub(crate) fn is_same_host(uri: &Uri, host: &[u8]) -> bool {
    let Some(authority) = uri.authority() else { return true };
    let usual: &[u8] = if uri.scheme_str() == Some("https") { b"443" } else { b"80" };
    let parts = |host| {
        let (name, port) = split_port(host);
        (name, if port.is_empty() { usual } else { port })
    };
    let (name, port) = parts(authority.as_str().as_bytes());
    let (other, other_port) = parts(host);
    name.eq_ignore_ascii_case(other) && port == other_port
}

fn split_port(host: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b':', host) {
        // A colon within brackets is an address's.
        Some(at) if !host[at..].contains(&b']') => (&host[..at], &host[at + 1..]),
        _ => (host, b""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(method: &str, target: &'static str) -> Result<String, RequestError> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        parse(&method, Bytes::from_static(target.as_bytes())).map(|uri| uri.to_string())
    }

    #[test]
    fn a_target_has_the_form_of_its_method() {
        for (method, target) in [
            ("GET", "/"),
            ("GET", "//a/b"),
            ("GET", "/a?b=[1]|{2}&c"),
            ("GET", "/%00%zz"),
            ("GET", "http://a.example/b?c"),
            ("GET", "https://a.example:8443/"),
            ("GET", "http://[::1]:80/"),
            ("OPTIONS", "*"),
            ("CONNECT", "a.example:443"),
        ] {
            assert_eq!(parsed(method, target).as_deref(), Ok(target), "{method} {target}");
        }
        assert_eq!(parsed("GET", "http://a.example").as_deref(), Ok("http://a.example/"));
        for (method, target) in [
            ("GET", ""),
            ("GET", "a"),
            ("GET", "*"),
            ("GET", "a.example:80"),
            ("GET", "?a"),
            ("GET", "ftp://a/"),
            ("GET", "http:///a"),
            ("GET", "http://user@a/"),
            ("GET", "http://a,b/"),
            ("GET", "/a#b"),
            ("GET", "/a\x7f"),
            ("GET", "/a\u{e4}"),
            ("GET", "/a\tb"),
            ("CONNECT", "/"),
            ("CONNECT", "a.example"),
            ("CONNECT", "user@a.example:443"),
            ("CONNECT", "http://a.example:443/"),
        ] {
            assert_eq!(parsed(method, target), Err(RequestError::Target), "{method} {target:?}");
        }
    }

    #[test]
    fn a_host_is_one_name_or_address_with_at_most_one_port() {
        for host in ["", "a", "a.example.", "a:80", "a:", "[::1]", "[::1]:80", "192.0.2.1", "x_y"] {
            assert!(is_host(host.as_bytes()), "{host:?}");
        }
        for host in [
            "a b", "a,b", "a/b", "a@b", "a:b", "a:80:80", "a\\b", "[::1", "[]", "[x]", "a:123456",
            "a?", "a#",
        ] {
            assert!(!is_host(host.as_bytes()), "{host:?}");
        }
    }

    #[test]
    fn hosts_are_the_same_whatever_their_case_and_with_their_schemes_port() {
        let same = |uri: &str, host: &str| is_same_host(&uri.parse().unwrap(), host.as_bytes());
        assert!(same("http://A.example/", "a.EXAMPLE"));
        assert!(
            same("http://a:80/", "a") && same("http://a/", "a:80") && same("https://a/", "a:443")
        );
        assert!(same("http://[::1]/", "[::1]:80"));
        assert!(
            !same("http://a/", "b") && !same("http://a:81/", "a") && !same("https://a/", "a:80")
        );
        assert!(!same("http://a/", "") && same("/", "a"));
    }
}
