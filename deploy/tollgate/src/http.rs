//! One GET to one of our own admin ports.

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;

const ANSWER_BYTES_MAX: usize = 64 * 1024;
const TIMEOUT: Duration = Duration::from_secs(5);

/// The status and the body of `GET path`.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let call = async {
        let stream = tokio::net::TcpStream::connect(address).await.context("cannot connect")?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let request = ::http::Request::get(path)
            .header("host", address.to_string())
            .body(Empty::<Bytes>::new())
            .context("a request could not be built")?;
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
