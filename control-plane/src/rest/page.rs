//! Pages in REST: `?limit=&cursor=` in, `{items, nextCursor}` out.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::page::{Key, Keyed, LIMIT_DEFAULT, Page, Paged};
use crate::error::{Error, Result};

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// The most items to answer with.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub limit: Option<u32>,
    /// The `nextCursor` of the page before.
    pub cursor: Option<String>,
}

impl TryFrom<PageQuery> for Page {
    type Error = Error;

    fn try_from(query: PageQuery) -> Result<Self> {
        let after = query.cursor.map(|cursor| Key::from_cursor(&cursor, "cursor")).transpose()?;
        Page::first(query.limit.unwrap_or(LIMIT_DEFAULT), after, None)
            .map_err(|_| Error::bad_request("limit", "limit is from 1 to 100"))
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct List<T> {
    pub items: Vec<T>,
    /// Asks for the page after this one; null on the last.
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    /// The page in REST's form of its items.
    pub fn of<D: Keyed + Into<T>>(paged: Paged<D>) -> Self {
        Self::map(paged, Into::into)
    }

    /// The same where the form needs more than the item.
    pub fn map<D: Keyed>(paged: Paged<D>, form: impl FnMut(D) -> T) -> Self {
        let next_cursor = paged.next_cursor();
        Self { items: paged.items.into_iter().map(form).collect(), next_cursor }
    }
}
