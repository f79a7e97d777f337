//! Follows an answer to its last byte, and has it counted before that byte leaves.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Method, Response, StatusCode, Version, header::CONTENT_LENGTH};
use http_body::{Body, Frame, SizeHint};

use crate::{
    exchange::Exchange,
    head_bytes,
    integration::{AnswerBody, BoxError},
    pipe::Pipe,
};

/// What HTTP/2 sends at once, unless a caller asks for more (RFC 9113 §6.5.2).
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// The body that the server sends. Dropped before its end, the request counts as cut off.
pub(crate) struct Followed {
    body: AnswerBody,
    /// Of a piece that was too long.
    rest: Bytes,
    /// Gone once it ended.
    exchange: Option<Box<Exchange>>,
}

/// Ties a request's end to its answer's.
pub(crate) fn follow(
    mut exchange: Box<Exchange>,
    mut response: Response<AnswerBody>,
) -> Response<Followed> {
    let is_head = exchange.head.method == Method::HEAD;
    let without = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let bodiless = is_head || without;
    if without {
        // 204 has none (RFC 9110 §8.6), 304 need not, and over HTTP/1.1 the server would leave it away.
        response.headers_mut().remove(CONTENT_LENGTH);
    } else {
        measure(&mut response, is_head);
    }
    exchange.bytes_out += head_bytes::of_answer(&response);
    response.map(|body| {
        if bodiless || body.is_end_stream() {
            exchange.end(false); // no byte of a body will leave
            return Followed { body, rest: Bytes::new(), exchange: None };
        }
        exchange.serving.pace().offered(exchange.node.shared.config.limits.write_timeout);
        Followed { body, rest: Bytes::new(), exchange: Some(exchange) }
    })
}

/// Tells the length where it is known, as the server would do later.
fn measure(response: &mut Response<AnswerBody>, is_head: bool) {
    let bytes = response.body().size_hint().exact();
    // A backend that does not say to HEAD how long its answer is did not say that it is empty.
    let Some(bytes) = bytes.filter(|bytes| *bytes > 0 || !is_head) else { return };
    response.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| bytes.into());
}

impl Followed {
    /// The body's next piece: over HTTP/2 no longer than a frame, for what does not fit into the caller's window is
    /// buffered, and its pace is measured by the piece.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let is_http2 = self.exchange.as_ref().is_some_and(|it| it.head.version == Version::HTTP_2);
        let mut data = if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) if is_http2 && frame.is_data() => {
                    frame.into_data().unwrap_or_default()
                }
                other => return Poll::Ready(other),
            }
        } else {
            std::mem::take(&mut self.rest)
        };
        self.rest = data.split_off(data.len().min(PIECE_BYTES_MAX));
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    /// How much of the body a pipe may be filled with next.
    pub(crate) fn unread(&self) -> u64 {
        if self.rest.is_empty() { self.body.unread() } else { 0 }
    }

    /// Fills an empty pipe with what comes next of the body, in the place of a piece; gives how many bytes that are.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Poll<Option<Result<u64, BoxError>>> {
        let polled = self.body.poll_fill(cx, pipe);
        self.counted(polled, |bytes| *bytes)
    }

    /// Counts a piece, of so many bytes, and sees whether it is the last.
    fn counted<T>(
        &mut self,
        polled: Poll<Option<Result<T, BoxError>>>,
        bytes: impl FnOnce(&T) -> u64,
    ) -> Poll<Option<Result<T, BoxError>>> {
        let Poll::Ready(polled) = polled else {
            if let Some(exchange) = &self.exchange {
                exchange.serving.pace().taken();
            }
            return Poll::Pending;
        };
        let ended = self.is_end_stream();
        if let Some(exchange) = &mut self.exchange {
            match &polled {
                Some(Ok(piece)) => {
                    exchange.bytes_out += bytes(piece);
                    if ended {
                        exchange.end(false);
                    } else {
                        exchange.progress();
                        let timeout = exchange.node.shared.config.limits.write_timeout;
                        exchange.serving.pace().offered(timeout);
                    }
                }
                Some(Err(_)) => exchange.end(true),
                None => exchange.end(false),
            }
        }
        Poll::Ready(polled)
    }
}

impl Body for Followed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = self.poll_piece(cx);
        self.counted(polled, |frame| frame.data_ref().map_or(0, |data| data.len() as u64))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}
