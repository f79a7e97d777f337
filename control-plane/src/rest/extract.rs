//! What handlers take: a strict JSON body, and who calls.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;

use axum::body::HttpBody;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, OptionalFromRequest, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderValue, StatusCode, header};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::access::actor::{Actor, Caller, Operator, Origin};
use crate::app::App;
use crate::domain;
use crate::error::{Error, Result};
use crate::rest::{BODY_BYTES_MAX, etag, request_id};

/// A JSON body. Unknown fields are refused where its type says `deny_unknown_fields`, as all of ours do; the
/// error names the field.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        match <axum::Json<Object<T>> as FromRequest<S>>::from_request(request, state).await {
            Ok(axum::Json(Object(body))) => Ok(Self(body)),
            Err(rejection) => Err(refuse(&rejection)),
        }
    }
}

/// A JSON object: what serde derives would take an array for the fields in their order too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        from.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> std::result::Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

fn refuse(rejection: &JsonRejection) -> Error {
    match rejection {
        JsonRejection::JsonDataError(_) => name_field(&rejection.body_text()),
        JsonRejection::MissingJsonContentType(_) => Error::UnsupportedMediaType("application/json"),
        _ if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Error::TooLarge { bytes_max: BODY_BYTES_MAX }
        }
        _ => Error::bad_request("", reason(&rejection.body_text())),
    }
}

/// Axum's text is a sentence, then where in the document where it knows, then serde's reason.
fn reason(text: &str) -> &str {
    text.split_once(": ").map_or(text, |(_, reason)| reason)
}

/// An error about the field that axum gives the path of, or that serde names in backticks.
fn name_field(text: &str) -> Error {
    let reason = reason(text);
    let field = match reason.split_once(": ") {
        Some((path, _))
            if path.chars().all(|c| c.is_ascii_alphanumeric() || "._[]".contains(c)) =>
        {
            path
        }
        _ => reason.split('`').nth(1).unwrap_or_default(),
    };
    Error::bad_request(field, reason)
}

/// A body that may be left out, for handlers that take `Option<Json<T>>`.
impl<T: DeserializeOwned, S: Send + Sync> OptionalFromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>> {
        if request.body().is_end_stream() && !request.headers().contains_key(header::CONTENT_TYPE) {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state).await.map(Some)
    }
}

/// A query string. Unknown parameters are refused where its type says `deny_unknown_fields`.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        match axum::extract::Query::<T>::try_from_uri(&parts.uri) {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(name_field(&rejection.body_text())),
        }
    }
}

/// What the path names. Text that cannot be an id of its kind names nothing.
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(named)) => Ok(Self(named)),
            Err(_) => Err(Error::NotFound("resource")),
        }
    }
}

/// Where a request comes from; empty in tests without connections.
pub fn address(extensions: &Extensions) -> String {
    let connection = extensions.get::<ConnectInfo<SocketAddr>>();
    connection.map(|ConnectInfo(address)| address.ip().to_string()).unwrap_or_default()
}

/// The origin of a request, for the audit log.
pub fn origin(parts: &Parts) -> Origin {
    let address = address(&parts.extensions);
    let user_agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    Origin {
        request_id: request_id::current().unwrap_or_default(),
        address,
        user_agent: user_agent.unwrap_or_default().chars().take(256).collect(),
    }
}

/// The token of `Authorization: Bearer …`.
pub fn bearer(header: &HeaderValue) -> Option<&str> {
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whoever the bearer token names; an error without one.
pub async fn caller(app: &App, parts: &Parts) -> Result<Caller> {
    let header = parts
        .headers
        .get(header::AUTHORIZATION)
        .ok_or(Error::Unauthenticated("this needs an access token: Authorization: Bearer …"))?;
    let token = bearer(header)
        .ok_or(Error::Unauthenticated("the Authorization header is not: Bearer …"))?;
    domain::session::authenticate(app, token, origin(parts)).await
}

impl FromRequestParts<App> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        caller(app, parts).await
    }
}

impl FromRequestParts<App> for Actor {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        match caller(app, parts).await? {
            Caller::Member(actor) => {
                Ok(Actor { precondition: etag::precondition(&parts.headers)?, ..actor })
            }
            Caller::Operator(_) => Err(Error::Forbidden("the operator belongs to no tenant")),
        }
    }
}

impl FromRequestParts<App> for Operator {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        match caller(app, parts).await? {
            Caller::Operator(operator) => Ok(operator),
            Caller::Member(_) => Err(Error::Forbidden("only the operator may do this")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::page::PageQuery;

    fn query(text: &str) -> Result<PageQuery> {
        let uri = format!("/v1/members{text}").parse().unwrap();
        axum::extract::Query::try_from_uri(&uri)
            .map(|axum::extract::Query(query)| query)
            .map_err(|rejection| name_field(&rejection.body_text()))
    }

    #[tokio::test]
    async fn an_array_is_not_taken_for_a_body() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Named {
            name: Option<String>,
        }
        let read = async |body: &'static str| {
            let request = Request::post("/").header(header::CONTENT_TYPE, "application/json");
            let request = request.body(body.into()).unwrap();
            <Json<Named> as FromRequest<()>>::from_request(request, &()).await
        };
        assert_eq!(read("{\"name\":\"gold\"}").await.unwrap().0.name.as_deref(), Some("gold"));
        for wrong in ["[null]", "[\"gold\"]", "null", "\"gold\"", "7"] {
            let error = read(wrong).await.map(|_| ()).unwrap_err();
            assert!(error.to_string().contains("expected a JSON object"), "{wrong}: {error}");
        }
        let error = read("{\"name\":7}").await.map(|_| ()).unwrap_err();
        assert_eq!(error.param(), Some("name"), "{error}");
    }

    #[test]
    fn a_wrong_query_parameter_is_named() {
        assert_eq!(query("?limit=7").unwrap().limit, Some(7));
        for (wrong, param) in [
            ("?limit=x", "limit"),
            ("?limit=-1", "limit"),
            ("?limit=1&limit=2", "limit"),
            ("?page=2", "page"),
        ] {
            assert_eq!(query(wrong).unwrap_err().param(), Some(param), "{wrong}");
        }
    }
}
