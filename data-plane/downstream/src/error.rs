//! Why a request is not taken.

use std::io;

use http::StatusCode;
use http1::{ChunkError, fields::FieldError};

/// What is wrong with a request's head, as a caller is told it. Each variant is something that two readers of one
/// connection could take differently, or that has a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error(
        "the request line is not a method, a target and a version with single spaces between (RFC 9112 §3)"
    )]
    RequestLine,
    #[error("the method is no token (RFC 9110 §9.1)")]
    Method,
    #[error(
        "the request target is malformed, or not of a form that its method has (RFC 9112 §3.2)"
    )]
    Target,
    #[error("the request target is too long (RFC 9112 §3)")]
    TargetTooLong,
    #[error("the version is malformed (RFC 9112 §2.3)")]
    Version,
    #[error("the version is neither HTTP/1.1 nor HTTP/1.0 (RFC 9110 §2.5)")]
    VersionNotSupported,
    #[error("a line ends with a line feed alone (RFC 9112 §2.2)")]
    LineEnd,
    #[error("{0}")]
    Field(#[from] FieldError),
    #[error("the request's head is too large (RFC 9112 §5.4)")]
    HeadTooLarge,
    #[error("the request has too many fields (RFC 9112 §5.4)")]
    TooManyFields,
    #[error("there is a tab around Content-Length, Transfer-Encoding or Host (RFC 9112 §11.2)")]
    Tab,
    #[error("Content-Length is no number (RFC 9112 §6.3)")]
    ContentLength,
    #[error("Content-Length stands there more than once (RFC 9112 §6.3)")]
    ContentLengths,
    #[error("Transfer-Encoding is not chunked, once and alone (RFC 9112 §6.1)")]
    TransferEncoding,
    #[error("Transfer-Encoding and Content-Length contradict each other (RFC 9112 §6.1)")]
    BothLengths,
    #[error("Transfer-Encoding has no meaning in HTTP/1.0 (RFC 9112 §6.1)")]
    CodingOfHttp10,
    #[error("Host is missing (RFC 9112 §3.2)")]
    HostMissing,
    #[error("Host stands there more than once (RFC 9112 §3.2)")]
    Hosts,
    #[error("Host is no host with an optional port (RFC 9110 §7.2)")]
    Host,
    #[error("Host differs from the host of the request target (RFC 9112 §3.2.2)")]
    HostDiffers,
}

impl RequestError {
    pub fn status(self) -> StatusCode {
        match self {
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::VersionNotSupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::HeadTooLarge | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// Why there is no next request on a connection.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    #[error("the request's head is refused: {0}")]
    Refused(#[from] RequestError),
    /// The connection ended, or broke, within a head.
    #[error("the connection ended within a request's head")]
    CutOff(#[source] Option<io::Error>),
}

/// Why a request's body came to nothing. No other request follows on its connection.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the request's body is refused: {0}")]
    Chunk(#[from] ChunkError),
    #[error("the connection ended within the request's body")]
    CutOff(#[source] Option<io::Error>),
}
