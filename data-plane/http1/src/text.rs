//! Lines and numbers as bytes.

use bytes::BytesMut;

/// A field's line. The types of names and values keep line ends out of them.
pub fn field(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The field that says how long a body is.
pub fn content_length(out: &mut BytesMut, bytes: u64) {
    out.extend_from_slice(b"content-length: ");
    digits(out, bytes, 10);
    out.extend_from_slice(b"\r\n");
}

/// A chunk's size.
pub(crate) fn hexadecimal(out: &mut BytesMut, number: u64) {
    digits(out, number, 16);
}

fn digits(out: &mut BytesMut, mut number: u64, radix: u64) {
    let mut text = [0; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b"0123456789abcdef"[usize::try_from(number % radix).unwrap_or_default()];
        number /= radix;
        if number == 0 {
            return out.extend_from_slice(&text[at..]);
        }
    }
}

/// What a `Content-Length` says: digits and nothing else, neither a sign nor a list.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunks_size_is_hexadecimal_and_a_length_is_decimal() {
        for number in [0, 9, 10, 255, 4096, u64::MAX] {
            let mut out = BytesMut::new();
            hexadecimal(&mut out, number);
            assert_eq!(String::from_utf8(out.to_vec()).unwrap(), format!("{number:x}"));
            out.clear();
            content_length(&mut out, number);
            let said = String::from_utf8(out.to_vec()).unwrap();
            assert_eq!(said, format!("content-length: {number}\r\n"));
            assert_eq!(decimal(number.to_string().as_bytes()), Some(number));
        }
    }

    #[test]
    fn a_length_is_digits_and_nothing_else() {
        for text in ["", "+5", "-5", "0x5", "5 ", " 5", "5, 5", "5_0", "18446744073709551616", "٥"]
        {
            assert_eq!(decimal(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(decimal(b"007"), Some(7));
    }
}
