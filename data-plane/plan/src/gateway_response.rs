//! How a tenant restyles what the gateway answers by itself: AWS's `GatewayResponse`, by type. Its templates are none of
//! AWS's template language: variables are put in, and nothing else happens.

mod text;
mod variable;

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};

pub use self::{
    text::{Escape, Text},
    variable::{Context, Variable},
};

/// A gateway response has at most so many headers.
pub const PARAMETERS_MAX: usize = 50;
/// The longest constant of a header, in bytes.
pub const LITERAL_BYTES_MAX: usize = 1024;
/// A gateway response has a body for at most so many media types.
pub const TEMPLATES_MAX: usize = 10;
/// The templates of one gateway response, taken together, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 32 * 1024;
const MEDIA_TYPE_BYTES_MAX: usize = 128;
/// Where AWS has a header stand.
const HEADER_PREFIX: &str = "gatewayresponse.header.";
/// Fields that frame an answer or name it, which a tenant does not write.
const OWN_FIELDS: [&str; 10] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
    "date",
];

/// What an answer is about, by AWS's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResponseType {
    AccessDenied,
    ApiConfigurationError,
    AuthorizerConfigurationError,
    AuthorizerFailure,
    BadRequestBody,
    BadRequestParameters,
    Default4xx,
    Default5xx,
    ExpiredToken,
    IntegrationFailure,
    IntegrationTimeout,
    InvalidApiKey,
    InvalidSignature,
    MissingAuthenticationToken,
    QuotaExceeded,
    RequestTooLarge,
    ResourceNotFound,
    Throttled,
    Unauthorized,
    UnsupportedMediaType,
    WafFiltered,
}

impl ResponseType {
    pub const ALL: [Self; 21] = [
        Self::AccessDenied,
        Self::ApiConfigurationError,
        Self::AuthorizerConfigurationError,
        Self::AuthorizerFailure,
        Self::BadRequestBody,
        Self::BadRequestParameters,
        Self::Default4xx,
        Self::Default5xx,
        Self::ExpiredToken,
        Self::IntegrationFailure,
        Self::IntegrationTimeout,
        Self::InvalidApiKey,
        Self::InvalidSignature,
        Self::MissingAuthenticationToken,
        Self::QuotaExceeded,
        Self::RequestTooLarge,
        Self::ResourceNotFound,
        Self::Throttled,
        Self::Unauthorized,
        Self::UnsupportedMediaType,
        Self::WafFiltered,
    ];

    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// AWS's, where nobody says another; the defaults have none of their own.
    pub fn default_status(self) -> Option<u16> {
        self.row().1
    }

    /// The type of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == name)
    }

    /// Its place in [`Self::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    fn row(self) -> (&'static str, Option<u16>) {
        match self {
            Self::AccessDenied => ("ACCESS_DENIED", Some(403)),
            Self::ApiConfigurationError => ("API_CONFIGURATION_ERROR", Some(500)),
            Self::AuthorizerConfigurationError => ("AUTHORIZER_CONFIGURATION_ERROR", Some(500)),
            Self::AuthorizerFailure => ("AUTHORIZER_FAILURE", Some(500)),
            Self::BadRequestBody => ("BAD_REQUEST_BODY", Some(400)),
            Self::BadRequestParameters => ("BAD_REQUEST_PARAMETERS", Some(400)),
            Self::Default4xx => ("DEFAULT_4XX", None),
            Self::Default5xx => ("DEFAULT_5XX", None),
            Self::ExpiredToken => ("EXPIRED_TOKEN", Some(403)),
            Self::IntegrationFailure => ("INTEGRATION_FAILURE", Some(504)),
            Self::IntegrationTimeout => ("INTEGRATION_TIMEOUT", Some(504)),
            Self::InvalidApiKey => ("INVALID_API_KEY", Some(403)),
            Self::InvalidSignature => ("INVALID_SIGNATURE", Some(403)),
            Self::MissingAuthenticationToken => ("MISSING_AUTHENTICATION_TOKEN", Some(403)),
            Self::QuotaExceeded => ("QUOTA_EXCEEDED", Some(429)),
            Self::RequestTooLarge => ("REQUEST_TOO_LARGE", Some(413)),
            Self::ResourceNotFound => ("RESOURCE_NOT_FOUND", Some(404)),
            Self::Throttled => ("THROTTLED", Some(429)),
            Self::Unauthorized => ("UNAUTHORIZED", Some(401)),
            Self::UnsupportedMediaType => ("UNSUPPORTED_MEDIA_TYPE", Some(415)),
            Self::WafFiltered => ("WAF_FILTERED", Some(403)),
        }
    }
}

/// Which field is wrong, by AWS's name, and the rule that it breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct GatewayResponseError {
    pub field: &'static str,
    pub rule: String,
}

/// A gateway response, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayResponse {
    /// None: that of the default for its class, or the gateway's own.
    pub status: Option<u16>,
    pub headers: Vec<(HeaderName, HeaderText)>,
    /// By media type, in the order of their names; none: the gateway's own body.
    pub bodies: Vec<(HeaderValue, Text)>,
}

/// What stands in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderText {
    Literal(HeaderValue),
    Of(Variable),
}

impl GatewayResponse {
    /// `parameters` and `templates` as AWS has them: `gatewayresponse.header.NAME` to `'constant'` or a variable, and a
    /// media type to a template.
    pub fn new(
        status: Option<u16>,
        parameters: &BTreeMap<String, String>,
        templates: &BTreeMap<String, String>,
    ) -> Result<Self, GatewayResponseError> {
        let wrong = |field, rule| GatewayResponseError { field, rule };
        if status.is_some_and(|status| !(200..=599).contains(&status)) {
            let rule = "must be from 200 to 599: an answer of 1xx is no last one".to_owned();
            return Err(wrong("statusCode", rule));
        }
        Ok(Self {
            status,
            headers: headers(parameters).map_err(|rule| wrong("responseParameters", rule))?,
            bodies: bodies(templates).map_err(|rule| wrong("responseTemplates", rule))?,
        })
    }

    /// What of a request it tells again.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        let headers = self.headers.iter().filter_map(|(_, text)| match text {
            HeaderText::Of(variable) => Some(variable),
            HeaderText::Literal(_) => None,
        });
        headers.chain(self.bodies.iter().flat_map(|(_, text)| text.variables()))
    }
}

fn headers(parameters: &BTreeMap<String, String>) -> Result<Vec<(HeaderName, HeaderText)>, String> {
    if parameters.len() > PARAMETERS_MAX {
        return Err(format!("has at most {PARAMETERS_MAX} entries"));
    }
    let mut headers: Vec<(HeaderName, HeaderText)> = Vec::with_capacity(parameters.len());
    for (key, value) in parameters {
        let of = |rule: String| format!("{key:?} {rule}");
        let name = key
            .strip_prefix(HEADER_PREFIX)
            .filter(|name| name.len() <= MEDIA_TYPE_BYTES_MAX)
            .and_then(|name| HeaderName::try_from(name).ok())
            .ok_or_else(|| of(format!("must be {HEADER_PREFIX} and a field's name behind it")))?;
        if OWN_FIELDS.contains(&name.as_str()) {
            return Err(of("names a field that the gateway writes by itself".to_owned()));
        }
        if headers.iter().any(|(known, _)| *known == name) {
            return Err(of("is there twice".to_owned()));
        }
        headers.push((name, header(value).map_err(of)?));
    }
    Ok(headers)
}

fn header(value: &str) -> Result<HeaderText, String> {
    let literal = value.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    if let Some(literal) = literal {
        let visible = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        if literal.len() > LITERAL_BYTES_MAX || !literal.bytes().all(visible) {
            return Err(format!(
                "must be a constant of at most {LITERAL_BYTES_MAX} visible ASCII characters"
            ));
        }
        let value = HeaderValue::from_str(literal).map_err(|_| "must be a constant".to_owned())?;
        return Ok(HeaderText::Literal(value));
    }
    let variable = Variable::parse(value)?;
    Ok(HeaderText::Of(variable))
}

fn bodies(templates: &BTreeMap<String, String>) -> Result<Vec<(HeaderValue, Text)>, String> {
    if templates.len() > TEMPLATES_MAX {
        return Err(format!("has at most {TEMPLATES_MAX} entries"));
    }
    if templates.values().map(String::len).sum::<usize>() > TEMPLATE_BYTES_MAX {
        return Err(format!("has templates of at most {TEMPLATE_BYTES_MAX} bytes, all together"));
    }
    let mut bodies = Vec::with_capacity(templates.len());
    for (media_type, template) in templates {
        let of = |rule: String| format!("{media_type:?} {rule}");
        let essence = crate::accept::essence(media_type);
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
        let named = |text: &str| !text.is_empty() && text.bytes().all(token);
        let is_type = media_type.len() <= MEDIA_TYPE_BYTES_MAX
            && essence.split_once('/').is_some_and(|(kind, sub)| named(kind) && named(sub));
        let value = HeaderValue::from_str(media_type).ok().filter(|_| is_type);
        let value =
            value.ok_or_else(|| of("must be a media type, such as application/json".to_owned()))?;
        let text = Text::parse(template, Escape::of(essence)).map_err(of)?;
        bodies.push((value, text));
    }
    Ok(bodies)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn every_type_is_known_by_its_name_and_in_its_place() {
        for (index, kind) in ResponseType::ALL.into_iter().enumerate() {
            assert_eq!(ResponseType::parse(kind.as_str()), Some(kind));
            assert_eq!(kind.index(), index);
        }
        assert_eq!(ResponseType::parse("throttled"), None);
        let without = ResponseType::ALL.into_iter().filter(|kind| kind.default_status().is_none());
        assert!(without.eq([ResponseType::Default4xx, ResponseType::Default5xx]));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field() {
        let status = |status| GatewayResponse::new(Some(status), &map(&[]), &map(&[])).err();
        assert_eq!([status(200), status(599)], [None, None]);
        for bad in [100, 199, 600] {
            assert_eq!(status(bad).map(|error| error.field), Some("statusCode"), "{bad}");
        }
        for (key, value, good) in [
            ("gatewayresponse.header.X-A", "'a b'", true),
            ("gatewayresponse.header.x-a", "''", true),
            ("gatewayresponse.header.x-a", "method.request.header.Accept", true),
            ("gatewayresponse.header.x-a", "context.error.responseType", true),
            ("gatewayresponse.header.x-a", "stageVariables.a", true),
            ("gatewayresponse.header.x-a", "a", false),
            ("gatewayresponse.header.x-a", "'a", false),
            ("gatewayresponse.header.x-a", "'", false),
            ("gatewayresponse.header.x-a", "'a\r\nb: c'", false),
            ("gatewayresponse.header.x-a", "context.identity.apiKey", false),
            ("gatewayresponse.header.x a", "'a'", false),
            ("gatewayresponse.header.", "'a'", false),
            ("method.response.header.x-a", "'a'", false),
            ("gatewayresponse.header.Content-Length", "'0'", false),
            ("gatewayresponse.header.transfer-encoding", "'chunked'", false),
            ("gatewayresponse.header.Connection", "'close'", false),
            ("gatewayresponse.header.X-Request-Id", "'1'", false),
        ] {
            let told = GatewayResponse::new(None, &map(&[(key, value)]), &map(&[])).err();
            let field = told.map(|error| error.field);
            assert_eq!(field, (!good).then_some("responseParameters"), "{key} {value}");
        }
        for (media_type, template, good) in [
            ("application/json", "{}", true),
            ("text/html;charset=utf-8", "", true),
            ("application/problem+json", "$context.requestId", true),
            ("json", "{}", false),
            ("a/b/c", "{}", false),
            ("a/b\r\nc: d", "{}", false),
            ("application/json", "$context.nothing", false),
            ("application/json", "$context.identity.apiKey", false),
        ] {
            let told = GatewayResponse::new(None, &map(&[]), &map(&[(media_type, template)])).err();
            let field = told.map(|error| error.field);
            assert_eq!(field, (!good).then_some("responseTemplates"), "{media_type} {template}");
        }
        let long = "x".repeat(TEMPLATE_BYTES_MAX / 2 + 1);
        let both = map(&[("a/a", &long), ("a/b", &long)]);
        assert!(GatewayResponse::new(None, &map(&[]), &both).is_err());
        let twice =
            map(&[("gatewayresponse.header.A", "'1'"), ("gatewayresponse.header.a", "'1'")]);
        assert!(GatewayResponse::new(None, &twice, &map(&[])).is_err());
    }
}
