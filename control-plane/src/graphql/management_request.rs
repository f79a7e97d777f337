//! The log of requests to this API.

use async_graphql::connection::Connection;
use async_graphql::{Context, ID, InputObject, Object};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::domain::page::Key;
use crate::error::{Error, Result};
use crate::graphql::connection::{connection, page};
use crate::graphql::node::Kind;
use crate::graphql::{app, identity};

#[derive(Default)]
pub struct ManagementRequestQuery;

/// One request to this API, GraphQL or REST, which came with an access token. Never what was in it.
pub struct ManagementRequest(Box<domain::management_request::ManagementRequest>);

impl From<domain::management_request::ManagementRequest> for ManagementRequest {
    fn from(request: domain::management_request::ManagementRequest) -> Self {
        Self(Box::new(request))
    }
}

/// Which requests; each field left out matches every one.
#[derive(InputObject, Default)]
pub struct ManagementRequestFilter {
    /// The `x-request-id` of the answer, or the one that the caller sent.
    request_id: Option<String>,
    /// Who asked: the id of a user, or of a member.
    actor: Option<ID>,
    /// The status of the answer: 404.
    status: Option<i32>,
    /// Whether the answer had errors, `userErrors` too, or was never given.
    failed: Option<bool>,
    /// Inclusive.
    since: Option<DateTime<Utc>>,
    /// Exclusive.
    until: Option<DateTime<Utc>>,
}

impl TryFrom<ManagementRequestFilter> for domain::management_request::ManagementRequestFilter {
    type Error = Error;

    fn try_from(filter: ManagementRequestFilter) -> Result<Self> {
        let user =
            |id: &ID| Kind::User.parse(id, "actor").or_else(|_| Kind::Member.parse(id, "actor"));
        Self {
            request_id: filter.request_id,
            user: filter.actor.as_ref().map(user).transpose()?,
            status: filter.status.map(|status| u16::try_from(status).unwrap_or_default()),
            failed: filter.failed,
            since: filter.since,
            until: filter.until,
        }
        .checked()
    }
}

#[Object]
impl ManagementRequestQuery {
    /// The requests to this API, the newest first: of the caller's tenant; the operator's own. They are there a moment
    /// after their answer, for 30 days. What came without an access token, or was refused unread for want of points, is
    /// not.
    async fn management_requests(
        &self,
        ctx: &Context<'_>,
        filter: Option<ManagementRequestFilter>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, ManagementRequest>> {
        let caller = identity(ctx)?;
        let page = page(first, after, last, before)?;
        let filter: domain::management_request::ManagementRequestFilter =
            filter.unwrap_or_default().try_into().map_err(|error: Error| error.within("filter"))?;
        let found = domain::management_request::list(app(ctx), caller, &filter, &page).await?;
        Ok(connection(found))
    }

    /// The one with this id: the `x-request-id` of its answer, or the newest with the one that the caller sent. Null
    /// where there is none, or not yet.
    async fn management_request(
        &self,
        ctx: &Context<'_>,
        request_id: String,
    ) -> async_graphql::Result<Option<ManagementRequest>> {
        match domain::management_request::get(app(ctx), identity(ctx)?, &request_id).await {
            Ok(request) => Ok(Some(request.into())),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[Object]
impl ManagementRequest {
    /// The `x-request-id` of the answer.
    async fn request_id(&self) -> String {
        self.0.id.to_string()
    }

    /// The `x-request-id` that the caller sent: 1 to 128 letters, digits and `-._:=+/`. Null for any other.
    async fn client_request_id(&self) -> Option<&str> {
        self.0.client_request_id.as_deref()
    }

    /// Whose access token it was.
    async fn user_id(&self) -> ID {
        Kind::User.id(self.0.user)
    }

    /// Null where they are no longer a member.
    async fn user_email(&self) -> Option<&str> {
        self.0.user_email.as_deref()
    }

    async fn started_at(&self) -> DateTime<Utc> {
        self.0.started_at
    }

    /// From the request's head to the head of its answer.
    async fn duration_ms(&self) -> i32 {
        self.0.duration_ms
    }

    async fn method(&self) -> &str {
        &self.0.method
    }

    /// The template: `/v1/apis/{apiId}`.
    async fn path(&self) -> &str {
        &self.0.path
    }

    /// What a GraphQL request asked for: `createApi`.
    async fn operations(&self) -> &[String] {
        &self.0.operations
    }

    /// Null where the caller went away before the answer.
    async fn status(&self) -> Option<i16> {
        self.0.status
    }

    /// Of the errors in the answer, `userErrors` too: `not_found`.
    async fn codes(&self) -> &[String] {
        &self.0.codes
    }

    /// From where it came.
    async fn address(&self) -> &str {
        &self.0.address
    }

    /// The dated version of the API that it was answered in; null where there was no answer.
    async fn api_version(&self) -> Option<String> {
        self.0.api_version.map(|version| version.to_string())
    }
}
