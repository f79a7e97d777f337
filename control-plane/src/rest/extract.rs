//! What handlers take: a strict JSON body, and who calls.

use std::net::SocketAddr;

use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::access::actor::{Actor, Caller, Operator, Origin};
use crate::app::App;
use crate::domain;
use crate::error::{Error, Result};
use crate::rest::request_id;

/// A JSON body. Unknown fields are refused where its type says `deny_unknown_fields`, as all of ours do; the
/// error names the field.
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(refuse(&rejection)),
        }
    }
}

fn refuse(rejection: &JsonRejection) -> Error {
    let text = rejection.body_text();
    let reason = text.split_once(": ").map_or(text.as_str(), |(_, reason)| reason);
    // serde names the field in backticks, or axum gives the path before the reason.
    let field = match rejection {
        JsonRejection::JsonDataError(_) => match reason.split_once(": ") {
            Some((path, _))
                if path.chars().all(|c| c.is_ascii_alphanumeric() || "._[]".contains(c)) =>
            {
                path
            }
            _ => reason.split('`').nth(1).unwrap_or_default(),
        },
        _ => "",
    };
    Error::bad_request(field, reason)
}

/// The origin of a request, for the audit log.
pub fn origin(parts: &Parts) -> Origin {
    let address = parts
        .extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|ConnectInfo(address)| address.ip().to_string())
        .unwrap_or_default();
    Origin { request_id: request_id::current().unwrap_or_default(), address }
}

/// Whoever the bearer token names; an error without one.
pub async fn caller(app: &App, parts: &Parts) -> Result<Caller> {
    let header = parts
        .headers
        .get(header::AUTHORIZATION)
        .ok_or(Error::Unauthenticated("this needs an access token: Authorization: Bearer …"))?;
    let token = header
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim())
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
            Caller::Member(actor) => Ok(actor),
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
