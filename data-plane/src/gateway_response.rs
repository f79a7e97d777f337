//! Every answer that a node makes by itself: why a request was refused, as a value that any phase can give.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue};
use plan::ResponseType;

/// A refusal on its way out. `response::render` gives it the looks of its Api's dialect.
#[derive(Clone, Debug)]
pub(crate) struct GatewayResponse {
    pub(crate) kind: Kind,
    /// For the caller, in words; it names nothing that is not the caller's own.
    pub(crate) message: Cow<'static, str>,
    /// Fields that belong to the reason, such as `Allow` and `Retry-After`.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// AWS's gateway response types, and beside them what HTTP calls for and AWS has no name for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    ResourceNotFound,
    MethodNotAllowed,
    InvalidApiKey,
    /// The key is known and good, but not from this address.
    ApiKeyClientNotAllowed,
    /// The key is known and good, but not from this page, or from none.
    ApiKeyOriginNotAllowed,
    AccessDenied,
    AuthorizerConfigurationError,
    ApiConfigurationError,
    BadRequestParameters,
    BadRequestBody,
    RequestTooLarge,
    /// A body of a coding that cannot be undone.
    UnsupportedMediaType,
    UriTooLong,
    HeadersTooLarge,
    RequestTimeout,
    /// The same resource stands at another path.
    Moved,
    Throttled,
    QuotaExceeded,
    IntegrationFailure,
    IntegrationTimeout,
    /// A function failed, or answered what is no answer.
    FunctionFailure,
    /// What a function streams does not begin as it must.
    FunctionStreamFailure,
    /// A backend's answer is larger than is buffered for its caller.
    ResponseTooLarge,
    /// A limit could not be asked, so the call is not let through.
    LimitsUnavailable,
    /// This node has too much to do.
    Overloaded,
    /// One tenant has as much in progress here as it may, in all or with one backend.
    TenantOverloaded,
    /// This node does not know any Api yet.
    NotReady,
    /// Our own fault.
    Internal,
}

impl Kind {
    /// The stable name that callers can act on.
    pub(crate) fn code(self) -> &'static str {
        self.row().0
    }

    /// The status where a dialect does not choose another.
    pub(crate) fn status(self) -> u16 {
        self.row().1
    }

    /// The status in words.
    pub(crate) fn reason(self) -> &'static str {
        self.row().2
    }

    /// AWS's type, where it has one. What has none is of its class's default.
    pub(crate) fn response_type(self) -> Option<ResponseType> {
        Some(match self {
            Self::ResourceNotFound => ResponseType::ResourceNotFound,
            Self::InvalidApiKey => ResponseType::InvalidApiKey,
            Self::ApiKeyClientNotAllowed | Self::ApiKeyOriginNotAllowed | Self::AccessDenied => {
                ResponseType::AccessDenied
            }
            Self::AuthorizerConfigurationError => ResponseType::AuthorizerConfigurationError,
            Self::ApiConfigurationError => ResponseType::ApiConfigurationError,
            Self::BadRequestParameters => ResponseType::BadRequestParameters,
            Self::BadRequestBody => ResponseType::BadRequestBody,
            Self::RequestTooLarge => ResponseType::RequestTooLarge,
            Self::UnsupportedMediaType => ResponseType::UnsupportedMediaType,
            Self::Throttled => ResponseType::Throttled,
            Self::QuotaExceeded => ResponseType::QuotaExceeded,
            Self::IntegrationFailure
            | Self::FunctionFailure
            | Self::FunctionStreamFailure
            | Self::ResponseTooLarge => ResponseType::IntegrationFailure,
            Self::IntegrationTimeout => ResponseType::IntegrationTimeout,
            Self::MethodNotAllowed
            | Self::UriTooLong
            | Self::HeadersTooLarge
            | Self::RequestTimeout
            | Self::Moved
            | Self::LimitsUnavailable
            | Self::Overloaded
            | Self::TenantOverloaded
            | Self::NotReady
            | Self::Internal => return None,
        })
    }

    fn row(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::ResourceNotFound => ("RESOURCE_NOT_FOUND", 404, "Not Found"),
            Self::MethodNotAllowed => ("METHOD_NOT_ALLOWED", 405, "Method Not Allowed"),
            Self::InvalidApiKey => ("INVALID_API_KEY", 403, "Forbidden"),
            Self::ApiKeyClientNotAllowed => ("API_KEY_CLIENT_NOT_ALLOWED", 403, "Forbidden"),
            Self::ApiKeyOriginNotAllowed => ("API_KEY_ORIGIN_NOT_ALLOWED", 403, "Forbidden"),
            Self::AccessDenied => ("ACCESS_DENIED", 403, "Forbidden"),
            Self::AuthorizerConfigurationError => {
                ("AUTHORIZER_CONFIGURATION_ERROR", 500, "Internal Server Error")
            }
            Self::ApiConfigurationError => {
                ("API_CONFIGURATION_ERROR", 500, "Internal Server Error")
            }
            Self::BadRequestParameters => ("BAD_REQUEST_PARAMETERS", 400, "Bad Request"),
            Self::BadRequestBody => ("BAD_REQUEST_BODY", 400, "Bad Request"),
            Self::RequestTooLarge => ("REQUEST_TOO_LARGE", 413, "Content Too Large"),
            Self::UnsupportedMediaType => ("UNSUPPORTED_MEDIA_TYPE", 415, "Unsupported Media Type"),
            Self::UriTooLong => ("URI_TOO_LONG", 414, "URI Too Long"),
            Self::HeadersTooLarge => ("HEADERS_TOO_LARGE", 431, "Request Header Fields Too Large"),
            Self::RequestTimeout => ("REQUEST_TIMEOUT", 408, "Request Timeout"),
            Self::Moved => ("MOVED", 308, "Permanent Redirect"),
            Self::Throttled => ("THROTTLED", 429, "Too Many Requests"),
            Self::QuotaExceeded => ("QUOTA_EXCEEDED", 429, "Too Many Requests"),
            Self::IntegrationFailure => ("INTEGRATION_FAILURE", 504, "Gateway Timeout"),
            Self::IntegrationTimeout => ("INTEGRATION_TIMEOUT", 504, "Gateway Timeout"),
            Self::FunctionFailure => ("FUNCTION_FAILURE", 502, "Bad Gateway"),
            Self::FunctionStreamFailure => {
                ("FUNCTION_STREAM_FAILURE", 500, "Internal Server Error")
            }
            Self::ResponseTooLarge => ("RESPONSE_TOO_LARGE", 502, "Bad Gateway"),
            Self::LimitsUnavailable => ("LIMITS_UNAVAILABLE", 503, "Service Unavailable"),
            Self::Overloaded => ("OVERLOADED", 503, "Service Unavailable"),
            Self::TenantOverloaded => ("TENANT_OVERLOADED", 503, "Service Unavailable"),
            Self::NotReady => ("NOT_READY", 503, "Service Unavailable"),
            Self::Internal => ("INTERNAL", 500, "Internal Server Error"),
        }
    }

    /// Whether a call that was admitted is billed although it ended so: backend's faults are, ours are not.
    pub(crate) fn billable(self) -> bool {
        !matches!(
            self,
            Self::AuthorizerConfigurationError
                | Self::ApiConfigurationError
                | Self::Overloaded
                | Self::TenantOverloaded
                | Self::NotReady
                | Self::LimitsUnavailable
                | Self::Internal
        )
    }

    pub(crate) fn because(self, message: impl Into<Cow<'static, str>>) -> GatewayResponse {
        GatewayResponse { kind: self, message: message.into(), headers: Vec::new() }
    }
}

impl GatewayResponse {
    #[must_use]
    pub(crate) fn with(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.push((name, value));
        }
        self
    }
}
