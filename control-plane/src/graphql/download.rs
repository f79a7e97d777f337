//! Downloads.

use async_graphql::{Context, InputObject, Object, SimpleObject};

use crate::domain;
use crate::domain::bill::Month;
use crate::graphql::caller;
use crate::graphql::error::{UserError, user_errors};

#[derive(Default)]
pub struct DownloadMutation;

#[derive(InputObject)]
pub struct CreateUsageDownloadInput {
    /// `2026-11`.
    month: String,
}

#[derive(SimpleObject)]
pub struct CreateDownloadPayload {
    url: Option<String>,
    expires_in_seconds: Option<i32>,
    user_errors: Vec<UserError>,
}

impl CreateDownloadPayload {
    pub fn of(link: Option<domain::download::Link>, user_errors: Vec<UserError>) -> Self {
        Self {
            expires_in_seconds: link.as_ref().map(|link| link.expires_in_seconds),
            url: link.map(|link| link.url),
            user_errors,
        }
    }
}

#[Object]
impl DownloadMutation {
    /// A link to the month's usage as CSV; it works once, for 60 seconds.
    async fn create_usage_download(
        &self,
        ctx: &Context<'_>,
        input: CreateUsageDownloadInput,
    ) -> async_graphql::Result<CreateDownloadPayload> {
        let (app, actor) = caller(ctx)?;
        let made = async {
            domain::download::create(app, actor, Month::new(app, Some(&input.month))?).await
        };
        let (link, user_errors) = user_errors(made.await)?;
        Ok(CreateDownloadPayload::of(link, user_errors))
    }

    /// A link to everything of the tenant as NDJSON, without secrets; it works once, for 60 seconds.
    async fn create_tenant_export(
        &self,
        ctx: &Context<'_>,
    ) -> async_graphql::Result<CreateDownloadPayload> {
        let (app, actor) = caller(ctx)?;
        let made = domain::tenant_export::create(app, actor).await;
        let (link, user_errors) = user_errors(made)?;
        Ok(CreateDownloadPayload::of(link, user_errors))
    }
}
