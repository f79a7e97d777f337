//! The control plane: the truth, and everyone's doors to it.
//!
//! The way of configuration runs through `graphql` or `rest`, `domain`, `store`, `snapshot`, `grpc`; the way of
//! usage through `grpc`, `ledger`, and back out by `domain`. Replicas are identical and hold no state of their
//! own: what one knows, PostgreSQL knows.
//!
//! Deliberately absent: anything on the way of a tenant's request (that is `data-plane`), and any second
//! engine that would evaluate a route or a template here.
#![recursion_limit = "256"] // GraphQL's merged roots nest one type for each noun
#![forbid(unsafe_code)]

pub mod access;
pub mod app;
pub mod clock;
pub mod config;
pub mod domain;
pub mod error;
pub mod graphql;
pub mod grpc;
pub mod http;
pub mod ids;
pub mod jobs;
pub mod ledger;
pub mod live;
pub mod mail;
pub mod rest;
pub mod snapshot;
pub mod store;
pub mod telemetry;
#[cfg(test)]
pub(crate) mod testing;

use tokio_util::sync::CancellationToken;

use crate::app::App;
pub use crate::config::Config;
use crate::error::Result;

/// Serves until `shutdown` completes and what is in flight has been answered. The admin listener stays to the
/// last, and says meanwhile that this replica is stopping.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let app = App::connect(config).await?;
    // Before the first call: a session that was ended must not come back with a replica that starts.
    jobs::learn_ended_sessions(&app).await?;
    // Every address first: a port in use must not leave half a replica running.
    let nodes = grpc::Grpc::bind(&app).await?;
    let people = http::listener::bind(app.config.http_listen).await?;
    let admin = http::listener::bind(app.config.admin_listen).await?;

    let (stop, done) = (CancellationToken::new(), CancellationToken::new());
    let serve = async {
        let people = http::listener::serve(
            people,
            http::router(&app),
            app.config.trusted_proxies.clone().into(),
            stop.clone(),
        );
        let people = async {
            people.await;
            Ok(())
        };
        let jobs = jobs::run(app.clone(), stop.clone());
        let sockets = async {
            stop.cancelled().await;
            app.live.sockets.close().await;
            Ok(())
        };
        let answered = CancellationToken::new();
        let served = async {
            let all = tokio::try_join!(people, sockets, nodes.serve(stop.clone()), jobs);
            answered.cancel();
            all.map(drop)
        };
        let log = Box::pin(domain::management_request::write(&app, answered.clone()));
        let (served, ()) = tokio::join!(served, log);
        done.cancel();
        served
    };
    let admin = async {
        let router = http::admin::router(&app, stop.clone());
        http::listener::serve(admin, router, [].into(), done.clone()).await;
        Ok(())
    };
    let shutdown = async {
        // A part that failed ends the others too.
        done.run_until_cancelled(shutdown).await;
        stop.cancel();
        Ok(())
    };
    tokio::try_join!(serve, admin, shutdown).map(drop)
}

/// One cryptographic provider for the whole process, before anything uses one.
pub fn install_crypto() {
    // A second call finds them in place, which is what we want.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}
