//! A GraphQL socket as a browser holds it: `graphql-transport-ws`.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::PATIENCE;

/// An open socket.
pub struct Socket(WebSocketStream<TcpStream>);

/// What a socket brings.
#[derive(Debug)]
pub enum Heard {
    Said(Value),
    /// Its end, with the code that says why; 1006 where the peer was gone without one.
    Closed(u16),
}

impl Socket {
    /// Opens a socket at this replica, from a page of `origin` where there is one; the status where it is refused.
    ///
    /// # Panics
    /// Where nobody listens there.
    pub async fn open(at: SocketAddr, origin: Option<&str>) -> Result<Self, u16> {
        let stream = TcpStream::connect(at).await.expect("a replica listens");
        let mut request =
            format!("ws://{at}/graphql").into_client_request().expect("it is an address");
        let headers = request.headers_mut();
        headers.insert("sec-websocket-protocol", "graphql-transport-ws".parse().expect("a name"));
        if let Some(origin) = origin {
            headers.insert("origin", origin.parse().expect("a header's value"));
        }
        match tokio_tungstenite::client_async(request, stream).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("a socket was not opened: {error}"),
        }
    }

    /// A socket of whoever holds this access token.
    ///
    /// # Panics
    /// Where it is refused.
    pub async fn of(at: SocketAddr, token: &str) -> Self {
        let mut socket = Self::open(at, None).await.expect("an upgrade");
        let payload = json!({ "accessToken": token });
        socket.say(json!({ "type": "connection_init", "payload": payload })).await;
        assert_eq!(socket.hear().await, json!({ "type": "connection_ack" }));
        socket
    }

    /// Sends a message, where the peer is still there.
    pub async fn say(&mut self, message: Value) {
        let _ = self.0.send(Message::text(message.to_string())).await;
    }

    pub async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({ "query": query, "variables": variables });
        self.say(json!({ "type": "subscribe", "id": id, "payload": payload })).await;
    }

    /// The next message or the end.
    ///
    /// # Panics
    /// Where neither comes.
    pub async fn next(&mut self) -> Heard {
        loop {
            let heard = tokio::time::timeout(PATIENCE, self.0.next()).await;
            match heard.expect("a message, or the end") {
                Some(Ok(Message::Text(text))) => {
                    return Heard::Said(serde_json::from_str(&text).expect("messages are JSON"));
                }
                Some(Ok(Message::Close(frame))) => {
                    return Heard::Closed(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::Closed(1006),
            }
        }
    }

    /// The next message.
    ///
    /// # Panics
    /// Where the socket ends instead.
    pub async fn hear(&mut self) -> Value {
        match self.next().await {
            Heard::Said(message) => message,
            Heard::Closed(code) => panic!("the socket ended with {code}"),
        }
    }

    /// The data that the next message brings to this subscription; messages to others are passed over.
    pub async fn data(&mut self, id: &str) -> Value {
        loop {
            let mut message = self.hear().await;
            if message["id"] == id {
                assert_eq!(message["type"], "next", "{message}");
                return message["payload"]["data"].take();
            }
        }
    }

    /// The code with which the socket ends; what comes before is passed over.
    pub async fn closed(&mut self) -> u16 {
        loop {
            if let Heard::Closed(code) = self.next().await {
                return code;
            }
        }
    }
}
