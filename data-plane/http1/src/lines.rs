//! Lines that end with CR LF and in no other way.

/// Why lines are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// One ends with a line feed alone. A carriage return alone is for the parser of their content to find.
    LineEnd,
    TooLong,
}

/// The length of lines up to and with the first empty one, of at most `max` bytes; `None` while that has not come.
/// `scanned` is how much of `bytes` was looked at before, so that what comes byte by byte is not read again for each.
pub fn len(bytes: &[u8], scanned: &mut usize, max: usize) -> Result<Option<usize>, Refused> {
    let within = &bytes[..bytes.len().min(max)];
    let from = *scanned;
    for at in memchr::memchr_iter(b'\n', &within[from..]).map(|at| from + at) {
        if !within[..at].ends_with(b"\r") {
            return Err(Refused::LineEnd);
        }
        if at == 1 || within[..at].ends_with(b"\n\r") {
            return Ok(Some(at + 1));
        }
    }
    *scanned = within.len();
    if bytes.len() < max { Ok(None) } else { Err(Refused::TooLong) }
}

/// Where each line before the empty one starts, and where it ends without its line end, in what [`len`] measured.
pub fn each(section: &[u8]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let mut start = 0;
    memchr::memchr_iter(b'\n', section).map_while(move |at| {
        let line = (start, at.saturating_sub(1));
        start = at + 1;
        (line.1 > line.0).then_some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8], max: usize) -> Result<Option<usize>, Refused> {
        let mut scanned = 0;
        let in_pieces = (0..=bytes.len())
            .map(|end| len(&bytes[..end], &mut scanned, max))
            .find(|found| *found != Ok(None));
        let found = len(bytes, &mut 0, max);
        assert_eq!(in_pieces.unwrap_or(Ok(None)), found);
        found
    }

    #[test]
    fn the_end_is_found_however_it_comes() {
        let lines = b"HTTP/1.1 200 OK\r\na: b\r\n\r\nbody\n\r\n\r\n";
        assert_eq!(whole(lines, 100), Ok(Some(25)));
        assert_eq!(whole(lines, 25), Ok(Some(25)));
        assert_eq!(whole(b"\r\nbody", 100), Ok(Some(2)));
        assert_eq!(whole(b"a\r\n\r", 100), Ok(None));
        assert_eq!(whole(b"", 100), Ok(None));
    }

    #[test]
    fn each_line_is_given_up_to_the_empty_one() {
        let section = b"GET / HTTP/1.1\r\na: b\r\n\r\n";
        let lines: Vec<&[u8]> = each(section).map(|(start, end)| &section[start..end]).collect();
        assert_eq!(lines, [&b"GET / HTTP/1.1"[..], b"a: b"]);
        assert_eq!(each(b"\r\n").count(), 0);
    }

    #[test]
    fn no_line_ends_with_a_line_feed_alone_and_none_is_endless() {
        for lines in [&b"a\r\nb\n\r\n"[..], b"\n", b"a\r\n\n", b"a\n\n"] {
            assert_eq!(whole(lines, 100), Err(Refused::LineEnd));
        }
        assert_eq!(whole(b"a: b\r\n\r\n", 7), Err(Refused::TooLong));
        assert_eq!(whole(&[b'a'; 101], 100), Err(Refused::TooLong));
    }
}
