//! What a client sends, over HTTP or over a WebSocket: a document or the hash of one, and the values of its variables.

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::graphql::persisted::{DocumentHash, EXTENSION, Persisted};

/// A request of which the document was found, but not read.
#[derive(Debug)]
pub struct Body {
    pub query: String,
    pub operation_name: Option<String>,
    pub variables: Map<String, Value>,
}

impl Body {
    /// Reads the members of a request. A hash stands for a document that is persisted.
    pub fn read(fields: Map<String, Value>, persisted: &Persisted) -> Result<Self> {
        let (mut query, mut hash, mut operation_name, mut variables) =
            (None, None, None, Map::new());
        for (name, value) in fields {
            match (name.as_str(), value) {
                ("query", Value::String(text)) => query = Some(text),
                ("operationName", Value::String(text)) => operation_name = Some(text),
                ("variables", Value::Object(given)) => variables = given,
                ("extensions", Value::Object(given)) => {
                    let named = given.get(EXTENSION).filter(|named| !named.is_null());
                    hash = named.map(DocumentHash::named).transpose()?;
                }
                ("query" | "operationName" | "variables" | "extensions", Value::Null) => {}
                ("query" | "operationName", _) => {
                    return Err(Error::bad_request(name, "must be a string"));
                }
                ("variables" | "extensions", _) => {
                    return Err(Error::bad_request(name, "must be an object"));
                }
                (_, _) => return Err(Error::bad_request(name, "is not part of a GraphQL request")),
            }
        }
        let query = persisted.document(query, hash)?;
        Ok(Self { query, operation_name, variables })
    }
}
