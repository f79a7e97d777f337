//! A second try beside the first, where that has not begun to answer in time: whoever answers first has the call, and the other one
//! is given up with its connection. gRPC calls it hedging (proposal A6).

use std::{
    future::Future,
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
    gateway_response::GatewayResponse, listener::client_io::Serving, node::Node,
    snapshot::served::Timeouts,
};

/// A call without a body, as it is sent.
pub(super) struct Call<'a> {
    pub(super) node: &'a Node,
    pub(super) way: &'a Way<'a>,
    pub(super) method: &'a Method,
    pub(super) target: &'a PathAndQuery,
    pub(super) fields: &'a HeaderMap,
    pub(super) serving: Rc<Serving>,
    pub(super) timeouts: Timeouts,
}

/// What the second try has of its own.
pub(super) struct Other {
    pub(super) line: Line,
    pub(super) place: Place,
    pub(super) request: Sending<Upload>,
    pub(super) progress: Rc<Progress>,
}

/// The head of an answer, or why there is none.
pub(super) type Answered = Result<Result<Answer, Error>, GatewayResponse>;

/// What the first one gets that answers, and the second try where it was that. `own`: the first, which is at `place`.
/// `hedged`: whether there was a second.
pub(super) async fn race(
    call: Call<'_>,
    own: impl Future<Output = Answered>,
    place: &Place,
    delay: Duration,
    tries: &mut Tries<'_>,
    budget: &Budget,
    hedged: &mut bool,
) -> (Answered, Option<Other>) {
    let mut own = pin!(own);
    if let Ok(answered) = timeout(delay, &mut own).await {
        return (answered, None);
    }
    if !tries.hedge(budget) {
        return (own.await, None);
    }
    *hedged = true;
    let metrics = &call.node.shared.metrics.backends;
    metrics.hedges.inc();
    let other = pin!(send(&call, place));
    let (answered, won) = match select(own, other).await {
        Either::Left((Ok(Ok(answer)), _)) => (Ok(Ok(answer)), None),
        Either::Left((failed, other)) => match other.await {
            Some((answer, won)) => {
                place.judge(call.node, true);
                (Ok(Ok(answer)), Some(won))
            }
            None => (failed, None),
        },
        Either::Right((Some((answer, won)), _)) => (Ok(Ok(answer)), Some(won)),
        Either::Right((None, own)) => (own.await, None),
    };
    if won.is_some() {
        metrics.hedges_won.inc();
    }
    (answered, won)
}

/// Sends the call on another connection: of a VPC link to another target, where there is one. `None`: no answer came of it, and the
/// first try goes on.
async fn send(call: &Call<'_>, first: &Place) -> Option<(Answer, Other)> {
    let Call { node, way, timeouts, .. } = *call;
    let place = http_proxy::enter_beside(node, way, first).await?;
    let connect_by = Instant::now() + timeouts.connect;
    let (target, policy) = (&way.proxy.target, &way.tenant.egress);
    let Ok(mut line) = connect(node, &place, target, policy, connect_by, false).await else {
        place.judge(node, true);
        return None;
    };
    let (upload, progress) = Upload::new(None, None, call.serving.clone(), Rc::default(), 0);
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
