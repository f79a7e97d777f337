//! Usage that the ledger did not take, as the operator sees it.

use async_graphql::connection::Connection;
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::domain::page::Key;
use crate::domain::quarantined_segment::{Examined, QuarantineFilter};
use crate::error::{Error, Result};
use crate::graphql::connection::{connection, page};
use crate::graphql::download::CreateDownloadPayload;
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::node::Kind;
use crate::graphql::operator;
use crate::graphql::price::Count;
use crate::ids::{NodeId, QuarantinedSegmentId};

#[derive(Default)]
pub struct QuarantinedSegmentQuery;

#[derive(Default)]
pub struct QuarantinedSegmentMutation;

/// A segment of a node's usage that the ledger did not take, or took in part, kept as it came.
#[derive(SimpleObject)]
pub struct QuarantinedSegment {
    id: ID,
    /// The `id` of a `FleetNode`.
    node_id: String,
    /// The machine's, as the node said when it joined.
    node_name: String,
    /// Its place in the node's journal: a start of the node, in hex,
    epoch: String,
    /// one of its threads,
    thread: i32,
    /// and from 1.
    counter: Count,
    /// Of the content, in hex.
    sha256: String,
    received_at: DateTime<Utc>,
    /// Why the ledger did not take it, or not all of it.
    reason: String,
    size_bytes: Count,
    /// Whether the rest of it counts; null where that is not known any more.
    applied_in_part: Option<bool>,
    /// Null while it is open.
    settled_at: Option<DateTime<Utc>>,
    /// What came of it.
    settled_note: Option<String>,
    /// The address of whoever settled it, while there is such a user.
    settled_by: Option<String>,
    /// Told of one that is asked for alone; null in lists, and where nothing can be read.
    content: Option<QuarantinedContent>,
}

/// What stands in a segment. Nothing of it is believed: it says what the node wrote.
#[derive(SimpleObject)]
pub struct QuarantinedContent {
    blocks: Count,
    /// Torn, flipped or missing ones.
    damaged_blocks: Count,
    /// Whether the node finished it.
    sealed: bool,
    /// Slots that could be read.
    records: Count,
    /// Whose calls it names and when they ended, by time; at most 100.
    hours: Vec<QuarantinedHour>,
    /// How many more there are.
    hours_left_out: Count,
}

/// The calls of one tenant that ended within one hour.
#[derive(SimpleObject)]
pub struct QuarantinedHour {
    /// As the segment has it; cut where it is no id.
    tenant: String,
    /// Null where there is no such tenant.
    tenant_id: Option<ID>,
    tenant_name: Option<String>,
    /// Null for a time that cannot be.
    hour: Option<DateTime<Utc>>,
    records: Count,
    /// More than the records where a node put several calls together.
    requests: Count,
}

impl From<domain::quarantined_segment::QuarantinedSegment> for QuarantinedSegment {
    fn from(segment: domain::quarantined_segment::QuarantinedSegment) -> Self {
        let (at, note, by) = match segment.settled {
            Some(settled) => (Some(settled.at), Some(settled.note), settled.by),
            None => (None, None, None),
        };
        Self {
            id: segment.id.to_string().into(),
            node_id: segment.node.to_string(),
            node_name: segment.node_name,
            epoch: segment.epoch,
            thread: segment.thread,
            counter: segment.counter.into(),
            sha256: segment.sha256,
            received_at: segment.received_at,
            reason: segment.reason,
            size_bytes: segment.size_bytes.into(),
            applied_in_part: segment.applied_in_part,
            settled_at: at,
            settled_note: note,
            settled_by: by,
            content: None,
        }
    }
}

impl From<Examined> for QuarantinedSegment {
    fn from(Examined { segment, content }: Examined) -> Self {
        Self { content: content.map(Into::into), ..segment.into() }
    }
}

impl From<domain::quarantined_segment::Content> for QuarantinedContent {
    fn from(content: domain::quarantined_segment::Content) -> Self {
        let hour = |hour: domain::quarantined_segment::NamedHour| QuarantinedHour {
            tenant: hour.tenant,
            tenant_id: hour.known.as_ref().map(|known| Kind::Tenant.id(known.id)),
            tenant_name: hour.known.map(|known| known.name),
            hour: hour.hour,
            records: hour.records.into(),
            requests: hour.requests.into(),
        };
        Self {
            blocks: u64::from(content.blocks).into(),
            damaged_blocks: u64::from(content.damaged_blocks).into(),
            sealed: content.sealed,
            records: (content.records as u64).into(),
            hours: content.hours.into_iter().map(hour).collect(),
            hours_left_out: (content.hours_left_out as u64).into(),
        }
    }
}

#[derive(InputObject)]
pub struct SettleQuarantinedSegmentInput {
    /// The `id` of a `QuarantinedSegment`.
    quarantined_segment_id: String,
    /// What came of it, at most 1024 characters; whoever looks next reads it.
    note: String,
}

#[derive(SimpleObject)]
pub struct SettleQuarantinedSegmentPayload {
    quarantined_segment: Option<QuarantinedSegment>,
    user_errors: Vec<UserError>,
}

#[derive(InputObject)]
pub struct CreateQuarantinedSegmentDownloadInput {
    /// The `id` of a `QuarantinedSegment`.
    quarantined_segment_id: String,
}

#[Object]
impl QuarantinedSegmentQuery {
    /// Usage that the ledger did not take, or took in part, the last to come first: of this node, or of all; what is
    /// settled, what is open, or both. The operator's.
    #[expect(clippy::too_many_arguments, reason = "a connection's four, and two filters")]
    async fn quarantined_segments(
        &self,
        ctx: &Context<'_>,
        node_id: Option<String>,
        settled: Option<bool>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, QuarantinedSegment>> {
        let (app, operator) = operator(ctx)?;
        let page = page(first, after, last, before)?;
        let node = node_id.map(|id| {
            id.parse::<NodeId>().map_err(|_| Error::bad_request("nodeId", "is not an id"))
        });
        let filter = QuarantineFilter { node: node.transpose()?, settled };
        Ok(connection(domain::quarantined_segment::list(app, operator, filter, &page).await?))
    }

    /// One of them, and what can be read of it; the operator's. Null where there is none.
    async fn quarantined_segment(
        &self,
        ctx: &Context<'_>,
        quarantined_segment_id: String,
    ) -> async_graphql::Result<Option<QuarantinedSegment>> {
        let (app, operator) = operator(ctx)?;
        let found = async {
            let id = segment(&quarantined_segment_id)?;
            domain::quarantined_segment::get(app, operator, id).await
        };
        match found.await {
            Ok(examined) => Ok(Some(examined.into())),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[Object]
impl QuarantinedSegmentMutation {
    /// Says what came of a segment that was set aside: it is open no more, and is kept for 90 days. Nothing of it is
    /// put into the ledger. The operator's.
    async fn settle_quarantined_segment(
        &self,
        ctx: &Context<'_>,
        input: SettleQuarantinedSegmentInput,
    ) -> async_graphql::Result<SettleQuarantinedSegmentPayload> {
        let (app, operator) = operator(ctx)?;
        let made = async {
            let id = segment(&input.quarantined_segment_id)?;
            domain::quarantined_segment::settle(app, operator, id, &input.note).await
        };
        let (settled, user_errors) = user_errors(made.await)?;
        let quarantined_segment = settled.map(Into::into);
        Ok(SettleQuarantinedSegmentPayload { quarantined_segment, user_errors })
    }

    /// A link to the segment as its node sent it, for `tollgate inspect-segment`; it works once, for 60 seconds. The
    /// operator's.
    async fn create_quarantined_segment_download(
        &self,
        ctx: &Context<'_>,
        input: CreateQuarantinedSegmentDownloadInput,
    ) -> async_graphql::Result<CreateDownloadPayload> {
        let (app, operator) = operator(ctx)?;
        let made = async {
            let id = segment(&input.quarantined_segment_id)?;
            domain::quarantined_segment::create_download(app, operator, id).await
        };
        let (link, user_errors) = user_errors(made.await)?;
        Ok(CreateDownloadPayload::of(link, user_errors))
    }
}

fn segment(text: &str) -> Result<QuarantinedSegmentId> {
    text.parse().map_err(|_| Error::NotFound("quarantined segment"))
}
