//! An integration that answers by itself, always the same.

use http::Response;
use plan::media::Conversion;

use super::{AnswerBody, media};
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    snapshot::served::Mock,
};

pub(super) fn call(
    exchange: &Exchange,
    mock: &Mock,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    let decodes = media::of_text(exchange, mock.handling) == Conversion::Decode;
    let body = if decodes { mock.decoded.clone() } else { Some(mock.body.clone()) };
    let body = body.ok_or_else(|| {
        Kind::ApiConfigurationError
            .because("The answer's body is to be decoded, and is not base64.")
    })?;
    let mut response = Response::new(AnswerBody::whole(body));
    *response.status_mut() = mock.status;
    response.headers_mut().clone_from(&mock.headers);
    Ok(response)
}
