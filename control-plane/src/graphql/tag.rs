//! Tags.

use async_graphql::{InputObject, SimpleObject};

use crate::domain::tags::Tags;
use crate::error::{Error, Result};

/// A name and a value that the tenant puts on what it has.
#[derive(SimpleObject)]
pub struct Tag {
    key: String,
    value: String,
}

#[derive(InputObject)]
pub struct TagInput {
    /// 1 to 128 letters, digits, spaces and `+-=._:/@`, not beginning with `aws:`.
    key: String,
    /// At most 256 of the same.
    value: String,
}

impl Tag {
    pub(super) fn all(tags: &Tags) -> Vec<Self> {
        let pair =
            |(key, value): (&String, &String)| Self { key: key.clone(), value: value.clone() };
        tags.iter().map(pair).collect()
    }
}

/// An error names the field `tags`.
pub(super) fn tags(input: Vec<TagInput>) -> Result<Tags> {
    let mut tags = Tags::new();
    for TagInput { key, value } in input {
        if tags.contains_key(&key) {
            return Err(Error::bad_request("tags", format!("{key:?} is given twice")));
        }
        tags.insert(key, value);
    }
    Ok(tags)
}
