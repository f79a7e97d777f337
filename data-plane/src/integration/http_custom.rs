//! `HTTP`: sends a backend the caller's body and the fields that say what it is, to the integration's URI and nowhere else, and
//! answers by the backend's status, as its integration responses have it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, header::HOST, uri::PathAndQuery};
use http_body::Body;
use plan::media::Conversion;

use super::{
    AnswerBody, custom, function,
    http_proxy::{self, Asks},
    media,
};
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    node::Node,
    response::headers,
    snapshot::{
        Snapshot,
        served::{HttpCall, HttpProxy},
    },
};

pub(super) async fn call(
    node: &Node,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    call: &Arc<HttpCall>,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    let body = body(exchange, call).await?;
    let asks = Asks { head: asked, body };
    let answered = http_proxy::call(node, snapshot, exchange, &call.backend, asks).await?;
    let response = custom::by_status(&call.mapping.responses, answered.status())?;
    let (head, body) = answered.into_parts();
    custom::rendered(exchange, response, head.status, head.headers, body).await
}

/// The caller's body, where it does not go on as it comes.
async fn body(exchange: &mut Exchange, call: &HttpCall) -> Result<Option<Bytes>, GatewayResponse> {
    let conversion = media::of_request(exchange, call.mapping.content_handling);
    if conversion == Conversion::Keep || exchange.body.as_ref().is_none_or(Body::is_end_stream) {
        return Ok(None);
    }
    let tenant = exchange.stage.as_deref().map(|stage| &stage.tenant_id);
    let tenant = tenant.ok_or_else(|| Kind::Internal.because("The API has no tenant."))?;
    let mut held = exchange.node.functions.enter(tenant);
    let idle = call.backend.timeouts.idle;
    let body = function::body(exchange, idle, custom::BODY_BYTES_MAX, &mut held).await?;
    let body = media::converted(body, conversion, &mut held)?;
    Ok(Some(held.keep(body)))
}

/// What is asked for: a caller's query is its own, and so is what else it says of itself.
fn asked(
    exchange: &mut Exchange,
    backend: &HttpProxy,
) -> Result<(PathAndQuery, HeaderMap), GatewayResponse> {
    let target = custom::target(exchange, backend)?;
    headers::prepare_request(exchange, backend);
    let mut fields = custom::passed(&exchange.head.headers);
    fields.insert(HOST, backend.authority.clone());
    Ok((target, fields))
}
