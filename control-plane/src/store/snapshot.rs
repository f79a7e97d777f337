//! What nodes hold, as it is stored: the rows behind every message, of a whole cell or of one noun.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Deserialize;
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::canary::CanarySettings;
use crate::domain::concurrency::RouteConcurrencyLimit;
use crate::domain::limit::Adjusted;
use crate::domain::sampling::SamplingRule;
use crate::domain::vpc_link::Balancing;
use crate::error::Result;
use crate::ids::{
    ApiId, ApiKeyId, ClientCertificateId, DeploymentId, SecretId, TenantId, UsagePlanId, VpcLinkId,
};
use crate::store::client_throttle::StoredClientThrottle;
use crate::store::throttle::{StoredRouteThrottle, StoredThrottle};

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
    pub limits: Json<Adjusted>,
}

pub async fn tenants(tx: &mut Tx, scope: Scope<'_, ()>) -> Result<Vec<TenantRow>> {
    Ok(sqlx::query_as!(
        TenantRow,
        r#"select id, status, data_key, key_pepper, egress_allow, limits as "limits: Json<Adjusted>"
         from tenant where erased_at is null and (cell_id = $1 or id = $2) order by id"#,
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

/// Of a cell, the deployments that a stage or its canary points at: nodes hold no other.
pub async fn deployments(
    tx: &mut Tx,
    scope: Scope<'_, DeploymentId>,
) -> Result<Vec<DeploymentRow>> {
    Ok(sqlx::query_as!(
        DeploymentRow,
        "select d.id, d.document from deployment d join tenant t on t.id = d.tenant_id
         where (t.cell_id = $1 and exists (
                 select 1 from stage s
                 where s.tenant_id = d.tenant_id and s.api_id = d.api_id
                     and d.id in (s.deployment_id, s.canary_deployment_id)
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
    pub canary_deployment_id: Option<String>,
    pub canary_settings: Option<Json<CanarySettings>>,
    pub variables: Value,
    pub throttle_rate_limit: Option<f64>,
    pub throttle_burst_limit: Option<i32>,
    pub throttle_enforcement: String,
    pub throttle_mode: Option<String>,
    pub throttle_outage: Option<String>,
    pub route_throttles: Json<Vec<StoredRouteThrottle>>,
    pub max_in_flight: Option<i32>,
    pub concurrency_enforcement: String,
    pub route_concurrency_limits: Json<Vec<RouteConcurrencyLimit>>,
    pub client_throttles: Json<Vec<StoredClientThrottle>>,
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
             s.canary_deployment_id, s.canary_settings as "canary_settings: Json<CanarySettings>",
             s.throttle_rate_limit, s.throttle_burst_limit, s.throttle_enforcement, s.throttle_mode,
             s.throttle_outage, s.max_in_flight, s.concurrency_enforcement,
             s.route_concurrency_limits as "route_concurrency_limits: Json<Vec<RouteConcurrencyLimit>>",
             s.route_throttles as "route_throttles: Json<Vec<StoredRouteThrottle>>",
             s.client_throttles as "client_throttles: Json<Vec<StoredClientThrottle>>",
             s.rate_limit_headers, s.client_certificate_id, s.web_acl_arn, s.method_settings, s.tracing_enabled,
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
    pub throttle_enforcement: String,
    pub throttle_mode: Option<String>,
    pub throttle_outage: Option<String>,
    pub max_in_flight: Option<i32>,
    pub concurrency_enforcement: String,
    pub quota_limit: Option<i64>,
    pub quota_period: Option<String>,
    pub quota_time_zone: String,
    pub quota_starts_at: Option<DateTime<Utc>>,
    pub quota_enforcement: String,
    pub quota_offset: i32,
    pub stages: Json<Vec<UsagePlanStageRow>>,
}

#[derive(Deserialize)]
pub struct UsagePlanStageRow {
    pub api_id: String,
    pub stage_name: String,
    pub route_throttles: BTreeMap<String, StoredThrottle>,
}

pub async fn usage_plans(tx: &mut Tx, scope: Scope<'_, UsagePlanId>) -> Result<Vec<UsagePlanRow>> {
    Ok(sqlx::query_as!(
        UsagePlanRow,
        r#"select p.id, p.tenant_id, p.name, p.throttle_rate_limit, p.throttle_burst_limit,
             p.throttle_enforcement, p.throttle_mode, p.throttle_outage, p.max_in_flight, p.concurrency_enforcement,
             p.quota_limit, p.quota_period, p.quota_time_zone, p.quota_starts_at, p.quota_enforcement,
             p.quota_offset,
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
    /// When the key was put on each, in Unix seconds.
    pub usage_plan_joined_s: Vec<i64>,
    /// What it was granted beside the quota of each, and in which period, in Unix seconds.
    pub quota_extra_calls: Vec<i64>,
    pub quota_extra_from_s: Vec<i64>,
    pub quota_extra_until_s: Vec<i64>,
    pub consumer_id: Option<Uuid>,
    pub expires_at: Option<DateTime<Utc>>,
    pub previous_digest: Option<Vec<u8>>,
    pub overlap_ends_at: Option<DateTime<Utc>>,
    pub client_networks: Vec<String>,
    pub origins: Vec<String>,
}

pub async fn api_keys(tx: &mut Tx, scope: Scope<'_, ApiKeyId>) -> Result<Vec<ApiKeyRow>> {
    Ok(sqlx::query_as!(
        ApiKeyRow,
        r#"select k.id, k.tenant_id, k.digest, k.enabled, k.mode, k.consumer_id, k.expires_at,
             k.previous_digest, k.overlap_ends_at, k.client_networks, k.origins,
             array(select p.usage_plan_id from usage_plan_key p
                 where p.tenant_id = k.tenant_id and p.api_key_id = k.id
                 order by p.usage_plan_id) as "usage_plan_ids!",
             array(select floor(extract(epoch from p.created_at))::bigint from usage_plan_key p
                 where p.tenant_id = k.tenant_id and p.api_key_id = k.id
                 order by p.usage_plan_id) as "usage_plan_joined_s!",
             array(select p.quota_extra_calls from usage_plan_key p
                 where p.tenant_id = k.tenant_id and p.api_key_id = k.id
                 order by p.usage_plan_id) as "quota_extra_calls!",
             array(select coalesce(extract(epoch from p.quota_extra_from), 0)::bigint from usage_plan_key p
                 where p.tenant_id = k.tenant_id and p.api_key_id = k.id
                 order by p.usage_plan_id) as "quota_extra_from_s!",
             array(select coalesce(extract(epoch from p.quota_extra_until), 0)::bigint from usage_plan_key p
                 where p.tenant_id = k.tenant_id and p.api_key_id = k.id
                 order by p.usage_plan_id) as "quota_extra_until_s!"
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

pub struct SecretRow {
    pub id: Uuid,
    pub tenant_id: Uuid,
    pub data_key: Vec<u8>,
    pub kind: String,
    pub value: Vec<u8>,
    pub derived_for: NaiveDate,
    /// For which of AWS's regions and services it signs; neither, where its value is needed.
    pub regions: Vec<String>,
    pub services: Vec<String>,
}

/// Those that a deployment needs.
pub async fn secrets(tx: &mut Tx, scope: Scope<'_, SecretId>) -> Result<Vec<SecretRow>> {
    Ok(sqlx::query_as!(
        SecretRow,
        r#"select s.id, s.tenant_id, t.data_key, s.kind, s.value, s.derived_for, u.regions as "regions!",
             u.services as "services!"
         from secret s join tenant t on t.id = s.tenant_id
             join lateral (
                 select array_agg(d.region order by d.region, d.service) as regions,
                     array_agg(d.service order by d.region, d.service) as services
                 from (select distinct region, service from secret_use
                     where tenant_id = s.tenant_id and secret_id = s.id) d
             ) u on u.regions is not null
         where t.erased_at is null and (t.cell_id = $1 or (s.tenant_id = $2 and s.id = $3))
         order by s.id"#,
        scope.cell(),
        scope.tenant(),
        scope.one().map(|id| id.0),
    )
    .fetch_all(&mut **tx)
    .await?)
}

pub struct VpcLinkRow {
    pub id: String,
    pub tenant_id: Uuid,
    pub balancing: Json<Balancing>,
}

/// Those that a deployment needs.
pub async fn vpc_links(tx: &mut Tx, scope: Scope<'_, VpcLinkId>) -> Result<Vec<VpcLinkRow>> {
    let one = scope.one().map(ToString::to_string);
    Ok(sqlx::query_as!(
        VpcLinkRow,
        r#"select l.id, l.tenant_id, l.balancing as "balancing: Json<Balancing>"
         from vpc_link l join tenant t on t.id = l.tenant_id
         where t.erased_at is null and (t.cell_id = $1 or (l.tenant_id = $2 and l.id = $3))
             and exists (select 1 from vpc_link_use u where u.tenant_id = l.tenant_id and u.vpc_link_id = l.id)
         order by l.id"#,
        scope.cell(),
        scope.tenant(),
        one,
    )
    .fetch_all(&mut **tx)
    .await?)
}

pub struct ClientCertificateRow {
    pub id: String,
    pub tenant_id: Uuid,
    pub data_key: Vec<u8>,
    pub chain: String,
    pub private_key: Vec<u8>,
}

/// Those that a stage names or a deployment needs.
pub async fn client_certificates(
    tx: &mut Tx,
    scope: Scope<'_, ClientCertificateId>,
) -> Result<Vec<ClientCertificateRow>> {
    let one = scope.one().map(ToString::to_string);
    Ok(sqlx::query_as!(
        ClientCertificateRow,
        "select c.id, c.tenant_id, t.data_key, c.chain, c.private_key
         from client_certificate c join tenant t on t.id = c.tenant_id
         where t.erased_at is null and (t.cell_id = $1 or (c.tenant_id = $2 and c.id = $3))
             and (exists (
                 select 1 from stage s where s.tenant_id = c.tenant_id and s.shown_certificate_id = c.id
             ) or exists (
                 select 1 from client_certificate_use u
                 where u.tenant_id = c.tenant_id and u.client_certificate_id = c.id
             ))
         order by c.id",
        scope.cell(),
        scope.tenant(),
        one,
    )
    .fetch_all(&mut **tx)
    .await?)
}
