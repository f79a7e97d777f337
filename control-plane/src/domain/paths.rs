//! How an Api reads the paths of its calls: two settings of it, both frozen with a deployment.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Result};

/// What a slash at the end of a call's path means, where a route has the path without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrailingSlash {
    /// Another path, of which nothing is known.
    Strict,
    /// Nothing: the route answers to both.
    Ignore,
    /// Another path: its callers are sent to the one without the slash, by `308 Permanent Redirect`.
    Redirect,
}

/// What becomes of a path with a dot segment or a doubled slash, in any encoding, before a route is chosen for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PathNormalization {
    /// The call is refused with `400 BAD_REQUEST_PARAMETERS`.
    Reject,
    /// The call goes on with the path that RFC 3986 §5.2.4 makes of it, each doubled slash one.
    Normalize,
    /// The call goes on with the path as it came, and no check is made that its backend reads it as the node does.
    Pass,
}

impl TrailingSlash {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Ignore => "ignore",
            Self::Redirect => "redirect",
        }
    }
}

impl TryFrom<&str> for TrailingSlash {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        [Self::Strict, Self::Ignore, Self::Redirect]
            .into_iter()
            .find(|slash| slash.as_str() == text)
            .ok_or_else(|| Error::corrupt("trailing slash", text))
    }
}

impl PathNormalization {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Normalize => "normalize",
            Self::Pass => "pass",
        }
    }
}

impl TryFrom<&str> for PathNormalization {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        [Self::Reject, Self::Normalize, Self::Pass]
            .into_iter()
            .find(|normalization| normalization.as_str() == text)
            .ok_or_else(|| Error::corrupt("path normalization", text))
    }
}
