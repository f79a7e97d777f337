//! HTTP/1.1 (RFC 9112) as a gateway speaks it to a backend: one request at a time on a connection that somebody else
//! opened.
//!
//! Nothing here runs by itself: no task, no channel, no lock. Whoever waits for an answer drives its connection, the
//! request going out while the answer comes in.
//!
//! - [`request`]: a request's head as bytes.
//! - [`Sending`]: a request on its way out, head and body, in as few writes as its pieces allow.
//! - [`answer`]: an answer's head, read strictly; what two readers could take differently is refused.
//! - [`Framing`]: where an answer's body ends, and [`Chunked`], the coding that says so piece by piece.
//! - [`Connection`]: sends a request, reads its answer, and knows whether another may follow.
//! - [`Gate`], [`Budget`], [`Buffers`], [`Alarm`]: what a pool of connections needs beside them.
//!
//! Deliberately absent: connecting, TLS and addresses (`egress` has them), pipelining, HTTP/2, following redirects.
#![forbid(unsafe_code)]

mod alarm;
pub mod answer;
mod budget;
mod buffers;
mod chunked;
mod connection;
mod error;
mod framing;
mod gate;
mod lines;
pub mod request;
mod sending;

pub use alarm::Alarm;
pub use answer::Answer;
pub use budget::Budget;
pub use buffers::Buffers;
pub use chunked::{Chunked, Piece};
pub use connection::Connection;
pub use error::{AnswerError, ChunkError, Error};
pub use framing::Framing;
pub use gate::{Full, Gate, Turn};
pub use request::Length;
pub use sending::{SendError, Sending};

/// Why a body of the other side's came to nothing.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
