//! What nodes hold, as it is stored: the rows behind every message, of a whole cell or of one noun.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::sampling::SamplingRule;
use crate::error::Result;
use crate::ids::{ApiId, ApiKeyId, DeploymentId, TenantId, UsagePlanId};

/// Which rows of a noun to read.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a, Id> {
    /// All that the nodes of this cell hold.
    Cell(&'a str),
    One(TenantId, Id),
}

impl<Id> Scope<'_, Id> {
    fn cell(&self) -> Option<&str> {
        match self {
            Self::Cell(cell) => Some(cell),
            Self::One(..) => None,
        }
    }

    fn tenant(&self) -> Option<Uuid> {
        match self {
            Self::Cell(_) => None,
            Self::One(tenant, _) => Some(tenant.0),
        }
    }

    fn one(&self) -> Option<&Id> {
        match self {
            Self::Cell(_) => None,
            Self::One(_, id) => Some(id),
        }
    }
}

pub struct TenantRow {
    pub id: Uuid,
    pub status: String,
    pub data_key: Vec<u8>,
    pub key_pepper: Vec<u8>,
    pub egress_allow: Vec<String>,
}

pub async fn tenants(tx: &mut Tx, scope: Scope<'_, ()>) -> Result<Vec<TenantRow>> {
    Ok(sqlx::query_as!(
        TenantRow,
        "select id, status, data_key, key_pepper, egress_allow from tenant
         where erased_at is null and (cell_id = $1 or id = $2) order by id",
        scope.cell(),
        scope.tenant(),
    )
    .fetch_all(&mut **tx)
    .await?)
}

pub struct DeploymentRow {
    pub id: String,
    pub document: Vec<u8>,
}

/// Of a cell, the deployments that a stage points at: nodes hold no other.
pub async fn deployments(
    tx: &mut Tx,
    scope: Scope<'_, DeploymentId>,
) -> Result<Vec<DeploymentRow>> {
    Ok(sqlx::query_as!(
        DeploymentRow,
        "select d.id, d.document from deployment d join tenant t on t.id = d.tenant_id
         where (t.cell_id = $1 and exists (
                 select 1 from stage s
                 where s.tenant_id = d.tenant_id and s.api_id = d.api_id and s.deployment_id = d.id
             )) or (d.tenant_id = $2 and d.id = $3)
         order by d.id",
        scope.cell(),
        scope.tenant(),
        scope.one().map(DeploymentId::as_str),
    )
    .fetch_all(&mut **tx)
    .await?)
}

pub struct StageRow {
    pub tenant_id: Uuid,
    pub api_id: String,
    pub dialect: String,
    pub name: String,
    pub deployment_id: Option<String>,
    pub variables: Value,
    pub throttle_rate_limit: Option<f64>,
    pub throttle_burst_limit: Option<i32>,
    pub rate_limit_headers: Option<bool>,
    pub client_certificate_id: String,
    pub web_acl_arn: String,
    pub method_settings: Value,
    pub tracing_enabled: bool,
    pub sampling_rules: Json<Vec<SamplingRule>>,
}

pub async fn stages(tx: &mut Tx, scope: Scope<'_, (ApiId, &str)>) -> Result<Vec<StageRow>> {
    let one = scope.one();
    Ok(sqlx::query_as!(
        StageRow,
        r#"select s.tenant_id, s.api_id, a.dialect, s.name, s.deployment_id, s.variables,
             s.throttle_rate_limit, s.throttle_burst_limit, s.rate_limit_headers,
             s.client_certificate_id, s.web_acl_arn, s.method_settings, s.tracing_enabled,
             s.sampling_rules as "sampling_rules: Json<Vec<SamplingRule>>"
         from stage s
             join tenant t on t.id = s.tenant_id
             join api a on a.tenant_id = s.tenant_id and a.id = s.api_id
         where t.cell_id = $1 or (s.tenant_id = $2 and s.api_id = $3 and s.name = $4)
         order by s.api_id, s.name"#,
        scope.cell(),
        scope.tenant(),
        one.map(|(api, _)| api.as_str()),
        one.map(|(_, name)| *name),
    )
    .fetch_all(&mut **tx)
    .await?)
}

pub struct UsagePlanRow {
    pub id: String,
    pub tenant_id: Uuid,
    pub name: String,
    pub throttle_rate_limit: Option<f64>,
    pub throttle_burst_limit: Option<i32>,
    pub quota_limit: Option<i64>,
    pub quota_period: Option<String>,
    pub stages: Json<Vec<UsagePlanStageRow>>,
}

#[derive(Deserialize)]
pub struct UsagePlanStageRow {
    pub api_id: String,
    pub stage_name: String,
    pub route_throttles: std::collections::BTreeMap<String, ThrottleRow>,
}

/// As `usage_plan_stage.route_throttles` holds it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThrottleRow {
    pub rate_limit: f64,
    pub burst_limit: i32,
}

pub async fn usage_plans(tx: &mut Tx, scope: Scope<'_, UsagePlanId>) -> Result<Vec<UsagePlanRow>> {
    Ok(sqlx::query_as!(
        UsagePlanRow,
        r#"select p.id, p.tenant_id, p.name, p.throttle_rate_limit, p.throttle_burst_limit,
             p.quota_limit, p.quota_period,
             (select coalesce(jsonb_agg(to_jsonb(s) order by s.api_id, s.stage_name), '[]')
              from usage_plan_stage s where s.usage_plan_id = p.id)
                 as "stages!: Json<Vec<UsagePlanStageRow>>"
         from usage_plan p join tenant t on t.id = p.tenant_id
         where t.cell_id = $1 or (p.tenant_id = $2 and p.id = $3)
         order by p.id"#,
        scope.cell(),
        scope.tenant(),
        scope.one().map(UsagePlanId::as_str),
    )
    .fetch_all(&mut **tx)
    .await?)
}

pub struct ApiKeyRow {
    pub id: String,
    pub tenant_id: Uuid,
    pub digest: Vec<u8>,
    pub enabled: bool,
    pub mode: String,
    pub usage_plan_ids: Vec<String>,
    pub consumer_id: Option<Uuid>,
    pub expires_at: Option<DateTime<Utc>>,
}

pub async fn api_keys(tx: &mut Tx, scope: Scope<'_, ApiKeyId>) -> Result<Vec<ApiKeyRow>> {
    Ok(sqlx::query_as!(
        ApiKeyRow,
        r#"select k.id, k.tenant_id, k.digest, k.enabled, k.mode, k.consumer_id, k.expires_at,
             array(select p.usage_plan_id from usage_plan_key p
                 where p.tenant_id = k.tenant_id and p.api_key_id = k.id
                 order by p.usage_plan_id) as "usage_plan_ids!"
         from api_key k join tenant t on t.id = k.tenant_id
         where t.cell_id = $1 or (k.tenant_id = $2 and k.id = $3)
         order by k.id"#,
        scope.cell(),
        scope.tenant(),
        scope.one().map(ApiKeyId::as_str),
    )
    .fetch_all(&mut **tx)
    .await?)
}
