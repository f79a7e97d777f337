//! Follows an answer to its last byte, and has it counted before that byte leaves.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use crate::{
    exchange::Exchange,
    integration::{AnswerBody, BoxError},
};

/// The body that the server sends. Dropped before its end, the request counts as cut off.
pub(crate) struct Followed {
    body: AnswerBody,
    /// Gone once it ended.
    exchange: Option<Box<Exchange>>,
}

/// Ties a request's end to its answer's.
pub(crate) fn follow(mut exchange: Exchange, response: Response<AnswerBody>) -> Response<Followed> {
    let status = response.status();
    let bodiless = exchange.head.method == Method::HEAD
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    response.map(|body| {
        if bodiless || body.is_end_stream() {
            exchange.end(false); // no byte of a body will leave
            return Followed { body, exchange: None };
        }
        Followed { body, exchange: Some(Box::new(exchange)) }
    })
}

impl Body for Followed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        let ended = self.body.is_end_stream();
        if let Some(exchange) = &mut self.exchange {
            match &polled {
                Some(Ok(frame)) => {
                    exchange.bytes_out += frame.data_ref().map_or(0, |data| data.len() as u64);
                    if ended { exchange.end(false) } else { exchange.progress() }
                }
                Some(Err(_)) => exchange.end(true),
                None => exchange.end(false),
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
