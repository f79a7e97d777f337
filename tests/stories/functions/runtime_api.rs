//! Lambda's Runtime API, as a function's runtime polls it, behind the invocation that Lambda's images have for local runs:
//! `/2015-03-31/functions/function/invocations` takes an event, and answers what the runtime made of it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// `Err`: the function's error.
type Outcome = Result<Bytes, Bytes>;

struct Invocation {
    id: String,
    event: Bytes,
}

struct Runtime {
    queue: mpsc::UnboundedSender<Invocation>,
    next: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    invoked: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
}

/// Until the test ends.
pub(super) async fn serve() -> SocketAddr {
    let (queue, next) = mpsc::unbounded_channel();
    let runtime = Runtime { queue, next: next.into(), invoked: Mutex::default() };
    let app = Router::new()
        .route("/2015-03-31/functions/function/invocations", post(invoke))
        .route("/2018-06-01/runtime/invocation/next", get(next_invocation))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(runtime));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app).into_future());
    address
}

async fn invoke(State(runtime): State<Arc<Runtime>>, event: Bytes) -> Response {
    let (id, (answer, answered)) = (Uuid::new_v4().to_string(), oneshot::channel());
    runtime.invoked.lock().unwrap().insert(id.clone(), answer);
    runtime.queue.send(Invocation { id, event }).unwrap();
    match answered.await.unwrap() {
        Ok(payload) => payload.into_response(),
        Err(error) => ([("x-amz-function-error", "Unhandled")], error).into_response(),
    }
}

async fn next_invocation(State(runtime): State<Arc<Runtime>>) -> Response {
    let Invocation { id, event } = runtime.next.lock().await.recv().await.unwrap();
    let deadline = SystemTime::now() + Duration::from_mins(1);
    let deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let told = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:pets".to_owned(),
        ),
    ];
    (told, event).into_response()
}

async fn response(
    State(runtime): State<Arc<Runtime>>,
    Path(id): Path<String>,
    payload: Bytes,
) -> StatusCode {
    end(&runtime, &id, Ok(payload))
}

async fn error(
    State(runtime): State<Arc<Runtime>>,
    Path(id): Path<String>,
    payload: Bytes,
) -> StatusCode {
    end(&runtime, &id, Err(payload))
}

fn end(runtime: &Runtime, id: &str, outcome: Outcome) -> StatusCode {
    let answer = runtime.invoked.lock().unwrap().remove(id).expect("it was invoked, and not ended");
    // Nobody waits where the node gave up.
    answer.send(outcome).ok();
    StatusCode::ACCEPTED
}
