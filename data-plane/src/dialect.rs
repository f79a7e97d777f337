//! What an Api's dialect chooses: defaults, and AWS's observable bytes. One table; no `if` about dialects
//! stands anywhere else.

pub(crate) mod headers;

use std::time::Duration;

use http::StatusCode;
use plan::{Precedence, ResponseType, TrailingSlash};
use proto::config::v1::Dialect as Name;

use self::headers::Headers;
use crate::{gateway_response::Kind, integration::decompress::Undoes, response::compress::Offer};

/// The choices of one dialect.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent choices")]
pub(crate) struct Dialect {
    pub(crate) name: &'static str,
    pub(crate) precedence: Precedence,
    pub(crate) trailing_slash: TrailingSlash,
    /// Whether `$default` may be the name of a stage that takes paths without one.
    pub(crate) default_stage: bool,
    /// Whether callers may name another method by `X-HTTP-Method-Override`, where the Api does not say.
    pub(crate) method_override: bool,
    /// Whether `RateLimit` fields are sent without being switched on.
    pub(crate) rate_limit_headers: bool,
    /// A smaller bound on request bodies than the node's.
    pub(crate) body_bytes_max: Option<u64>,
    /// How long an exchange with a backend takes at most where its integration does not say; `None`: as long as it takes.
    pub(crate) timeout: Option<Duration>,
    /// The same where the answer streams.
    pub(crate) stream_timeout: Option<Duration>,
    /// Whether answers reach callers whole where an integration does not say.
    pub(crate) buffers_answers: bool,
    /// Whether the event 1.0 of a function tells no version and no authorizer, as a REST API's.
    pub(crate) rest_events: bool,
    /// Whether AWS's tables of text and binary payloads hold. Elsewhere a function's body says by itself what it is.
    pub(crate) converts_media: bool,
    /// Which codings of requests' bodies are undone, and for whom.
    pub(crate) undoes: &'static Undoes,
    /// How answers are compressed, where an Api asks for it.
    pub(crate) compression: Offer,
    /// The status of the answer to a preflight: AWS's REST APIs answer by a mock of 200.
    pub(crate) preflight_status: u16,
    /// Whether a preflight is told the method that it asks for where a route takes it and the Api names none.
    pub(crate) preflight_tells_methods: bool,
    /// Which fields of proxied calls pass, and as what.
    pub(crate) headers: &'static Headers,
    /// What is answered where nobody waits for a function.
    pub(crate) event_accepted: StatusCode,
    /// By which gateway response a refusal is restyled, beside the default of its class.
    pub(crate) response_type: fn(Kind) -> Option<ResponseType>,
    /// Types that nobody restyles: of the default for their class they take the headers, and nothing else.
    pub(crate) fixed_responses: &'static [ResponseType],
    /// How a refusal looks.
    pub(crate) refusal: fn(Kind) -> Refusal,
}

/// A refusal's looks: its status, and the body `{"message": …}`.
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: Message,
    /// The value of `x-amzn-ErrorType`.
    pub(crate) error_type: Option<&'static str>,
}

pub(crate) enum Message {
    /// Ours: what went wrong in words, with `code` and `requestId` beside it.
    Explained,
    Fixed(&'static str),
    /// `{"message":null}`, which AWS sends for faults of authorizers.
    Null,
}

pub(crate) static NATIVE: Dialect = Dialect {
    name: "native",
    precedence: Precedence::Http,
    trailing_slash: TrailingSlash::Strict,
    default_stage: true,
    method_override: false,
    rate_limit_headers: true,
    body_bytes_max: None,
    timeout: None,
    stream_timeout: None,
    buffers_answers: false,
    rest_events: false,
    converts_media: false,
    undoes: &Undoes::NATIVE,
    compression: Offer::NATIVE,
    preflight_status: 204,
    preflight_tells_methods: true,
    headers: &headers::NATIVE,
    event_accepted: StatusCode::ACCEPTED,
    response_type: Kind::response_type,
    fixed_responses: &[],
    refusal: |kind| Refusal {
        status: kind.status(),
        message: Message::Explained,
        error_type: None,
    },
};

static AWS_REST: Dialect = Dialect {
    name: "aws-rest",
    precedence: Precedence::Rest,
    trailing_slash: TrailingSlash::Ignore,
    default_stage: false,
    method_override: true,
    rate_limit_headers: false,
    body_bytes_max: Some(10 * 1024 * 1024),
    timeout: Some(Duration::from_secs(29)),
    stream_timeout: Some(Duration::from_mins(15)),
    buffers_answers: true,
    rest_events: true,
    converts_media: true,
    undoes: &Undoes::AWS_REST,
    compression: Offer::AWS,
    preflight_status: 200,
    preflight_tells_methods: false,
    headers: &headers::AWS_REST,
    event_accepted: StatusCode::OK,
    response_type: |kind| match kind {
        Kind::ResourceNotFound | Kind::MethodNotAllowed => {
            Some(ResponseType::MissingAuthenticationToken)
        }
        other => other.response_type(),
    },
    fixed_responses: &[ResponseType::RequestTooLarge],
    refusal: aws_rest,
};

static AWS_HTTP: Dialect = Dialect {
    name: "aws-http",
    precedence: Precedence::Http,
    trailing_slash: TrailingSlash::Strict,
    default_stage: true,
    method_override: false,
    rate_limit_headers: false,
    body_bytes_max: Some(10 * 1024 * 1024),
    timeout: Some(Duration::from_secs(30)),
    stream_timeout: Some(Duration::from_mins(15)),
    buffers_answers: true,
    rest_events: false,
    converts_media: false,
    undoes: &Undoes::AWS_HTTP,
    compression: Offer::AWS,
    preflight_status: 204,
    preflight_tells_methods: false,
    headers: &headers::AWS_HTTP,
    event_accepted: StatusCode::OK,
    response_type: Kind::response_type,
    fixed_responses: &[],
    refusal: aws_http,
};

impl Dialect {
    /// The dialect of that name; `None` for one that this node does not know.
    pub(crate) fn of(name: i32) -> Option<&'static Self> {
        match Name::try_from(name).ok()? {
            Name::Unspecified => None,
            Name::Native => Some(&NATIVE),
            Name::AwsRest => Some(&AWS_REST),
            Name::AwsHttp => Some(&AWS_HTTP),
        }
    }
}

fn aws_rest(kind: Kind) -> Refusal {
    let internal = Some("InternalServerErrorException");
    let (status, message, error_type) = match kind {
        // A path that is not known looks like one that is, called without a signature.
        Kind::ResourceNotFound | Kind::MethodNotAllowed => (
            403,
            Message::Fixed("Missing Authentication Token"),
            Some("MissingAuthenticationTokenException"),
        ),
        Kind::InvalidApiKey
        | Kind::ApiKeyClientNotAllowed
        | Kind::ApiKeyOriginNotAllowed
        | Kind::AccessDenied => (403, Message::Fixed("Forbidden"), Some("ForbiddenException")),
        Kind::Throttled => {
            (429, Message::Fixed("Too Many Requests"), Some("TooManyRequestsException"))
        }
        Kind::QuotaExceeded => {
            (429, Message::Fixed("Limit Exceeded"), Some("LimitExceededException"))
        }
        Kind::BadRequestParameters | Kind::BadRequestBody => {
            (400, Message::Fixed("Bad Request"), Some("BadRequestException"))
        }
        Kind::RequestTooLarge => {
            (413, Message::Fixed("Request Too Long"), Some("RequestTooLargeException"))
        }
        Kind::IntegrationTimeout => (504, Message::Fixed("Endpoint request timed out"), internal),
        Kind::IntegrationFailure => {
            (504, Message::Fixed("Network error communicating with endpoint"), internal)
        }
        Kind::FunctionFailure => (502, Message::Fixed("Internal server error"), internal),
        Kind::AuthorizerConfigurationError => {
            (500, Message::Null, Some("AuthorizerConfigurationException"))
        }
        Kind::ApiConfigurationError
        | Kind::FunctionStreamFailure
        | Kind::ResponseTooLarge
        | Kind::Internal => (500, Message::Fixed("Internal server error"), internal),
        other => (other.status(), Message::Fixed(other.reason()), None),
    };
    Refusal { status, message, error_type }
}

fn aws_http(kind: Kind) -> Refusal {
    let (status, message) = match kind {
        Kind::ResourceNotFound | Kind::MethodNotAllowed => (404, "Not Found"),
        Kind::InvalidApiKey | Kind::AccessDenied => (403, "Forbidden"),
        Kind::Throttled => (429, "Too Many Requests"),
        Kind::QuotaExceeded => (429, "Limit Exceeded"),
        Kind::IntegrationTimeout | Kind::IntegrationFailure => (503, "Service Unavailable"),
        Kind::FunctionFailure
        | Kind::FunctionStreamFailure
        | Kind::ResponseTooLarge
        | Kind::AuthorizerConfigurationError
        | Kind::ApiConfigurationError
        | Kind::Internal => (500, "Internal Server Error"),
        other => (other.status(), other.reason()),
    };
    Refusal { status, message: Message::Fixed(message), error_type: None }
}
