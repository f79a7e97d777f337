//! What machines ask of this replica: whether it lives, whether it is ready, what it counted.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Job};
use crate::error::{Error, Result};
use crate::{store, telemetry};

/// The database must have answered by then.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// Everything on the admin listener, which is for the machines around this one. Once `stopping`, the replica is
/// not ready any more, so that a balancer sends no new calls.
pub fn router(app: &App, stopping: CancellationToken) -> Router {
    let ready = async move |State(app): State<App>| {
        if stopping.is_cancelled() {
            unready("this replica is stopping")
        } else {
            readiness(&app).await
        }
    };
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(app.clone())
}

/// The same two questions on the management listener.
pub(super) fn probes(app: &App) -> Router {
    let ready = async |State(app): State<App>| readiness(&app).await;
    Router::new().route("/livez", get(live)).route("/readyz", get(ready)).with_state(app.clone())
}

async fn live() -> &'static str {
    "alive\n"
}

async fn readiness(app: &App) -> Response {
    match tokio::time::timeout(READY_WITHIN, schema(app)).await {
        Ok(Ok(true)) => "ready\n".into_response(),
        Ok(Ok(false)) => unready("the database lacks migrations that this build needs"),
        Ok(Err(error)) => {
            tracing::warn!(?error, "this replica is not ready");
            unready("the database cannot be read")
        }
        Err(_) => unready("the database does not answer"),
    }
}

fn unready(why: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response()
}

/// Whether the tables are those that this build knows, or newer ones, which suit it too.
async fn schema(app: &App) -> Result<bool> {
    let mut tx = app.system(Job::Health).await?;
    Ok(store::schema::version(&mut tx).await? >= store::schema::newest())
}

async fn metrics(State(app): State<App>) -> Response {
    match telemetry::render(&app) {
        Ok(text) => ([(header::CONTENT_TYPE, telemetry::CONTENT_TYPE)], text).into_response(),
        Err(error) => Error::internal(error).into_response(),
    }
}
