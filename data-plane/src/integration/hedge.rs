//! A second try beside the first, where that has not begun to answer in time: whoever answers first has the call, and the other one
//! is given up with its connection. gRPC calls it hedging (proposal A6).

use std::{
    pin::pin,
    rc::Rc,
    time::{Duration, Instant},
};

use futures_util::future::{Either, select};
use http::{HeaderMap, Method, uri::PathAndQuery};
use tokio::time::timeout;
use upstream::{Answer, Budget, Error, Sending};

use super::{
    connect::connect,
    http_proxy::{self, Way},
    pool::{Line, Place},
    retry::Tries,
    upload::{Progress, Upload},
};
use crate::{
    exchange::Exchange, gateway_response::GatewayResponse, listener::client_io::Serving,
    node::Node, snapshot::served::Timeouts,
};

/// A call without a body, as it is sent.
pub(super) struct Call<'a> {
    pub(super) node: &'a Node,
    pub(super) way: &'a Way<'a>,
    pub(super) method: &'a Method,
    pub(super) target: &'a PathAndQuery,
    pub(super) fields: &'a HeaderMap,
    pub(super) timeouts: Timeouts,
    pub(super) budget: &'a Budget,
}

/// The first try. What it has is the second one's afterwards where that answered.
pub(super) struct Try<'a> {
    pub(super) line: &'a mut Line,
    pub(super) place: &'a mut Place,
    pub(super) request: &'a mut Sending<Upload>,
    pub(super) progress: &'a mut Rc<Progress>,
}

/// What the second try has of its own.
struct Other {
    line: Line,
    place: Place,
    request: Sending<Upload>,
    progress: Rc<Progress>,
}

/// The head of an answer, or why there is none.
type Answered = Result<Result<Answer, Error>, GatewayResponse>;

/// The head of the answer to a try that is under way; or to a second one, where that is needed and answers first.
pub(super) async fn first_byte(
    call: Call<'_>,
    exchange: &mut Exchange,
    tries: &mut Tries<'_>,
    own: Try<'_>,
) -> Answered {
    let Some(delay) = tries.hedging_delay() else {
        let is_head = *call.method == Method::HEAD;
        let Try { line, request, progress, .. } = own;
        return http_proxy::first_byte(line, request, is_head, progress, call.timeouts).await;
    };
    // On the heap: calls of integrations that say nothing of it carry no room for it.
    Box::pin(answered(call, delay, exchange, tries, own)).await
}

async fn answered(
    call: Call<'_>,
    delay: Duration,
    exchange: &mut Exchange,
    tries: &mut Tries<'_>,
    own: Try<'_>,
) -> Answered {
    let (answered, won) = {
        let is_head = *call.method == Method::HEAD;
        let (line, request) = (&mut *own.line, &mut *own.request);
        let progress = &*own.progress;
        let answering = http_proxy::first_byte(line, request, is_head, progress, call.timeouts);
        let mut answering = pin!(answering);
        if let Ok(answered) = timeout(delay, &mut answering).await {
            return answered;
        }
        if !tries.hedge(call.budget) {
            return answering.await;
        }
        exchange.hedged = true;
        call.node.shared.metrics.backends.hedges.inc();
        let other = pin!(send(&call, own.place, exchange.serving.clone()));
        match select(answering, other).await {
            Either::Left((Ok(Ok(answer)), _)) => (Ok(Ok(answer)), None),
            Either::Left((failed, other)) => match other.await {
                Some((answer, won)) => {
                    own.place.judge(call.node, true);
                    (Ok(Ok(answer)), Some(won))
                }
                None => (failed, None),
            },
            Either::Right((Some((answer, won)), _)) => (Ok(Ok(answer)), Some(won)),
            Either::Right((None, answering)) => (answering.await, None),
        }
    };
    if let Some(Other { line, place, request, progress }) = won {
        call.node.shared.metrics.backends.hedges_won.inc();
        // The first one's connection is closed: its answer may still come.
        (*own.line, *own.place) = (line, place);
        (*own.request, *own.progress) = (request, progress);
    }
    answered
}

/// Sends the call on another connection: of a VPC link to another target, where there is one. `None`: no answer came of it, and the
/// first try goes on.
async fn send(call: &Call<'_>, first: &Place, serving: Rc<Serving>) -> Option<(Answer, Other)> {
    let Call { node, way, timeouts, .. } = *call;
    let place = http_proxy::enter_beside(node, way, first).await?;
    let connect_by = Instant::now() + timeouts.connect;
    let (target, policy) = (&way.proxy.target, &way.tenant.egress);
    let Ok(mut line) = connect(node, &place, target, policy, connect_by, false).await else {
        place.judge(node, true);
        return None;
    };
    let (upload, progress) = Upload::new(None, None, serving, Rc::default(), 0);
    let mut request = http_proxy::request(node, call.method, call.target, call.fields, upload);
    line.connection.begin(node.pools.buffers.take());
    progress.start();
    let is_head = *call.method == Method::HEAD;
    let answering = http_proxy::first_byte(&mut line, &mut request, is_head, &progress, timeouts);
    if let Ok(Ok(answer)) = answering.await {
        return Some((answer, Other { line, place, request, progress }));
    }
    place.judge(node, true);
    None
}
