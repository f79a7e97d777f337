//! A change of a field that may be empty: leaving it out and emptying it are two wishes.

use async_graphql::MaybeUndefined;
use serde::{Deserialize, Deserializer};

/// What an update does to a field that may be empty. In JSON: absent (with `#[serde(default)]`), null, a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    #[default]
    Keep,
    Clear,
    Set(T),
}

impl<T> Patch<T> {
    /// The field after the change.
    pub fn apply(self, current: Option<T>) -> Option<T> {
        match self {
            Self::Keep => current,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }

    /// The same change, its value checked or translated.
    pub fn try_map<U, E>(self, map: impl FnOnce(T) -> Result<U, E>) -> Result<Patch<U>, E> {
        Ok(match self {
            Self::Keep => Patch::Keep,
            Self::Clear => Patch::Clear,
            Self::Set(value) => Patch::Set(map(value)?),
        })
    }
}

impl<T> From<MaybeUndefined<T>> for Patch<T> {
    fn from(input: MaybeUndefined<T>) -> Self {
        match input {
            MaybeUndefined::Undefined => Self::Keep,
            MaybeUndefined::Null => Self::Clear,
            MaybeUndefined::Value(value) => Self::Set(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(input)?.map_or(Self::Clear, Self::Set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Update {
        #[serde(default)]
        limit: Patch<u32>,
    }

    #[test]
    fn absent_keeps_null_empties_and_a_value_sets() {
        let after = |json: &str| {
            serde_json::from_str::<Update>(json).map(|update| update.limit.apply(Some(1)))
        };
        assert_eq!(after("{}").unwrap(), Some(1));
        assert_eq!(after(r#"{"limit": null}"#).unwrap(), None);
        assert_eq!(after(r#"{"limit": 7}"#).unwrap(), Some(7));
        assert!(after(r#"{"limit": "x"}"#).is_err());
    }
}
