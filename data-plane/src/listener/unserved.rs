//! Requests that end before they are any: their head never came whole, or could not be read. Each is counted and
//! has its record in the access log, as every other, and where it can be answered its answer has the record's id.

use std::time::SystemTime;

use downstream::RequestError;
use http::{StatusCode, Version};
use serde_json::json;
use uuid::Uuid;

use super::{client_io::HeadClock, connection::Peer, streams::Missed};
use crate::{
    access_log::{Entry, Outline},
    gateway_response::Kind,
    node::Node,
};

/// Why there is no request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Unserved {
    /// By our own server, which knows why.
    Refused(RequestError),
    Malformed,
    /// Path and all: it does not fit into what is read of a head.
    HeadersTooLarge,
    /// The head's time was over.
    Late,
    /// The caller left in the middle of a head.
    Incomplete,
    /// A stream that HTTP/2 forbids.
    Reset,
    HttpOnHttpsPort,
    /// A trusted proxy's connection did not begin as it should.
    NoProxyHeader,
}

impl Unserved {
    /// What hyper's end of an HTTP/1.1 connection tells, if it was in the middle of a head.
    pub(super) fn of(error: &hyper::Error, clock: &HeadClock) -> Option<Self> {
        if clock.is_late() {
            Some(Self::Late)
        } else if error.is_parse_too_large() {
            Some(Self::HeadersTooLarge)
        } else if error.is_parse() {
            Some(Self::Malformed)
        } else {
            // While one is served its own record tells how it ended.
            let left = !clock.is_serving() && (error.is_incomplete_message() || clock.is_broken());
            left.then_some(Self::Incomplete)
        }
    }

    /// What hyper's own answer to an HTTP/1.1 head says, if these bytes are one.
    pub(super) fn answered(bytes: &[u8]) -> Option<Self> {
        match bytes.strip_prefix(b"HTTP/1.1 ")?.get(..4)? {
            b"400 " => Some(Self::Malformed),
            b"414 " | b"431 " => Some(Self::HeadersTooLarge),
            _ => None,
        }
    }

    /// As a whole answer of HTTP/1.1, after which the connection ends; nothing where there is none to give.
    pub(super) fn answer(self, id: Uuid) -> String {
        let (status, code) = self.told();
        let why;
        let (reason, message) = match self {
            Self::Refused(error) => {
                why = format!("The request's head is refused: {error}.");
                (error.status().canonical_reason().unwrap_or_default(), &*why)
            }
            Self::Malformed => ("Bad Request", "The request's head is not HTTP."),
            Self::HeadersTooLarge => {
                (Kind::HeadersTooLarge.reason(), "The request's head is too large.")
            }
            Self::Late => (Kind::RequestTimeout.reason(), "The request's head took too long."),
            Self::HttpOnHttpsPort => ("Bad Request", "This port speaks https; you sent http."),
            Self::Incomplete | Self::Reset | Self::NoProxyHeader => return String::new(),
        };
        let body = json!({ "message": message, "code": code, "requestId": id }).to_string();
        format!(
            "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             x-request-id: {id}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    /// The answer's status, 0 for none, and the reason's stable name.
    fn told(self) -> (u16, &'static str) {
        match self {
            Self::Refused(error) => {
                let status = error.status();
                let code = match status {
                    StatusCode::URI_TOO_LONG => Kind::UriTooLong.code(),
                    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Kind::HeadersTooLarge.code(),
                    StatusCode::HTTP_VERSION_NOT_SUPPORTED => "HTTP_VERSION_NOT_SUPPORTED",
                    _ => Self::Malformed.told().1,
                };
                (status.as_u16(), code)
            }
            Self::Malformed => (400, "MALFORMED_REQUEST"),
            Self::HeadersTooLarge => (431, Kind::HeadersTooLarge.code()),
            Self::Late => (408, Kind::RequestTimeout.code()),
            Self::Incomplete => (0, "INCOMPLETE_REQUEST"),
            Self::Reset => (0, "HTTP2_PROTOCOL_ERROR"),
            Self::HttpOnHttpsPort => (400, "HTTP_ON_HTTPS_PORT"),
            Self::NoProxyHeader => (0, "PROXY_HEADER_INVALID"),
        }
    }

    pub(super) fn record(self, node: &Node, peer: Peer, version: Version) {
        self.record_as(Uuid::now_v7(), node, peer, version);
    }

    /// The same under the id that its answer has.
    pub(super) fn record_as(self, request_id: Uuid, node: &Node, peer: Peer, version: Version) {
        let (status, code) = self.told();
        node.metrics.unserved(status);
        // It reached no tenant's routes, so nothing is missed where there is no room.
        let _ = node.log.write(&Entry {
            at: SystemTime::now(),
            request_id,
            client_request_id: None,
            trace: None,
            client: peer.address,
            version,
            method: None,
            stage: None,
            route: None,
            operation: None,
            caller: None,
            outline: Outline {
                status,
                code: Some(code),
                aborted: self == Self::Incomplete,
                ..Outline::default()
            },
            throttled_by: None,
            shadow_throttled_by: "",
        });
    }
}

impl Missed {
    pub(super) fn record(self, node: &Node, peer: Peer) {
        for _ in 0..self.answered {
            Unserved::HeadersTooLarge.record(node, peer, Version::HTTP_2);
        }
        for _ in 0..self.reset {
            Unserved::Reset.record(node, peer, Version::HTTP_2);
        }
    }
}
