//! For nodes, over mutual TLS: configuration out, usage in.

pub mod authenticate;
pub mod config_stream;
mod crowd;
pub mod inquiry;
pub mod listener;
pub mod reconciliation;
pub mod request_tail;
#[cfg(test)]
mod tests;
pub mod usage_intake;

use std::net::SocketAddr;
use std::time::Duration;

use proto::config::v1::config_stream_server::ConfigStreamServer;
use proto::inquiry::v1::inquiry_server::InquiryServer;
use proto::reconciliation::v1::reconciliation_server::ReconciliationServer;
use proto::segment::CONTENT_BYTES_MAX;
use proto::tail::v1::request_tail_server::RequestTailServer;
use proto::usage::v1::usage_intake_server::UsageIntakeServer;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::Server;

pub use authenticate::AuthenticatedNode;

use crate::access::authority::Authority;
use crate::app::App;
use crate::error::{Error, Result};
use crate::snapshot::changes::Changes;

/// A peer that is silent and does not answer a ping for this long is gone.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// What one node may ask at once.
const STREAMS_MAX: u32 = 64;
/// No node's message to the config stream is longer.
const NODE_MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Nor a report of what it counted: 5000 counts of at most 100 bytes.
const REPORT_BYTES_MAX: usize = 1024 * 1024;

/// The server for nodes, bound and ready to serve.
pub struct Grpc {
    app: App,
    authority: Authority,
    changes: Changes,
    listener: TcpListener,
}

impl Grpc {
    pub async fn bind(app: &App) -> Result<Self> {
        let authority = Authority::open(app).await?;
        let changes = Changes::open(app).await?;
        let address = app.config.grpc_listen;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|cause| Error::internal(format!("cannot listen on {address}: {cause}")))?;
        Ok(Self { app: app.clone(), authority, changes, listener })
    }

    /// Where it listens: the port that was free, where the settings say 0.
    pub fn address(&self) -> Result<SocketAddr> {
        self.listener.local_addr().map_err(Error::internal)
    }

    /// Serves until `shutdown`, then ends every stream: nodes go on with another replica.
    pub async fn serve(self, shutdown: CancellationToken) -> Result<()> {
        let Self { app, authority, changes, listener } = self;
        let revoked = changes.revoked();
        let tls = listener::tls(&app, &authority)?;
        let stream = config_stream::Service {
            app: app.clone(),
            authority,
            changes: changes.clone(),
            shutdown: shutdown.clone(),
            joins: config_stream::joins(),
        };
        let usage = usage_intake::Service::new(app.clone(), changes.line(), shutdown.clone());
        let tail = request_tail::Service { app: app.clone(), shutdown: shutdown.clone() };
        let inquiry = inquiry::Service { app: app.clone(), shutdown: shutdown.clone() };
        let services = Routes::new(
            ConfigStreamServer::new(stream).max_decoding_message_size(NODE_MESSAGE_BYTES_MAX),
        )
        .add_service(UsageIntakeServer::new(usage).max_decoding_message_size(2 * CONTENT_BYTES_MAX))
        .add_service(RequestTailServer::new(tail).max_decoding_message_size(NODE_MESSAGE_BYTES_MAX))
        .add_service(InquiryServer::new(inquiry).max_decoding_message_size(NODE_MESSAGE_BYTES_MAX));
        let reconciliation =
            ReconciliationServer::new(reconciliation::Service { app: app.clone() });
        let services =
            services.add_service(reconciliation.max_decoding_message_size(REPORT_BYTES_MAX));
        let (accepted, incoming) = mpsc::channel(16);
        let accept = listener::accept(
            listener,
            tls,
            revoked.clone(),
            app.clock.clone(),
            app.config.trusted_proxies.clone().into(),
            accepted,
            shutdown.clone(),
        );
        let server = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .max_concurrent_streams(STREAMS_MAX)
            .http2_max_header_list_size(16 * 1024)
            .layer(authenticate::Authenticate { revoked })
            .add_routes(services)
            .serve_with_incoming_shutdown(
                ReceiverStream::new(incoming),
                shutdown.clone().cancelled_owned(),
            );
        let (ended, (), ()) = tokio::join!(server, accept, changes.run(shutdown));
        ended.map_err(Error::internal)
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::BadRequest { .. }
            | Error::PersistedQueryNotFound
            | Error::PageSizeRequired { .. }
            | Error::TooLarge { .. }
            | Error::UnsupportedMediaType(_)
            | Error::MethodNotAllowed => Self::invalid_argument(message),
            Error::Timeout => Self::deadline_exceeded(message),
            Error::Unauthenticated(_) => Self::unauthenticated(message),
            Error::Forbidden(_) | Error::TenantSuspended { .. } => Self::permission_denied(message),
            Error::NotFound(_) | Error::NotKept(_) => Self::not_found(message),
            Error::Conflict { .. }
            | Error::PreconditionFailed { .. }
            | Error::IdempotencyKeyReuse
            | Error::IdempotencyKeyInUse { .. }
            | Error::IdempotencyAnswerLost { .. } => Self::already_exists(message),
            Error::LimitExceeded { .. } | Error::TooManyRequests { .. } => {
                Self::resource_exhausted(message)
            }
            Error::Internal(cause) => {
                tracing::error!(error = ?cause, "a node's call failed");
                Self::internal(message)
            }
        }
    }
}
