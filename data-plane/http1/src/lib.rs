//! What HTTP/1.1 messages (RFC 9112) have in common, whoever sends them: a gateway reads callers' with the code that it
//! reads backends' with.
//!
//! - [`lines`], [`fields`]: the lines of a head or of trailers, and one field of them.
//! - [`Framing`]: where a body ends, and [`Chunked`], the coding that says so piece by piece.
//! - [`Sending`]: a message on its way out, head and body, in as few writes as its pieces allow; [`text`] writes its
//!   lines.
//! - [`ReadBuffer`]: what was read and not used yet; [`Buffers`], [`Alarm`]: memory that connections share, and time
//!   limits that are put off at no cost.
//!
//! Nothing here opens or owns a connection. Deliberately absent: what only one side knows, such as a request's target
//! (`downstream`) or an answer's status (`upstream`).
#![forbid(unsafe_code)]

mod alarm;
mod buffers;
mod chunked;
pub mod fields;
mod framing;
pub mod lines;
mod read_buffer;
mod sending;
pub mod text;

pub use alarm::Alarm;
pub use buffers::Buffers;
pub use chunked::{ChunkError, Chunked, Piece, may_trail};
pub use framing::Framing;
pub use read_buffer::ReadBuffer;
pub use sending::{Length, SendError, Sending};

/// Why a body of the other side's came to nothing.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
