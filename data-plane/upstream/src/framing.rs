//! Where the body of an answer ends (RFC 9112 §6.3).

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use crate::{
    answer::Answer,
    chunked::{Chunked, Piece},
    error::ChunkError,
};

/// How much of a body is still to come, and how that is known.
#[derive(Debug)]
pub enum Framing {
    /// So many bytes; 0 when it ended.
    Length(u64),
    Chunked(Chunked),
    /// All that comes until the connection ends.
    UntilClose,
}

impl Framing {
    /// Of an answer to a `HEAD` request, or to another.
    pub fn of(answer: &Answer, is_head: bool) -> Self {
        let bodiless = is_head
            || answer.status.is_informational()
            || matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match (answer.chunked, answer.length) {
            _ if bodiless => Self::Length(0),
            (true, _) => Self::Chunked(Chunked::default()),
            (false, Some(length)) => Self::Length(length),
            (false, None) => Self::UntilClose,
        }
    }

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
    use crate::answer::parse;

    fn of(status: u16, fields: &str, is_head: bool) -> Framing {
        let head = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
        let answer = parse(&mut BytesMut::from(head.as_bytes()), &mut 0).unwrap().unwrap();
        Framing::of(&answer, is_head)
    }

    #[test]
    fn a_body_ends_where_the_standard_says() {
        let length = "content-length: 5\r\n";
        assert!(matches!(of(200, length, false), Framing::Length(5)));
        assert!(matches!(of(200, length, true), Framing::Length(0)));
        for status in [101, 204, 304] {
            assert!(matches!(of(status, length, false), Framing::Length(0)), "{status}");
        }
        let chunked = "transfer-encoding: chunked\r\n";
        assert!(matches!(of(200, chunked, false), Framing::Chunked(_)));
        assert!(matches!(of(200, chunked, true), Framing::Length(0)));
        assert!(matches!(of(200, "", false), Framing::UntilClose));
    }

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
