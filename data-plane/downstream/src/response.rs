//! The head of an answer as bytes, and how the end of its body is told (RFC 9112 §6.3).

use std::time::SystemTime;

use bytes::BytesMut;
use http::{
    HeaderMap, Method, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING},
};
use http_body::SizeHint;
use http1::{Length, text};

use crate::date;

/// What of a request its answer depends on.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub is_head: bool,
    pub version: Version,
}

impl Asked {
    pub fn new(method: &Method, version: Version) -> Self {
        Self { is_head: *method == Method::HEAD, version }
    }

    /// How the end of such a body is told.
    fn length(self, status: StatusCode, body: &SizeHint) -> Length {
        match body.exact() {
            _ if self.is_head || is_bodiless(status) => Length::None,
            Some(bytes) => Length::Exact(bytes),
            None if self.version == Version::HTTP_11 => Length::Chunked,
            None => Length::UntilClose,
        }
    }

    /// Appends the head, and gives what it says of the body. `Content-Length`, `Transfer-Encoding` and `Connection` among
    /// the fields are not taken at their word: the body itself knows its length, and `keep_alive` says whether another
    /// answer may follow, which it never may after [`Length::UntilClose`]. Without a body, an answer to `HEAD`, or of
    /// status 304, may say how long the body would be.
    pub fn encode(
        self,
        out: &mut BytesMut,
        status: StatusCode,
        headers: &HeaderMap,
        body: &SizeHint,
        keep_alive: bool,
    ) -> Length {
        let length = self.length(status, body);
        let keep_alive = keep_alive && length != Length::UntilClose;
        let is_http11 = self.version == Version::HTTP_11;
        let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        out.reserve(fields.sum::<usize>() + 160);
        out.extend_from_slice(if is_http11 { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
        out.extend_from_slice(status.as_str().as_bytes());
        out.extend_from_slice(b" ");
        out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\r\n");
        let (mut has_date, mut of_body) = (false, body.exact().filter(|bytes| *bytes > 0));
        for (name, value) in headers {
            if *name == CONTENT_LENGTH {
                of_body = text::decimal(value.as_bytes());
            } else if *name != TRANSFER_ENCODING && *name != CONNECTION {
                has_date |= *name == DATE;
                text::field(out, name.as_str().as_bytes(), value.as_bytes());
            }
        }
        match length {
            Length::Exact(bytes) => text::content_length(out, bytes),
            Length::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Length::None => {
                let may_say =
                    status == StatusCode::NOT_MODIFIED || self.is_head && !is_bodiless(status);
                if let Some(bytes) = of_body.filter(|_| may_say) {
                    text::content_length(out, bytes);
                }
            }
            Length::UntilClose => {}
        }
        if !has_date {
            date::with(SystemTime::now(), |date| text::field(out, b"date", date.as_bytes()));
        }
        if !keep_alive {
            out.extend_from_slice(b"connection: close\r\n");
        } else if !is_http11 {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
        out.extend_from_slice(b"\r\n");
        length
    }
}

/// Whether no body ever follows such a head.
fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const GET: Asked = Asked { is_head: false, version: Version::HTTP_11 };
    const HEAD: Asked = Asked { is_head: true, version: Version::HTTP_11 };
    const OLD: Asked = Asked { is_head: false, version: Version::HTTP_10 };
    const DATED: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");

    fn encoded(
        asked: Asked,
        status: u16,
        fields: &[(&'static str, &'static str)],
        bytes: Option<u64>,
        keep_alive: bool,
    ) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields.iter().chain([&DATED]) {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let mut out = BytesMut::new();
        let status = StatusCode::from_u16(status).unwrap();
        let body = bytes.map_or_else(SizeHint::default, SizeHint::with_exact);
        asked.encode(&mut out, status, &headers, &body, keep_alive);
        let head = String::from_utf8(out.to_vec()).unwrap();
        head.replace("date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "D\r\n")
    }

    #[test]
    fn a_head_says_each_field_once_and_how_its_body_ends() {
        let lies = [
            ("x-a", "1"),
            ("content-length", "7"),
            ("x-a", ""),
            ("transfer-encoding", "gzip"),
            ("connection", "upgrade"),
        ];
        let fields = "HTTP/1.1 200 OK\r\nx-a: 1\r\nx-a: \r\nD\r\n";
        for (bytes, keep_alive, end) in [
            (Some(5), true, "content-length: 5\r\n"),
            (Some(0), false, "content-length: 0\r\nconnection: close\r\n"),
            (None, true, "transfer-encoding: chunked\r\n"),
        ] {
            let mut want: Vec<&str> = fields.split_inclusive('\n').collect();
            want.extend(end.split_inclusive('\n'));
            let head = encoded(GET, 200, &lies, bytes, keep_alive);
            let mut said: Vec<&str> = head.split_inclusive('\n').collect();
            assert_eq!(said.pop(), Some("\r\n"));
            assert_eq!(said.remove(0), want.remove(0));
            said.sort_unstable();
            want.sort_unstable();
            assert_eq!(said, want);
        }
    }

    #[test]
    fn only_head_and_304_say_how_long_a_body_would_be() {
        let length = [("content-length", "7")];
        let says = |asked, status| {
            encoded(asked, status, &length, Some(0), true).contains("content-length: 7\r\n")
        };
        assert!(says(HEAD, 200) && says(GET, 304) && says(HEAD, 304));
        assert!(!says(GET, 204) && !says(HEAD, 204) && !says(GET, 101));
        let own = encoded(HEAD, 404, &[], Some(9), true);
        assert!(own.contains("content-length: 9\r\n"), "{own}");
    }

    #[test]
    fn a_body_whose_length_is_not_known_is_chunked_or_ends_with_the_connection() {
        let (known, unknown) = (SizeHint::with_exact(5), SizeHint::default());
        let of = |asked: Asked, status: u16, body| {
            asked.length(StatusCode::from_u16(status).unwrap(), body)
        };
        assert_eq!(of(GET, 200, &known), Length::Exact(5));
        assert_eq!(of(GET, 200, &unknown), Length::Chunked);
        assert_eq!(of(OLD, 200, &unknown), Length::UntilClose);
        for (asked, status) in [(HEAD, 200), (GET, 204), (GET, 304), (GET, 101)] {
            assert_eq!(of(asked, status, &known), Length::None);
        }
    }

    #[test]
    fn http_1_0_is_answered_in_kind_and_told_where_its_connection_stays() {
        let old = |keep_alive| encoded(OLD, 200, &[], Some(0), keep_alive);
        assert_eq!(
            old(true),
            "HTTP/1.0 200 OK\r\nD\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n"
        );
        assert_eq!(
            old(false),
            "HTTP/1.0 200 OK\r\nD\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(
            encoded(OLD, 200, &[], None, true),
            "HTTP/1.0 200 OK\r\nD\r\nconnection: close\r\n\r\n"
        );
    }

    #[test]
    fn an_answer_without_a_date_gets_one_and_an_unknown_status_no_reason() {
        let mut out = BytesMut::new();
        let status = StatusCode::from_u16(599).unwrap();
        GET.encode(&mut out, status, &HeaderMap::new(), &SizeHint::with_exact(0), true);
        let head = String::from_utf8(out.to_vec()).unwrap();
        assert!(head.starts_with("HTTP/1.1 599 \r\n"), "{head}");
        assert!(head.contains("\r\ndate: ") && head.contains(" GMT\r\n"), "{head}");
    }
}
