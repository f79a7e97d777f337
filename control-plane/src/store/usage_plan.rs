//! Usage plans, the stages on them, and which plan rules a key on a stage.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::Connection;
use sqlx::types::Json;

use crate::app::Tx;
use crate::domain::concurrency::ConcurrencyLimit;
use crate::domain::page::Page;
use crate::domain::quota::{Quota, QuotaAnchor, QuotaEnforcement, QuotaPeriod};
use crate::domain::throttle::Throttle;
use crate::domain::usage_plan::{ApiStage, UsagePlan};
use crate::error::{Error, OnConstraint, Result};
use crate::ids::{ApiKeyId, StageId, TenantId, UsagePlanId};
use crate::store::throttle::StoredThrottle;

/// Every query that gives whole plans: `select!("where …", "order by …"; arguments)`.
macro_rules! select {
    ($($tail:literal),+; $($argument:expr),* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"select p.id, p.name, p.description, p.throttle_rate_limit, p.throttle_burst_limit,
                 p.throttle_enforcement, p.throttle_mode, p.throttle_outage, p.max_in_flight, p.concurrency_enforcement,
                 p.quota_limit, p.quota_period, p.quota_time_zone, p.quota_starts_at, p.quota_enforcement,
                 p.quota_offset, p.created_at, p.updated_at, p.revision,
                 (select coalesce(jsonb_agg(to_jsonb(s) order by s.api_id, s.stage_name), '[]')
                  from usage_plan_stage s where s.usage_plan_id = p.id) as "stages!: Json<Vec<StageRow>>"
             from usage_plan p "# $(+ $tail)+,
            $($argument),*
        )
    };
}

/// Inserts the plan itself, without its stages.
pub async fn insert(tx: &mut Tx, tenant: TenantId, plan: &UsagePlan) -> Result<()> {
    let quota = QuotaColumns::of(plan.quota.as_ref())?;
    sqlx::query!(
        "insert into usage_plan (tenant_id, id, name, description, throttle_rate_limit, throttle_burst_limit,
             quota_limit, quota_period, quota_time_zone, quota_starts_at, quota_enforcement, quota_offset,
             throttle_enforcement, max_in_flight, concurrency_enforcement, throttle_mode, throttle_outage)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        tenant.0,
        plan.id.as_str(),
        plan.name,
        plan.description,
        plan.throttle.map(|throttle| throttle.rate_limit),
        plan.throttle.map(|throttle| throttle.burst_limit),
        quota.limit,
        quota.period,
        quota.time_zone,
        quota.starts_at,
        quota.enforcement,
        quota.offset,
        Throttle::enforcement_column(plan.throttle.as_ref()),
        plan.concurrency_limit.map(|limit| limit.max_in_flight),
        ConcurrencyLimit::enforcement_column(plan.concurrency_limit.as_ref()),
        Throttle::mode_column(plan.throttle.as_ref()),
        Throttle::outage_column(plan.throttle.as_ref()),
    )
    .execute(&mut **tx)
    .await
    .on_constraint("usage_plan_name_key", || name_taken(plan))?;
    Ok(())
}

/// Writes the plan itself, without its stages.
pub async fn update(tx: &mut Tx, tenant: TenantId, plan: &UsagePlan) -> Result<()> {
    let quota = QuotaColumns::of(plan.quota.as_ref())?;
    sqlx::query!(
        "update usage_plan
         set name = $3, description = $4, throttle_rate_limit = $5, throttle_burst_limit = $6,
             quota_limit = $7, quota_period = $8, quota_time_zone = $9, quota_starts_at = $10,
             quota_enforcement = $11, quota_offset = $12, throttle_enforcement = $13, max_in_flight = $14,
             concurrency_enforcement = $15, throttle_mode = $16, throttle_outage = $17, updated_at = now()
         where tenant_id = $1 and id = $2",
        tenant.0,
        plan.id.as_str(),
        plan.name,
        plan.description,
        plan.throttle.map(|throttle| throttle.rate_limit),
        plan.throttle.map(|throttle| throttle.burst_limit),
        quota.limit,
        quota.period,
        quota.time_zone,
        quota.starts_at,
        quota.enforcement,
        quota.offset,
        Throttle::enforcement_column(plan.throttle.as_ref()),
        plan.concurrency_limit.map(|limit| limit.max_in_flight),
        ConcurrencyLimit::enforcement_column(plan.concurrency_limit.as_ref()),
        Throttle::mode_column(plan.throttle.as_ref()),
        Throttle::outage_column(plan.throttle.as_ref()),
    )
    .execute(&mut **tx)
    .await
    .on_constraint("usage_plan_name_key", || name_taken(plan))?;
    Ok(())
}

fn name_taken(plan: &UsagePlan) -> Error {
    Error::conflict("name", format!("a usage plan named {} exists", plan.name))
}

pub async fn delete(tx: &mut Tx, tenant: TenantId, id: UsagePlanId) -> Result<()> {
    sqlx::query!("delete from usage_plan where tenant_id = $1 and id = $2", tenant.0, id.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Locks those of `ids` that are the tenant's until the transaction ends, in one order for all, so that no two
/// wait for each other. Answers how many there are.
pub async fn lock(tx: &mut Tx, tenant: TenantId, ids: &BTreeSet<UsagePlanId>) -> Result<usize> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let locked = sqlx::query_scalar!(
        "select id from usage_plan where tenant_id = $1 and id = any($2) order by id for update",
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(locked.len())
}

pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<u32> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from usage_plan where tenant_id = $1"#,
        tenant.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(tx: &mut Tx, tenant: TenantId, ids: &[UsagePlanId]) -> Result<Vec<UsagePlan>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = select!("where p.tenant_id = $1 and p.id = any($2)"; tenant.0, &ids)
        .fetch_all(&mut **tx)
        .await?;
    rows.into_iter().map(UsagePlan::try_from).collect()
}

/// Oldest first, or from the end where the page says so.
pub async fn list(tx: &mut Tx, tenant: TenantId, page: &Page) -> Result<Vec<UsagePlan>> {
    macro_rules! ordered {
        ($order:literal) => {
            select!(
                "where p.tenant_id = $1
                   and ($2::timestamptz is null or (p.created_at, p.id) > ($2, $3))
                   and ($4::timestamptz is null or (p.created_at, p.id) < ($4, $5))
                 order by ", $order, " limit $6";
                tenant.0,
                page.after_at(),
                page.after_id(),
                page.before_at(),
                page.before_id(),
                page.rows_max(),
            )
            .fetch_all(&mut **tx)
            .await?
        };
    }
    let rows = if page.backward() {
        ordered!("p.created_at desc, p.id desc")
    } else {
        ordered!("p.created_at, p.id")
    };
    rows.into_iter().map(UsagePlan::try_from).collect()
}

pub async fn count_keys(tx: &mut Tx, tenant: TenantId, id: UsagePlanId) -> Result<i64> {
    Ok(sqlx::query_scalar!(
        r#"select count(*) as "count!" from usage_plan_key where tenant_id = $1 and usage_plan_id = $2"#,
        tenant.0,
        id.as_str(),
    )
    .fetch_one(&mut **tx)
    .await?)
}

/// Puts exactly these stages on the plan. A stage taken off frees its keys there.
pub async fn set_stages(
    tx: &mut Tx,
    tenant: TenantId,
    plan: UsagePlanId,
    stages: &[ApiStage],
) -> Result<()> {
    let apis: Vec<String> = stages.iter().map(|on| on.stage.api.to_string()).collect();
    let names: Vec<String> = stages.iter().map(|on| on.stage.name.clone()).collect();
    let throttles: Vec<_> = stages
        .iter()
        .map(|on| {
            let stored = on.route_throttles.iter();
            let stored: BTreeMap<_, StoredThrottle> =
                stored.map(|(route, throttle)| (route, (*throttle).into())).collect();
            serde_json::to_value(stored).map_err(Error::internal)
        })
        .collect::<Result<_>>()?;
    sqlx::query!(
        "delete from usage_plan_stage
         where tenant_id = $1 and usage_plan_id = $2
           and (api_id, stage_name) not in (select * from unnest($3::text[], $4::text[]))",
        tenant.0,
        plan.as_str(),
        &apis,
        &names,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "insert into usage_plan_stage (tenant_id, usage_plan_id, api_id, stage_name, route_throttles)
         select $1, $2, wanted.* from unnest($3::text[], $4::text[], $5::jsonb[]) as wanted
         on conflict (usage_plan_id, api_id, stage_name)
             do update set route_throttles = excluded.route_throttles",
        tenant.0,
        plan.as_str(),
        &apis,
        &names,
        &throttles,
    )
    .execute(&mut **tx)
    .await
    .on_constraint("usage_plan_stage_stage_fkey", || Error::NotFound("stage"))?;
    Ok(())
}

/// Notes that the plans rule their keys, or this one of them, on all their stages. The table's key holds one
/// plan for a key on a stage; `param` names what brought a second one.
pub async fn link_stages(
    tx: &mut Tx,
    tenant: TenantId,
    plans: &[UsagePlanId],
    key: Option<ApiKeyId>,
    param: &str,
) -> Result<()> {
    let ids: Vec<String> = plans.iter().map(ToString::to_string).collect();
    let only = key.as_ref().map(ApiKeyId::as_str);
    // A savepoint, so that after a refusal the other plan can still be asked for.
    let mut savepoint = tx.begin().await?;
    let linked = sqlx::query!(
        "insert into usage_plan_key_stage (tenant_id, usage_plan_id, api_key_id, api_id, stage_name)
         select k.tenant_id, k.usage_plan_id, k.api_key_id, s.api_id, s.stage_name
         from usage_plan_key k join usage_plan_stage s on s.usage_plan_id = k.usage_plan_id
         where k.tenant_id = $1 and k.usage_plan_id = any($2) and ($3::text is null or k.api_key_id = $3)
           and not exists (
             select from usage_plan_key_stage held
             where held.usage_plan_id = k.usage_plan_id and held.api_key_id = k.api_key_id
               and held.api_id = s.api_id and held.stage_name = s.stage_name
           )
         order by k.api_key_id, s.api_id, s.stage_name",
        tenant.0,
        &ids,
        only,
    )
    .execute(&mut *savepoint)
    .await;
    match linked {
        Ok(_) => Ok(savepoint.commit().await?),
        Err(sqlx::Error::Database(refusal))
            if refusal.constraint() == Some("usage_plan_key_stage_key") =>
        {
            savepoint.rollback().await?;
            Err(second_plan(tx, tenant, &ids, only, param).await?)
        }
        Err(cause) => Err(cause.into()),
    }
}

/// Names the other plan, the key and the stage on which they meet.
async fn second_plan(
    tx: &mut Tx,
    tenant: TenantId,
    plans: &[String],
    key: Option<&str>,
    param: &str,
) -> Result<Error> {
    let met = sqlx::query!(
        "select other.name as plan, k.api_key_id, s.api_id, s.stage_name
         from usage_plan_key k
             join usage_plan_stage s on s.usage_plan_id = k.usage_plan_id
             join usage_plan_key k2 on k2.api_key_id = k.api_key_id and k2.usage_plan_id <> k.usage_plan_id
             join usage_plan_stage s2 on s2.usage_plan_id = k2.usage_plan_id
                 and s2.api_id = s.api_id and s2.stage_name = s.stage_name
             join usage_plan other on other.id = k2.usage_plan_id
         where k.tenant_id = $1 and k.usage_plan_id = any($2) and ($3::text is null or k.api_key_id = $3)
         order by k.api_key_id, s.api_id, s.stage_name
         limit 1",
        tenant.0,
        plans,
        key,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(match met {
        Some(met) => Error::conflict(
            param,
            format!(
                "the usage plan {} already rules the key {} on stage {} of api {}; a key has one plan on a stage",
                met.plan, met.api_key_id, met.stage_name, met.api_id,
            ),
        ),
        None => Error::conflict(param, "a key has one usage plan on a stage"),
    })
}

/// A quota as it is stored; without one, what the columns are made with.
struct QuotaColumns<'a> {
    limit: Option<i64>,
    period: Option<&'static str>,
    time_zone: &'a str,
    starts_at: Option<DateTime<Utc>>,
    enforcement: &'static str,
    offset: i32,
}

impl<'a> QuotaColumns<'a> {
    fn of(quota: Option<&'a Quota>) -> Result<Self> {
        Ok(Self {
            limit: quota.map(|quota| quota.limit),
            period: quota.map(|quota| quota.period.as_str()),
            time_zone: quota.map_or("UTC", |quota| &quota.time_zone),
            starts_at: quota.and_then(|quota| quota.starts_at),
            enforcement: quota.map(|quota| quota.enforcement).unwrap_or_default().as_str(),
            offset: i32::try_from(quota.map_or(0, |quota| quota.initial_used))
                .map_err(Error::internal)?,
        })
    }
}

struct Row {
    id: String,
    name: String,
    description: String,
    throttle_rate_limit: Option<f64>,
    throttle_burst_limit: Option<i32>,
    throttle_enforcement: String,
    throttle_mode: Option<String>,
    throttle_outage: Option<String>,
    max_in_flight: Option<i32>,
    concurrency_enforcement: String,
    quota_limit: Option<i64>,
    quota_period: Option<String>,
    quota_time_zone: String,
    quota_starts_at: Option<DateTime<Utc>>,
    quota_enforcement: String,
    quota_offset: i32,
    stages: Json<Vec<StageRow>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

#[derive(Deserialize)]
struct StageRow {
    api_id: String,
    stage_name: String,
    route_throttles: BTreeMap<String, StoredThrottle>,
}

impl TryFrom<Row> for UsagePlan {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let quota = match (row.quota_limit, row.quota_period.as_deref()) {
            (Some(limit), Some(period)) => Some(Quota {
                limit,
                period: QuotaPeriod::try_from(period)?,
                anchor: match row.quota_starts_at {
                    Some(_) => QuotaAnchor::Anniversary,
                    None => QuotaAnchor::Calendar,
                },
                time_zone: row.quota_time_zone,
                starts_at: row.quota_starts_at,
                enforcement: QuotaEnforcement::try_from(row.quota_enforcement.as_str())?,
                initial_used: row.quota_offset.into(),
            }),
            _ => None,
        };
        let stages = row.stages.0.into_iter().map(|on| {
            let stage = StageId { api: on.api_id.parse()?, name: on.stage_name };
            let throttles = on.route_throttles.into_iter();
            let route_throttles =
                throttles.map(|(route, throttle)| (route, throttle.into())).collect();
            Ok(ApiStage { stage, route_throttles })
        });
        Ok(Self {
            id: row.id.parse()?,
            name: row.name,
            description: row.description,
            throttle: Throttle::from_columns(
                row.throttle_rate_limit,
                row.throttle_burst_limit,
                &row.throttle_enforcement,
                row.throttle_mode.as_deref(),
                row.throttle_outage.as_deref(),
            )?,
            concurrency_limit: ConcurrencyLimit::from_columns(
                row.max_in_flight,
                &row.concurrency_enforcement,
            )?,
            quota,
            api_stages: stages.collect::<Result<_>>()?,
            created_at: row.created_at,
            updated_at: row.updated_at,
            revision: row.revision,
        })
    }
}
