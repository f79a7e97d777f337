//! What can be watched as it happens, over `graphql-transport-ws`. Whichever replica the socket is on.

use async_graphql::{Context, ID, Object, SimpleObject, Subscription};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt, stream};
use proto::tail::v1::Request;

use crate::domain;
use crate::domain::request_tail::Wanted;
use crate::domain::usage_tick::{Minute, Sums};
use crate::graphql::api_key::ApiKey;
use crate::graphql::caller;
use crate::graphql::convergence::DeploymentStatus;
use crate::graphql::loader;
use crate::graphql::node::Kind;
use crate::ids::{ApiKeyId, NodeId};
use crate::live::Shown;

#[derive(Default)]
pub struct LiveSubscription;

/// The calls of one stage in one minute, as far as they are counted.
#[derive(SimpleObject)]
struct UsageMinute {
    start: DateTime<Utc>,
    api_id: String,
    stage: String,
    requests: i64,
    billed_requests: i64,
    /// Answers 4xx.
    client_errors: i64,
    /// Answers 5xx.
    server_errors: i64,
    bytes_in: i64,
    bytes_out: i64,
}

impl From<(Minute, Sums)> for UsageMinute {
    fn from((minute, sums): (Minute, Sums)) -> Self {
        Self {
            start: minute.start,
            api_id: minute.api,
            stage: minute.stage,
            requests: sums.requests,
            billed_requests: sums.billed_requests,
            client_errors: sums.client_errors,
            server_errors: sums.server_errors,
            bytes_in: sums.bytes_in,
            bytes_out: sums.bytes_out,
        }
    }
}

/// The minutes that grew, each whole: a row replaces the one before of the same `start`, `apiId` and `stage`.
#[derive(SimpleObject)]
struct UsageTick {
    minutes: Vec<UsageMinute>,
}

/// Requests of one node that have ended since the batch before.
#[derive(SimpleObject)]
struct RequestBatch {
    requests: Vec<WatchedRequest>,
    /// How many more there were than are shown: a node shows at most 100 a second.
    dropped: u64,
}

impl From<Shown> for RequestBatch {
    fn from(shown: Shown) -> Self {
        let node = shown.node;
        let requests = shown.requests.into_iter();
        Self {
            requests: requests.map(|request| WatchedRequest { node, request }).collect(),
            dropped: shown.dropped,
        }
    }
}

/// One request that has ended. Never a field's value, a body, or the query.
struct WatchedRequest {
    node: NodeId,
    request: Request,
}

#[Object]
impl WatchedRequest {
    async fn started_at(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(i64::try_from(self.request.started_ms).ok()?)
    }

    /// As in the answer's `x-request-id`.
    async fn request_id(&self) -> &str {
        &self.request.request_id
    }

    /// Says nothing but which node, here and in logs.
    async fn node_id(&self) -> String {
        self.node.to_string()
    }

    async fn api_id(&self) -> &str {
        &self.request.api_id
    }

    async fn stage(&self) -> &str {
        &self.request.stage
    }

    async fn method(&self) -> &str {
        &self.request.method
    }

    /// `GET /pets/{id}`; `-` where no route matched.
    async fn route(&self) -> &str {
        &self.request.route
    }

    /// Below the stage, at most 1 KiB, without the query.
    async fn path(&self) -> &str {
        &self.request.path
    }

    /// 0 where the call was cut off before a status.
    async fn status(&self) -> u32 {
        self.request.status
    }

    /// Why the gateway answered by itself: `THROTTLED`.
    async fn code(&self) -> Option<&str> {
        Some(self.request.code.as_str()).filter(|code| !code.is_empty())
    }

    /// The limit that refused it, as `RateLimit` names it; `explanation` has its figures for a while.
    async fn throttled_by(&self) -> Option<&str> {
        Some(self.request.throttled_by.as_str()).filter(|name| !name.is_empty())
    }

    /// Which throttles and concurrency limits in shadow would have refused it, as `RateLimit` would name them: `key-route`,
    /// `key`, `route`, `stage`, `key-concurrency`, `route-concurrency`, `stage-concurrency`.
    async fn shadow_throttled_by(&self) -> &[String] {
        &self.request.shadow_throttled_by
    }

    /// From the request's head to the answer's last byte.
    async fn duration_ms(&self) -> f64 {
        self.request.duration_ms
    }

    async fn bytes_in(&self) -> u64 {
        self.request.bytes_in
    }

    async fn bytes_out(&self) -> u64 {
        self.request.bytes_out
    }

    /// Whether the answer was cut off before its end.
    async fn aborted(&self) -> bool {
        self.request.aborted
    }

    async fn api_key_id(&self) -> Option<&str> {
        Some(self.request.api_key_id.as_str()).filter(|id| !id.is_empty())
    }

    /// The key that called; null where there was none, or it is deleted by now.
    async fn api_key(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<ApiKey>> {
        let Ok(id) = self.request.api_key_id.parse::<ApiKeyId>() else { return Ok(None) };
        Ok(loader::one(ctx, id).await?.map(ApiKey::from))
    }
}

#[Subscription(name = "Subscription")]
impl LiveSubscription {
    /// How far the nodes are with a deployment: now, then at each change, until every node that is there answered.
    async fn deployment_status(
        &self,
        ctx: &Context<'_>,
        deployment_id: ID,
    ) -> async_graphql::Result<impl Stream<Item = DeploymentStatus> + use<>> {
        let (app, actor) = caller(ctx)?;
        let id = Kind::Deployment.parse(&deployment_id, "deploymentId")?;
        Ok(domain::convergence::follow(app, actor, id).await?.map(DeploymentStatus::from))
    }

    /// Counted calls as they come in: the last three minutes at once, then each second those that grew; of one
    /// Api where it is named.
    async fn usage(
        &self,
        ctx: &Context<'_>,
        api_id: Option<ID>,
    ) -> async_graphql::Result<impl Stream<Item = UsageTick> + use<>> {
        let (app, actor) = caller(ctx)?;
        let api = api_id.map(|id| Kind::Api.parse(&id, "apiId")).transpose()?;
        let ticks = domain::usage_tick::follow(app, actor, api).await?;
        Ok(ticks
            .map(|minutes| UsageTick { minutes: minutes.into_iter().map(Into::into).collect() }))
    }

    /// Requests as they end, on every node, from now on: batches of what one node saw, at most four a second of
    /// each. The first is empty, and says that it has begun.
    async fn requests(
        &self,
        ctx: &Context<'_>,
        api_id: Option<ID>,
        stage: Option<String>,
        #[graphql(desc = "2 for 2xx …")] status_class: Option<i32>,
    ) -> async_graphql::Result<impl Stream<Item = RequestBatch> + use<>> {
        let (app, actor) = caller(ctx)?;
        let api = api_id.map(|id| Kind::Api.parse(&id, "apiId")).transpose()?;
        let status_class = status_class.map(|class| u8::try_from(class).unwrap_or(u8::MAX));
        let wanted = Wanted { api, stage, status_class };
        let shown = domain::request_tail::follow(app, actor, wanted).await?;
        let begun = RequestBatch { requests: Vec::new(), dropped: 0 };
        let begun = stream::once(std::future::ready(begun));
        Ok(begun.chain(shown.map(RequestBatch::from)))
    }
}
