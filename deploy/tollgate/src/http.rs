//! Calls to our own processes: one request, one connection, one answer.

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;

const ANSWER_BYTES_MAX: usize = 256 * 1024;
const TIMEOUT: Duration = Duration::from_secs(5);

/// The status and the body of `GET path`.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    send(address, ::http::Request::get(path), String::new()).await
}

/// The status and the body of any request; its `Host` is the address unless it says another.
pub(crate) async fn send(
    address: SocketAddr,
    request: ::http::request::Builder,
    body: String,
) -> Result<(u16, String)> {
    let call = async {
        let stream = tokio::net::TcpStream::connect(address).await.context("cannot connect")?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut request =
            request.body(Full::new(Bytes::from(body))).context("a request could not be built")?;
        if !request.headers().contains_key("host") {
            request.headers_mut().insert("host", address.to_string().parse()?);
        }
        let exchange = async move {
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
            Ok((status, String::from_utf8_lossy(&body).into_owned()))
        };
        let (answer, _) = tokio::join!(exchange, async { connection.await.ok() });
        answer
    };
    tokio::time::timeout(TIMEOUT, call).await.context("no answer within 5 s")?
}
