//! What operators and orchestrators ask a node, on a listener of its own: `/livez`, `/readyz`, `/metrics`.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::TextEncoder;
use tokio::{net::TcpListener, sync::Semaphore};

use crate::node::Shared;

const CONNECTIONS_MAX: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for the admin port");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let response = answer(&shared, &request);
                async { Ok::<_, Infallible>(response) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a connection to the admin port ended badly");
            }
            drop(permit);
        });
    }
}

fn answer<B>(shared: &Shared, request: &Request<B>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".to_owned());
    }
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "alive\n".to_owned()),
        "/readyz" => match (shared.unready(), shared.wants()) {
            (Some(why), _) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
            (None, Some(wants)) => text(StatusCode::OK, format!("ready, but {wants}\n")),
            (None, None) => text(StatusCode::OK, "ready\n".to_owned()),
        },
        "/metrics" => metrics(shared),
        _ => text(StatusCode::NOT_FOUND, "/livez, /readyz and /metrics are here\n".to_owned()),
    }
}

fn metrics(shared: &Shared) -> Response<Full<Bytes>> {
    shared.metrics.config_loaded.set(shared.snapshot.load().loaded.into());
    match TextEncoder::new().encode_to_string(&shared.metrics.registry.gather()) {
        Ok(encoded) => text(StatusCode::OK, encoded),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n".to_owned())
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::{Config, snapshot::Snapshot};

    async fn ask(shared: &Shared, method: Method, path: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(path).body(()).unwrap();
        let (head, body) = answer(shared, &request).into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_node_is_ready_from_its_first_configuration_until_it_drains() {
        let shared = Shared::new(Config::new("unused".into())).unwrap();
        let ready = async || ask(&shared, Method::GET, "/readyz").await.0;
        assert_eq!(ask(&shared, Method::GET, "/livez").await.0, 200);
        assert_eq!(ready().await, 503);
        let mut loaded = Snapshot::default();
        loaded.loaded = true;
        shared.snapshot.store(Arc::new(loaded));
        assert_eq!(ready().await, 200);
        let (status, metrics) = ask(&shared, Method::GET, "/metrics").await;
        assert_eq!(status, 200);
        assert!(metrics.contains("tollgate_config_loaded 1"), "{metrics}");
        shared.start_draining();
        assert_eq!(ready().await, 503);
        assert_eq!(ask(&shared, Method::GET, "/livez").await.0, 200);
        assert_eq!(ask(&shared, Method::POST, "/readyz").await.0, 405);
        assert_eq!(ask(&shared, Method::GET, "/").await.0, 404);
    }
}
