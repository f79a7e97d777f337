//! A request's path: which spellings are accepted, and how they are decoded.

use std::borrow::Cow;

/// What happens to dot segments and doubled slashes, in any encoding, before a route is chosen. It is decided
/// first, so that no route can be reached under another spelling than the one its policies were written for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Normalization {
    #[default]
    Reject,
    /// As RFC 3986 §5.2.4 removes dot segments; doubled slashes become one.
    Normalize,
    /// As it came. The backend must be able to cope.
    Pass,
}

/// Why a path is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path holds a dot segment or a doubled slash")]
    Ambiguous,
    #[error("the path leads above its root")]
    AboveRoot,
    #[error("the path holds a percent sign without two hexadecimal digits, or an encoded NUL")]
    Encoding,
    #[error("the path holds a backslash or a control character")]
    Character,
}

/// Applies the Api's policy to a raw path, which starts with a slash. Unchanged paths are borrowed.
pub fn normalize(raw: &str, policy: Normalization) -> Result<Cow<'_, str>, PathError> {
    if policy == Normalization::Pass {
        return Ok(Cow::Borrowed(raw));
    }
    if !is_ambiguous(raw)? {
        return Ok(Cow::Borrowed(raw));
    }
    if policy == Normalization::Reject {
        return Err(PathError::Ambiguous);
    }
    let plain = remove_dot_segments(raw)?;
    // What is left hides behind an encoded slash; taking that apart would change what the path says.
    if is_ambiguous(&plain)? { Err(PathError::Ambiguous) } else { Ok(Cow::Owned(plain)) }
}

/// Percent-decodes; bytes that are not UTF-8 become replacement characters.
pub fn decode(raw: &str) -> Cow<'_, str> {
    if !raw.contains('%') {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(String::from_utf8_lossy(&decode_bytes(raw)).into_owned())
}

fn decode_bytes(raw: &str) -> Vec<u8> {
    let bytes = raw.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        if let Some(byte) = escape(bytes, index) {
            out.push(byte);
            index += 3;
        } else {
            out.push(bytes[index]);
            index += 1;
        }
    }
    out
}

/// The byte that `%XX` at `index` stands for.
fn escape(bytes: &[u8], index: usize) -> Option<u8> {
    let [b'%', high, low] = *bytes.get(index..index + 3)? else { return None };
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// Whether some server on the way could read the path as another one: it is judged with encoded slashes, backslashes and
/// dots read as what they encode. One look from its first slash to its end, for every call: it makes no copy.
fn is_ambiguous(raw: &str) -> Result<bool, PathError> {
    let bytes = raw.as_bytes();
    let mut ambiguous = false;
    // Of the segment that the look is in: how long it is, whether of dots alone, and whether an escape began it.
    let (mut len, mut dots, mut disguised) = (0_usize, true, false);
    let mut index = 1;
    while let Some(&byte) = bytes.get(index) {
        let (byte, width) = match byte {
            b'%' => (escape(bytes, index).filter(|b| *b != 0).ok_or(PathError::Encoding)?, 3),
            b'\\' => return Err(PathError::Character),
            byte if byte.is_ascii_control() => return Err(PathError::Character),
            byte => (byte, 1),
        };
        index += width;
        if matches!(byte, b'/' | b'\\') {
            ambiguous |= dots && len <= 2; // an empty one too: a doubled slash
            (len, dots, disguised) = (0, true, width == 3);
        } else {
            len += 1;
            dots &= byte == b'.';
        }
    }
    // The empty segment of `/` or `/a/` is the end; that of `/a%2F` is a slash in disguise.
    Ok(ambiguous || if len == 0 { disguised } else { dots && len <= 2 })
}

/// The path as a server reads it that takes an encoded slash or backslash for a slash. `None` where it has none.
pub fn with_slashes(raw: &str) -> Option<String> {
    let bytes = raw.as_bytes();
    let hidden = |index: usize| matches!(escape(bytes, index), Some(b'/' | b'\\'));
    let mut plain = String::with_capacity(raw.len());
    let mut from = 0;
    for (index, _) in raw.match_indices('%').filter(|(index, _)| hidden(*index)) {
        plain.push_str(&raw[from..index]);
        plain.push('/');
        from = index + 3;
    }
    (from > 0).then(|| plain + &raw[from..])
}

fn remove_dot_segments(raw: &str) -> Result<String, PathError> {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_slash = false;
    for segment in raw.split('/').skip(1) {
        ends_in_slash = false;
        match &*decode(segment) {
            "" | "." => ends_in_slash = true,
            ".." => {
                kept.pop().ok_or(PathError::AboveRoot)?;
                ends_in_slash = true;
            }
            _ => kept.push(segment),
        }
    }
    let mut plain = String::with_capacity(raw.len());
    for segment in &kept {
        plain.push('/');
        plain.push_str(segment);
    }
    if ends_in_slash || plain.is_empty() {
        plain.push('/');
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_slash_is_shown_as_what_it_hides() {
        assert_eq!(with_slashes("/a%2Fb%5cc%2f").as_deref(), Some("/a/b/c/"));
        assert_eq!(with_slashes("/a%252Fb/%41"), None);
    }

    #[test]
    fn a_plain_path_passes_as_it_came() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a/b.c/..d/.e/f..",
            "/a%2Fb",
            "/caf%C3%A9",
            "/%61",
            "/a%252e",
            "/...",
        ] {
            for policy in [Normalization::Reject, Normalization::Normalize, Normalization::Pass] {
                assert_eq!(normalize(path, policy), Ok(Cow::Borrowed(path)), "{path}");
            }
        }
    }

    #[test]
    fn a_path_with_two_readings_is_rejected_normalized_or_passed_by_policy() {
        use PathError::{AboveRoot, Ambiguous};
        for (path, normalized) in [
            ("//", Ok("/")),
            ("//a", Ok("/a")),
            ("/a//b", Ok("/a/b")),
            ("/a//", Ok("/a/")),
            ("/./a", Ok("/a")),
            ("/a/.", Ok("/a/")),
            ("/a/./b", Ok("/a/b")),
            ("/a/../b", Ok("/b")),
            ("/a/..", Ok("/")),
            ("/a/%2e%2E/b", Ok("/b")),
            ("/a/.%2e/b", Ok("/b")),
            ("/%2e/a", Ok("/a")),
            ("/..", Err(AboveRoot)),
            ("/a/../../b", Err(AboveRoot)),
            ("/a%2F..%2Fb", Err(Ambiguous)),
            ("/a%2F%2Fb", Err(Ambiguous)),
            ("/a%2f/b", Err(Ambiguous)),
            ("/%2Fa", Err(Ambiguous)),
            ("/a%2F", Err(Ambiguous)),
            ("/a%5C..%5Cb", Err(Ambiguous)),
            ("/a/..%5cb", Err(Ambiguous)),
        ] {
            assert_eq!(normalize(path, Normalization::Reject), Err(Ambiguous), "{path}");
            assert_eq!(normalize(path, Normalization::Pass).as_deref(), Ok(path));
            let got = normalize(path, Normalization::Normalize);
            assert_eq!(got.as_deref().map_err(|error| *error), normalized, "{path}");
        }
    }

    /// As a server reads a path that decodes it first and takes it apart then.
    fn ambiguous_once_decoded(raw: &str) -> bool {
        let decoded = decode_bytes(raw);
        let segments: Vec<_> = decoded.split(|b| matches!(b, b'/' | b'\\')).skip(1).collect();
        let (last, others) = segments.split_last().unwrap();
        let dots = |segment: &&[u8]| matches!(*segment, b"." | b"..");
        let disguised = last.is_empty() && !raw.ends_with('/');
        segments.iter().any(dots) || others.iter().any(|it| it.is_empty()) || disguised
    }

    #[test]
    fn every_short_path_is_judged_as_if_it_were_decoded_first() {
        let pieces = ["/", ".", "a", "%2F", "%2e", "%5c", "%61"];
        let mut paths = vec!["/".to_owned()];
        for _ in 0..5 {
            let longer = paths.iter().flat_map(|it| pieces.map(|piece| format!("{it}{piece}")));
            paths = longer.collect();
            for path in &paths {
                assert_eq!(is_ambiguous(path), Ok(ambiguous_once_decoded(path)), "{path}");
            }
        }
        assert_eq!(paths.len(), 16_807);
    }

    #[test]
    fn a_path_that_decodes_to_nothing_sensible_is_rejected() {
        for (path, error) in [
            ("/%", PathError::Encoding),
            ("/%2", PathError::Encoding),
            ("/%zz", PathError::Encoding),
            ("/a%00b", PathError::Encoding),
            ("/a\\b", PathError::Character),
            ("/a\u{1}", PathError::Character),
        ] {
            assert_eq!(normalize(path, Normalization::Reject), Err(error), "{path:?}");
            assert_eq!(normalize(path, Normalization::Normalize), Err(error), "{path:?}");
        }
    }

    #[test]
    fn decoding_gives_text_and_leaves_what_is_no_escape() {
        assert_eq!(decode("caf%C3%A9%20%2f"), "café /");
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%+1%4"), "%+1%4");
        assert_eq!(decode("%ff"), "\u{fffd}");
    }
}
