//! The control plane: the truth, and everyone's doors to it.
//!
//! The way of configuration runs through `graphql` or `rest`, `domain`, `store`, `snapshot`, `grpc`; the way of
//! usage through `grpc`, `ledger`, and back out by `domain`. Replicas are identical and hold no state of their
//! own: what one knows, PostgreSQL knows.
//!
//! Deliberately absent: anything on the way of a tenant's request (that is `data-plane`), and any second
//! engine that would evaluate a route or a template here.
#![forbid(unsafe_code)]

pub mod access;
pub mod app;
pub mod clock;
pub mod config;
pub mod domain;
pub mod error;
pub mod graphql;
pub mod grpc;
pub mod ids;
pub mod jobs;
pub mod ledger;
pub mod rest;
pub mod snapshot;
pub mod store;
#[cfg(test)]
pub(crate) mod testing;

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::App;
pub use crate::config::Config;
use crate::error::{Error, Result};

/// Serves until `shutdown` completes and what is in flight has been answered.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let app = App::connect(config).await?;
    let nodes = grpc::Grpc::bind(&app).await?;
    let listener = TcpListener::bind(app.config.http_listen).await.map_err(Error::internal)?;
    let stop = CancellationToken::new();
    let jobs = jobs::run(app.clone(), stop.clone());
    let service = rest::router(&app).into_make_service_with_connect_info::<SocketAddr>();
    let people = async {
        let stopped = stop.clone().cancelled_owned();
        axum::serve(listener, service)
            .with_graceful_shutdown(stopped)
            .await
            .map_err(Error::internal)
    };
    let shutdown = async {
        shutdown.await;
        stop.cancel();
        Ok(())
    };
    tokio::try_join!(people, nodes.serve(stop.clone()), jobs, shutdown).map(drop)
}

/// One cryptographic provider for the whole process, before anything uses one.
pub fn install_crypto() {
    // A second call finds them in place, which is what we want.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}
