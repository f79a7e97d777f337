//! What answers a call that was let through.

mod aws;
pub(crate) mod balance;
pub(crate) mod breaker;
mod buffered;
mod connect;
mod custom;
pub(crate) mod decompress;
mod download;
mod early;
pub(crate) mod function;
pub(crate) mod health;
mod hedge;
mod http2;
mod http_custom;
mod http_proxy;
mod media;
pub(crate) mod metrics;
mod mock;
pub(crate) mod pool;
mod retry;
mod sigv4;
mod subtype;
mod upload;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

pub(crate) use self::download::Download;
use self::function::stream::Streamed;
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    node::Node,
    pipe::Pipe,
    response::Compressed,
    snapshot::{Snapshot, served::Integration},
};

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer before it is counted.
pub(crate) enum AnswerBody {
    /// All of it, until it was taken.
    Whole(Option<Bytes>),
    /// From a backend, as it comes.
    Download(Box<Download>),
    /// From a function by Lambda's API, as it comes.
    Streamed(Box<Streamed>),
    /// Either of them, compressed on its way.
    Compressed(Box<Compressed>),
}

pub(crate) async fn call(
    node: &Node,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    let stage = exchange.stage.clone();
    let position = exchange.route().map(|route| route.integration);
    let integration =
        stage.as_deref().zip(position).and_then(|(stage, at)| stage.integrations.get(at));
    if let Some(integration) = integration {
        exchange.decompress = decompress::prepare(exchange, integration)?;
    }
    match integration {
        Some(Integration::HttpProxy(proxy)) => {
            http_proxy::call(node, snapshot, exchange, proxy, http_proxy::ALL).await
        }
        // On the heap: other calls carry no room for it.
        Some(Integration::Http(call)) => {
            Box::pin(http_custom::call(node, snapshot, exchange, call)).await
        }
        Some(Integration::Function(function)) => {
            Box::pin(function::call(node, snapshot, exchange, function)).await
        }
        Some(Integration::Aws(aws)) => Box::pin(aws::call(node, snapshot, exchange, aws)).await,
        Some(Integration::Mock(mock)) => mock::call(exchange, mock),
        None => Err(Kind::ApiConfigurationError.because("The route leads to no integration.")),
    }
}

impl AnswerBody {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }

    /// How much of it a pipe may be filled with next.
    pub(crate) fn unread(&self) -> u64 {
        match self {
            Self::Whole(_) | Self::Streamed(_) | Self::Compressed(_) => 0,
            Self::Download(download) => download.unread(),
        }
    }

    /// Fills an empty pipe with what comes next of it; gives how many bytes that are.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Poll<Option<Result<u64, BoxError>>> {
        match self {
            Self::Whole(_) | Self::Streamed(_) | Self::Compressed(_) => Poll::Ready(None),
            Self::Download(download) => download.poll_fill(cx, pipe),
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Download(download) => Pin::new(&mut **download).poll_frame(cx),
            Self::Streamed(streamed) => Pin::new(&mut **streamed).poll_frame(cx),
            Self::Compressed(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Download(download) => download.is_end_stream(),
            Self::Streamed(streamed) => streamed.is_end_stream(),
            Self::Compressed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Self::Download(download) => download.size_hint(),
            Self::Streamed(streamed) => streamed.size_hint(),
            Self::Compressed(body) => body.size_hint(),
        }
    }
}
