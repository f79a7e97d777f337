//! Backends that do what no orderly one does, or what must be seen byte by byte.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::caller::head;

pub(super) async fn listen() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (format!("http://{}/", listener.local_addr().unwrap()), listener)
}

/// Takes one connection, and does with it what the script says.
pub(super) async fn backend<F>(
    script: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> (String, JoinHandle<F::Output>)
where
    F: Future<Output: Send> + Send + 'static,
{
    let (url, listener) = listen().await;
    (url, tokio::spawn(async move { script(listener.accept().await.unwrap().0).await }))
}

/// Answers one request that has no body with these bytes; the task tells the request's head.
pub(super) async fn says(answer: &'static [u8]) -> (String, JoinHandle<String>) {
    backend(async move |mut stream| {
        let asked = head(&mut stream).await;
        stream.write_all(answer).await.unwrap();
        gone(stream).await;
        asked
    })
    .await
}

/// Until the other end is gone, whatever it sends before that.
pub(super) async fn gone(mut stream: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while stream.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {}
}

/// An address at which nobody listens, and nobody will.
pub(super) fn nobody() -> (String, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (format!("http://{}/", socket.local_addr().unwrap()), socket)
}
