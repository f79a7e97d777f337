//! An answer that came before all of its request went (RFC 9112 §9.3): the two go on side by side. The rest of the
//! request gets a task of its own, for whoever takes the answer may send its request first, and take nothing until then.

use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::Frame;
use tokio::task::AbortHandle;
use upstream::{Alarm, SendError, Sending};

use super::{
    BoxError,
    pool::Loan,
    upload::{Progress, Upload},
};
use crate::node::Node;

/// The answer's end of such an exchange. Dropped before the answer's end, it takes all of it down.
pub(super) struct Early {
    shared: Rc<RefCell<Shared>>,
    rest: AbortHandle,
}

struct Shared {
    /// Gone once the exchange is over.
    loan: Option<Loan>,
    /// All of the answer was read.
    answered: bool,
    /// Whoever waits for the answer.
    reader: Option<Waker>,
}

impl Early {
    pub(super) fn start(
        node: &Rc<Node>,
        loan: Loan,
        request: Sending<Upload>,
        progress: Rc<Progress>,
        idle: Duration,
    ) -> Self {
        let shared = Shared { loan: Some(loan), answered: false, reader: None };
        let shared = Rc::new(RefCell::new(shared));
        let rest = send_rest(node.clone(), shared.clone(), request, progress, idle);
        Self { shared, rest: tokio::task::spawn_local(rest).abort_handle() }
    }

    pub(super) fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut shared = self.shared.borrow_mut();
        let Some(loan) = &mut shared.loan else {
            return Poll::Ready(Some(Err("the request's body failed".into())));
        };
        let polled = loan.line.connection.poll_frame(cx);
        if polled.is_pending() {
            shared.reader = Some(cx.waker().clone());
        }
        polled.map_err(Into::into)
    }

    pub(super) fn poll_due(&self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let mut shared = self.shared.borrow_mut();
        shared.loan.as_mut().map_or(Poll::Ready(()), |loan| loan.line.alarm.poll_due(cx, due))
    }

    /// Looks at the connection, while there is one.
    pub(super) fn with<T>(&self, look: impl FnOnce(&Loan) -> T) -> Option<T> {
        self.shared.borrow().loan.as_ref().map(look)
    }

    /// All of the answer was read. What is left of the request goes out, unless it stands still.
    pub(super) fn answered(&self, node: &Node) {
        let mut shared = self.shared.borrow_mut();
        shared.answered = true;
        shared.end(node, self.rest.is_finished());
    }
}

impl Shared {
    /// Gives the connection back, once both sides are through with it.
    fn end(&mut self, node: &Node, is_sent: bool) {
        if self.answered
            && is_sent
            && let Some(loan) = self.loan.take()
        {
            node.pools.give_back(loan);
        }
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        let mut shared = self.shared.borrow_mut();
        if !shared.answered {
            shared.loan = None;
            self.rest.abort();
        }
    }
}

async fn send_rest(
    node: Rc<Node>,
    shared: Rc<RefCell<Shared>>,
    mut request: Sending<Upload>,
    progress: Rc<Progress>,
    idle: Duration,
) {
    let (mut alarm, mut since) = (Alarm::default(), Instant::now());
    let sent = poll_fn(|cx| {
        let mut shared = shared.borrow_mut();
        let Some(loan) = &mut shared.loan else { return Poll::Ready(None) };
        if let Poll::Ready(sent) = loan.line.connection.poll_send(cx, &mut request) {
            return Poll::Ready(Some(sent));
        }
        loop {
            // While the answer comes it is for others to say how long that takes.
            since = since.max(progress.moved_at());
            std::task::ready!(alarm.poll_due(cx, since + idle));
            if shared.answered {
                return Poll::Ready(None);
            }
            since = Instant::now();
        }
    });
    let sent = sent.await;
    let mut shared = shared.borrow_mut();
    match sent {
        // A backend that takes no more may still be answering.
        Some(Ok(()) | Err(SendError::Connection(_))) => shared.end(&node, true),
        Some(Err(SendError::Body(_))) | None => {
            shared.loan = None;
            if let Some(reader) = shared.reader.take() {
                reader.wake();
            }
        }
    }
}
