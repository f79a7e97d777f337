//! Where callers put their API key, in the words that AWS has for parts of a request.

use std::{borrow::Cow, fmt};

use http::HeaderName;

const HEADER: &str = "$request.header.";
const QUERY: &str = "$request.querystring.";
const NAME_BYTES_MAX: usize = 64;

/// A place in a request where an API key may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyLocation {
    /// `$request.header.x-api-key`: a field that holds the key and nothing else.
    Header(HeaderName),
    /// `$request.querystring.api_key`: a parameter of the query.
    Query(Box<str>),
    /// `$request.header.Authorization`: the token of the scheme `Bearer` (RFC 6750, 2.1).
    Bearer,
}

/// Why a text is no location of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LocationError(&'static str);

/// A query without one of its parameters, and the value that this had.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// `None` where the parameter came more than once.
    pub value: Option<Vec<u8>>,
    /// What is left; empty where nothing is.
    pub rest: String,
}

impl KeyLocation {
    /// AWS's: where keys are looked for unless something else is said.
    pub const DEFAULT: &'static str = "$request.header.x-api-key";

    pub fn parse(text: &str) -> Result<Self, LocationError> {
        if let Some(name) = text.strip_prefix(HEADER) {
            let name = Some(name).filter(|name| name.len() <= NAME_BYTES_MAX);
            let name: HeaderName = name
                .and_then(|name| name.parse().ok())
                .ok_or(LocationError("must name a field of at most 64 characters"))?;
            return match name.as_str() {
                "authorization" => Ok(Self::Bearer),
                name if means_something_else(name) => {
                    Err(LocationError("names a field that means something else in HTTP"))
                }
                _ => Ok(Self::Header(name)),
            };
        }
        let name = text
            .strip_prefix(QUERY)
            .ok_or(LocationError("must be $request.header.NAME or $request.querystring.NAME"))?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(LocationError(
                "must name a parameter of 1 to 64 letters, digits, and -._~",
            ));
        }
        Ok(Self::Query(name.into()))
    }

    /// In a sentence: `the field x-api-key`.
    pub fn in_words(&self) -> Cow<'static, str> {
        match self {
            Self::Header(name) => format!("the field {name}").into(),
            Self::Query(name) => format!("the query parameter {name}").into(),
            Self::Bearer => "Authorization, as Bearer".into(),
        }
    }
}

impl fmt::Display for KeyLocation {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(to, "{HEADER}{name}"),
            Self::Query(name) => write!(to, "{QUERY}{name}"),
            Self::Bearer => write!(to, "{HEADER}Authorization"),
        }
    }
}

/// Fields that carry a connection, a body or another's credentials; and those by which a call is traced, which are logged
/// and passed on.
fn means_something_else(name: &str) -> bool {
    const FIELDS: [&str; 23] = [
        "b3",
        "baggage",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "origin",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "uber-trace-id",
        "upgrade",
        "via",
        "x-amzn-trace-id",
        "x-request-id",
    ];
    FIELDS.contains(&name)
        || ["proxy-", "sec-", "x-b3-", "x-forwarded-"].iter().any(|it| name.starts_with(it))
}

/// Takes a parameter out of a query, every time that it is there, and leaves the others as they were written. `None`
/// where it is not there. `+` stands for itself: no key has a space.
pub fn take_parameter(query: &str, name: &str) -> Option<Taken> {
    let is_it =
        |pair: &&str| *decoded(pair.split('=').next().unwrap_or_default()) == *name.as_bytes();
    let mut found = query.split('&').filter(is_it);
    let first = found.next()?;
    let value = first.split_once('=').map_or("", |(_, value)| value);
    let value = found.next().is_none().then(|| decoded(value).into_owned());
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_it(pair)).collect();
    Some(Taken { value, rest: rest.join("&") })
}

/// Percent-encoding undone; what is none stays as it is.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let pair = after.split_at_checked(2).filter(|_| *first == b'%');
        let byte = pair.and_then(|(pair, after)| Some((hex(pair[0])? * 16 + hex(pair[1])?, after)));
        let (byte, after) = byte.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_kept_in_one_spelling() {
        for (written, kept) in [
            (KeyLocation::DEFAULT, KeyLocation::DEFAULT),
            ("$request.header.X-Api-Key", "$request.header.x-api-key"),
            ("$request.header.authorization", "$request.header.Authorization"),
            ("$request.querystring.api_key", "$request.querystring.api_key"),
        ] {
            let location = KeyLocation::parse(written).unwrap();
            assert_eq!(location.to_string(), kept);
            assert_eq!(KeyLocation::parse(kept), Ok(location));
        }
    }

    #[test]
    fn what_is_no_location_is_refused_in_words() {
        let long = format!("$request.header.{}", "a".repeat(65));
        for (text, why) in [
            ("", "must be $request"),
            ("x-api-key", "must be $request"),
            ("$request.cookie.key", "must be $request"),
            ("$request.header.", "must name a field"),
            ("$request.header.a b", "must name a field"),
            (long.as_str(), "must name a field"),
            ("$request.header.Host", "means something else"),
            ("$request.header.proxy-authorization", "means something else"),
            ("$request.header.x-forwarded-for", "means something else"),
            ("$request.header.X-Request-Id", "means something else"),
            ("$request.header.traceparent", "means something else"),
            ("$request.header.tracestate", "means something else"),
            ("$request.header.baggage", "means something else"),
            ("$request.header.b3", "means something else"),
            ("$request.header.x-b3-traceid", "means something else"),
            ("$request.header.X-Amzn-Trace-Id", "means something else"),
            ("$request.header.uber-trace-id", "means something else"),
            ("$request.querystring.", "must name a parameter"),
            ("$request.querystring.a=b", "must name a parameter"),
            ("$request.querystring.a%20b", "must name a parameter"),
        ] {
            let error = KeyLocation::parse(text).expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_parameter_is_taken_out_however_it_is_written_and_the_rest_stays() {
        for (query, value, rest) in [
            ("key=v", Some("v"), ""),
            ("a=1&key=v&b=%20", Some("v"), "a=1&b=%20"),
            ("k%65y=a%2Bb", Some("a+b"), ""),
            ("key=a+b&&x", Some("a+b"), "&x"),
            ("key", Some(""), ""),
            ("key=a=b", Some("a=b"), ""),
            ("key=%zz%4", Some("%zz%4"), ""),
            ("key=1&key=2&c", None, "c"),
            ("key=1&%6bey=1", None, ""),
        ] {
            let taken = take_parameter(query, "key").unwrap();
            assert_eq!(taken.value.as_deref(), value.map(str::as_bytes), "{query}");
            assert_eq!(taken.rest, rest, "{query}");
            assert_eq!(take_parameter(&taken.rest, "key"), None, "{query}");
        }
        for query in ["", "a=key", "keys=1", "KEY=1", "%zkey=1"] {
            assert_eq!(take_parameter(query, "key"), None, "{query}");
        }
    }
}
