//! Where the body of a message ends (RFC 9112 §6.3).

use bytes::{Bytes, BytesMut};

use crate::chunked::{ChunkError, Chunked, Piece};

/// How much of a body is still to come, and how that is known.
#[derive(Debug)]
pub enum Framing {
    /// So many bytes; 0 when it ended.
    Length(u64),
    Chunked(Chunked),
    /// All that comes until the connection ends: an answer's, never a request's.
    UntilClose,
}

impl Framing {
    pub fn is_ended(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunked) => chunked.is_ended(),
            Self::UntilClose => false,
        }
    }

    /// How many bytes are to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(chunked) => chunked.is_ended().then_some(0),
            Self::UntilClose => None,
        }
    }

    /// Takes the next piece off what was read; `None` while more must be read for one.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Piece>, ChunkError> {
        match self {
            Self::Chunked(chunked) => chunked.take(buffer),
            Self::Length(0) => Ok(None),
            Self::Length(left) => Ok(take_up_to(buffer, left).map(Piece::Data)),
            Self::UntilClose => Ok(take_up_to(buffer, &mut u64::MAX.clone()).map(Piece::Data)),
        }
    }
}

/// What there is of the bytes that are left.
pub(crate) fn take_up_to(buffer: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    if buffer.is_empty() {
        return None;
    }
    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
    *left -= taken as u64;
    Some(buffer.split_to(taken).freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_belongs_to_the_body() {
        let mut framing = Framing::Length(5);
        let mut buffer = BytesMut::from(&b"hel"[..]);
        assert_eq!(framing.take(&mut buffer), Ok(Some(Piece::Data("hel".into()))));
        assert_eq!(framing.take(&mut buffer), Ok(None));
        buffer.extend_from_slice(b"lo, HTTP/1.1");
        assert_eq!(framing.take(&mut buffer), Ok(Some(Piece::Data("lo".into()))));
        assert!(framing.is_ended() && framing.left() == Some(0));
        assert_eq!(framing.take(&mut buffer), Ok(None));
        assert_eq!(&buffer[..], b", HTTP/1.1");
    }
}
