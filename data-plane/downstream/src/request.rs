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
    let len = match lines::len(buffer, &mut progress.scanned, limits.head_bytes_max) {
        Ok(Some(len)) => len,
        Ok(None) => return early(buffer, limits).map(|()| None),
        Err(Refused::TooLong) => {
            return Err(early(buffer, limits).err().unwrap_or(RequestError::HeadTooLarge));
        }
        Err(Refused::LineEnd) => return Err(RequestError::LineEnd),
    };
    *progress = Progress::default();
    let head = buffer.split_to(len).freeze();
    read(&head, limits).map(Some)
}

/// Refuses what cannot become a head any more: whoever speaks another protocol learns it at once.
fn early(bytes: &[u8], limits: Limits) -> Result<(), RequestError> {
    let within = &bytes[..bytes.len().min(limits.line_bytes_max)];
    if within.len() == limits.line_bytes_max && memchr::memchr(b'\n', within).is_none() {
        return Err(RequestError::TargetTooLong);
    }
    let start = &bytes[..bytes.len().min(EARLY_BYTES)];
    if start.starts_with(b"PRI * HTTP/2") {
        return Err(RequestError::VersionNotSupported);
    }
    let method = start.split(|byte| *byte == b' ').next().unwrap_or_default();
    // An empty line may be on its way.
    if !method.is_empty() && method != b"\r" && Method::from_bytes(method).is_err() {
        return Err(RequestError::Method);
    }
    Ok(())
}

/// Reads a whole head.
fn read(head: &Bytes, limits: Limits) -> Result<Request, RequestError> {
    let mut lines = lines::each(head);
    let (_, line_end) = lines.next().ok_or(RequestError::RequestLine)?;
    if line_end > limits.line_bytes_max {
        return Err(RequestError::TargetTooLong);
    }
    let mut request = request_line(head, line_end)?;
    let count = memchr::memchr_iter(b'\n', &head[line_end..]).count().saturating_sub(2);
    if count > FIELDS_MAX {
        return Err(RequestError::TooManyFields);
    }
    request.head.headers.reserve(count);
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
            _ if self.chunked => Framing::Chunked(Chunked::default()),
            length => Framing::Length(length.unwrap_or(0)),
        }
    }

    fn note(&mut self, name: &HeaderName, value: &HeaderValue, line: &[u8]) -> Result<(), RequestError> {
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
