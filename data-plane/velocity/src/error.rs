//! What went wrong, and where in the template.

use std::fmt;

/// Why a template was not taken, or its rendering ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The template is not VTL.
    Syntax,
    /// It is VTL, and this engine refuses it by name: `#include`, `#parse`, `#evaluate`.
    Refused,
    /// The template is longer, nested deeper or has more parts than is taken.
    TooLarge,
    /// The steps of the whole rendering are used up.
    Steps,
    /// More memory would be held than is allowed.
    Memory,
    /// The text that is rendered would be longer than is allowed.
    Output,
    /// Macros or blocks call one another too deeply, or a value contains itself.
    Depth,
    /// A `#foreach` has more rounds than is allowed, and is not to end silently.
    Iterations,
    /// A method or an index that Java would have answered with an exception.
    Call,
    /// The host refused, in its own words.
    Host,
}

/// An error with its place: lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    pub message: String,
    pub line: u32,
    pub column: u32,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for Error {}

/// An error whose place is not known yet: what methods and hosts answer with. The engine adds where it was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: ErrorKind,
    pub message: String,
}

impl Fault {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What Java would have thrown.
    pub fn call(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Call, message)
    }

    /// The host's refusal.
    pub fn host(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Host, message)
    }

    pub(crate) fn at(self, (line, column): (u32, u32)) -> Error {
        Error { kind: self.kind, message: self.message, line, column }
    }
}
