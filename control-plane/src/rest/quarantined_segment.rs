//! Usage that the ledger did not take, as the operator sees it.

use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Operator;
use crate::app::App;
use crate::domain;
use crate::domain::page::Page;
use crate::domain::quarantined_segment::{Examined, QuarantineFilter};
use crate::error::{Error, Result};
use crate::ids::{NodeId, QuarantinedSegmentId};
use crate::rest::download::Download;
use crate::rest::extract::{Json, Path, Query};
use crate::rest::page::{List, PageQuery};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(settle))
        .routes(routes!(download))
}

/// A segment of a node's usage that the ledger did not take, or took in part, kept as it came.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct QuarantinedSegment {
    #[schema(value_type = String)]
    id: QuarantinedSegmentId,
    #[schema(value_type = String)]
    node_id: NodeId,
    /// The machine's, as the node said when it joined.
    node_name: String,
    /// Its place in the node's journal: a start of the node, in hex,
    epoch: String,
    /// one of its threads,
    thread: i32,
    /// and from 1.
    counter: i64,
    /// Of the content, in hex.
    sha256: String,
    received_at: DateTime<Utc>,
    /// Why the ledger did not take it, or not all of it.
    reason: String,
    size_bytes: i64,
    /// Whether the rest of it counts; null where that is not known any more.
    applied_in_part: Option<bool>,
    /// Null while it is open.
    settled_at: Option<DateTime<Utc>>,
    /// What came of it.
    settled_note: Option<String>,
    /// The address of whoever settled it, while there is such a user.
    settled_by: Option<String>,
}

/// One of them, and what could be read of it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ExaminedSegment {
    #[serde(flatten)]
    segment: QuarantinedSegment,
    /// Null where nothing can be read.
    content: Option<QuarantinedContent>,
}

/// What stands in a segment. Nothing of it is believed: it says what the node wrote.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct QuarantinedContent {
    blocks: u32,
    /// Torn, flipped or missing ones.
    damaged_blocks: u32,
    /// Whether the node finished it.
    sealed: bool,
    /// Slots that could be read.
    records: usize,
    /// Whose calls it names and when they ended, by time; at most 100.
    hours: Vec<QuarantinedHour>,
    /// How many more there are.
    hours_left_out: usize,
}

/// The calls of one tenant that ended within one hour.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct QuarantinedHour {
    /// As the segment has it; cut where it is no id.
    tenant: String,
    /// Null where there is no such tenant.
    tenant_name: Option<String>,
    /// Null for a time that cannot be.
    hour: Option<DateTime<Utc>>,
    records: u64,
    /// More than the records where a node put several calls together.
    requests: u64,
}

impl From<domain::quarantined_segment::QuarantinedSegment> for QuarantinedSegment {
    fn from(segment: domain::quarantined_segment::QuarantinedSegment) -> Self {
        let (at, note, by) = match segment.settled {
            Some(settled) => (Some(settled.at), Some(settled.note), settled.by),
            None => (None, None, None),
        };
        Self {
            id: segment.id,
            node_id: segment.node,
            node_name: segment.node_name,
            epoch: segment.epoch,
            thread: segment.thread,
            counter: segment.counter,
            sha256: segment.sha256,
            received_at: segment.received_at,
            reason: segment.reason,
            size_bytes: segment.size_bytes,
            applied_in_part: segment.applied_in_part,
            settled_at: at,
            settled_note: note,
            settled_by: by,
        }
    }
}

impl From<Examined> for ExaminedSegment {
    fn from(Examined { segment, content }: Examined) -> Self {
        Self { segment: segment.into(), content: content.map(Into::into) }
    }
}

impl From<domain::quarantined_segment::Content> for QuarantinedContent {
    fn from(content: domain::quarantined_segment::Content) -> Self {
        let hour = |hour: domain::quarantined_segment::NamedHour| QuarantinedHour {
            tenant: hour.tenant,
            tenant_name: hour.known.map(|known| known.name),
            hour: hour.hour,
            records: hour.records,
            requests: hour.requests,
        };
        Self {
            blocks: content.blocks,
            damaged_blocks: content.damaged_blocks,
            sealed: content.sealed,
            records: content.records,
            hours: content.hours.into_iter().map(hour).collect(),
            hours_left_out: content.hours_left_out,
        }
    }
}

/// Which of them; each left out matches every one.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct QuarantineQuery {
    /// The node that sent them.
    node_id: Option<String>,
    /// `true`: the settled ones; `false`: those that are open.
    settled: Option<bool>,
    /// The most items to answer with.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SettleQuarantinedSegment {
    /// What came of it; whoever looks next reads it.
    #[schema(min_length = 1, max_length = 1024)]
    note: String,
}

/// Usage that the ledger did not take, or took in part, the last to come first.
#[utoipa::path(get, path = "/operator/quarantined-segments", tag = "operator", operation_id = "listQuarantinedSegments",
params(QuarantineQuery), responses(
    (status = 200, body = List<QuarantinedSegment>),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn list(
    State(app): State<App>,
    operator: Operator,
    Query(query): Query<QuarantineQuery>,
) -> Result<List<QuarantinedSegment>> {
    let page = Page::try_from(PageQuery { limit: query.limit, cursor: query.cursor })?;
    let node = query
        .node_id
        .map(|id| id.parse::<NodeId>().map_err(|_| Error::bad_request("nodeId", "is not an id")));
    let filter = QuarantineFilter { node: node.transpose()?, settled: query.settled };
    Ok(List::of(domain::quarantined_segment::list(&app, &operator, filter, &page).await?))
}

/// One of them, and what can be read of it.
#[utoipa::path(get, path = "/operator/quarantined-segments/{quarantinedSegmentId}", tag = "operator",
operation_id = "getQuarantinedSegment", params(("quarantinedSegmentId" = String, Path)), responses(
    (status = 200, body = ExaminedSegment),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn get(
    State(app): State<App>,
    operator: Operator,
    Path(id): Path<QuarantinedSegmentId>,
) -> Result<axum::Json<ExaminedSegment>> {
    Ok(axum::Json(domain::quarantined_segment::get(&app, &operator, id).await?.into()))
}

/// Says what came of it: it is open no more, and is kept for 90 days. Nothing of it is put into the ledger.
#[utoipa::path(post, path = "/operator/quarantined-segments/{quarantinedSegmentId}/settle", tag = "operator",
operation_id = "settleQuarantinedSegment", params(("quarantinedSegmentId" = String, Path)),
request_body = SettleQuarantinedSegment, responses(
    (status = 200, body = QuarantinedSegment),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn settle(
    State(app): State<App>,
    operator: Operator,
    Path(id): Path<QuarantinedSegmentId>,
    Json(body): Json<SettleQuarantinedSegment>,
) -> Result<axum::Json<QuarantinedSegment>> {
    let settled = domain::quarantined_segment::settle(&app, &operator, id, &body.note).await?;
    Ok(axum::Json(settled.into()))
}

/// Makes a link to the segment as its node sent it, for `tollgate inspect-segment`; it works once, for 60 seconds.
#[utoipa::path(post, path = "/operator/quarantined-segments/{quarantinedSegmentId}/downloads", tag = "operator",
operation_id = "createQuarantinedSegmentDownload", params(("quarantinedSegmentId" = String, Path)), responses(
    (status = 201, body = Download),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn download(
    State(app): State<App>,
    operator: Operator,
    Path(id): Path<QuarantinedSegmentId>,
) -> Result<(StatusCode, axum::Json<Download>)> {
    let link = domain::quarantined_segment::create_download(&app, &operator, id).await?;
    Ok((StatusCode::CREATED, axum::Json(link.into())))
}
