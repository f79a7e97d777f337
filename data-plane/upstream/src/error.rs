//! Why an exchange with a backend failed.

use std::io;

use http1::{BoxError, ChunkError};

/// One variant for each thing that can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection ended before a byte of an answer came. On one that was used before, the backend may have closed
    /// it while it waited, and never have seen the request.
    #[error("the connection ended before the answer")]
    Unanswered(#[source] Option<io::Error>),
    /// The connection ended within the answer.
    #[error("the connection ended within the answer")]
    CutOff(#[source] Option<io::Error>),
    #[error("the answer's head is refused: {0}")]
    Answer(#[from] AnswerError),
    #[error("the answer's body is refused: {0}")]
    Chunk(#[from] ChunkError),
    /// The request's body failed on our side of it.
    #[error("the request's body failed")]
    Upload(#[source] BoxError),
}

/// What is wrong with an answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    #[error("it is not HTTP/1")]
    NotHttp,
    #[error("its status line is malformed")]
    StatusLine,
    #[error("a field is malformed")]
    Field,
    #[error("a line does not end with CR LF")]
    LineEnd,
    #[error("it is larger than {} KiB", crate::answer::HEAD_BYTES_MAX / 1024)]
    TooLarge,
    #[error("it has more than {} fields", crate::answer::FIELDS_MAX)]
    TooManyFields,
    #[error("Content-Length is no number")]
    ContentLength,
    #[error("Content-Length stands there more than once")]
    ContentLengths,
    #[error("Transfer-Encoding is not chunked alone")]
    TransferEncoding,
    #[error("Transfer-Encoding and Content-Length contradict each other")]
    BothLengths,
    #[error("Transfer-Encoding has no meaning in HTTP/1.0")]
    CodingOfHttp10,
    #[error("more than {} interim answers came before it", crate::answer::INTERIM_COUNT_MAX)]
    TooManyInterim,
}
