//! Cookies stay where their Api lives, and Tollgate's own stay Tollgate's.

use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};

use crate::router::Addressing;

/// Cookies of this name belong to Tollgate itself.
const OWN_COOKIE: &str = "tollgate_";

/// Makes one field of cookies that came over HTTP/2 in pieces: HTTP/1.1 knows but one (RFC 9113 §8.2.3).
pub(crate) fn join(headers: &mut HeaderMap) {
    let pieces: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if pieces.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&pieces.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

/// Keeps our own cookies from a backend.
pub(crate) fn drop_own(headers: &mut HeaderMap) {
    if !headers.contains_key(COOKIE) {
        return;
    }
    let kept: Vec<HeaderValue> = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| {
            let text = std::str::from_utf8(value.as_bytes()).ok()?;
            let kept: Vec<&str> =
                text.split(';').map(str::trim).filter(|pair| !is_own(pair)).collect();
            if kept.is_empty() { None } else { HeaderValue::try_from(kept.join("; ")).ok() }
        })
        .collect();
    headers.remove(COOKIE);
    for value in kept {
        headers.append(COOKIE, value);
    }
}

fn is_own(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default().trim();
    name.get(..OWN_COOKIE.len()).is_some_and(|start| start.eq_ignore_ascii_case(OWN_COOKIE))
}

/// Keeps an answer's cookies where its Api lives. The hosts of one zone must not set cookies for each other,
/// and on a host that is shared by path, an Api's cookies stay under its path.
pub(crate) fn confine_all(headers: &mut HeaderMap, addressing: &Addressing) {
    if !headers.contains_key(SET_COOKIE) {
        return;
    }
    let confined: Vec<HeaderValue> = headers
        .get_all(SET_COOKIE)
        .iter()
        .filter_map(|value| confine(std::str::from_utf8(value.as_bytes()).ok()?, addressing))
        .collect();
    headers.remove(SET_COOKIE);
    for value in confined {
        headers.append(SET_COOKIE, value);
    }
}

fn confine(cookie: &str, addressing: &Addressing) -> Option<HeaderValue> {
    let mut attributes = cookie.split(';');
    let pair = attributes.next()?;
    let mut confined = pair.to_owned();
    let mut path = None;
    for attribute in attributes {
        let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        match (name.trim().to_ascii_lowercase().as_str(), addressing) {
            ("domain", _) => {}
            ("path", Addressing::Path { .. }) => path = Some(value.trim()),
            _ => {
                confined.push(';');
                confined.push_str(attribute);
            }
        }
    }
    if let Addressing::Path { api_id } = addressing {
        if is_own(pair.trim_start()) {
            return None;
        }
        // Whatever path it names is one below the Api's own root.
        let below =
            path.filter(|path| path.starts_with('/') && !path.contains("..")).unwrap_or("/");
        confined.push_str("; Path=/_api/");
        confined.push_str(api_id);
        confined.push_str(below);
    }
    HeaderValue::from_bytes(confined.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answers_cookies_stay_where_the_api_lives() {
        let path = Addressing::Path { api_id: "abcdefghi1".to_owned() };
        for (cookie, by_host, by_path) in [
            ("a=1", Some("a=1"), Some("a=1; Path=/_api/abcdefghi1/")),
            (
                "a=1; Domain=.execute-api.localhost; Secure",
                Some("a=1; Secure"),
                Some("a=1; Secure; Path=/_api/abcdefghi1/"),
            ),
            (
                "a=1; PATH=/x; HttpOnly",
                Some("a=1; PATH=/x; HttpOnly"),
                Some("a=1; HttpOnly; Path=/_api/abcdefghi1/x"),
            ),
            (
                "a=1; path=/../other",
                Some("a=1; path=/../other"),
                Some("a=1; Path=/_api/abcdefghi1/"),
            ),
            (
                "a=1; Path=/a; Path=/b",
                Some("a=1; Path=/a; Path=/b"),
                Some("a=1; Path=/_api/abcdefghi1/b"),
            ),
            ("tollgate_session=x; Path=/", Some("tollgate_session=x; Path=/"), None),
            (" Tollgate_x=x", Some(" Tollgate_x=x"), None),
        ] {
            let confined = |addressing| {
                let mut headers = HeaderMap::new();
                headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
                confine_all(&mut headers, addressing);
                headers.get(SET_COOKIE).map(|value| value.to_str().unwrap().to_owned())
            };
            assert_eq!(confined(&Addressing::Host).as_deref(), by_host, "{cookie}");
            assert_eq!(confined(&path).as_deref(), by_path, "{cookie}");
        }
    }

    #[test]
    fn our_own_cookies_do_not_reach_a_backend_through_a_shared_host() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; tollgate_session=s; b=2"));
        headers.append(COOKIE, HeaderValue::from_static("TOLLGATE_x=1"));
        drop_own(&mut headers);
        let left: Vec<&HeaderValue> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(left, ["a=1; b=2"]);
    }
}
