//! A request's head as bytes.

use bytes::BytesMut;
use http::{
    HeaderMap, Method,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
    uri::PathAndQuery,
};
use http1::{Length, text};

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
            text::field(out, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    match length {
        Length::None if says_empty => out.extend_from_slice(b"content-length: 0\r\n"),
        Length::None => {}
        Length::Exact(bytes) => text::content_length(out, bytes),
        // A request's body cannot end with its connection: the answer comes on that.
        Length::Chunked | Length::UntilClose => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
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
}
