//! What a caller wants to be still so: `If-Match` of REST, `expectedVersion` of GraphQL. The operation looks at it
//! once the noun is locked, so that nothing comes in between.

use chrono::{DateTime, Utc};

use crate::error::{Error, Result};

/// A noun whose state has a name.
pub trait Versioned {
    fn created_at(&self) -> DateTime<Utc>;

    /// Grows with each change.
    fn number(&self) -> i64 {
        1
    }

    /// Opaque to callers. A noun that was made anew under the same id has another one, too.
    fn version(&self) -> String {
        format!("{:x}-{:x}", self.created_at().timestamp_micros(), self.number())
    }
}

/// The versions of which the noun must have one. None by default: any will do.
#[derive(Clone, Debug, Default)]
pub struct Precondition(Option<Vec<String>>);

impl Precondition {
    pub fn one_of(versions: Vec<String>) -> Self {
        Self(Some(versions))
    }

    pub fn check(&self, noun: &impl Versioned) -> Result<()> {
        match &self.0 {
            Some(versions) if !versions.contains(&noun.version()) => {
                Err(Error::PreconditionFailed { version: noun.version() })
            }
            _ => Ok(()),
        }
    }
}
