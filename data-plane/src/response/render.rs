//! An answer or a refusal as the caller gets it.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use serde_json::json;

use super::{cookies, headers, rate_limit, restyle};
use crate::{
    dialect::Message, exchange::Exchange, gateway_response::GatewayResponse,
    integration::AnswerBody, policies, snapshot::Snapshot,
};

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Gives every answer its common fields, and a refusal the looks of its dialect.
pub(crate) fn render(
    answer: Result<Response<AnswerBody>, GatewayResponse>,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
) -> Response<AnswerBody> {
    let mut response = match answer {
        Ok(response) => response,
        Err(refusal) => refused(&refusal, snapshot, exchange),
    };
    exchange.status = response.status().as_u16();
    let fields = response.headers_mut();
    cookies::confine_all(fields, &exchange.addressing);
    let told = exchange.stage.as_ref().is_some_and(|stage| stage.rate_limit_headers);
    if told || exchange.dialect().rate_limit_headers {
        rate_limit::insert(fields, &exchange.limits);
    }
    policies::cors::apply(fields, exchange);
    if let Ok(id) = HeaderValue::try_from(&exchange.id) {
        fields.insert(headers::REQUEST_ID, id);
    }
    response
}

fn refused(
    refusal: &GatewayResponse,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
) -> Response<AnswerBody> {
    exchange.refused = Some(refusal.kind);
    let looks = (exchange.dialect().refusal)(refusal.kind);
    let style = restyle::chosen(snapshot, exchange, refusal.kind, looks.status);
    let told = style.as_ref().map(|style| restyle::Told {
        response_type: style.response_type,
        message: match &looks.message {
            Message::Explained => Some(&refusal.message),
            Message::Fixed(message) => Some(message),
            Message::Null => None,
        },
    });
    let style = style.as_ref().zip(told.as_ref());

    let styled = style.and_then(|(style, told)| style.body(exchange, told));
    let (content_type, body) = styled.unwrap_or_else(|| {
        let body = match looks.message {
            Message::Explained => json!({
                "message": refusal.message,
                "code": refusal.kind.code(),
                "requestId": exchange.id,
            }),
            Message::Fixed(message) => json!({ "message": message }),
            Message::Null => json!({ "message": null }),
        };
        (HeaderValue::from_static("application/json"), body.to_string())
    });
    let status = style.and_then(|(style, _)| style.status);
    let status = status
        .or_else(|| StatusCode::from_u16(looks.status).ok())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let has_body = restyle::has_body(status);
    let body = if has_body { Bytes::from(body) } else { Bytes::new() };
    let mut response = Response::new(AnswerBody::whole(body));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    if has_body {
        fields.insert(CONTENT_TYPE, content_type);
    }
    if let Some(error_type) = looks.error_type {
        fields.insert(ERROR_TYPE, HeaderValue::from_static(error_type));
    }
    for (name, value) in &refusal.headers {
        fields.append(name, value.clone());
    }
    if let Some((style, told)) = style {
        style.write_headers(fields, exchange, told);
    }
    response
}
