//! An answer or a refusal as the caller gets it.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use serde_json::json;

use super::{cookies, headers, rate_limit};
use crate::{
    dialect::Message, exchange::Exchange, gateway_response::GatewayResponse,
    integration::AnswerBody, policies,
};

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Gives every answer its common fields, and a refusal the looks of its dialect.
pub(crate) fn render(
    answer: Result<Response<AnswerBody>, GatewayResponse>,
    exchange: &mut Exchange,
) -> Response<AnswerBody> {
    let mut response = match answer {
        Ok(response) => response,
        Err(refusal) => refused(refusal, exchange),
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

fn refused(refusal: GatewayResponse, exchange: &mut Exchange) -> Response<AnswerBody> {
    exchange.refused = Some(refusal.kind);
    let looks = (exchange.dialect().refusal)(refusal.kind);
    let body = match looks.message {
        Message::Explained => json!({
            "message": refusal.message,
            "code": refusal.kind.code(),
            "requestId": exchange.id,
        }),
        Message::Fixed(message) => json!({ "message": message }),
        Message::Null => json!({ "message": null }),
    };
    let mut response = Response::new(AnswerBody::whole(Bytes::from(body.to_string())));
    *response.status_mut() =
        StatusCode::from_u16(looks.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(error_type) = looks.error_type {
        fields.insert(ERROR_TYPE, HeaderValue::from_static(error_type));
    }
    for (name, value) in refusal.headers {
        fields.append(name, value);
    }
    response
}
