//! The head of a request, read strictly: what two readers could take differently is refused.

use bytes::{Bytes, BytesMut};
use http::{
    HeaderName, HeaderValue, Method, Version,
    header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRANSFER_ENCODING},
    request::Parts,
};
use http1::{
    Chunked, Framing, fields,
    lines::{self, Refused},
    text,
};

use crate::{error::RequestError, target};

/// The most fields that a head may have.
pub const FIELDS_MAX: usize = 256;
/// Room for what a gateway adds, without growing.
const ADDED_FIELDS: usize = 8;
/// What is looked at of a first line that has not ended.
const EARLY_BYTES: usize = 32;

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of the request line.
    pub line_bytes_max: usize,
    /// Of all of it, with the empty line.
    pub head_bytes_max: usize,
}

/// The head of a request.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a request")]
pub struct Request {
    pub head: Parts,
    /// `Content-Length`, of which there is at most one.
    length: Option<u64>,
    /// `Transfer-Encoding: chunked`.
    chunked: bool,
    /// Whether the caller lets another request follow.
    pub keep_alive: bool,
    /// Whether the caller waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether the caller takes trailers after the answer.
    pub takes_trailers: bool,
    has_host: bool,
    /// `Connection: close`, which goes before all else that it says.
    closes: bool,
}

/// How far a head was looked at, kept between two calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    scanned: usize,
    /// Of the one empty line that may come before a request line (RFC 9112 §2.2).
    skipped: bool,
}

/// Takes a head off the start of `buffer`; `None` while it is not all there.
pub fn parse(
    buffer: &mut BytesMut,
    progress: &mut Progress,
    limits: Limits,
) -> Result<Option<Request>, RequestError> {
    const EMPTY: &[u8] = b"\r\n";
    if !progress.skipped && buffer.starts_with(EMPTY) {
        *progress = Progress { scanned: 0, skipped: true };
        let _ = buffer.split_to(EMPTY.len());
    }
    early(buffer, limits)?;
    let len =
        lines::len(buffer, &mut progress.scanned, limits.head_bytes_max).map_err(|refused| {
            match refused {
                Refused::LineEnd => RequestError::LineEnd,
                Refused::TooLong => RequestError::HeadTooLarge,
            }
        })?;
    let Some(len) = len else { return Ok(None) };
    *progress = Progress::default();
    let head = buffer.split_to(len).freeze();
    read(&head).map(Some)
}

/// Refuses what cannot become a head any more: whoever speaks another protocol learns it at once. What it finds does not
/// depend on how much of the head has come.
fn early(bytes: &[u8], limits: Limits) -> Result<(), RequestError> {
    let start = &bytes[..bytes.len().min(EARLY_BYTES)];
    if start.starts_with(b"PRI * HTTP/2") {
        return Err(RequestError::VersionNotSupported);
    }
    let method = start.split(|byte| *byte == b' ').next().unwrap_or_default();
    // An empty line may be on its way, and what is wrong with a line end is for the lines to find.
    let method = method.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let is_line = matches!(start.first(), Some(b'\r' | b'\n') | None);
    if !is_line && Method::from_bytes(method).is_err() {
        return Err(RequestError::Method);
    }
    let line = &bytes[..bytes.len().min(limits.line_bytes_max)];
    if line.len() == limits.line_bytes_max && memchr::memchr(b'\n', line).is_none() {
        return Err(RequestError::TargetTooLong);
    }
    Ok(())
}

/// Reads a whole head.
fn read(head: &Bytes) -> Result<Request, RequestError> {
    let mut lines = lines::each(head);
    let (_, line_end) = lines.next().ok_or(RequestError::RequestLine)?;
    let mut request = request_line(head, line_end)?;
    let count = memchr::memchr_iter(b'\n', &head[line_end..]).count().saturating_sub(2);
    if count > FIELDS_MAX {
        return Err(RequestError::TooManyFields);
    }
    request.head.headers.reserve(count + ADDED_FIELDS);
    for (start, end) in lines {
        let (name, value) = fields::parse(head, start, end)?;
        request.note(&name, &value, &head[start..end])?;
        request.head.headers.append(name, value);
    }
    request.checked()
}

fn request_line(head: &Bytes, end: usize) -> Result<Request, RequestError> {
    let line = &head[..end];
    let method_end = memchr::memchr(b' ', line).ok_or(RequestError::RequestLine)?;
    let method = Method::from_bytes(&line[..method_end]).map_err(|_| RequestError::Method)?;
    let start = method_end + 1;
    let target_end = memchr::memchr(b' ', &line[start..]).ok_or(RequestError::RequestLine)? + start;
    if target_end == start {
        return Err(RequestError::RequestLine);
    }
    let version = version(&line[target_end + 1..])?;
    let uri = target::parse(&method, head.slice(start..target_end))?;
    let (mut parts, ()) = http::Request::new(()).into_parts();
    // What comes after a tunnel is asked for may be meant for it.
    let keep_alive = version == Version::HTTP_11 && method != Method::CONNECT;
    (parts.method, parts.uri, parts.version) = (method, uri, version);
    Ok(Request {
        head: parts,
        length: None,
        chunked: false,
        keep_alive,
        expects_continue: false,
        takes_trailers: false,
        has_host: false,
        closes: false,
    })
}

fn version(text: &[u8]) -> Result<Version, RequestError> {
    match text {
        b"HTTP/1.1" => Ok(Version::HTTP_11),
        b"HTTP/1.0" => Ok(Version::HTTP_10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(RequestError::VersionNotSupported)
        }
        _ if text.contains(&b' ') => Err(RequestError::RequestLine),
        _ => Err(RequestError::Version),
    }
}

impl Request {
    /// Where its body ends (RFC 9112 §6.3).
    pub fn framing(&self) -> Framing {
        match self.length {
            _ if self.chunked => Framing::Chunked(Chunked::strict()),
            length => Framing::Length(length.unwrap_or(0)),
        }
    }

    fn note(
        &mut self,
        name: &HeaderName,
        value: &HeaderValue,
        line: &[u8],
    ) -> Result<(), RequestError> {
        let is_http11 = self.head.version == Version::HTTP_11;
        if *name == HOST {
            if self.has_host {
                return Err(RequestError::Hosts);
            }
            self.has_host = true;
            no_tab(line)?;
            if !target::is_host(value.as_bytes()) {
                return Err(RequestError::Host);
            }
            if !target::is_same_host(&self.head.uri, value.as_bytes()) {
                return Err(RequestError::HostDiffers);
            }
        } else if *name == CONTENT_LENGTH {
            if self.length.is_some() {
                return Err(RequestError::ContentLengths);
            }
            no_tab(line)?;
            self.length = Some(text::decimal(value.as_bytes()).ok_or(RequestError::ContentLength)?);
        } else if *name == TRANSFER_ENCODING {
            // Any other coding, and a list of them, would be one that this side cannot take off again.
            if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(RequestError::TransferEncoding);
            }
            no_tab(line)?;
            self.chunked = true;
        } else if *name == CONNECTION {
            if has_option(value, b"close") {
                self.keep_alive = false;
                self.closes = true;
            } else if !is_http11 && !self.closes && has_option(value, b"keep-alive") {
                self.keep_alive = self.head.method != Method::CONNECT;
            }
        } else if *name == EXPECT {
            self.expects_continue =
                is_http11 && value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        } else if *name == TE {
            self.takes_trailers |= has_option(value, b"trailers");
        }
        Ok(())
    }

    /// What is known only with all of the fields.
    fn checked(mut self) -> Result<Self, RequestError> {
        let is_http11 = self.head.version == Version::HTTP_11;
        match (self.length, self.chunked) {
            (Some(_), true) => return Err(RequestError::BothLengths),
            (None, true) if !is_http11 => return Err(RequestError::CodingOfHttp10),
            _ => {}
        }
        if is_http11 && !self.has_host {
            return Err(RequestError::HostMissing);
        }
        self.expects_continue &= self.chunked || self.length.is_some_and(|bytes| bytes > 0);
        Ok(self)
    }
}

/// Readers differ in whether a tab is whitespace, so none may stand where a message's end or its host is told.
fn no_tab(line: &[u8]) -> Result<(), RequestError> {
    if line.contains(&b'\t') { Err(RequestError::Tab) } else { Ok(()) }
}

fn has_option(value: &HeaderValue, option: &[u8]) -> bool {
    let mut options = value.as_bytes().split(|byte| *byte == b',');
    options.any(|it| it.trim_ascii().eq_ignore_ascii_case(option))
}

#[cfg(test)]
mod tests {
    use http1::fields::FieldError;

    use super::*;

    const LIMITS: Limits = Limits { line_bytes_max: 1000, head_bytes_max: 4000 };

    fn parsed(head: &str) -> Result<Option<Request>, RequestError> {
        parse(&mut BytesMut::from(head.as_bytes()), &mut Progress::default(), LIMITS)
    }

    fn line(line: &str) -> Result<Request, RequestError> {
        parsed(&format!("{line}\r\nhost: a\r\n\r\n")).map(|request| request.expect("whole"))
    }

    fn fields(fields: &str) -> Result<Request, RequestError> {
        parsed(&format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"))
            .map(|request| request.expect("whole"))
    }

    #[test]
    fn a_head_is_taken_off_and_what_follows_stays() {
        let head = "GET /a?b HTTP/1.1\r\nHost: a\r\nx-B: 1\r\nx-b:\r\nx-c:  d e \t\r\n\r\n";
        for before in ["", "\r\n"] {
            let mut buffer = BytesMut::from(format!("{before}{head}rest").as_bytes());
            let request = parse(&mut buffer, &mut Progress::default(), LIMITS).unwrap().unwrap();
            let head = &request.head;
            assert_eq!((head.method.as_str(), head.uri.to_string()), ("GET", "/a?b".to_owned()));
            assert_eq!(head.version, Version::HTTP_11);
            assert_eq!(head.headers.get_all("x-b").iter().collect::<Vec<_>>(), ["1", ""]);
            assert_eq!(head.headers["x-c"], "d e");
            assert!(request.keep_alive && !request.expects_continue && !request.takes_trailers);
            assert!(request.framing().is_ended());
            assert_eq!(&buffer[..], b"rest");
        }
    }

    #[test]
    fn a_request_line_has_three_parts_with_single_spaces_between() {
        use RequestError::*;
        for (text, error) in [
            ("GET  / HTTP/1.1", RequestLine),
            ("GET /  HTTP/1.1", RequestLine),
            ("GET / HTTP/1.1 ", RequestLine),
            ("GET / x HTTP/1.1", RequestLine),
            ("GET /", RequestLine),
            ("GET", RequestLine),
            ("GET\t/\tHTTP/1.1", Method),
            (" GET / HTTP/1.1", Method),
            ("G(T / HTTP/1.1", Method),
            ("GET\0 / HTTP/1.1", Method),
            ("GET /\t HTTP/1.1", Target),
            ("GET /\rHTTP/1.1 HTTP/1.1", Target),
            ("GET /\u{e9} HTTP/1.1", Target),
            ("GET / http/1.1", Version),
            ("GET / HTTP/1.10", Version),
            ("GET / HTTP/1", Version),
            ("GET / HTTP/1.1\r", Version),
            ("GET / HTTPS/1.1", Version),
            ("GET / HTTP/1.2", VersionNotSupported),
            ("GET / HTTP/2.0", VersionNotSupported),
            ("GET / HTTP/0.9", VersionNotSupported),
        ] {
            assert_eq!(line(text).unwrap_err(), error, "{text:?}");
        }
        for text in ["x!#$%&'*+-.^_`|~9 / HTTP/1.1", "get / HTTP/1.0"] {
            assert!(line(text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn the_end_of_a_body_is_told_once_or_the_request_is_refused() {
        use RequestError::*;
        for (text, error) in [
            ("content-length: 5\r\ncontent-length: 5\r\n", ContentLengths),
            ("content-length: 5\r\nContent-Length: 6\r\n", ContentLengths),
            ("content-length: 5, 5\r\n", ContentLength),
            ("content-length: +5\r\n", ContentLength),
            ("content-length: -5\r\n", ContentLength),
            ("content-length: 0x5\r\n", ContentLength),
            ("content-length: 5 5\r\n", ContentLength),
            ("content-length:\r\n", ContentLength),
            ("content-length: 18446744073709551616\r\n", ContentLength),
            ("content-length:\t5\r\n", Tab),
            ("content-length: 5\t\r\n", Tab),
            ("content-length: 5\r\ntransfer-encoding: chunked\r\n", BothLengths),
            ("transfer-encoding: chunked\r\ncontent-length: 0\r\n", BothLengths),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", TransferEncoding),
            ("transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n", TransferEncoding),
            ("transfer-encoding: chunked, chunked\r\n", TransferEncoding),
            ("transfer-encoding: chunked,\r\n", TransferEncoding),
            ("transfer-encoding: ,chunked\r\n", TransferEncoding),
            ("transfer-encoding: gzip, chunked\r\n", TransferEncoding),
            ("transfer-encoding: chunked, identity\r\n", TransferEncoding),
            ("transfer-encoding: identity\r\n", TransferEncoding),
            ("transfer-encoding: xchunked\r\n", TransferEncoding),
            ("transfer-encoding: chunked;a=b\r\n", TransferEncoding),
            ("transfer-encoding: \"chunked\"\r\n", TransferEncoding),
            ("transfer-encoding:\r\n", TransferEncoding),
            ("transfer-encoding:\tchunked\r\n", Tab),
            ("transfer-encoding: chunked\t\r\n", Tab),
            ("transfer-encoding: \x0bchunked\r\n", Field(FieldError::Value)),
            ("transfer-encoding : chunked\r\n", Field(FieldError::SpaceBeforeColon)),
            ("transfer-encoding\r\n: chunked\r\n", Field(FieldError::NoColon)),
            ("transfer-encoding:\r\n chunked\r\n", TransferEncoding),
            ("x: y\r\n chunked\r\n", Field(FieldError::Fold)),
            ("x: a\rb: c\r\n", Field(FieldError::BareCr)),
            ("x: a\nb: c\r\n", LineEnd),
            ("x: a\0\r\n", Field(FieldError::Value)),
            (": a\r\n", Field(FieldError::Name)),
        ] {
            assert_eq!(fields(text).unwrap_err(), error, "{text:?}");
        }
        assert!(matches!(fields("content-length: 007\r\n").unwrap().framing(), Framing::Length(7)));
        let chunked = fields("Transfer-Encoding: Chunked \r\n").unwrap();
        assert!(matches!(chunked.framing(), Framing::Chunked(_)));
        let old = parsed("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(old.unwrap_err(), CodingOfHttp10);
    }

    #[test]
    fn a_request_names_one_host() {
        use RequestError::*;
        let of = |line: &str, fields: &str| parsed(&format!("{line}\r\n{fields}\r\n")).err();
        for (line, fields, error) in [
            ("GET / HTTP/1.1", "", HostMissing),
            ("GET http://a/ HTTP/1.1", "", HostMissing),
            ("GET / HTTP/1.1", "host: a\r\nHost: a\r\n", Hosts),
            ("GET / HTTP/1.0", "host: a\r\nhost: b\r\n", Hosts),
            ("GET / HTTP/1.1", "host: a,b\r\n", Host),
            ("GET / HTTP/1.1", "host: a b\r\n", Host),
            ("GET / HTTP/1.1", "host: a/b\r\n", Host),
            ("GET / HTTP/1.1", "host: u@a\r\n", Host),
            ("GET / HTTP/1.1", "host:\ta\r\n", Tab),
            ("GET http://a/ HTTP/1.1", "host: b\r\n", HostDiffers),
            ("GET http://a:81/ HTTP/1.1", "host: a\r\n", HostDiffers),
            ("CONNECT a:443 HTTP/1.1", "host: b:443\r\n", HostDiffers),
        ] {
            assert_eq!(of(line, fields), Some(error), "{line:?} {fields:?}");
        }
        for (line, fields) in [
            ("GET / HTTP/1.0", ""),
            ("GET / HTTP/1.1", "host:\r\n"),
            ("GET http://A/ HTTP/1.1", "host: a:80\r\n"),
            ("CONNECT a:443 HTTP/1.1", "host: a:443\r\n"),
        ] {
            assert_eq!(of(line, fields), None, "{line:?} {fields:?}");
        }
    }

    #[test]
    fn a_head_has_bounds_each_with_its_status() {
        let status = |head: &str| parsed(head).unwrap_err().status().as_u16();
        let long = "a".repeat(LIMITS.line_bytes_max);
        assert_eq!(status(&format!("GET /{long}")), 414, "before it ends");
        assert_eq!(status(&format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n")), 414);
        assert_eq!(status(&format!("{long}{long}")), 414);
        let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", long.repeat(4));
        assert_eq!(status(&large), 431);
        assert_eq!(status(&format!("{large}\r\n\r\n")), 431);
        let many = |count| "a:\r\n".repeat(count);
        assert_eq!(fields(&many(FIELDS_MAX)).unwrap_err(), RequestError::TooManyFields);
        assert!(fields(&many(FIELDS_MAX - 1)).is_ok(), "and the host");
        assert_eq!(status("GET / HTTP/3.0\r\n\r\n"), 505);
        assert_eq!(status("GET / x\r\n\r\n"), 400);
    }

    #[test]
    fn what_is_no_http_is_refused_before_it_ends() {
        for (start, error) in [
            ("\x16\x03\x01", RequestError::Method),
            ("\0", RequestError::Method),
            ("{\"a\": 1}", RequestError::Method),
            ("PRI * HTTP/2", RequestError::VersionNotSupported),
            ("\r\n\r\n", RequestError::RequestLine),
            ("\n", RequestError::LineEnd),
        ] {
            assert_eq!(parsed(start).unwrap_err(), error, "{start:?}");
        }
        for start in ["", "\r", "\r\n", "\r\nG", "G", "GET", "GET / HTTP/2", "PRI * HTTP/"] {
            assert!(parsed(start).unwrap().is_none(), "{start:?}");
        }
    }

    #[test]
    fn whether_a_connection_serves_on_is_the_versions_choice_unless_it_is_said() {
        let keeps = |line: &str, fields: &str| {
            parsed(&format!("{line}\r\nhost: a:1\r\n{fields}\r\n")).unwrap().unwrap().keep_alive
        };
        assert!(keeps("GET / HTTP/1.1", ""));
        assert!(!keeps("GET / HTTP/1.1", "connection: x, Close\r\n"));
        assert!(!keeps("GET / HTTP/1.0", ""));
        assert!(keeps("GET / HTTP/1.0", "connection: Keep-Alive\r\n"));
        assert!(!keeps("GET / HTTP/1.0", "connection: close\r\nconnection: keep-alive\r\n"));
        assert!(!keeps("GET / HTTP/1.0", "connection: keep-alive, close\r\n"));
        assert!(!keeps("CONNECT a:1 HTTP/1.1", ""), "what follows may be meant for a tunnel");
    }

    #[test]
    fn only_who_has_a_body_can_wait_to_send_it() {
        let expects = |fields: &str| self::fields(fields).unwrap().expects_continue;
        assert!(expects("expect: 100-Continue\r\ncontent-length: 5\r\n"));
        assert!(expects("expect: 100-continue\r\ntransfer-encoding: chunked\r\n"));
        assert!(!expects("expect: 100-continue\r\n"));
        assert!(!expects("expect: 100-continue\r\ncontent-length: 0\r\n"));
        assert!(!expects("expect: more\r\ncontent-length: 5\r\n"));
        assert!(fields("te: gzip, trailers\r\n").unwrap().takes_trailers);
    }
}
