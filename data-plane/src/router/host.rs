//! Which Api a request names, by its host or, where that is switched on, by its path.

use std::borrow::Cow;

use http::{Version, header, request::Parts};

use crate::gateway_response::{GatewayResponse, Kind};

/// The length of an Api's id.
const API_ID_BYTES: usize = 10;
const PATH_PREFIX: &str = "/_api/";

/// How an Api was named, which decides what cookies may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Addressing {
    /// `{apiId}.{zone}`: an origin of its own.
    Host,
    /// `/_api/{apiId}/…` on a host that other Apis and perhaps the console share.
    Path { api_id: String },
}

/// What an address says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    pub(crate) api_id: Cow<'a, str>,
    /// What follows the Api's name; starts with a slash.
    pub(crate) path: &'a str,
    by_path: bool,
}

impl Address<'_> {
    pub(crate) fn addressing(&self) -> Addressing {
        if self.by_path {
            Addressing::Path { api_id: self.api_id.to_string() }
        } else {
            Addressing::Host
        }
    }
}

/// Reads a request's address. A host in the zone is taken at its word, whatever the path looks like.
pub(crate) fn address<'a>(
    head: &'a Parts,
    zone: &str,
    path_addressing: bool,
) -> Result<Address<'a>, GatewayResponse> {
    let path = head.uri.path();
    if !path.starts_with('/') {
        return Err(Kind::BadRequestParameters.because("The request target is not a path."));
    }
    let host = host(head)?;
    if let Some(api_id) = host.and_then(|host| in_zone(host, zone)) {
        return Ok(Address { api_id, path, by_path: false });
    }
    if let Some(address) =
        path.strip_prefix(PATH_PREFIX).filter(|_| path_addressing).and_then(by_path)
    {
        return Ok(address);
    }
    Err(Kind::ResourceNotFound.because("There is no API at this address."))
}

fn by_path(rest: &str) -> Option<Address<'_>> {
    let (api_id, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    is_api_id(api_id).then_some(Address { api_id: Cow::Borrowed(api_id), path, by_path: true })
}

/// The host that the request is for, with its port. An HTTP/1.1 request says it exactly once.
fn host(head: &Parts) -> Result<Option<&str>, GatewayResponse> {
    let mut fields = head.headers.get_all(header::HOST).iter();
    let field = fields.next();
    let missing =
        field.is_none() && head.uri.authority().is_none() && head.version == Version::HTTP_11;
    if missing || fields.next().is_some() {
        return Err(Kind::BadRequestParameters.because("The request must have one Host field."));
    }
    if let Some(authority) = head.uri.authority() {
        return Ok(Some(authority.as_str())); // it overrides the field (RFC 9112 §3.2.2)
    }
    let unreadable = |_| Kind::BadRequestParameters.because("The Host field is not text.");
    field.map(|field| field.to_str().map_err(unreadable)).transpose()
}

/// The Api's id in `{apiId}.{zone}` or `{apiId}.{zone}:port`, in any case.
fn in_zone<'a>(host: &'a str, zone: &str) -> Option<Cow<'a, str>> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    let (api_id, rest) = name.split_at_checked(API_ID_BYTES)?;
    let rest = rest.strip_prefix('.')?;
    let api_id = if api_id.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(api_id.to_ascii_lowercase())
    } else {
        Cow::Borrowed(api_id)
    };
    (rest.eq_ignore_ascii_case(zone) && is_api_id(&api_id)).then_some(api_id)
}

fn is_api_id(text: &str) -> bool {
    text.len() == API_ID_BYTES && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const ZONE: &str = "execute-api.localhost";

    fn head(uri: &str, hosts: &[&str]) -> Parts {
        let mut request = Request::get(uri);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn read(uri: &str, hosts: &[&str], path_addressing: bool) -> Option<(String, String, bool)> {
        let head = head(uri, hosts);
        let address = address(&head, ZONE, path_addressing).ok()?;
        Some((address.api_id.to_string(), address.path.to_owned(), address.by_path))
    }

    #[test]
    fn an_api_is_named_by_its_host() {
        for host in [
            "abcdefghi1.execute-api.localhost",
            "abcdefghi1.execute-api.localhost:9080",
            "Abcdefghi1.Execute-API.localhost.:9080",
        ] {
            let expected = Some(("abcdefghi1".to_owned(), "/prod/x".to_owned(), false));
            assert_eq!(read("/prod/x", &[host], false), expected, "{host}");
            let by_path = Some(("abcdefghi1".to_owned(), "/_api/zzzzzzzzzz/x".to_owned(), false));
            assert_eq!(read("/_api/zzzzzzzzzz/x", &[host], true), by_path, "{host}");
        }
        let absolute = read("http://abcdefghi1.execute-api.localhost/x", &["other"], false);
        assert_eq!(absolute.unwrap().0, "abcdefghi1");
    }

    #[test]
    fn an_api_is_named_by_its_path_only_where_that_is_switched_on() {
        let expected = Some(("abcdefghi1".to_owned(), "/prod".to_owned(), true));
        assert_eq!(read("/_api/abcdefghi1/prod", &["127.0.0.1:9080"], true), expected);
        assert_eq!(read("/_api/abcdefghi1/prod", &["127.0.0.1:9080"], false), None);
        let root = Some(("abcdefghi1".to_owned(), "/".to_owned(), true));
        assert_eq!(read("/_api/abcdefghi1", &["127.0.0.1"], true), root);
        assert_eq!(read("/_api/abcdefghi1?q", &["[::1]:80"], true), root);
    }

    #[test]
    fn an_address_that_names_no_api_is_refused() {
        for (uri, hosts) in [
            ("/", &["example.com"][..]),
            ("/", &["execute-api.localhost"]),
            ("/", &["abcdefghi.execute-api.localhost"]),
            ("/", &["abcdefghij1.execute-api.localhost"]),
            ("/", &["abcdefghi1.execute-api.localhost.evil.com"]),
            ("/", &["x.abcdefghi1.execute-api.localhost"]),
            ("/", &["abcdefghiéx.execute-api.localhost"]),
            ("/", &[]),
            ("/", &["abcdefghi1.execute-api.localhost", "abcdefghi1.execute-api.localhost"]),
            ("/_api/short/x", &["127.0.0.1"]),
            ("/_api/", &["127.0.0.1"]),
            ("/_api/abcdefghi12/x", &["127.0.0.1"]),
            ("*", &["abcdefghi1.execute-api.localhost"]),
        ] {
            assert_eq!(read(uri, hosts, true), None, "{uri} {hosts:?}");
        }
    }
}
