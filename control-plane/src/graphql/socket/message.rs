//! What a peer of a socket says, and how it is told that we end it: messages of `graphql-transport-ws`, without the
//! socket.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Of a subscription's id.
pub const ID_BYTES_MAX: usize = 128;
/// A frame of WebSocket's own holds 125 bytes, of which the code is two (RFC 6455, 5.5).
pub const REASON_BYTES_MAX: usize = 123;

/// Why we end a socket, as the protocol numbers it: 4400 to 4499 its own, 1000 to 1999 WebSocket's.
#[derive(Debug, PartialEq, Eq)]
pub struct Close {
    pub code: u16,
    pub reason: String,
}

impl Close {
    /// The reason is cut where it does not fit into a frame.
    pub fn because(code: u16, reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        Self { code, reason }
    }

    pub fn unauthenticated(reason: &str) -> Self {
        Self::because(4401, format!("Unauthorized: {reason}"))
    }

    /// A subscription with this id is there already.
    pub fn taken(id: &str) -> Self {
        Self::because(4409, format!("Subscriber for {id} already exists"))
    }
}

/// What a peer says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Said {
    ConnectionInit { payload: Option<Map<String, Value>> },
    Ping { payload: Option<Value> },
    Pong {},
    Subscribe { id: String, payload: Map<String, Value> },
    Complete { id: String },
}

impl Said {
    /// Reads a message; one that is none ends the socket.
    pub fn parse(text: &str) -> Result<Self, Close> {
        let said = serde_json::from_str(text)
            .map_err(|_| Close::because(4400, "This is no message of graphql-transport-ws"))?;
        if let Self::Subscribe { id, .. } = &said
            && (id.is_empty() || id.len() > ID_BYTES_MAX)
        {
            return Err(Close::because(4400, "An id has 1 to 128 bytes"));
        }
        Ok(said)
    }
}

/// The access token of `connection_init`.
pub fn token(payload: &Map<String, Value>) -> Result<String, Close> {
    let given = |name: &str| {
        let mut fields = payload.iter();
        fields
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| value.as_str())
    };
    let bearer = given("authorization").and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let token = given("accessToken").or(bearer).map(str::to_owned);
    token.ok_or_else(|| {
        Close::unauthenticated(r#"connection_init needs {"accessToken": "…"} as its payload"#)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_fits_into_a_frame_and_is_cut_between_characters() {
        let id = "é".repeat(ID_BYTES_MAX / 2);
        let text = serde_json::json!({ "type": "subscribe", "id": id, "payload": {} }).to_string();
        assert!(Said::parse(&text).is_ok());
        let Close { code, reason } = Close::taken(&id);
        assert_eq!((code, reason.len()), (4409, REASON_BYTES_MAX));
        assert!(reason.ends_with('é'));
        let longer = text.replace(&id, &format!("{id}é"));
        assert_eq!(Said::parse(&longer).unwrap_err().code, 4400);
    }
}
