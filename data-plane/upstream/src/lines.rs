//! Lines that end with CR LF and in no other way.

/// The length of a head: up to and with the empty line. `scanned` is how much of `bytes` was looked at before, so that
/// one that comes byte by byte is not read again for each of them.
pub(crate) fn head_len(bytes: &[u8], scanned: &mut usize) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    let from = scanned.saturating_sub(END.len() - 1);
    *scanned = bytes.len();
    let found = bytes.get(from..)?.windows(END.len()).position(|window| window == END);
    found.map(|at| from + at + END.len())
}

/// Whether each line feed follows a carriage return. The parser refuses the reverse.
pub(crate) fn end_with_crlf(head: &[u8]) -> bool {
    let mut before = 0;
    for &byte in head {
        if byte == b'\n' && before != b'\r' {
            return false;
        }
        before = byte;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_head_is_found_however_it_comes() {
        let whole = b"HTTP/1.1 200 OK\r\na: b\r\n\r\nbody\r\n\r\n";
        let mut scanned = 0;
        let found = (0..=whole.len()).find_map(|n| head_len(&whole[..n], &mut scanned));
        assert_eq!(found, Some(25));
        assert_eq!(head_len(whole, &mut 0), Some(25));
        assert_eq!(head_len(b"a\n\n\r\r\n", &mut 0), None);
    }

    #[test]
    fn a_line_feed_alone_is_told_from_one_after_a_carriage_return() {
        assert!(end_with_crlf(b"a\r\nb\r\n\r\n"));
        assert!(!end_with_crlf(b"a\r\nb\n\r\n"));
        assert!(!end_with_crlf(b"\n"));
    }
}
