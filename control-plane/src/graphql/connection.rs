//! Pages in GraphQL: Relay connections with opaque cursors.

use async_graphql::OutputType;
use async_graphql::connection::{Connection, CursorType, Edge};

use crate::domain::page::{Key, Keyed, LIMIT_DEFAULT, Page, Paged};
use crate::error::{Error, Result};

impl CursorType for Key {
    type Error = Error;

    fn decode_cursor(cursor: &str) -> Result<Self> {
        Self::from_cursor(cursor, "after")
    }

    fn encode_cursor(&self) -> String {
        self.to_cursor()
    }
}

/// The page that a connection's arguments ask for; the first 20 items when they name no number.
pub fn page(
    first: Option<i32>,
    after: Option<String>,
    last: Option<i32>,
    before: Option<String>,
) -> Result<Page> {
    let after = after.map(|cursor| Key::from_cursor(&cursor, "after")).transpose()?;
    let before = before.map(|cursor| Key::from_cursor(&cursor, "before")).transpose()?;
    match (first, last) {
        (Some(_), Some(_)) => Err(Error::bad_request("last", "give first or last, not both")),
        (None, Some(last)) => Page::last(u32::try_from(last).unwrap_or(0), after, before),
        (Some(first), None) => Page::first(u32::try_from(first).unwrap_or(0), after, before),
        (None, None) => Page::first(LIMIT_DEFAULT, after, before),
    }
}

/// The page in GraphQL's form of its items.
pub fn connection<D: Keyed + Into<T>, T: OutputType>(paged: Paged<D>) -> Connection<Key, T> {
    connection_of(paged, Into::into)
}

/// The same where the form needs more than the item.
pub fn connection_of<D: Keyed, T: OutputType>(
    paged: Paged<D>,
    mut form: impl FnMut(D) -> T,
) -> Connection<Key, T> {
    let mut connection = Connection::new(paged.has_previous, paged.has_next);
    connection.edges = paged
        .items
        .into_iter()
        .map(|item| {
            let key = item.key();
            Edge::new(key, form(item))
        })
        .collect();
    connection
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_paged_from_one_end_and_by_at_most_100() {
        assert_eq!(page(None, None, None, None).unwrap().rows_max(), 21);
        assert!(page(None, None, Some(5), None).unwrap().backward());
        for (first, last, param) in [
            (Some(0), None, "first"),
            (Some(-1), None, "first"),
            (Some(101), None, "first"),
            (None, Some(101), "last"),
            (Some(1), Some(1), "last"),
        ] {
            assert_eq!(page(first, None, last, None).unwrap_err().param(), Some(param));
        }
        assert_eq!(page(None, None, None, Some("x".into())).unwrap_err().param(), Some("before"));
    }
}
