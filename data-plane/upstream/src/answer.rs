//! The head of an answer, read strictly: what two readers could take differently is refused.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
};

use http1::{
    Chunked, Framing,
    lines::{self, Refused},
    text,
};

use crate::error::AnswerError;

/// The longest head, with its status line and the empty line.
pub const HEAD_BYTES_MAX: usize = 256 * 1024;
/// The most fields that a head may have.
pub const FIELDS_MAX: usize = 128;
/// Room for what a gateway adds, without growing.
const ADDED_FIELDS: usize = 4;
/// The most interim answers (RFC 9110 §15.2) before the final one.
pub const INTERIM_COUNT_MAX: usize = 32;

/// The head of an answer.
#[derive(Debug)]
pub struct Answer {
    pub version: Version,
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// `Content-Length`, of which there is at most one.
    pub(crate) length: Option<u64>,
    /// `Transfer-Encoding: chunked`.
    pub(crate) chunked: bool,
    /// Whether another answer may follow on the connection.
    pub(crate) keep_alive: bool,
}

/// Takes a head off the start of `buffer`; `None` while it is not all there. `scanned`, 0 at first, is kept between two
/// calls.
pub fn parse(buffer: &mut BytesMut, scanned: &mut usize) -> Result<Option<Answer>, AnswerError> {
    // The parser skips empty lines before a status line, however many; here there are none.
    const START: &[u8] = b"HTTP/1.";
    let seen = buffer.len().min(START.len());
    if buffer[..seen] != START[..seen] {
        return Err(AnswerError::NotHttp);
    }
    let len = lines::len(buffer, scanned, HEAD_BYTES_MAX).map_err(|refused| match refused {
        Refused::LineEnd => AnswerError::LineEnd,
        Refused::TooLong => AnswerError::TooLarge,
    })?;
    let Some(len) = len else { return Ok(None) };
    *scanned = 0;
    let head = buffer.split_to(len).freeze();
    read(&head).map(Some)
}

/// Reads a whole head.
fn read(head: &Bytes) -> Result<Answer, AnswerError> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let mut config = httparse::ParserConfig::default();
    config.allow_multiple_spaces_in_response_status_delimiters(false);
    match config.parse_response_with_uninit_headers(&mut parsed, head, &mut fields) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        Ok(_) | Err(httparse::Error::NewLine) => return Err(AnswerError::LineEnd),
        Err(httparse::Error::TooManyHeaders) => return Err(AnswerError::TooManyFields),
        Err(httparse::Error::Version | httparse::Error::Status) => {
            return Err(AnswerError::StatusLine);
        }
        Err(_) => return Err(AnswerError::Field),
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(AnswerError::StatusLine)?;
    let is_http11 = parsed.version == Some(1);
    let mut answer = Answer {
        version: if is_http11 { Version::HTTP_11 } else { Version::HTTP_10 },
        status,
        headers: HeaderMap::with_capacity(parsed.headers.len() + ADDED_FIELDS),
        length: None,
        chunked: false,
        keep_alive: is_http11,
    };
    for field in &*parsed.headers {
        let (name, value) = take(head, field)?;
        answer.note(&name, &value)?;
        answer.headers.append(name, value);
    }
    match (answer.length, answer.chunked) {
        (Some(_), true) => Err(AnswerError::BothLengths),
        (None, true) if !is_http11 => Err(AnswerError::CodingOfHttp10),
        _ => Ok(answer),
    }
}

/// A field as values that share the head's memory.
fn take(
    head: &Bytes,
    field: &httparse::Header<'_>,
) -> Result<(HeaderName, HeaderValue), AnswerError> {
    let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| AnswerError::Field)?;
    let value = if field.value.is_empty() { Bytes::new() } else { head.slice_ref(field.value) };
    let value = HeaderValue::from_maybe_shared(value).map_err(|_| AnswerError::Field)?;
    Ok((name, value))
}

impl Answer {
    /// An interim one (RFC 9110 §15.2): the final one follows. Switching protocols is final.
    pub(crate) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// Where its body ends, as the answer to a `HEAD` request or to another (RFC 9112 §6.3).
    pub fn framing(&self, is_head: bool) -> Framing {
        let bodiless = is_head
            || self.status.is_informational()
            || matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match (self.chunked, self.length) {
            _ if bodiless => Framing::Length(0),
            (true, _) => Framing::Chunked(Chunked::default()),
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::UntilClose,
        }
    }

    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), AnswerError> {
        if *name == CONTENT_LENGTH {
            if self.length.is_some() {
                return Err(AnswerError::ContentLengths);
            }
            self.length = Some(text::decimal(value.as_bytes()).ok_or(AnswerError::ContentLength)?);
        } else if *name == TRANSFER_ENCODING {
            // Any other coding, and a list of them, would be one that this side cannot take off again.
            if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(AnswerError::TransferEncoding);
            }
            self.chunked = true;
        } else if *name == CONNECTION {
            for option in value.as_bytes().split(|byte| *byte == b',') {
                let option = option.trim_ascii();
                if option.eq_ignore_ascii_case(b"close") {
                    self.keep_alive = false;
                    break;
                }
                if option.eq_ignore_ascii_case(b"keep-alive") && self.version == Version::HTTP_10 {
                    self.keep_alive = true;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(head: &str) -> Result<Option<Answer>, AnswerError> {
        parse(&mut BytesMut::from(head.as_bytes()), &mut 0)
    }

    fn whole(fields: &str) -> Result<Answer, AnswerError> {
        parsed(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).map(|head| head.expect("whole"))
    }

    #[test]
    fn a_head_is_taken_off_and_what_follows_stays() {
        let mut buffer = BytesMut::from(
            &b"HTTP/1.1 404 Not  Found\r\nA-b: 1\r\na-B:\r\nset-cookie: x; y \r\n\r\nrest"[..],
        );
        let answer = parse(&mut buffer, &mut 0).unwrap().unwrap();
        assert_eq!(
            (answer.version, answer.status.as_u16(), answer.keep_alive),
            (Version::HTTP_11, 404, true)
        );
        let values: Vec<_> = answer.headers.get_all("a-b").iter().collect();
        assert_eq!(values, ["1", ""]);
        assert_eq!(answer.headers["set-cookie"], "x; y");
        assert_eq!(&buffer[..], b"rest");
    }

    #[test]
    fn what_two_readers_could_take_differently_is_refused() {
        use AnswerError::*;
        let table = [
            ("content-length: 5\r\ncontent-length: 5\r\n", ContentLengths),
            ("content-length: 5\r\nContent-Length: 6\r\n", ContentLengths),
            ("content-length: 5, 5\r\n", ContentLength),
            ("content-length: +5\r\n", ContentLength),
            ("content-length: 0x5\r\n", ContentLength),
            ("content-length:\r\n", ContentLength),
            ("content-length: 18446744073709551616\r\n", ContentLength),
            ("content-length: 5\r\ntransfer-encoding: chunked\r\n", BothLengths),
            ("transfer-encoding: chunked\r\ncontent-length: 5\r\n", BothLengths),
            ("transfer-encoding: gzip\r\n", TransferEncoding),
            ("transfer-encoding: identity\r\n", TransferEncoding),
            ("transfer-encoding: gzip, chunked\r\n", TransferEncoding),
            ("transfer-encoding: chunked, chunked\r\n", TransferEncoding),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", TransferEncoding),
            ("transfer-encoding: xchunked\r\n", TransferEncoding),
            ("transfer-encoding: \x0bchunked\r\n", Field),
            ("a: b\r\n c\r\n", Field),
            ("a : b\r\n", Field),
            (" a: b\r\n", Field),
            ("a b: c\r\n", Field),
            (": b\r\n", Field),
            ("a\r\n", Field),
            ("a: b\0\r\n", Field),
            ("a: b\nc: d\r\n", LineEnd),
            ("a: b\rc: d\r\n", Field),
        ];
        for (fields, error) in table {
            assert_eq!(whole(fields).unwrap_err(), error, "{fields:?}");
        }
        assert!(whole("transfer-encoding: Chunked\r\n").unwrap().chunked);
        assert_eq!(whole("content-length: 007\r\n").unwrap().length, Some(7));
    }

    #[test]
    fn what_is_not_http_1_is_refused_by_its_first_byte() {
        for start in ["X", "HTTP/2", "\r\nHTTP/1.1 200 OK\r\n", "SSH-2.0-x", "http/1.1"] {
            assert_eq!(parsed(start).unwrap_err(), AnswerError::NotHttp, "{start:?}");
        }
        for line in ["HTTP/1.2 200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 099 OK", "HTTP/1.1  200 OK"] {
            let error = parsed(&format!("{line}\r\n\r\n")).unwrap_err();
            assert_eq!(error, AnswerError::StatusLine, "{line:?}");
        }
        assert!(parsed("HTTP/1.1 200\r\n\r\n").unwrap().is_some(), "a reason may be missing");
        assert!(parsed("HTT").unwrap().is_none());
    }

    #[test]
    fn a_body_ends_where_the_standard_says() {
        let of = |status: u16, fields: &str, is_head| {
            let answer = parsed(&format!("HTTP/1.1 {status} X\r\n{fields}\r\n"));
            answer.unwrap().unwrap().framing(is_head)
        };
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
    fn a_head_has_bounds() {
        let field = "a: b\r\n";
        assert_eq!(whole(&field.repeat(FIELDS_MAX)).unwrap().headers.len(), FIELDS_MAX);
        assert_eq!(whole(&field.repeat(FIELDS_MAX + 1)).unwrap_err(), AnswerError::TooManyFields);
        let endless = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(HEAD_BYTES_MAX));
        assert_eq!(parsed(&endless).unwrap_err(), AnswerError::TooLarge);
        assert_eq!(parsed(&format!("{endless}\r\n\r\n")).unwrap_err(), AnswerError::TooLarge);
    }

    #[test]
    fn whether_a_connection_serves_on_is_the_versions_choice_unless_it_is_said() {
        let keeps = |line: &str, fields: &str| {
            parsed(&format!("{line} 200 OK\r\n{fields}\r\n")).unwrap().unwrap().keep_alive
        };
        assert!(keeps("HTTP/1.1", ""));
        assert!(!keeps("HTTP/1.1", "connection: x, Close\r\n"));
        assert!(!keeps("HTTP/1.0", ""));
        assert!(keeps("HTTP/1.0", "connection: Keep-Alive\r\n"));
        assert!(!keeps("HTTP/1.0", "connection: close, keep-alive\r\n"));
        assert_eq!(
            parsed("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").unwrap_err(),
            AnswerError::CodingOfHttp10
        );
    }
}
