//! Where this installation answers calls.

use async_graphql::{Context, Object, SimpleObject};

use crate::graphql::{app, identity};

#[derive(Default)]
pub struct InstallationQuery;

/// Where this installation answers calls; the console writes curl lines with it.
#[derive(SimpleObject)]
pub struct Installation {
    /// `http://{apiId}.execute-api.localhost:9080`, with `{apiId}` to be replaced.
    endpoint_template: String,
    /// `http://127.0.0.1:9080/_api/{apiId}`; null where path addressing is off.
    path_endpoint_template: Option<String>,
}

#[expect(clippy::unused_async, reason = "async-graphql takes only async fields")]
#[Object]
impl InstallationQuery {
    /// Where this installation answers calls; the console writes curl lines with it.
    async fn installation(&self, ctx: &Context<'_>) -> async_graphql::Result<Installation> {
        identity(ctx)?;
        let config = &app(ctx).config;
        Ok(Installation {
            endpoint_template: config.endpoint_template.clone(),
            path_endpoint_template: config.path_endpoint_template.clone(),
        })
    }
}
