//! A request's head as bytes.

use bytes::BytesMut;
use http::{
    HeaderMap, Method,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    uri::PathAndQuery,
};

/// How the end of a request's body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// There is no body, and none is spoken of unless the fields do.
    None,
    Exact(u64),
    /// It is not known before: the body is chunked.
    Chunked,
}

/// Appends the head. `Content-Length` and `Transfer-Encoding` among the fields are not taken at their word: `length`
/// says what the body is. The types keep line ends and spaces out of everything that is written.
pub fn encode(
    out: &mut BytesMut,
    method: &Method,
    target: &PathAndQuery,
    headers: &HeaderMap,
    length: Length,
) {
    let target = target.as_str();
    let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    out.reserve(method.as_str().len() + target.len() + fields.sum::<usize>() + 64);
    out.extend_from_slice(method.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let mut says_empty = false;
    for (name, value) in headers {
        if *name == CONTENT_LENGTH {
            says_empty = true;
        } else if *name != TRANSFER_ENCODING {
            field(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    match length {
        Length::None if says_empty => out.extend_from_slice(b"content-length: 0\r\n"),
        Length::None => {}
        Length::Exact(bytes) => {
            out.extend_from_slice(b"content-length: ");
            decimal(out, bytes);
            out.extend_from_slice(b"\r\n");
        }
        Length::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

pub(crate) fn field(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn decimal(out: &mut BytesMut, number: u64) {
    digits(out, number, 10);
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn encoded(fields: &[(&'static str, &'static str)], length: Length) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let mut out = BytesMut::new();
        encode(&mut out, &Method::PUT, &PathAndQuery::from_static("/a?b=%20"), &headers, length);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn a_head_says_each_field_once_in_its_order() {
        let head = encoded(&[("host", "h"), ("x-a", "1"), ("x-a", "")], Length::None);
        assert_eq!(head, "PUT /a?b=%20 HTTP/1.1\r\nhost: h\r\nx-a: 1\r\nx-a: \r\n\r\n");
    }

    #[test]
    fn the_body_says_its_length_and_the_fields_do_not() {
        let lies =
            [("content-length", "7"), ("transfer-encoding", "gzip"), ("content-length", "8")];
        let said = |length| encoded(&lies, length).replace("PUT /a?b=%20 HTTP/1.1\r\n", "");
        assert_eq!(said(Length::None), "content-length: 0\r\n\r\n");
        assert_eq!(said(Length::Exact(u64::MAX)), "content-length: 18446744073709551615\r\n\r\n");
        assert_eq!(said(Length::Exact(0)), "content-length: 0\r\n\r\n");
        assert_eq!(said(Length::Chunked), "transfer-encoding: chunked\r\n\r\n");
    }

    #[test]
    fn a_chunks_size_is_hexadecimal() {
        for number in [0, 9, 10, 255, 4096, u64::MAX] {
            let mut out = BytesMut::new();
            hexadecimal(&mut out, number);
            assert_eq!(String::from_utf8(out.to_vec()).unwrap(), format!("{number:x}"));
        }
    }
}
