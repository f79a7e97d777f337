//! Stages.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::types::Json;

use crate::app::Tx;
use crate::domain::api::Api;
use crate::domain::canary::{Canary, CanarySettings};
use crate::domain::client_throttle::ClientThrottle;
use crate::domain::concurrency::{ConcurrencyLimit, RouteConcurrencyLimit};
use crate::domain::page::Page;
use crate::domain::sampling::SamplingRule;
use crate::domain::stage::{NewStage, Stage};
use crate::domain::throttle::{RouteThrottle, Throttle};
use crate::error::{Error, OnConstraint, Result};
use crate::ids::{ApiId, ClientCertificateId, DeploymentId, StageId, TenantId};
use crate::store::client_throttle::StoredClientThrottle;
use crate::store::throttle::StoredRouteThrottle;

pub async fn insert(tx: &mut Tx, tenant: TenantId, api: &Api, new: &NewStage) -> Result<Stage> {
    sqlx::query!(
        "insert into stage (tenant_id, api_id, name, deployment_id, description, variables,
             throttle_rate_limit, throttle_burst_limit, throttle_enforcement, route_throttles,
             max_in_flight, concurrency_enforcement, route_concurrency_limits, client_throttles,
             throttle_mode, throttle_outage, auto_deploy, client_certificate_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
        tenant.0,
        api.id.as_str(),
        new.name,
        new.deployment.as_ref().map(DeploymentId::as_str),
        new.description,
        Json(&new.variables) as Json<&BTreeMap<String, String>>,
        new.throttle.map(|throttle| throttle.rate_limit),
        new.throttle.map(|throttle| throttle.burst_limit),
        Throttle::enforcement_column(new.throttle.as_ref()),
        stored(&new.route_throttles) as Json<Vec<StoredRouteThrottle>>,
        new.concurrency_limit.map(|limit| limit.max_in_flight),
        ConcurrencyLimit::enforcement_column(new.concurrency_limit.as_ref()),
        Json(&new.route_concurrency_limits) as Json<&Vec<RouteConcurrencyLimit>>,
        stored_of_clients(&new.client_throttles) as Json<Vec<StoredClientThrottle>>,
        Throttle::mode_column(new.throttle.as_ref()),
        Throttle::outage_column(new.throttle.as_ref()),
        new.auto_deploy,
        shown(new.client_certificate_id.as_ref()),
    )
    .execute(&mut **tx)
    .await
    .on_constraint("stage_pkey", || {
        Error::conflict("name", format!("this API has a stage {} already", new.name))
    })?;
    get(tx, tenant, api.id, &new.name).await?.ok_or(Error::NotFound("stage"))
}

pub async fn count(tx: &mut Tx, tenant: TenantId, api: ApiId) -> Result<u32> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from stage where tenant_id = $1 and api_id = $2"#,
        tenant.0,
        api.as_str(),
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

pub async fn get(tx: &mut Tx, tenant: TenantId, api: ApiId, name: &str) -> Result<Option<Stage>> {
    let id = StageId { api, name: name.to_owned() };
    Ok(find(tx, tenant, &[id]).await?.pop())
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(tx: &mut Tx, tenant: TenantId, ids: &[StageId]) -> Result<Vec<Stage>> {
    let apis: Vec<String> = ids.iter().map(|id| id.api.to_string()).collect();
    let names: Vec<String> = ids.iter().map(|id| id.name.clone()).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select s.api_id, a.dialect, s.name, s.deployment_id, s.canary_deployment_id,
             s.canary_settings as "canary_settings: Json<CanarySettings>", s.auto_deploy,
             s.last_deployment_status_message, s.description,
             s.variables as "variables: Json<BTreeMap<String, String>>", s.throttle_rate_limit,
             s.throttle_burst_limit, s.throttle_enforcement, s.throttle_mode, s.throttle_outage,
             s.route_throttles as "route_throttles: Json<Vec<StoredRouteThrottle>>",
             s.max_in_flight, s.concurrency_enforcement,
             s.route_concurrency_limits as "route_concurrency_limits: Json<Vec<RouteConcurrencyLimit>>",
             s.client_throttles as "client_throttles: Json<Vec<StoredClientThrottle>>",
             s.rate_limit_headers, s.tracing_enabled,
             s.sampling_rules as "sampling_rules: Json<Vec<SamplingRule>>", s.client_certificate_id,
             s.created_at, s.updated_at, s.revision
         from stage s join api a on a.tenant_id = s.tenant_id and a.id = s.api_id
         where s.tenant_id = $1
             and (s.api_id, s.name) in (select * from unnest($2::text[], $3::text[]))"#,
        tenant.0,
        &apis,
        &names,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// All stages of an Api: few, by their limit.
pub async fn of_api(tx: &mut Tx, tenant: TenantId, api: ApiId) -> Result<Vec<Stage>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select s.api_id, a.dialect, s.name, s.deployment_id, s.canary_deployment_id,
             s.canary_settings as "canary_settings: Json<CanarySettings>", s.auto_deploy,
             s.last_deployment_status_message, s.description,
             s.variables as "variables: Json<BTreeMap<String, String>>", s.throttle_rate_limit,
             s.throttle_burst_limit, s.throttle_enforcement, s.throttle_mode, s.throttle_outage,
             s.route_throttles as "route_throttles: Json<Vec<StoredRouteThrottle>>",
             s.max_in_flight, s.concurrency_enforcement,
             s.route_concurrency_limits as "route_concurrency_limits: Json<Vec<RouteConcurrencyLimit>>",
             s.client_throttles as "client_throttles: Json<Vec<StoredClientThrottle>>",
             s.rate_limit_headers, s.tracing_enabled,
             s.sampling_rules as "sampling_rules: Json<Vec<SamplingRule>>", s.client_certificate_id,
             s.created_at, s.updated_at, s.revision
         from stage s join api a on a.tenant_id = s.tenant_id and a.id = s.api_id
         where s.tenant_id = $1 and s.api_id = $2
         order by s.name"#,
        tenant.0,
        api.as_str(),
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub async fn list(tx: &mut Tx, tenant: TenantId, api: ApiId, page: &Page) -> Result<Vec<Stage>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select s.api_id, a.dialect, s.name, s.deployment_id, s.canary_deployment_id,
             s.canary_settings as "canary_settings: Json<CanarySettings>", s.auto_deploy,
             s.last_deployment_status_message, s.description,
             s.variables as "variables: Json<BTreeMap<String, String>>", s.throttle_rate_limit,
             s.throttle_burst_limit, s.throttle_enforcement, s.throttle_mode, s.throttle_outage,
             s.route_throttles as "route_throttles: Json<Vec<StoredRouteThrottle>>",
             s.max_in_flight, s.concurrency_enforcement,
             s.route_concurrency_limits as "route_concurrency_limits: Json<Vec<RouteConcurrencyLimit>>",
             s.client_throttles as "client_throttles: Json<Vec<StoredClientThrottle>>",
             s.rate_limit_headers, s.tracing_enabled,
             s.sampling_rules as "sampling_rules: Json<Vec<SamplingRule>>", s.client_certificate_id,
             s.created_at, s.updated_at, s.revision
         from stage s join api a on a.tenant_id = s.tenant_id and a.id = s.api_id
         where s.tenant_id = $1 and s.api_id = $2
             and ($3::timestamptz is null or (s.created_at, s.name) > ($3, $4))
             and ($5::timestamptz is null or (s.created_at, s.name) < ($5, $6))
         order by case when $7 then s.created_at end desc, case when $7 then s.name end desc,
             s.created_at, s.name
         limit $8"#,
        tenant.0,
        api.as_str(),
        page.after_at(),
        page.after_id(),
        page.before_at(),
        page.before_id(),
        page.backward(),
        page.rows_max(),
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// The stage as it now is.
pub async fn update(tx: &mut Tx, tenant: TenantId, stage: &Stage) -> Result<Stage> {
    sqlx::query!(
        "update stage set deployment_id = $4, description = $5, variables = $6,
             throttle_rate_limit = $7, throttle_burst_limit = $8, rate_limit_headers = $9,
             tracing_enabled = $10, sampling_rules = $11, route_throttles = $12,
             throttle_enforcement = $13, max_in_flight = $14, concurrency_enforcement = $15,
             route_concurrency_limits = $16, client_throttles = $17, throttle_mode = $18,
             throttle_outage = $19, canary_deployment_id = $20, canary_settings = $21,
             auto_deploy = $22, last_deployment_status_message = $23,
             client_certificate_id = $24, updated_at = now()
         where tenant_id = $1 and api_id = $2 and name = $3",
        tenant.0,
        stage.api.as_str(),
        stage.name,
        stage.deployment.as_ref().map(DeploymentId::as_str),
        stage.description,
        Json(&stage.variables) as Json<&BTreeMap<String, String>>,
        stage.throttle.map(|throttle| throttle.rate_limit),
        stage.throttle.map(|throttle| throttle.burst_limit),
        stage.rate_limit_headers,
        stage.tracing_enabled,
        Json(&stage.sampling_rules) as Json<&Vec<SamplingRule>>,
        stored(&stage.route_throttles) as Json<Vec<StoredRouteThrottle>>,
        Throttle::enforcement_column(stage.throttle.as_ref()),
        stage.concurrency_limit.map(|limit| limit.max_in_flight),
        ConcurrencyLimit::enforcement_column(stage.concurrency_limit.as_ref()),
        Json(&stage.route_concurrency_limits) as Json<&Vec<RouteConcurrencyLimit>>,
        stored_of_clients(&stage.client_throttles) as Json<Vec<StoredClientThrottle>>,
        Throttle::mode_column(stage.throttle.as_ref()),
        Throttle::outage_column(stage.throttle.as_ref()),
        stage.canary.as_ref().map(|canary| canary.deployment.as_str()),
        stage.canary.as_ref().map(|canary| Json(&canary.settings)) as Option<Json<&CanarySettings>>,
        stage.auto_deploy,
        stage.last_deployment_status_message,
        shown(stage.client_certificate_id.as_ref()),
    )
    .execute(&mut **tx)
    .await?;
    get(tx, tenant, stage.api, &stage.name).await?.ok_or(Error::NotFound("stage"))
}

pub async fn delete(tx: &mut Tx, tenant: TenantId, api: ApiId, name: &str) -> Result<()> {
    sqlx::query!(
        "delete from stage where tenant_id = $1 and api_id = $2 and name = $3",
        tenant.0,
        api.as_str(),
        name,
    )
    .execute(&mut **tx)
    .await
    .on_constraint("usage_plan_stage_stage_fkey", || {
        Error::conflict("id", "a usage plan holds this stage")
    })?;
    Ok(())
}

/// A usage plan that holds the stage, by name.
pub async fn usage_plan_name(
    tx: &mut Tx,
    tenant: TenantId,
    api: ApiId,
    name: &str,
) -> Result<Option<String>> {
    Ok(sqlx::query_scalar!(
        "select p.name from usage_plan p
             join usage_plan_stage s on s.tenant_id = p.tenant_id and s.usage_plan_id = p.id
         where p.tenant_id = $1 and s.api_id = $2 and s.stage_name = $3
         order by p.name limit 1",
        tenant.0,
        api.as_str(),
        name,
    )
    .fetch_optional(&mut **tx)
    .await?)
}

/// The digest of what each stage of these Apis serves; none where nothing is deployed to it.
pub async fn served_digests(
    tx: &mut Tx,
    tenant: TenantId,
    apis: &[ApiId],
) -> Result<Vec<(StageId, Option<[u8; 32]>)>> {
    let apis: Vec<String> = apis.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        r#"select s.api_id, s.name, d.digest as "digest?"
         from stage s left join deployment d
             on d.tenant_id = s.tenant_id and d.api_id = s.api_id and d.id = s.deployment_id
         where s.tenant_id = $1 and s.api_id = any($2)"#,
        tenant.0,
        &apis,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| {
            let digest = row.digest.map(|bytes| <[u8; 32]>::try_from(bytes.as_slice())).transpose();
            let digest = digest.map_err(|cause| Error::corrupt("deployment digest", cause))?;
            Ok((StageId { api: row.api_id.parse()?, name: row.name }, digest))
        })
        .collect()
}

/// Empty text where there is none.
fn shown(certificate: Option<&ClientCertificateId>) -> &str {
    certificate.map_or("", ClientCertificateId::as_str)
}

fn stored(throttles: &[RouteThrottle]) -> Json<Vec<StoredRouteThrottle>> {
    Json(throttles.iter().map(Into::into).collect())
}

fn stored_of_clients(throttles: &[ClientThrottle]) -> Json<Vec<StoredClientThrottle>> {
    Json(throttles.iter().map(Into::into).collect())
}

struct Row {
    api_id: String,
    dialect: String,
    name: String,
    deployment_id: Option<String>,
    canary_deployment_id: Option<String>,
    canary_settings: Option<Json<CanarySettings>>,
    auto_deploy: bool,
    last_deployment_status_message: Option<String>,
    description: String,
    variables: Json<BTreeMap<String, String>>,
    throttle_rate_limit: Option<f64>,
    throttle_burst_limit: Option<i32>,
    throttle_enforcement: String,
    throttle_mode: Option<String>,
    throttle_outage: Option<String>,
    route_throttles: Json<Vec<StoredRouteThrottle>>,
    max_in_flight: Option<i32>,
    concurrency_enforcement: String,
    route_concurrency_limits: Json<Vec<RouteConcurrencyLimit>>,
    client_throttles: Json<Vec<StoredClientThrottle>>,
    rate_limit_headers: Option<bool>,
    tracing_enabled: bool,
    sampling_rules: Json<Vec<SamplingRule>>,
    client_certificate_id: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl TryFrom<Row> for Stage {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let canary = row.canary_deployment_id.zip(row.canary_settings);
        let canary = canary.map(|(id, settings)| {
            Ok::<_, Error>(Canary { deployment: id.parse()?, settings: settings.0 })
        });
        Ok(Self {
            canary: canary.transpose()?,
            auto_deploy: row.auto_deploy,
            last_deployment_status_message: row.last_deployment_status_message,
            api: row.api_id.parse()?,
            dialect: row.dialect.as_str().try_into()?,
            name: row.name,
            deployment: row.deployment_id.map(|id| id.parse()).transpose()?,
            description: row.description,
            variables: row.variables.0,
            throttle: Throttle::from_columns(
                row.throttle_rate_limit,
                row.throttle_burst_limit,
                &row.throttle_enforcement,
                row.throttle_mode.as_deref(),
                row.throttle_outage.as_deref(),
            )?,
            route_throttles: row.route_throttles.0.into_iter().map(Into::into).collect(),
            concurrency_limit: ConcurrencyLimit::from_columns(
                row.max_in_flight,
                &row.concurrency_enforcement,
            )?,
            route_concurrency_limits: row.route_concurrency_limits.0,
            client_throttles: row.client_throttles.0.into_iter().map(Into::into).collect(),
            rate_limit_headers: row.rate_limit_headers,
            tracing_enabled: row.tracing_enabled,
            sampling_rules: row.sampling_rules.0,
            client_certificate_id: Some(row.client_certificate_id)
                .filter(|id| !id.is_empty())
                .map(|id| id.parse())
                .transpose()?,
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
        })
    }
}
