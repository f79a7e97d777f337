//! What keys used of their usage plan.

use async_graphql::connection::Connection;
use async_graphql::{Context, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::domain::page::Key;
use crate::graphql::caller;
use crate::graphql::connection::{connection, page};
use crate::graphql::node::Kind;
use crate::graphql::usage::parse;

#[derive(Default)]
pub struct KeyUsageQuery;

/// What a key used on a day, in UTC, and what its quota left.
#[derive(SimpleObject)]
pub struct KeyDay {
    /// Its midnight.
    day: DateTime<Utc>,
    api_key_id: String,
    /// Calls on that day that were let through; of a test key, all.
    used: i64,
    /// At the day's end, of the quota's period that the day is in, by the quota as it now is, less its `initialUsed` in the
    /// period in which the key was put on the plan, and with what the key was granted last in the period of that. Null where
    /// the plan has no quota, or one whose periods are not those of the calendar in UTC.
    remaining: Option<i64>,
}

impl From<domain::key_usage::KeyDay> for KeyDay {
    fn from(day: domain::key_usage::KeyDay) -> Self {
        Self { day: day.day, api_key_id: day.api_key_id, used: day.used, remaining: day.remaining }
    }
}

#[Object]
impl KeyUsageQuery {
    /// What keys used of a usage plan, day by day, the newest first, seconds fresh: of each key that is on the plan or
    /// called by it, or of one. From the day in which `since` lies to the one in which `until` lies, or the one before
    /// where `until` is midnight; `until` is now when left out. At most 100 days.
    #[expect(clippy::too_many_arguments, reason = "the field has so many")]
    async fn key_usage(
        &self,
        ctx: &Context<'_>,
        usage_plan_id: ID,
        api_key_id: Option<ID>,
        since: DateTime<Utc>,
        until: Option<DateTime<Utc>>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, KeyDay>> {
        let (app, actor) = caller(ctx)?;
        let page = page(first, after, last, before)?;
        let plan = Kind::UsagePlan.parse(&usage_plan_id, "usagePlanId")?;
        let key = parse(Kind::ApiKey, api_key_id.as_ref(), "apiKeyId")?;
        let days = domain::key_usage::list(app, actor, plan, key, (since, until), &page).await?;
        Ok(connection(days))
    }
}
