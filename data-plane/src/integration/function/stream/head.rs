//! Where the head of a function's streamed answer ends and its body begins.

use bytes::Bytes;

/// AWS's bound, the NUL bytes among them.
const BYTES_MAX: usize = 16 << 10;
const END: [u8; 8] = [0; 8];

/// What came of a head.
#[derive(Default)]
pub(crate) struct Head {
    bytes: Vec<u8>,
}

/// It does not end where it must have ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Head {
    /// One piece more. `Some`: the head, without what ends it, and what of this piece is the body's.
    pub(crate) fn push(&mut self, mut piece: Bytes) -> Result<Option<(Vec<u8>, Bytes)>, TooLong> {
        // Its end may have begun in the piece before.
        let from = self.bytes.len().saturating_sub(END.len() - 1);
        let before = self.bytes.len();
        self.bytes.extend_from_slice(&piece[..piece.len().min(BYTES_MAX - before)]);
        let found = self.bytes[from..].windows(END.len()).position(|window| window == END);
        match found {
            Some(at) => {
                let mut head = std::mem::take(&mut self.bytes);
                head.truncate(from + at);
                Ok(Some((head, piece.split_off(from + at + END.len() - before))))
            }
            None if self.bytes.len() == BYTES_MAX => Err(TooLong),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(bytes: &[u8], piece: usize) -> Result<Option<(Vec<u8>, Bytes)>, TooLong> {
        let mut head = Head::default();
        let mut pieces = bytes.chunks(piece);
        while let Some(piece) = pieces.next() {
            if let Some((head, mut rest)) = head.push(Bytes::copy_from_slice(piece))? {
                rest = [&rest[..], &pieces.collect::<Vec<_>>().concat()].concat().into();
                return Ok(Some((head, rest)));
            }
        }
        Ok(None)
    }

    #[test]
    fn a_head_ends_with_eight_nul_bytes_however_it_is_cut() {
        let all = b"{\"statusCode\":200}\0\0\0\0\0\0\0\0\0body";
        for piece in 1..=all.len() {
            let (head, body) = pushed(all, piece).unwrap().unwrap();
            assert_eq!((&*head, &*body), (&b"{\"statusCode\":200}"[..], &b"\0body"[..]), "{piece}");
        }
        assert_eq!(pushed(b"{}\0\0\0\0\0\0\0", 4), Ok(None));
    }

    #[test]
    fn a_head_ends_within_16_kib() {
        let of = |bytes: usize| [&vec![b' '; bytes][..], &END, b"body"].concat();
        for piece in [1, 100, BYTES_MAX + 20] {
            let (head, body) = pushed(&of(BYTES_MAX - 8), piece).unwrap().unwrap();
            assert_eq!((head.len(), &*body), (BYTES_MAX - 8, &b"body"[..]));
            assert_eq!(pushed(&of(BYTES_MAX - 7), piece), Err(TooLong));
        }
    }
}
