//! `HTTP`: sends a backend the caller's body and the fields that say what it is, to the integration's URI and nowhere else, and
//! answers by the backend's status, as its integration responses have it.

use std::sync::Arc;

use http::{HeaderMap, Response, header::HOST, uri::PathAndQuery};

use super::{AnswerBody, custom, http_proxy};
use crate::{
    exchange::Exchange,
    gateway_response::GatewayResponse,
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
    let answered = http_proxy::call(node, snapshot, exchange, &call.backend, asked).await?;
    let response = custom::by_status(&call.responses, answered.status())?;
    let (head, body) = answered.into_parts();
    custom::rendered(exchange, response, head.status, head.headers, body)
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
