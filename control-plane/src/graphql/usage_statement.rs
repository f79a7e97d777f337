//! Statements of usage, and proofs.

use async_graphql::{Context, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::domain::usage_statement::Day;
use crate::graphql::caller;
use crate::graphql::price::Count;

#[derive(Default)]
pub struct UsageStatementQuery;

/// What the tenant used on a day, as `tollgate verify-usage` checks it.
#[derive(SimpleObject)]
pub struct UsageStatement {
    version: u32,
    tenant_id: String,
    /// `2026-11-16`, in UTC.
    day: String,
    /// Whether all hours are sealed: about four days later. Until then it has those that are, and is not signed.
    r#final: bool,
    hours: Vec<UsageHour>,
    /// The root of the day's Merkle tree, in hex.
    root: Option<String>,
    /// Ed25519 over the tenant, the day and its root, in hex.
    signature: Option<String>,
    /// The installation's public key, in hex.
    key: Option<String>,
}

/// A sealed hour.
#[derive(SimpleObject)]
pub struct UsageHour {
    hour: DateTime<Utc>,
    /// How many rows of the ledger it has.
    rows: Count,
    /// The root of the Merkle tree over its rows (RFC 9162, SHA-256), in hex.
    root: String,
}

/// That a row of the ledger is in its hour's root, which is in the statement of the day.
#[derive(SimpleObject)]
pub struct UsageProof {
    version: u32,
    tenant_id: String,
    /// The row's name in exports.
    ledger_row: String,
    row: ProvenUsage,
    /// The place of its leaf, from 0.
    index: Count,
    /// How many rows the hour has.
    rows: Count,
    /// The hash beside each node on the way from the leaf to the hour's root, the lowest first, in hex.
    path: Vec<String>,
}

/// A row of the ledger, as exports have it.
#[derive(SimpleObject)]
pub struct ProvenUsage {
    hour: DateTime<Utc>,
    cell: String,
    api_id: String,
    stage: String,
    route: String,
    api_key_id: String,
    usage_plan_id: String,
    consumer_id: String,
    status_class: i16,
    /// `none`, `miss` or `hit`.
    cache: String,
    requests: Count,
    billed_requests: Count,
    bytes_in: Count,
    bytes_out: Count,
    billed_bytes_out: Count,
    duration_ms: Count,
}

impl From<domain::usage_statement::Statement> for UsageStatement {
    fn from(statement: domain::usage_statement::Statement) -> Self {
        Self {
            version: statement.version,
            tenant_id: statement.tenant_id.to_string(),
            day: statement.day.to_string(),
            r#final: statement.is_final,
            hours: statement.hours.into_iter().map(Into::into).collect(),
            root: statement.root.map(|root| root.to_string()),
            signature: statement.signature.map(|signature| signature.to_string()),
            key: statement.key.map(|key| key.to_string()),
        }
    }
}

impl From<domain::usage_statement::Hour> for UsageHour {
    fn from(hour: domain::usage_statement::Hour) -> Self {
        Self { hour: hour.hour, rows: hour.rows.into(), root: hour.root.to_string() }
    }
}

impl From<domain::usage_statement::Proof> for UsageProof {
    fn from(proof: domain::usage_statement::Proof) -> Self {
        Self {
            version: proof.version,
            tenant_id: proof.tenant_id.to_string(),
            ledger_row: proof.ledger_row,
            row: proof.row.into(),
            index: proof.index.into(),
            rows: proof.rows.into(),
            path: proof.path.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<domain::usage_statement::ProvenRow> for ProvenUsage {
    fn from(row: domain::usage_statement::ProvenRow) -> Self {
        Self {
            hour: row.hour,
            cell: row.cell,
            api_id: row.api_id,
            stage: row.stage,
            route: row.route,
            api_key_id: row.api_key_id,
            usage_plan_id: row.usage_plan_id,
            consumer_id: row.consumer_id,
            status_class: row.status_class,
            cache: row.cache,
            requests: row.requests.into(),
            billed_requests: row.billed_requests.into(),
            bytes_in: row.bytes_in.into(),
            bytes_out: row.bytes_out.into(),
            billed_bytes_out: row.billed_bytes_out.into(),
            duration_ms: row.duration_ms.into(),
        }
    }
}

#[Object]
impl UsageStatementQuery {
    /// What was used on a day, `2026-11-16`: a root for each hour, and a signature once all are sealed.
    async fn usage_statement(
        &self,
        ctx: &Context<'_>,
        day: String,
    ) -> async_graphql::Result<UsageStatement> {
        let (app, actor) = caller(ctx)?;
        let day = Day::new(app, &day)?;
        Ok(domain::usage_statement::get(app, actor, day).await?.into())
    }

    /// That a row, by its `ledger_row` in exports, is in the root of its hour, which must be sealed.
    async fn usage_proof(
        &self,
        ctx: &Context<'_>,
        hour: DateTime<Utc>,
        ledger_row: String,
    ) -> async_graphql::Result<UsageProof> {
        let (app, actor) = caller(ctx)?;
        let proof = domain::usage_statement::prove(app, actor, hour, &ledger_row).await;
        Ok(proof?.into())
    }
}
