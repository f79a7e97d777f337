//! What of a request a gateway response can tell.

/// A variable, as `context.stage`, `stageVariables.a` or `method.request.header.Accept`; in templates with `$` before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    Context(Context),
    StageVariable(Box<str>),
    /// The first value of a field; its name is in lower case.
    Header(Box<str>),
    /// All values of a field, with commas between.
    MultiValueHeader(Box<str>),
    /// The first value of a parameter of the query, decoded.
    QueryString(Box<str>),
    /// All values, with commas between.
    MultiValueQueryString(Box<str>),
    /// A parameter of the route's path, decoded.
    Path(Box<str>),
}

/// What `$context` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Context {
    AccountId,
    ApiId,
    DeploymentId,
    DomainName,
    DomainPrefix,
    ErrorMessage,
    /// The same as JSON: in quotes, or `null`.
    ErrorMessageString,
    ErrorResponseType,
    ExtendedRequestId,
    HttpMethod,
    ApiKeyId,
    SourceIp,
    UserAgent,
    Path,
    Protocol,
    RequestId,
    RequestTime,
    RequestTimeEpoch,
    ResourcePath,
    RouteKey,
    Stage,
}

const CONTEXT: [(&str, Context); 21] = [
    ("accountId", Context::AccountId),
    ("apiId", Context::ApiId),
    ("deploymentId", Context::DeploymentId),
    ("domainName", Context::DomainName),
    ("domainPrefix", Context::DomainPrefix),
    ("error.message", Context::ErrorMessage),
    ("error.messageString", Context::ErrorMessageString),
    ("error.responseType", Context::ErrorResponseType),
    ("extendedRequestId", Context::ExtendedRequestId),
    ("httpMethod", Context::HttpMethod),
    ("identity.apiKeyId", Context::ApiKeyId),
    ("identity.sourceIp", Context::SourceIp),
    ("identity.userAgent", Context::UserAgent),
    ("path", Context::Path),
    ("protocol", Context::Protocol),
    ("requestId", Context::RequestId),
    ("requestTime", Context::RequestTime),
    ("requestTimeEpoch", Context::RequestTimeEpoch),
    ("resourcePath", Context::ResourcePath),
    ("routeKey", Context::RouteKey),
    ("stage", Context::Stage),
];

const NAME_BYTES_MAX: usize = 128;

/// A kind of variable: how it is written before its name, and which characters its names have.
type Family = (&'static str, fn(u8) -> bool, fn(&str) -> Option<Variable>);

const FAMILIES: [Family; 7] = [
    ("context.", word, |name| {
        let known = CONTEXT.iter().find(|(known, _)| *known == name);
        known.map(|(_, context)| Variable::Context(*context))
    }),
    (
        "stageVariables.",
        |byte| word(byte) && byte != b'.',
        |name| Some(Variable::StageVariable(name.into())),
    ),
    ("method.request.header.", field, |name| {
        Some(Variable::Header(name.to_ascii_lowercase().into()))
    }),
    ("method.request.multivalueheader.", field, |name| {
        Some(Variable::MultiValueHeader(name.to_ascii_lowercase().into()))
    }),
    ("method.request.querystring.", parameter, |name| Some(Variable::QueryString(name.into()))),
    ("method.request.multivaluequerystring.", parameter, |name| {
        Some(Variable::MultiValueQueryString(name.into()))
    }),
    ("method.request.path.", parameter, |name| Some(Variable::Path(name.into()))),
];

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.".contains(&byte)
}

fn field(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-".contains(&byte)
}

fn parameter(byte: u8) -> bool {
    word(byte) || byte == b'-'
}

impl Variable {
    /// The variable that is all of `text`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match Self::at(text)? {
            Some((variable, "")) => Ok(variable),
            _ => Err("must be a constant in single quotes or a variable, such as \
                context.error.message or method.request.header.Accept"
                .to_owned()),
        }
    }

    /// The variable that `text` begins with, and what follows it; `None` where it begins with none.
    pub(super) fn at(text: &str) -> Result<Option<(Self, &str)>, String> {
        let Some((rest, (_, allowed, make))) =
            FAMILIES.iter().find_map(|family| Some((text.strip_prefix(family.0)?, family)))
        else {
            return Ok(None);
        };
        let end = rest.bytes().position(|byte| !allowed(byte)).unwrap_or(rest.len());
        // A full stop at the end is the sentence's.
        let name = rest[..end].trim_end_matches('.');
        let end = name.len();
        let whole = &text[..text.len() - rest.len() + end];
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            let shown: String = whole.chars().take(64).collect();
            let rule = format!("names {shown}, which has from 1 to {NAME_BYTES_MAX} characters");
            return Err(rule);
        }
        let variable =
            make(name).ok_or_else(|| format!("names {whole}, which is not told here"))?;
        Ok(Some((variable, &rest[end..])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_named_as_aws_names_it() {
        for (name, context) in CONTEXT {
            let whole = Variable::parse(&format!("context.{name}"));
            assert_eq!(whole, Ok(Variable::Context(context)), "{name}");
        }
        for (text, variable) in [
            ("stageVariables.a_1", Variable::StageVariable("a_1".into())),
            ("method.request.header.X-A", Variable::Header("x-a".into())),
            ("method.request.multivalueheader.X-A", Variable::MultiValueHeader("x-a".into())),
            ("method.request.querystring.q.x", Variable::QueryString("q.x".into())),
            ("method.request.multivaluequerystring.q", Variable::MultiValueQueryString("q".into())),
            ("method.request.path.petId", Variable::Path("petId".into())),
        ] {
            assert_eq!(Variable::parse(text), Ok(variable), "{text}");
        }
        for bad in [
            "",
            "context",
            "context.",
            "context.Stage",
            "context.stage x",
            "context.authorizer.claims.sub",
            "method.request.body.a",
            "method.request.header.",
            "$context.stage",
            "stageVariables.",
        ] {
            assert!(Variable::parse(bad).is_err(), "{bad}");
        }
        assert!(Variable::parse(&format!("stageVariables.{}", "a".repeat(129))).is_err());
    }
}
