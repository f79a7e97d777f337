//! HTTP/1.1 (RFC 9112) as a gateway speaks it to callers: one request after another on a connection that somebody else
//! accepted, each answered before the next is read.
//!
//! Nothing here runs by itself: no task, no channel, no lock. Whoever serves a connection polls it; a request's body may
//! be read by another task of the same thread while the answer goes out.
//!
//! - [`request`]: a request's head, read strictly. What two readers could take differently is refused, and each refusal
//!   ([`RequestError`]) names its cause and the rule.
//! - [`response`]: an answer's head as bytes, and how the end of its body is told; [`date`], its `Date`.
//! - [`Connection`]: reads heads, knows what is unread and whether another request may follow; [`Body`], a request's
//!   body; [`Writer`], the way out.
//!
//! How messages are framed stands in `http1`, which backends' connections (`upstream`) use too. Deliberately absent:
//! accepting, TLS, deadlines, routes and answers (`data-plane/src/listener` and what is behind it), HTTP/2.
#![forbid(unsafe_code)]

mod body;
mod connection;
pub mod date;
mod error;
pub mod request;
pub mod response;
mod target;
mod writer;

pub use body::Body;
pub use connection::{Call, Connection, Rest};
pub use error::{BodyError, HeadError, RequestError};
pub use http1::{Alarm, Buffers, Length, SendError, Sending};
pub use request::{Limits, Request};
pub use response::Asked;
pub use writer::Writer;
