//! An answer on its way out whose body goes from the backend's socket to the caller's through a pipe, as far as it can:
//! what is in memory goes first, and what cannot go that way is copied.

use std::{
    io,
    rc::Rc,
    task::{Context, Poll, ready},
};

use downstream::{SendError, Sending, Writer};
use tokio_util::either::Either;

use super::client_io::ClientStream;
use crate::{node::Node, pipe::Pipe, response::Followed};

/// A body of which so much is to come is worth a pipe. Copying less costs a read and a write, and no more than some
/// 20 µs; the two calls that move it cost the same, and bring little.
const UNREAD_BYTES_MIN: u64 = 64 * 1024;

/// How one answer goes.
pub(super) struct Splice {
    node: Rc<Node>,
    /// A pipe is used where the body allows it.
    splices: bool,
    /// With what leaves next.
    pipe: Option<Pipe>,
    /// Some of the body went through a pipe; the rest does, however little it is.
    begun: bool,
}

impl Splice {
    /// `splices`: the caller's end is a bare socket.
    pub(super) fn new(node: Rc<Node>, splices: bool) -> Self {
        Self { node, splices, pipe: None, begun: false }
    }

    /// Hands over what the caller takes. Ready once the last byte was taken.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        answer: &mut Sending<Followed>,
        writer: &mut Writer<ClientStream>,
    ) -> Poll<Result<(), SendError>> {
        loop {
            if let Some(pipe) = &mut self.pipe {
                ready!(poll_empty(cx, pipe, writer)).map_err(SendError::Connection)?;
            }
            let min = if self.begun { 1 } else { UNREAD_BYTES_MIN };
            let stops = |body: &Followed| self.splices && body.unread() >= min;
            ready!(answer.poll_send_until(cx, writer, stops))?;
            let Some(body) = answer.body_mut() else { return Poll::Ready(Ok(())) };
            let Some(mut pipe) = self.pipe.take().or_else(|| self.node.pipes.take()) else {
                self.splices = false; // the rest is copied
                continue;
            };
            match body.poll_fill(cx, &mut pipe) {
                Poll::Ready(Some(Ok(bytes))) => {
                    self.pipe = Some(pipe);
                    self.begun = true;
                    self.node.shared.metrics.spliced_bytes.inc_by(bytes);
                    answer.moved(bytes)?;
                }
                other => {
                    // While nothing comes, nothing is held for it.
                    self.node.pipes.give_back(pipe);
                    if let Some(Err(error)) = ready!(other) {
                        return Poll::Ready(Err(SendError::Body(error)));
                    }
                }
            }
        }
    }
}

impl Drop for Splice {
    fn drop(&mut self) {
        if let Some(pipe) = self.pipe.take() {
            self.node.pipes.give_back(pipe); // or closed, with what is in it
        }
    }
}

/// Until nothing is left in it.
fn poll_empty(
    cx: &mut Context<'_>,
    pipe: &mut Pipe,
    writer: &Writer<ClientStream>,
) -> Poll<io::Result<()>> {
    while !pipe.is_empty() {
        ready!(writer.poll_with(cx, |stream, cx| match stream.get_mut() {
            Either::Left(socket) => pipe.poll_empty(cx, socket),
            Either::Right(_) => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }))?;
    }
    Poll::Ready(Ok(()))
}
