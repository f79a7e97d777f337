//! A page of a list: asked for by key, never by offset, so that rows made meanwhile neither repeat nor vanish.
//!
//! A store function takes a [`Page`] and fetches [`Page::rows_max`] rows beyond its keys, in the list's order or,
//! where [`Page::backward`] says so, in reverse; [`Page::cut`] makes them a [`Paged`].

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::error::{Error, Result};

/// The most items of one page.
pub const LIMIT_MAX: u32 = 100;

/// The items of a page when the caller names no number.
pub const LIMIT_DEFAULT: u32 = 20;

/// Where an item stands in its list: its time, then its id among items of the same microsecond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// [`Keyed::LIST`]: a cursor is good for one list.
    list: Cow<'static, str>,
    /// The argument that held the cursor.
    param: &'static str,
    pub at: DateTime<Utc>,
    pub id: String,
}

/// An item that knows its place in its list.
pub trait Keyed {
    /// What its lists are called in GraphQL.
    const LIST: &'static str;

    fn key(&self) -> Key;
}

impl Key {
    pub fn new(list: &'static str, at: DateTime<Utc>, id: &impl ToString) -> Self {
        Self { list: list.into(), param: "cursor", at, id: id.to_string() }
    }

    /// The key as callers see it: opaque, and safe in a URL.
    pub fn to_cursor(&self) -> String {
        let Self { list, at, id, .. } = self;
        BASE64_URL_SAFE_NO_PAD.encode(format!("{list}:{}:{id}", at.timestamp_micros()))
    }

    /// `param` is the argument that holds the cursor.
    pub fn from_cursor(cursor: &str, param: &'static str) -> Result<Self> {
        let decode = || {
            let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
            let (list, place) = text.split_once(':')?;
            let (micros, id) = place.split_once(':')?;
            let at = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
            // PostgreSQL's text holds no NUL, and its years begin at 4713 BC and end at 294276; no row is older
            // than 1970.
            let storable = !id.contains('\0') && (0..8_000_000_000_000).contains(&at.timestamp());
            storable.then(|| Self { list: list.to_owned().into(), param, at, id: id.to_owned() })
        };
        decode().ok_or_else(|| no_cursor(param))
    }

    /// The id of a noun that has a UUID.
    pub fn uuid(&self) -> Result<Uuid> {
        self.id.parse().map_err(|_| self.foreign())
    }

    /// The refusal of a cursor that another list gave.
    pub fn foreign(&self) -> Error {
        no_cursor(self.param)
    }
}

fn no_cursor(param: &str) -> Error {
    let rule = "this is no cursor of this list; leave it out to begin anew";
    Error::bad_request(param, rule)
}

/// One page, asked for. `after` and `before` are exclusive and speak of the list's own order, also where that is
/// newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    limit: u32,
    backward: bool,
    after: Option<Key>,
    before: Option<Key>,
}

impl Default for Page {
    fn default() -> Self {
        Self { limit: LIMIT_DEFAULT, backward: false, after: None, before: None }
    }
}

impl Page {
    /// The first `limit` items between the keys.
    pub fn first(limit: u32, after: Option<Key>, before: Option<Key>) -> Result<Self> {
        Ok(Self { limit: checked(limit, "first")?, backward: false, after, before })
    }

    /// The last `limit` items between the keys.
    pub fn last(limit: u32, after: Option<Key>, before: Option<Key>) -> Result<Self> {
        Ok(Self { limit: checked(limit, "last")?, backward: true, after, before })
    }

    /// Whether rows are fetched from the list's end: `order by` is then reversed.
    pub fn backward(&self) -> bool {
        self.backward
    }

    /// For `limit`: one row more than the page has tells whether there is another page.
    pub fn rows_max(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The time of the exclusive start; null where the list's own start is meant.
    pub fn after_at(&self) -> Option<DateTime<Utc>> {
        self.after.as_ref().map(|key| key.at)
    }

    /// The exclusive start as it was given.
    pub fn after(&self) -> Option<&Key> {
        self.after.as_ref()
    }

    pub fn after_id(&self) -> Option<&str> {
        self.after.as_ref().map(|key| key.id.as_str())
    }

    pub fn after_uuid(&self) -> Result<Option<Uuid>> {
        self.after.as_ref().map(Key::uuid).transpose()
    }

    /// The time of the exclusive end; null where the list's own end is meant.
    pub fn before_at(&self) -> Option<DateTime<Utc>> {
        self.before.as_ref().map(|key| key.at)
    }

    /// The exclusive end as it was given.
    pub fn before(&self) -> Option<&Key> {
        self.before.as_ref()
    }

    pub fn before_id(&self) -> Option<&str> {
        self.before.as_ref().map(|key| key.id.as_str())
    }

    pub fn before_uuid(&self) -> Result<Option<Uuid>> {
        self.before.as_ref().map(Key::uuid).transpose()
    }

    /// The page that `rows` make: at most [`Page::rows_max`], in the order in which they were fetched. Refused where
    /// a cursor is another list's.
    pub fn cut<T: Keyed>(&self, mut rows: Vec<T>) -> Result<Paged<T>> {
        let mut given = [&self.after, &self.before].into_iter().flatten();
        if let Some(foreign) = given.find(|key| key.list != T::LIST) {
            return Err(foreign.foreign());
        }
        let more = rows.len() > self.limit as usize;
        rows.truncate(self.limit as usize);
        Ok(if self.backward {
            rows.reverse();
            Paged { items: rows, has_previous: more, has_next: self.before.is_some() }
        } else {
            Paged { items: rows, has_previous: self.after.is_some(), has_next: more }
        })
    }
}

fn checked(limit: u32, param: &str) -> Result<u32> {
    if (1..=LIMIT_MAX).contains(&limit) {
        Ok(limit)
    } else {
        Err(Error::bad_request(param, format!("{param} is from 1 to {LIMIT_MAX}")))
    }
}

/// A page, in the list's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paged<T> {
    pub items: Vec<T>,
    pub has_previous: bool,
    pub has_next: bool,
}

impl<T: Keyed> Paged<T> {
    /// The cursor that the next page starts after, if there is one.
    pub fn next_cursor(&self) -> Option<String> {
        self.items.last().filter(|_| self.has_next).map(|item| item.key().to_cursor())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(second: i64) -> Key {
        let at = DateTime::from_timestamp(second, 1000).unwrap();
        Key::new(i64::LIST, at, &format!("id{second}"))
    }

    impl Keyed for i64 {
        const LIST: &'static str = "numbers";

        fn key(&self) -> Key {
            key(*self)
        }
    }

    #[test]
    fn a_cursor_reads_back_as_its_key_and_nothing_else_is_one() {
        assert_eq!(Key::from_cursor(&key(7).to_cursor(), "cursor").unwrap(), key(7));
        let far = Key::new("numbers", DateTime::<Utc>::MAX_UTC, &"x").to_cursor();
        let nul = Key::new("numbers", key(1).at, &"\0").to_cursor();
        let ancient = Key::new("numbers", DateTime::<Utc>::MIN_UTC, &"x").to_cursor();
        for wrong in ["", "x", "!!", "aWQ", &far, &ancient, &nul] {
            let refused = Key::from_cursor(wrong, "after").unwrap_err();
            assert_eq!(refused.param(), Some("after"), "{wrong}");
        }
    }

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let foreign = Key { list: "letters".into(), ..key(2) };
        let page = Page::first(2, None, Some(foreign)).unwrap();
        assert_eq!(page.cut(vec![1]).unwrap_err().param(), Some("cursor"));
        assert!(Page::first(2, Some(key(2)), None).unwrap().cut(vec![3]).is_ok());
    }

    #[test]
    fn a_page_holds_from_1_to_100_items() {
        for wrong in [0, 101, u32::MAX] {
            assert_eq!(Page::first(wrong, None, None).unwrap_err().param(), Some("first"));
            assert_eq!(Page::last(wrong, None, None).unwrap_err().param(), Some("last"));
        }
        assert_eq!(Page::first(100, None, None).unwrap().rows_max(), 101);
    }

    #[test]
    fn one_row_beyond_the_page_tells_that_there_is_more() {
        let page = Page::first(2, None, None).unwrap();
        let cut = page.cut(vec![1, 2, 3]).unwrap();
        assert_eq!(
            (cut.items.as_slice(), cut.has_previous, cut.has_next),
            (&[1, 2][..], false, true)
        );
        assert_eq!(cut.next_cursor(), Some(key(2).to_cursor()));

        let page = Page::first(2, Some(key(2)), None).unwrap();
        let cut = page.cut(vec![3]).unwrap();
        assert_eq!((cut.items.as_slice(), cut.has_previous, cut.has_next), (&[3][..], true, false));
        assert_eq!(cut.next_cursor(), None);
    }

    #[test]
    fn a_page_from_the_end_is_in_the_lists_own_order() {
        let page = Page::last(2, None, Some(key(9))).unwrap();
        let cut = page.cut(vec![8, 7, 6]).unwrap();
        assert_eq!(
            (cut.items.as_slice(), cut.has_previous, cut.has_next),
            (&[7, 8][..], true, true)
        );
    }
}
