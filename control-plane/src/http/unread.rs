//! What hyper answers by itself, because there was no request that it could read: made a problem with an id, as every
//! other refusal is.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::io::AsyncWrite;
use uuid::Uuid;

use crate::rest::problem::{Problem, kind};
use crate::telemetry;

/// What hyper says of a head that it cannot read, and why.
const REASONS: [(StatusCode, &str); 3] = [
    (StatusCode::BAD_REQUEST, "the request's head is not HTTP"),
    (StatusCode::URI_TOO_LONG, "the request's path and query are too long"),
    (
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "the request has too many headers, or too large ones",
    ),
];

/// The bytes on their way to one client.
pub(super) struct Answers<W> {
    inner: W,
    client: IpAddr,
    /// The rest of a problem that hyper believes to be written.
    pending: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> Answers<W> {
    pub(super) fn new(inner: W, client: IpAddr) -> Self {
        Self { inner, client, pending: Vec::new() }
    }

    fn poll_pending(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(context, &self.pending))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.pending.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

/// The problem to send in place of an answer of hyper's own, which is a head alone and without our id.
fn problem(answer: &[u8]) -> Option<Problem> {
    const OWN_BYTES_MAX: usize = 256;
    if answer.len() > OWN_BYTES_MAX || !answer.ends_with(b"\r\n\r\n") {
        return None;
    }
    let head = str::from_utf8(answer).ok()?;
    let (status, detail) = REASONS
        .iter()
        .find(|(status, _)| head.starts_with(&format!("HTTP/1.1 {} ", status.as_u16())))?;
    let ours = head.contains("x-request-id: ");
    let id = Uuid::now_v7();
    (!ours).then(|| Problem {
        kind: kind("bad_request"),
        title: status.canonical_reason().unwrap_or_default().to_owned(),
        status: status.as_u16(),
        detail: (*detail).to_owned(),
        code: "bad_request".to_owned(),
        param: None,
        version: None,
        retry_after_seconds: None,
        instance: Some(id.urn().to_string()),
        request_id: Some(id.to_string()),
        log_url: None,
    })
}

/// The problem as HTTP/1.1.
fn render(problem: &Problem) -> io::Result<Vec<u8>> {
    let body = serde_json::to_string(problem)?;
    let (status, title, length) = (problem.status, &problem.title, body.len());
    let id = problem.request_id.as_deref().unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\ncontent-length: {length}\r\n\
         cache-control: no-store\r\nx-request-id: {id}\r\nconnection: close\r\n\r\n"
    );
    Ok((head + &body).into_bytes())
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Answers<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_pending(context))?;
        let Some(problem) = problem(bytes) else {
            return Pin::new(&mut self.inner).poll_write(context, bytes);
        };
        self.pending = render(&problem)?;
        telemetry::answered("other", "-", problem.status, Duration::ZERO);
        tracing::info!(
            target: "access",
            {
                request.id = problem.request_id,
                client.address = %self.client,
                http.method = "other",
                http.route = "-",
                http.status = problem.status,
                duration_ms = 0.0,
            },
            "request"
        );
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(context))?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_pending(context))?;
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
