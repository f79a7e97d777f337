//! A route as it is written: `GET /pets/{id}`, `ANY /files/{proxy+}`, `$default`.

use std::fmt;

use http::Method;

/// The longest route path, in bytes.
const PATH_BYTES_MAX: usize = 2048;
/// The most segments of a route path.
const SEGMENTS_MAX: usize = 64;
/// The longest name of a variable, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What a route answers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteKey {
    /// `$default`: whatever no other route answers to.
    Default,
    Path {
        method: MethodMatch,
        path: RoutePath,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MethodMatch {
    /// Any method that no other route of the same path names.
    Any,
    Exactly(Method),
}

/// The segments of a path; none for `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RoutePath {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    Literal(Box<str>),
    /// `{name}`: one segment that is not empty.
    Variable(Box<str>),
    /// `{name+}`: the rest of the path, not empty. Only as the last segment.
    Greedy(Box<str>),
}

/// What is wrong with a route, said to the one who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("{0} is not one of GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS and ANY")]
    Method(String),
    #[error("$default takes no method")]
    DefaultMethod,
    #[error("a path starts with a slash")]
    NoSlash,
    #[error("a path has no empty segment and, but for the root, no slash at its end")]
    EmptySegment,
    #[error("the segment {0} holds something else than letters, digits and - _ . , :")]
    Characters(String),
    #[error("the segment {0} is neither fixed text nor one whole variable such as {{id}}")]
    Braces(String),
    #[error("the variable {0} must be 1 to {NAME_BYTES_MAX} letters, digits and - _ .")]
    VariableName(String),
    #[error("the variable {0} appears twice")]
    Twice(String),
    #[error("{{{0}+}} takes the rest of the path, so it can only be the last segment")]
    GreedyNotLast(String),
    #[error("a path has no segment . or ..")]
    DotSegment,
    #[error("a path has at most {PATH_BYTES_MAX} bytes and {SEGMENTS_MAX} segments")]
    TooLong,
    #[error("a throttle of a route is named /path/METHOD")]
    ThrottleKey,
}

impl RouteKey {
    /// From the two fields of a route; `$default` as path takes no method.
    pub fn parse(method: &str, path: &str) -> Result<Self, RouteError> {
        if path == "$default" {
            return if method.is_empty() {
                Ok(Self::Default)
            } else {
                Err(RouteError::DefaultMethod)
            };
        }
        Ok(Self::Path { method: MethodMatch::parse(method)?, path: RoutePath::parse(path)? })
    }

    /// From AWS's route key: `GET /pets` or `$default`.
    pub fn parse_key(key: &str) -> Result<Self, RouteError> {
        match key.split_once(' ') {
            Some((method, path)) => Self::parse(method, path),
            None => Self::parse("", key),
        }
    }

    /// From the name of a usage plan's method throttle: `/pets/{id}/GET`.
    pub fn parse_throttle_key(key: &str) -> Result<Self, RouteError> {
        if key == "$default" {
            return Ok(Self::Default);
        }
        let (path, method) = key.rsplit_once('/').ok_or(RouteError::ThrottleKey)?;
        Self::parse(method, if path.is_empty() { "/" } else { path })
    }

    /// The names of the path's variables, in their order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let segments = match self {
            Self::Default => &[][..],
            Self::Path { path, .. } => path.segments(),
        };
        segments.iter().filter_map(Segment::variable)
    }
}

impl MethodMatch {
    pub fn parse(method: &str) -> Result<Self, RouteError> {
        Ok(Self::Exactly(match method {
            "ANY" => return Ok(Self::Any),
            "GET" => Method::GET,
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            "PATCH" => Method::PATCH,
            "DELETE" => Method::DELETE,
            "HEAD" => Method::HEAD,
            "OPTIONS" => Method::OPTIONS,
            other => return Err(RouteError::Method(other.to_owned())),
        }))
    }
}

impl RoutePath {
    pub fn parse(path: &str) -> Result<Self, RouteError> {
        let rest = path.strip_prefix('/').ok_or(RouteError::NoSlash)?;
        if rest.is_empty() {
            return Ok(Self { segments: Vec::new() });
        }
        if path.len() > PATH_BYTES_MAX || rest.split('/').count() > SEGMENTS_MAX {
            return Err(RouteError::TooLong);
        }
        let segments = rest.split('/').map(Segment::parse).collect::<Result<Vec<_>, _>>()?;
        for (index, segment) in segments.iter().enumerate() {
            let Some(name) = segment.variable() else { continue };
            if segments[..index].iter().any(|earlier| earlier.variable() == Some(name)) {
                return Err(RouteError::Twice(name.to_owned()));
            }
            if matches!(segment, Segment::Greedy(_)) && index + 1 < segments.len() {
                return Err(RouteError::GreedyNotLast(name.to_owned()));
            }
        }
        Ok(Self { segments })
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

impl Segment {
    /// One segment of a path, which is also AWS's `pathPart` of a resource.
    pub fn parse(text: &str) -> Result<Self, RouteError> {
        if text.is_empty() {
            return Err(RouteError::EmptySegment);
        }
        let inner = text.strip_prefix('{').and_then(|inner| inner.strip_suffix('}'));
        if let Some(inner) = inner {
            let name = inner.strip_suffix('+').unwrap_or(inner);
            if name.contains(['{', '}']) {
                return Err(RouteError::Braces(text.to_owned()));
            }
            if !is_variable_name(name) {
                return Err(RouteError::VariableName(name.to_owned()));
            }
            let greedy = name.len() < inner.len();
            return Ok(if greedy {
                Self::Greedy(name.into())
            } else {
                Self::Variable(name.into())
            });
        }
        if text.contains(['{', '}']) {
            return Err(RouteError::Braces(text.to_owned()));
        }
        if text == "." || text == ".." {
            return Err(RouteError::DotSegment);
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.,:".contains(&b)) {
            return Err(RouteError::Characters(text.to_owned()));
        }
        Ok(Self::Literal(text.into()))
    }

    pub fn variable(&self) -> Option<&str> {
        match self {
            Self::Literal(_) => None,
            Self::Variable(name) | Self::Greedy(name) => Some(name),
        }
    }
}

pub(crate) fn is_variable_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("$default"),
            Self::Path { method: MethodMatch::Any, path } => write!(f, "ANY {path}"),
            Self::Path { method: MethodMatch::Exactly(method), path } => {
                write!(f, "{method} {path}")
            }
        }
    }
}

impl fmt::Display for RoutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.segments.is_empty() {
            return f.write_str("/");
        }
        self.segments.iter().try_for_each(|segment| match segment {
            Segment::Literal(text) => write!(f, "/{text}"),
            Segment::Variable(name) => write!(f, "/{{{name}}}"),
            Segment::Greedy(name) => write!(f, "/{{{name}+}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_is_written_well_reads_back_as_it_was_written() {
        for key in [
            "GET /",
            "ANY /pets",
            "DELETE /pets/{id}",
            "PATCH /v1.2/things:batch,all/{a_b-c.d}",
            "ANY /files/{proxy+}",
            "OPTIONS /{a}/{b}/c/{rest+}",
            "$default",
        ] {
            assert_eq!(RouteKey::parse_key(key).unwrap().to_string(), key);
        }
    }

    #[test]
    fn a_route_that_is_written_wrong_is_refused_with_the_reason() {
        use RouteError as E;
        let text = str::to_owned;
        for (key, error) in [
            ("FETCH /a", E::Method(text("FETCH"))),
            ("get /a", E::Method(text("get"))),
            ("/a", E::Method(text(""))),
            ("ANY $default", E::DefaultMethod),
            ("GET ", E::NoSlash),
            ("GET a", E::NoSlash),
            ("GET /a/", E::EmptySegment),
            ("GET //a", E::EmptySegment),
            ("GET /a b", E::Characters(text("a b"))),
            ("GET /a%20b", E::Characters(text("a%20b"))),
            ("GET /é", E::Characters(text("é"))),
            ("GET /a?b", E::Characters(text("a?b"))),
            ("GET /a{b}", E::Braces(text("a{b}"))),
            ("GET /{a}{b}", E::Braces(text("{a}{b}"))),
            ("GET /{a", E::Braces(text("{a"))),
            ("GET /{}", E::VariableName(text(""))),
            ("GET /{+}", E::VariableName(text(""))),
            ("GET /{a b}", E::VariableName(text("a b"))),
            ("GET /{a}/{a}", E::Twice(text("a"))),
            ("GET /{a}/{a+}", E::Twice(text("a"))),
            ("GET /{a+}/b", E::GreedyNotLast(text("a"))),
            ("GET /a/../b", E::DotSegment),
            ("GET /.", E::DotSegment),
        ] {
            assert_eq!(RouteKey::parse_key(key), Err(error), "{key:?}");
        }
        let deep = "/a".repeat(65);
        assert_eq!(RouteKey::parse("GET", &deep), Err(E::TooLong));
        assert_eq!(RouteKey::parse("GET", &format!("/{}", "a".repeat(2048))), Err(E::TooLong));
    }

    #[test]
    fn a_method_throttle_is_named_by_path_then_method() {
        let key = |text| RouteKey::parse_throttle_key(text).map(|key| key.to_string());
        assert_eq!(key("/pets/{id}/GET").unwrap(), "GET /pets/{id}");
        assert_eq!(key("//GET").unwrap(), "GET /");
        assert_eq!(key("/GET").unwrap(), "GET /");
        assert_eq!(key("$default").unwrap(), "$default");
        assert_eq!(key("GET"), Err(RouteError::ThrottleKey));
    }
}
