//! The chunked coding (RFC 9112 §7.1), taken off as it comes.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, header};

use crate::{
    fields,
    framing::take_up_to,
    lines::{self, Refused},
};

/// The longest line with a chunk's size and its extensions.
const SIZE_LINE_BYTES_MAX: usize = 512;
/// All extensions of a body together: nobody reads them, so a body must not be made of them.
const EXTENSION_BYTES_MAX: usize = 16 * 1024;
/// The trailers, with the empty line.
const TRAILER_BYTES_MAX: usize = 16 * 1024;
const TRAILERS_MAX: usize = 64;
const SIZE_DIGITS_MAX: usize = 16;

/// A decoder. It keeps no bytes: what it cannot use yet stays in the buffer it is given.
#[derive(Debug, Default)]
pub struct Chunked {
    state: State,
    extension_bytes: usize,
    /// Whether a size ends where its digits do.
    is_strict: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    /// So many bytes of the chunk are to come.
    Data(u64),
    DataEnd,
    /// How much of them was looked at.
    Trailers(usize),
    Ended,
}

/// A part of a body.
#[derive(Debug, PartialEq)]
pub enum Piece {
    /// Never empty.
    Data(Bytes),
    /// The body ended with these.
    Trailers(HeaderMap),
}

/// What is wrong with a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("a chunk's size is no hexadecimal number of at most 16 digits")]
    Size,
    #[error("a chunk's extensions hold a control character")]
    Extension,
    #[error("chunk extensions are too long")]
    ExtensionsTooLong,
    #[error("a line does not end with CR LF")]
    LineEnd,
    #[error("a chunk is longer than its size")]
    TooLong,
    #[error("a trailer field is malformed")]
    Trailer,
    #[error("the trailers are too large")]
    TrailersTooLarge,
}

impl Chunked {
    /// One that takes no whitespace after a size, unless an extension follows it (RFC 9112 §7.1). Some servers fill their
    /// sizes up with spaces; no caller has a reason to.
    pub fn strict() -> Self {
        Self { is_strict: true, ..Self::default() }
    }

    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Takes the next piece off the start of `buffer`; `None` while more is needed, and when the body ended.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Piece>, ChunkError> {
        loop {
            match &mut self.state {
                State::Size => {
                    let Some((size, line)) = size(buffer, self.is_strict)? else { return Ok(None) };
                    self.extension_bytes += line.extension;
                    if self.extension_bytes > EXTENSION_BYTES_MAX {
                        return Err(ChunkError::ExtensionsTooLong);
                    }
                    buffer.advance(line.length);
                    self.state = if size == 0 { State::Trailers(0) } else { State::Data(size) };
                }
                State::Data(left) => {
                    let Some(data) = take_up_to(buffer, left) else { return Ok(None) };
                    if *left == 0 {
                        self.state = State::DataEnd;
                        // Often here already, and the end of a body is to be known with its last piece. What is wrong
                        // with it is said when more is asked for.
                        if self.end_data(buffer).is_ok() {
                            self.end_plainly(buffer);
                        }
                    }
                    return Ok(Some(Piece::Data(data)));
                }
                State::DataEnd => {
                    if !self.end_data(buffer)? {
                        return Ok(None);
                    }
                }
                State::Trailers(scanned) => {
                    let Some(trailers) = trailers(buffer, scanned)? else { return Ok(None) };
                    self.state = State::Ended;
                    if !trailers.is_empty() {
                        return Ok(Some(Piece::Trailers(trailers)));
                    }
                }
                State::Ended => return Ok(None),
            }
        }
    }

    /// Takes the line end after a chunk's data.
    fn end_data(&mut self, buffer: &mut BytesMut) -> Result<bool, ChunkError> {
        const END: &[u8] = b"\r\n";
        let seen = buffer.len().min(END.len());
        if buffer[..seen] != END[..seen] {
            return Err(ChunkError::TooLong);
        }
        if seen == END.len() {
            buffer.advance(END.len());
            self.state = State::Size;
        }
        Ok(seen == END.len())
    }

    /// Takes the usual end of a body, where it is what follows.
    fn end_plainly(&mut self, buffer: &mut BytesMut) {
        const END: &[u8] = b"0\r\n\r\n";
        if self.state == State::Size && buffer.starts_with(END) {
            buffer.advance(END.len());
            self.state = State::Ended;
        }
    }
}

struct Line {
    length: usize,
    extension: usize,
}

/// A chunk's size, and the length of the line that it stands in.
fn size(buffer: &[u8], is_strict: bool) -> Result<Option<(u64, Line)>, ChunkError> {
    let mut size: u64 = 0;
    let digits = buffer.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    if digits > SIZE_DIGITS_MAX {
        return Err(ChunkError::Size);
    }
    for digit in &buffer[..digits] {
        let digit = char::from(*digit).to_digit(16).unwrap_or_default();
        size = size << 4 | u64::from(digit);
    }
    let rest = &buffer[digits..];
    match rest.first() {
        None => return Ok(None),
        _ if digits == 0 => return Err(ChunkError::Size),
        // Some servers fill a size up with spaces.
        Some(b'\r' | b';' | b' ' | b'\t') => {}
        Some(b'\n') => return Err(ChunkError::LineEnd),
        Some(_) => return Err(ChunkError::Size),
    }
    let mut is_size = true;
    for (at, &byte) in rest.iter().enumerate() {
        if digits + at >= SIZE_LINE_BYTES_MAX {
            return Err(ChunkError::ExtensionsTooLong);
        }
        match byte {
            b'\r' => {
                return match rest.get(at + 1) {
                    _ if is_strict && is_size && at > 0 => Err(ChunkError::Size),
                    None => Ok(None),
                    Some(b'\n') => {
                        Ok(Some((size, Line { length: digits + at + 2, extension: at })))
                    }
                    Some(_) => Err(ChunkError::LineEnd),
                };
            }
            b'\n' => return Err(ChunkError::LineEnd),
            b' ' | b'\t' => {}
            b';' => is_size = false,
            _ if is_size => return Err(ChunkError::Size),
            _ if byte.is_ascii_control() => return Err(ChunkError::Extension),
            _ => {}
        }
    }
    Ok(None)
}

fn trailers(buffer: &mut BytesMut, scanned: &mut usize) -> Result<Option<HeaderMap>, ChunkError> {
    let length =
        lines::len(buffer, scanned, TRAILER_BYTES_MAX).map_err(|refused| match refused {
            Refused::LineEnd => ChunkError::LineEnd,
            Refused::TooLong => ChunkError::TrailersTooLarge,
        })?;
    let Some(length) = length else { return Ok(None) };
    let section = buffer.split_to(length).freeze();
    let mut trailers = HeaderMap::new();
    for (count, (start, end)) in lines::each(&section).enumerate() {
        if count == TRAILERS_MAX {
            return Err(ChunkError::TrailersTooLarge);
        }
        let (name, value) = fields::parse(&section, start, end).map_err(|_| ChunkError::Trailer)?;
        if may_trail(&name) {
            trailers.append(name, value);
        }
    }
    Ok(Some(trailers))
}

/// Whether a field means something after a body (RFC 9110 §6.5.1): framing, routing and what concerns one connection
/// do not.
pub fn may_trail(name: &HeaderName) -> bool {
    const NEVER: [HeaderName; 11] = [
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::HOST,
        header::SET_COOKIE,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    !NEVER.contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body that comes of these bytes, its trailers, and how many bytes are left over; `None`: it has not ended.
    fn decoded(text: &[u8]) -> Result<Option<(Vec<u8>, HeaderMap, usize)>, ChunkError> {
        let (mut chunked, mut buffer) = (Chunked::default(), BytesMut::from(text));
        let (mut body, mut trailers) = (Vec::new(), HeaderMap::new());
        while let Some(piece) = chunked.take(&mut buffer)? {
            match piece {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::Trailers(fields) => trailers = fields,
            }
        }
        Ok(chunked.is_ended().then_some((body, trailers, buffer.len())))
    }

    #[test]
    fn chunks_are_put_together_and_what_follows_stays() {
        let text =
            b"5\r\nhello\r\n00000000000000A ; a=\"b\"\r\n, how are \r\n3  \r\nyou\r\n0\r\n\r\nHTTP";
        let (body, trailers, left) = decoded(text).unwrap().unwrap();
        assert_eq!(body, b"hello, how are you");
        assert!(trailers.is_empty());
        assert_eq!(left, 4);
        for cut in 0..text.len() - 4 {
            assert!(decoded(&text[..cut]).unwrap().is_none(), "{cut}");
        }
    }

    #[test]
    fn trailers_come_after_the_body_without_those_that_frame_or_route() {
        let text =
            b"1\r\nx\r\n0;last\r\nx-sum: 1\r\nContent-Length: 7\r\nhost: h\r\nx-sum: 2\r\n\r\n";
        let (body, trailers, _) = decoded(text).unwrap().unwrap();
        assert_eq!(body, b"x");
        assert_eq!(trailers.keys_len(), 1);
        assert_eq!(trailers.get_all("x-sum").iter().collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn the_end_is_known_with_the_last_piece() {
        let (mut chunked, mut buffer) =
            (Chunked::default(), BytesMut::from(&b"2\r\nok\r\n0\r\n\r\n"[..]));
        assert_eq!(chunked.take(&mut buffer), Ok(Some(Piece::Data("ok".into()))));
        assert!(chunked.is_ended() && buffer.is_empty());
    }

    #[test]
    fn sizes_that_two_readers_could_take_differently_are_refused() {
        use ChunkError::*;
        let table: &[(&[u8], ChunkError)] = &[
            (b"\r\n", Size),
            (b"x\r\n", Size),
            (b"-1\r\n", Size),
            (b"+1\r\n", Size),
            (b"0x1\r\n", Size),
            (b"1_0\r\n", Size),
            (b" 1\r\n", Size),
            (b"1 2\r\n", Size),
            (b";a\r\n", Size),
            (b"10000000000000000\r\n", Size),
            (b"00000000000000001\r\n", Size),
            (b"5\nhello", LineEnd),
            (b"5\rhello", LineEnd),
            (b"5;a\nhello", LineEnd),
            (b"5;a\rb", LineEnd),
            (b"5;\0\r\n", Extension),
            (b"1\r\nxy", TooLong),
            (b"1\r\nx\n", TooLong),
            (b"1\r\nx\rx", TooLong),
            (b"0\r\na\r\n\r\n", Trailer),
            (b"0\r\na : b\r\n\r\n", Trailer),
            (b"0\r\na: b\r\n c\r\n\r\n", Trailer),
            (b"0\r\na: b\nc: d\r\n\r\n", LineEnd),
        ];
        for (text, error) in table {
            let name = String::from_utf8_lossy(text);
            assert_eq!(decoded(text), Err(*error), "{name:?}");
        }
        assert_eq!(decoded(b"ffffffffffffffff\r\nx"), Ok(None));
    }

    #[test]
    fn only_a_servers_sizes_may_be_filled_up_with_spaces() {
        let ended = |mut chunked: Chunked, text: &[u8]| chunked.take(&mut BytesMut::from(text));
        for text in [&b"1 \r\nx\r\n0\r\n\r\n"[..], b"1\t\r\nx\r\n0\r\n\r\n"] {
            assert!(ended(Chunked::default(), text).is_ok());
            assert_eq!(ended(Chunked::strict(), text), Err(ChunkError::Size));
        }
        assert!(ended(Chunked::strict(), b"1 ;a\r\nx\r\n0\r\n\r\n").is_ok());
    }

    #[test]
    fn nobody_can_make_a_body_of_extensions_or_trailers() {
        let line = format!("1;{}\r\nx\r\n", "a".repeat(600));
        assert_eq!(decoded(line.as_bytes()), Err(ChunkError::ExtensionsTooLong));
        assert_eq!(decoded(&line.as_bytes()[..560]), Err(ChunkError::ExtensionsTooLong));
        let many = format!("1;{}\r\nx\r\n", "a".repeat(400)).repeat(42);
        assert_eq!(decoded(many.as_bytes()), Err(ChunkError::ExtensionsTooLong));
        let trailers = format!("0\r\na: {}", "x".repeat(TRAILER_BYTES_MAX));
        assert_eq!(decoded(trailers.as_bytes()), Err(ChunkError::TrailersTooLarge));
        let trailers = format!("0\r\n{}\r\n", "a: b\r\n".repeat(TRAILERS_MAX + 1));
        assert_eq!(decoded(trailers.as_bytes()), Err(ChunkError::TrailersTooLarge));
    }
}
