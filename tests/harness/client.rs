//! Calls from outside: one request, one connection, one answer.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONNECTION, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Someone who calls one address, under one host name.
#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
    host: String,
}

/// A request being put together; awaiting it sends it.
#[derive(Debug, Clone)]
pub struct Call {
    client: Client,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

/// What came back, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, host: address.to_string() }
    }

    /// Says this host name, and connects to the address all the same.
    #[must_use]
    pub fn host(&self, host: &str) -> Self {
        Self { address: self.address, host: host.to_owned() }
    }

    pub fn call(&self, method: &str, path: &str) -> Call {
        Call {
            client: self.clone(),
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    pub fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    pub fn post(&self, path: &str) -> Call {
        self.call("POST", path)
    }
}

impl Call {
    /// The host name that it says.
    pub fn host(&self) -> &str {
        &self.client.host
    }

    /// The same call of another node.
    #[must_use]
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.client.address = address;
        self
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// The API key, as consumers send it.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.header("x-api-key", key)
    }

    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        let text = body.to_string();
        self.header("content-type", "application/json").body(text)
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends, and says what went wrong below HTTP instead of failing the test.
    pub async fn try_send(self) -> Result<Answer, anyhow::Error> {
        tokio::time::timeout(TIMEOUT, self.exchange()).await?
    }

    async fn exchange(self) -> Result<Answer, anyhow::Error> {
        let stream = tokio::net::TcpStream::connect(self.client.address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request =
            http::Request::builder().method(self.method.as_str()).uri(self.path.as_str());
        request = request.header("host", &self.client.host);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = sender.send_request(request.body(Full::new(self.body))?).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        connection.abort();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}

impl IntoFuture for Call {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let what = format!("{} {}", self.method, self.path);
        Box::pin(async move {
            self.try_send().await.unwrap_or_else(|error| panic!("{what}: {error:#}"))
        })
    }
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.status
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Every value of a header that may come more than once.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    }

    /// Bytes of its head as HTTP/1.1 writes it, and of its body: as many as are counted.
    ///
    /// # Panics
    /// Where its status has no name.
    pub fn counted_bytes(&self) -> usize {
        let reason =
            StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let reason = reason.expect("a status that has a name");
        let line =
            |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
        let own = [CONNECTION, TRANSFER_ENCODING];
        let fields = self.headers.iter().filter(|(name, _)| !own.contains(name)).map(line);
        "HTTP/1.1 200 \r\n\r\n".len() + reason.len() + fields.sum::<usize>() + self.body.len()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.body
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// # Panics
    /// Where the body is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{} is not JSON: {}", self.status, self.text()))
    }

    /// The answer itself, where it has this status; else a failed test that shows it.
    ///
    /// # Panics
    /// Where the status is another.
    #[expect(
        clippy::return_self_not_must_use,
        reason = "the check alone is often all that a story wants"
    )]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}
