//! What can be watched as it happens, over `graphql-transport-ws`. Whichever replica the socket is on.

use async_graphql::{Context, ID, SimpleObject, Subscription};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};

use crate::domain;
use crate::domain::usage_tick::{Minute, Sums};
use crate::graphql::caller;
use crate::graphql::convergence::DeploymentStatus;
use crate::graphql::node::Kind;

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
}
