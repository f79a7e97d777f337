//! `X-HTTP-Method-Override`: a caller that cannot send a method names it. It counts before a route is chosen, so that the
//! policies that judge the call are those of the method that its backend gets; the backend does not get the field.

use http::{HeaderMap, HeaderName, Method};

use crate::gateway_response::{GatewayResponse, Kind};

const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// Puts the method that the field names in the place of the one that came. `HEAD` stays what it is, and no other becomes it:
/// its answer has another end.
pub(super) fn apply(method: &mut Method, headers: &mut HeaderMap) -> Result<(), GatewayResponse> {
    let Some(first) = headers.get(&METHOD_OVERRIDE) else { return Ok(()) };
    let named = Method::from_bytes(&first.as_bytes().trim_ascii().to_ascii_uppercase()).ok();
    let alone = headers.get_all(&METHOD_OVERRIDE).iter().nth(1).is_none();
    let named = named.filter(|named| alone && takes(method, named)).ok_or_else(|| {
        Kind::BadRequestParameters
            .because("X-HTTP-Method-Override names no method that may take this one's place.")
    })?;
    headers.remove(&METHOD_OVERRIDE);
    *method = named;
    Ok(())
}

fn takes(came: &Method, named: &Method) -> bool {
    let known =
        [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
    came == named || *came != Method::HEAD && known.contains(named)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn overridden(came: Method, fields: &[&'static str]) -> Option<Method> {
        let mut headers = HeaderMap::new();
        for value in fields {
            headers.append(METHOD_OVERRIDE, HeaderValue::from_static(value));
        }
        let mut method = came;
        apply(&mut method, &mut headers).ok()?;
        assert!(headers.is_empty());
        Some(method)
    }

    #[test]
    fn a_method_is_named_once_and_never_to_or_from_head() {
        assert_eq!(overridden(Method::POST, &[]), Some(Method::POST));
        assert_eq!(overridden(Method::POST, &["PATCH"]), Some(Method::PATCH));
        assert_eq!(overridden(Method::GET, &[" delete "]), Some(Method::DELETE));
        assert_eq!(overridden(Method::HEAD, &["HEAD"]), Some(Method::HEAD));
        for bad in [
            &["HEAD"][..],
            &["CONNECT"],
            &["TRACE"],
            &["FETCH"],
            &[""],
            &["GET", "GET"],
            &["GET, PUT"],
        ] {
            assert_eq!(overridden(Method::POST, bad), None, "{bad:?}");
        }
        assert_eq!(overridden(Method::HEAD, &["GET"]), None);
    }
}
