//! What anybody may know of this installation: who may sign up, and where it answers calls.

use async_graphql::{Context, Enum, Object, SimpleObject};

use crate::config;
use crate::graphql::app;

#[derive(Default)]
pub struct InstallationQuery;

/// Who may make an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "config::Signup")]
pub enum Signup {
    /// Anybody.
    Open,
    /// Who was invited into a tenant.
    Invite,
    /// Nobody.
    Closed,
}

/// What a page needs to know before anybody has logged in.
#[derive(SimpleObject)]
pub struct Installation {
    signup: Signup,
    /// Whether letters are sent: for sign-ups, password resets and invitations.
    mail: bool,
    /// `http://{apiId}.execute-api.localhost:9080`, with `{apiId}` to be replaced.
    endpoint_template: String,
    /// `http://127.0.0.1:9080/_api/{apiId}`; null where path addressing is off.
    path_endpoint_template: Option<String>,
}

#[expect(clippy::unused_async, reason = "async-graphql takes only async fields")]
#[Object]
impl InstallationQuery {
    /// Who may sign up, and where calls are answered; anybody may ask.
    async fn installation(&self, ctx: &Context<'_>) -> async_graphql::Result<Installation> {
        let config = &app(ctx).config;
        Ok(Installation {
            signup: config.signup.into(),
            mail: config.mail.is_some(),
            endpoint_template: config.endpoint_template.clone(),
            path_endpoint_template: config.path_endpoint_template.clone(),
        })
    }
}
