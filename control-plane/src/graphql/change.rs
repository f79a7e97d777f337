//! What differs between two frozen drafts.

use async_graphql::SimpleObject;

use crate::domain;

/// In the order of their paths.
#[derive(SimpleObject)]
pub struct Changes {
    total: u32,
    /// The first 500 of them.
    changes: Vec<Change>,
}

/// A field, or a part with all that is in it, that is another in the later one.
#[derive(SimpleObject)]
struct Change {
    /// As `["routes", "GET /pets", "integration", "httpProxy", "uri"]`; names are those of the configuration that nodes get.
    path: Vec<String>,
    /// As JSON; null where it was not there, or had its default.
    before: Option<String>,
    /// As JSON; null where it is gone, or has its default now.
    after: Option<String>,
}

impl From<domain::change::Changes> for Changes {
    fn from(found: domain::change::Changes) -> Self {
        Self {
            total: u32::try_from(found.total).unwrap_or(u32::MAX),
            changes: found.changes.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<domain::change::Change> for Change {
    fn from(change: domain::change::Change) -> Self {
        Self {
            path: change.path,
            before: change.before.map(|value| value.to_string()),
            after: change.after.map(|value| value.to_string()),
        }
    }
}
