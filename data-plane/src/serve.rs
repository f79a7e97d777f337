//! One request from router to meter. Read this first.

use std::{panic::AssertUnwindSafe, rc::Rc};

use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, header};

use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    integration::{self, AnswerBody},
    listener::{Peer, body::RequestBody, client_io::Serving, limits},
    node::Node,
    policies,
    response::{self, Followed},
    router,
    snapshot::Snapshot,
};

pub(crate) async fn serve(
    node: Rc<Node>,
    peer: Peer,
    serving: Rc<Serving>,
    request: Request<RequestBody>,
) -> Response<Followed> {
    // Loaded once: a config push between two policies must not split a request in half.
    let snapshot = node.snapshot();
    let (head, body) = request.into_parts();
    let mut exchange = Exchange::new(&node, peer, serving, head, body);
    // A panic of ours is this request's end and nobody else's.
    let answered = AssertUnwindSafe(answer(&node, &snapshot, &mut exchange)).catch_unwind().await;
    let panicked = answered.is_err();
    let answer = answered.unwrap_or_else(|_| {
        node.shared.metrics.panics.inc();
        tracing::error!(request.id = exchange.id, "a request ended in a panic");
        Err(Kind::Internal.because("Something went wrong on our side."))
    });
    if matches!(exchange.body, Some(RequestBody::Http1(_))) {
        exchange.body = None; // nobody took it: its connection says so with the answer, unless it is little
    }
    if !exchange.admitted {
        exchange.refusals_turn().await; // a preflight's too: no limit holds those
    }
    let response = response::render(answer, &snapshot, &mut exchange);
    let mut response = response::compress(&exchange, response);
    if panicked {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response::follow(exchange, response) // counted before the last bytes leave
}

async fn answer(
    node: &Rc<Node>,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    limits::check(node, exchange)?;
    let routed = router::route(node, snapshot, exchange);
    exchange.begin_trace();
    if let Some(answer) = policies::cors::preflight(snapshot, exchange) {
        return answer; // no key and no limit: browsers send it by themselves. Counted, never billed
    }
    routed?;
    limits::check_share(exchange)?;
    limits::check_body(exchange)?;
    policies::apply(node, snapshot, exchange).await?;
    #[cfg(test)]
    assert!(!exchange.head.headers.contains_key("x-test-panic"), "asked for by a test");
    exchange.admitted = true;
    node.turns.serves(exchange.started);
    exchange.begin()?;
    response::restyle::keep_fields(exchange);
    exchange.compression = response::compress::wanted(exchange);
    integration::call(node, snapshot, exchange).await
}
