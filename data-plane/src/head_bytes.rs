//! How many bytes a head has, as HTTP/1.1 writes it (RFC 9112 §3 to §5): so it is counted, whatever version carried it.
//! HTTP/2 says the same in fewer bytes, and in how many depends on what went over its connection before.

use http::{
    HeaderMap, Response, Uri, Version,
    header::{CONNECTION, DATE, HOST},
    request::Parts,
};

/// `HTTP/1.1`
const VERSION: usize = 8;
/// `date: Sun, 06 Nov 1994 08:49:37 GMT` and the end of its line, which the server adds.
const DATE_LINE: usize = 37;
const LINE_END: usize = 2;

/// Of a request, with everything that came but spaces around values.
pub(crate) fn of_request(head: &Parts) -> u64 {
    let is_http2 = head.version == Version::HTTP_2;
    let line = head.method.as_str().len() + 1 + target(&head.uri, is_http2) + 1 + VERSION;
    let host = match head.uri.authority() {
        Some(authority) if is_http2 && !head.headers.contains_key(HOST) => {
            field(HOST.as_str(), authority.as_str().as_bytes())
        }
        _ => 0,
    };
    (line + LINE_END + host + fields(&head.headers) + LINE_END) as u64
}

/// Of an answer that has its `content-length`, if it is to have one. Not with `connection` and `transfer-encoding`, which
/// the connection adds as its version and its end ask for.
pub(crate) fn of_answer<B>(response: &Response<B>) -> u64 {
    let reason = response.status().canonical_reason().unwrap_or_default();
    let line = VERSION + 1 + 3 + 1 + reason.len();
    let headers = response.headers();
    let date = if headers.contains_key(DATE) { 0 } else { DATE_LINE };
    let own = headers.get_all(CONNECTION).iter();
    let own: usize = own.map(|value| field(CONNECTION.as_str(), value.as_bytes())).sum();
    (line + LINE_END + date + fields(headers) - own + LINE_END) as u64
}

/// In the form in which it came; HTTP/2's is HTTP/1.1's origin form in pieces (RFC 9113 §8.3.1).
fn target(uri: &Uri, is_http2: bool) -> usize {
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    if is_http2 {
        return path;
    }
    let scheme = uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len());
    scheme + uri.authority().map_or(0, |authority| authority.as_str().len()) + path
}

fn fields(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| field(name.as_str(), value.as_bytes())).sum()
}

fn field(name: &str, value: &[u8]) -> usize {
    name.len() + ": ".len() + value.len() + LINE_END
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request, header::CONTENT_LENGTH};

    use super::*;

    fn request(version: Version, uri: &str, fields: &[(&'static str, &'static str)]) -> u64 {
        let mut request = Request::builder().version(version).method("POST").uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        of_request(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_request_has_as_many_as_http_1_1_writes() {
        let written = "POST /a?b=c HTTP/1.1\r\nhost: h.example:80\r\nx-a: 1\r\nx-a: 22\r\n\r\n";
        let fields = [("host", "h.example:80"), ("x-a", "1"), ("x-a", "22")];
        let bytes = written.len() as u64;
        assert_eq!(request(Version::HTTP_11, "/a?b=c", &fields), bytes);
        let fields = &fields[1..];
        assert_eq!(request(Version::HTTP_2, "https://h.example:80/a?b=c", fields), bytes);
        let absolute = "POST http://h/ HTTP/1.1\r\nhost: h\r\n\r\n";
        let bytes = absolute.len() as u64;
        assert_eq!(request(Version::HTTP_11, "http://h/", &[("host", "h")]), bytes);
    }

    #[test]
    fn an_answer_has_its_date_and_nothing_of_its_connection() {
        let written = "HTTP/1.1 404 Not Found\r\ncontent-length: 12\r\n\
                       date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
        let mut response = Response::builder().status(404).body(()).unwrap();
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("12"));
        assert_eq!(of_answer(&response), written.len() as u64);
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        assert_eq!(of_answer(&response), written.len() as u64);
        let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        response.headers_mut().insert(DATE, date);
        assert_eq!(of_answer(&response), written.len() as u64);
    }
}
