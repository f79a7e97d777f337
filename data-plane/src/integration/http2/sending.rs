//! A request's body on its way up a stream. Its start is kept until the answer comes: what the backend refused unseen is
//! sent again.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::HeaderMap;
use http_body::{Body as _, Frame};

use crate::{
    integration::{BoxError, upload::Upload},
    response::headers,
};

/// Of a body of which more was sent nothing is kept.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// A request's body, from its start while it can be sent again.
pub(super) struct Body {
    upload: Upload,
    /// What was taken off it; none where that was too much.
    kept: Option<Vec<Kept>>,
    kept_bytes: usize,
    /// How many of `kept` were sent on this stream.
    next: usize,
    ended: bool,
}

#[derive(Clone)]
enum Kept {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// A body and its stream.
pub(super) struct Sending {
    stream: SendStream<Bytes>,
    body: Body,
    /// Of a piece that the backend has not taken whole.
    rest: Bytes,
}

/// Why no more of a body is sent.
pub(super) enum Stopped {
    /// The body itself failed.
    Upload(BoxError),
    /// The stream takes no more. Its answer, or the lack of one, says why.
    Stream,
}

impl Body {
    pub(super) fn new(upload: Upload) -> Self {
        Self { upload, kept: Some(Vec::new()), kept_bytes: 0, next: 0, ended: false }
    }

    /// Puts it back to its start, for another stream; false where parts of it are gone.
    pub(super) fn rewind(&mut self) -> bool {
        self.next = 0;
        self.kept.is_some()
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let sent = self.kept.as_ref().is_none_or(|kept| self.next == kept.len());
        sent && (self.ended || self.upload.is_end_stream())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Kept, BoxError>>> {
        if let Some(kept) = self.kept.as_ref().and_then(|kept| kept.get(self.next)) {
            self.next += 1;
            return Poll::Ready(Some(Ok(kept.clone())));
        }
        while !self.ended {
            match ready!(Pin::new(&mut self.upload).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Some(piece) = Kept::of(frame) else { continue };
                    self.keep(&piece);
                    return Poll::Ready(Some(Ok(piece)));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.ended = true,
            }
        }
        Poll::Ready(None)
    }

    fn keep(&mut self, piece: &Kept) {
        match piece {
            Kept::Data(data) => self.kept_bytes += data.len(),
            Kept::Trailers(_) => self.ended = true,
        }
        if self.kept_bytes > KEPT_BYTES_MAX {
            self.kept = None;
        } else if let Some(kept) = &mut self.kept {
            kept.push(piece.clone());
            self.next = kept.len();
        }
    }
}

impl Kept {
    fn of(frame: Frame<Bytes>) -> Option<Self> {
        match frame.into_data() {
            Ok(data) => (!data.is_empty()).then_some(Self::Data(data)),
            Err(frame) => frame.into_trailers().ok().map(Self::Trailers),
        }
    }
}

impl Sending {
    pub(super) fn new(stream: SendStream<Bytes>, body: Body) -> Self {
        Self { stream, body, rest: Bytes::new() }
    }

    pub(super) fn into_body(self) -> Body {
        self.body
    }

    /// The backend has begun to answer: from here on nothing is sent again.
    pub(super) fn answered(&mut self) {
        self.body.kept = None;
    }

    /// The backend learns that no more comes.
    pub(super) fn cancel(&mut self) {
        self.stream.send_reset(Reason::CANCEL);
    }

    /// Hands over what the backend takes. Ready once that was all.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        loop {
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(Stopped::Stream));
            }
            while !self.rest.is_empty() {
                self.stream.reserve_capacity(self.rest.len());
                while self.stream.capacity() == 0 {
                    let Some(Ok(_)) = ready!(self.stream.poll_capacity(cx)) else {
                        return Poll::Ready(Err(Stopped::Stream));
                    };
                }
                let bytes = self.rest.len().min(self.stream.capacity());
                let piece = self.rest.split_to(bytes);
                let is_last = self.rest.is_empty() && self.body.is_end_stream();
                if self.stream.send_data(piece, is_last).is_err() {
                    return Poll::Ready(Err(Stopped::Stream));
                }
                if is_last {
                    return Poll::Ready(Ok(()));
                }
            }
            let sent = match ready!(self.body.poll_next(cx)) {
                Some(Ok(Kept::Data(data))) => {
                    self.rest = data;
                    continue;
                }
                Some(Ok(Kept::Trailers(mut trailers))) => {
                    headers::keep_trailing(&mut trailers);
                    self.stream.send_trailers(trailers)
                }
                None => self.stream.send_data(Bytes::new(), true),
                Some(Err(error)) => return Poll::Ready(Err(Stopped::Upload(error))),
            };
            return Poll::Ready(sent.map_err(|_| Stopped::Stream));
        }
    }
}
