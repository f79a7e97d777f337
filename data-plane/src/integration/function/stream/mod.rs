//! `responseTransferMode` `STREAM` of a function: its answer begins with its status and fields in JSON, 8 NUL bytes end that,
//! and the body follows and goes on as it comes. By Lambda's Invoke API all this is in the chunks of an event stream.

pub(crate) mod events;
mod head;

use std::{
    borrow::Cow,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use self::events::{Event, Events, Failure};
pub(crate) use self::head::Head;
use super::{BoxError, Download, answer, broken_off, failed};
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    integration::{
        AnswerBody,
        download::{Kept, Stalled},
    },
    snapshot::served::PayloadFormatVersion as Format,
};

/// What a function's host answers, as the caller gets it. `by_lambda`: it is an event stream.
pub(super) async fn read(
    exchange: &Exchange,
    format: Format,
    mut download: Download,
    by_lambda: bool,
    deadline: Option<Instant>,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    let (head, body) = if by_lambda {
        let mut streamed = Streamed::new(download);
        let (head, first) = until_body(&mut streamed).await?;
        streamed.first = first;
        (head, AnswerBody::Streamed(Box::new(streamed)))
    } else {
        let (head, bytes) = until_body(&mut download).await?;
        if !bytes.is_empty() {
            download.keep(Kept { bytes, trailers: None });
        }
        (head, AnswerBody::Download(Box::new(download)))
    };
    let response = answer::head(format, &head).map_err(|why| {
        violated(format!("The head of the function's answer is malformed: {}.", why.0))
    })?;
    exchange.serving.pace().whole_by(deadline);
    let has_none = answer::BODYLESS.contains(&response.status()) || body.is_end_stream();
    Ok(response.map(|()| if has_none { AnswerBody::whole(Bytes::new()) } else { body }))
}

/// The head, and what came of the body with it.
async fn until_body<B>(body: &mut B) -> Result<(Vec<u8>, Bytes), GatewayResponse>
where
    B: Body<Data = Bytes, Error = BoxError> + Unpin,
{
    let mut head = Head::default();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        let frame = frame.map_err(|why| refused(&why))?;
        let Ok(data) = frame.into_data() else { continue };
        let found = head.push(data).map_err(|head::TooLong| {
            violated("The function's answer has no 8 NUL bytes behind its head, within 16 KiB.")
        })?;
        if let Some(found) = found {
            return Ok(found);
        }
    }
    Err(violated("The function's answer ended before the 8 NUL bytes behind its head."))
}

fn violated(why: impl Into<Cow<'static, str>>) -> GatewayResponse {
    Kind::FunctionStreamFailure.because(why)
}

/// Why there is no head.
fn refused(why: &BoxError) -> GatewayResponse {
    match why.downcast_ref::<Failure>() {
        _ if why.is::<Stalled>() => broken_off(why),
        Some(Failure::Function) => failed("The function failed."),
        Some(Failure::Malformed(_)) => violated(format!("{why}.")),
        Some(Failure::BrokeOff) | None => broken_off(why),
    }
}

/// The answer of a function that is invoked by Lambda's API, as it comes.
pub(crate) struct Streamed {
    download: Box<Download>,
    events: Events,
    /// What came and was not read yet.
    input: Bytes,
    /// Of the body, and came with the head.
    first: Bytes,
    /// Of the answer, and next to go.
    next: Bytes,
    /// What comes behind that is no stream.
    failure: Option<Failure>,
    /// It broke off, of which the caller is to learn yet.
    broken: Option<BoxError>,
}

impl Streamed {
    fn new(download: Download) -> Self {
        Self {
            download: Box::new(download),
            events: Events::default(),
            input: Bytes::new(),
            first: Bytes::new(),
            next: Bytes::new(),
            failure: None,
            broken: None,
        }
    }

    /// Reads on in what came until there is something to give, so that the end is known with the last byte.
    fn advance(&mut self) {
        while self.next.is_empty() && self.failure.is_none() {
            match self.events.next(&mut self.input) {
                Ok(Some(Event::Chunk(bytes))) => self.next = bytes,
                Ok(Some(Event::Complete)) => {}
                Ok(None) => return,
                Err(why) => self.failure = Some(why),
            }
        }
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.first))));
        }
        loop {
            if !self.next.is_empty() {
                let bytes = std::mem::take(&mut self.next);
                self.advance();
                return Poll::Ready(Some(Ok(bytes)));
            }
            if let Some(why) = self.failure {
                return Poll::Ready(Some(Err(why.into())));
            }
            match ready!(Pin::new(&mut *self.download).poll_frame(cx)) {
                None if self.events.is_complete() => return Poll::Ready(None),
                None => self.failure = Some(Failure::BrokeOff),
                Some(frame) => {
                    self.input = frame?.into_data().unwrap_or_default();
                    self.advance();
                }
            }
        }
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(why) = self.broken.take() {
            return Poll::Ready(Some(Err(why)));
        }
        match ready!(self.poll_bytes(cx)) {
            Some(Err(why)) => {
                tracing::debug!(error = %why, "a function's answer broke off");
                self.broken = Some(why);
                // Next time, so that what came before leaves before: an error ends the caller's connection at once.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            polled => Poll::Ready(polled.map(|bytes| bytes.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty()
            && self.next.is_empty()
            && self.failure.is_none()
            && self.broken.is_none()
            && self.events.is_complete()
            && self.download.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}
