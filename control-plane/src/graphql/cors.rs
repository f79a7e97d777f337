//! Which pages may read answers.

use async_graphql::{InputObject, SimpleObject};

use crate::domain;

/// Preflights are answered by the node, before keys and limits; the backend's own fields are dropped; refusals tell the
/// page too.
#[derive(SimpleObject)]
pub struct CorsConfiguration {
    allow_origins: Vec<String>,
    allow_methods: Vec<String>,
    allow_headers: Vec<String>,
    expose_headers: Vec<String>,
    allow_credentials: bool,
    max_age: Option<i32>,
}

/// At most 100 entries in each list.
#[derive(InputObject)]
pub struct CorsConfigurationInput {
    /// `https://app.example.com`, `https://*.example.com` for one label, `https://*`, `http://*`, or `*`.
    allow_origins: Vec<String>,
    /// Methods or `*`. Left out: in `NATIVE` what a preflight asks for, where a route takes it; else none is told, which
    /// leaves GET, HEAD and POST.
    allow_methods: Option<Vec<String>>,
    /// Names of fields that pages may send, or `*`, which does not stand for `authorization`.
    allow_headers: Option<Vec<String>>,
    /// Names of fields that pages may read, or `*`.
    expose_headers: Option<Vec<String>>,
    /// Whether pages may send cookies and the like; not beside `*` in any list.
    allow_credentials: Option<bool>,
    /// Seconds that a browser keeps what a preflight told it, at most 86400; -1 to keep nothing.
    max_age: Option<i32>,
}

impl From<domain::cors::CorsConfiguration> for CorsConfiguration {
    fn from(cors: domain::cors::CorsConfiguration) -> Self {
        Self {
            allow_origins: cors.allow_origins,
            allow_methods: cors.allow_methods,
            allow_headers: cors.allow_headers,
            expose_headers: cors.expose_headers,
            allow_credentials: cors.allow_credentials,
            max_age: cors.max_age,
        }
    }
}

impl From<CorsConfigurationInput> for domain::cors::CorsConfiguration {
    fn from(input: CorsConfigurationInput) -> Self {
        Self {
            allow_origins: input.allow_origins,
            allow_methods: input.allow_methods.unwrap_or_default(),
            allow_headers: input.allow_headers.unwrap_or_default(),
            expose_headers: input.expose_headers.unwrap_or_default(),
            allow_credentials: input.allow_credentials.unwrap_or(false),
            max_age: input.max_age,
        }
    }
}
