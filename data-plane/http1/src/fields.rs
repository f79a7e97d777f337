//! One field's line (RFC 9112 §5), read strictly: what two readers could take differently is refused.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    #[error("a field's line goes on in the next (obs-fold, RFC 9112 §5.2)")]
    Fold,
    #[error("there is whitespace between a field's name and its colon (RFC 9112 §5.1)")]
    SpaceBeforeColon,
    #[error("a field's line has no colon (RFC 9112 §5)")]
    NoColon,
    #[error("a field's name is no token (RFC 9110 §5.1)")]
    Name,
    #[error("a carriage return stands alone (RFC 9112 §2.2)")]
    BareCr,
    #[error("a field's value holds a control character (RFC 9110 §5.5)")]
    Value,
}

/// A field from its line, which is `section[start..end]` without its line end. Its value shares the section's memory.
pub fn parse(
    section: &Bytes,
    start: usize,
    end: usize,
) -> Result<(HeaderName, HeaderValue), FieldError> {
    let line = &section[start..end];
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(FieldError::Fold);
    }
    let colon = memchr::memchr(b':', line).ok_or(FieldError::NoColon)?;
    let name = &line[..colon];
    if matches!(name.last(), Some(b' ' | b'\t')) {
        return Err(FieldError::SpaceBeforeColon);
    }
    let name = HeaderName::from_bytes(name).map_err(|_| FieldError::Name)?;
    let (mut from, mut to) = (start + colon + 1, end);
    while from < to && matches!(section[from], b' ' | b'\t') {
        from += 1;
    }
    while from < to && matches!(section[to - 1], b' ' | b'\t') {
        to -= 1;
    }
    let value = if from == to { Bytes::new() } else { section.slice(from..to) };
    let value = HeaderValue::from_maybe_shared(value).map_err(|_| {
        let has_cr = memchr::memchr(b'\r', &section[from..to]).is_some();
        if has_cr { FieldError::BareCr } else { FieldError::Value }
    })?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[u8]) -> Result<(HeaderName, HeaderValue), FieldError> {
        parse(&Bytes::copy_from_slice(line), 0, line.len())
    }

    #[test]
    fn a_field_is_a_token_a_colon_and_a_value_within_whitespace() {
        for (line, value) in [
            (&b"x-A: b"[..], &b"b"[..]),
            (b"X-a:b", b"b"),
            (b"x-a: \t b c\t ", b"b c"),
            (b"x-a:", b""),
            (b"x-a: \t", b""),
            (b"x-a: :b", b":b"),
            (b"x-a: \xff\x80", b"\xff\x80"),
        ] {
            let (name, read) = parsed(line).unwrap();
            assert_eq!((name.as_str(), read.as_bytes()), ("x-a", value));
        }
    }

    #[test]
    fn each_thing_that_is_wrong_has_its_name() {
        for (line, error) in [
            (&b" a: b"[..], FieldError::Fold),
            (b"\tb", FieldError::Fold),
            (b"a : b", FieldError::SpaceBeforeColon),
            (b"a\t: b", FieldError::SpaceBeforeColon),
            (b"a", FieldError::NoColon),
            (b"", FieldError::NoColon),
            (b": b", FieldError::Name),
            (b"a b: c", FieldError::Name),
            (b"a\"b: c", FieldError::Name),
            (b"a\0: c", FieldError::Name),
            (b"a\x80: c", FieldError::Name),
            (b"a(: c", FieldError::Name),
            (b"a: b\rc: d", FieldError::BareCr),
            (b"a\rb: d", FieldError::Name),
            (b"a: b\0", FieldError::Value),
            (b"a: \x7f", FieldError::Value),
            (b"a: \x0bchunked", FieldError::Value),
        ] {
            assert_eq!(parsed(line).unwrap_err(), error, "{:?}", String::from_utf8_lossy(line));
        }
    }
}
