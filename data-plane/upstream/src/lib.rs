//! HTTP/1.1 (RFC 9112) as a gateway speaks it to a backend: one request at a time on a connection that somebody else
//! opened.
//!
//! Nothing here runs by itself: no task, no channel, no lock. Whoever waits for an answer drives its connection, the
//! request going out while the answer comes in.
//!
//! - [`request`]: a request's head as bytes.
//! - [`answer`]: an answer's head, read strictly; what two readers could take differently is refused.
//! - [`Connection`]: sends a request, reads its answer, and knows whether another may follow.
//! - [`Gate`], [`Budget`]: what a pool of connections needs beside them, and, of `http1`, [`Buffers`] and [`Alarm`].
//!
//! How messages are framed stands in `http1`, which callers' connections (`downstream`) use too. Deliberately absent:
//! connecting, TLS and addresses (`egress` has them), pipelining, HTTP/2 (the node's own
//! `integration/http2` speaks that), following redirects.
#![forbid(unsafe_code)]

pub mod answer;
mod budget;
mod connection;
mod error;
mod gate;
pub mod request;

pub use answer::Answer;
pub use budget::Budget;
pub use connection::Connection;
pub use error::{AnswerError, Error};
pub use gate::{Full, Gate, Turn};
pub use http1::{
    Alarm, BoxError, Buffers, ChunkError, Chunked, Framing, Length, Piece, SendError, Sending,
    may_trail,
};
