//! Statements of usage, and proofs.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access::actor::Actor;
use crate::app::App;
use crate::domain;
use crate::domain::usage_statement::Day;
use crate::error::Result;
use crate::rest::extract::{Path, Query};
use crate::rest::problem::Problem;

pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(statement)).routes(routes!(proof))
}

/// What the tenant used on a day, as `tollgate verify-usage` checks it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UsageStatement {
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
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UsageHour {
    hour: DateTime<Utc>,
    /// How many rows of the ledger it has.
    rows: u64,
    /// The root of the Merkle tree over its rows (RFC 9162, SHA-256), in hex.
    root: String,
}

/// That a row of the ledger is in its hour's root, which is in the statement of the day.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UsageProof {
    version: u32,
    tenant_id: String,
    /// The row's name in exports.
    ledger_row: String,
    row: ProvenUsage,
    /// The place of its leaf, from 0.
    index: u64,
    /// How many rows the hour has.
    rows: u64,
    /// The hash beside each node on the way from the leaf to the hour's root, the lowest first, in hex.
    path: Vec<String>,
}

/// A row of the ledger, as exports have it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ProvenUsage {
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
    requests: i64,
    billed_requests: i64,
    bytes_in: i64,
    bytes_out: i64,
    billed_bytes_out: i64,
    duration_ms: i64,
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
        Self { hour: hour.hour, rows: hour.rows, root: hour.root.to_string() }
    }
}

impl From<domain::usage_statement::Proof> for UsageProof {
    fn from(proof: domain::usage_statement::Proof) -> Self {
        let row = proof.row;
        Self {
            version: proof.version,
            tenant_id: proof.tenant_id.to_string(),
            ledger_row: proof.ledger_row,
            row: ProvenUsage {
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
                requests: row.requests,
                billed_requests: row.billed_requests,
                bytes_in: row.bytes_in,
                bytes_out: row.bytes_out,
                billed_bytes_out: row.billed_bytes_out,
                duration_ms: row.duration_ms,
            },
            index: proof.index,
            rows: proof.rows,
            path: proof.path.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Which row.
#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ProofQuery {
    /// The start of the hour that the row is of.
    hour: DateTime<Utc>,
    /// The row's name in exports: 32 hex digits.
    ledger_row: String,
}

/// What was used on a day: a root for each hour, and a signature once all are sealed.
#[utoipa::path(get, path = "/usage/statements/{day}", tag = "usage", operation_id = "getUsageStatement", params(("day" = String, Path)), responses(
    (status = 200, body = UsageStatement),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn statement(
    State(app): State<App>,
    actor: Actor,
    Path(day): Path<String>,
) -> Result<Json<UsageStatement>> {
    let day = Day::new(&app, &day)?;
    Ok(Json(domain::usage_statement::get(&app, &actor, day).await?.into()))
}

/// That a row is in the root of its hour, which must be sealed.
#[utoipa::path(get, path = "/usage/proofs", tag = "usage", operation_id = "getUsageProof", params(ProofQuery), responses(
    (status = 200, body = UsageProof),
    (status = "4XX", body = Problem, content_type = "application/problem+json"),
), security(("accessToken" = [])))]
async fn proof(
    State(app): State<App>,
    actor: Actor,
    Query(query): Query<ProofQuery>,
) -> Result<Json<UsageProof>> {
    let proof = domain::usage_statement::prove(&app, &actor, query.hour, &query.ledger_row);
    Ok(Json(proof.await?.into()))
}
