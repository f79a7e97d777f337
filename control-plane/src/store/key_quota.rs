//! What keys were granted beside the quotas of their plans.

use chrono::{DateTime, Utc};

use crate::app::Tx;
use crate::domain::key_quota::{Held, KeyQuota};
use crate::domain::quota::Grant;
use crate::error::{Error, Result};
use crate::ids::{ApiKeyId, TenantId};

/// Of every plan that these keys are on, in the order of the plans' ids.
pub async fn find(tx: &mut Tx, tenant: TenantId, keys: &[ApiKeyId]) -> Result<Vec<Held>> {
    let ids: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let rows = sqlx::query_as!(
        Row,
        "select usage_plan_id, api_key_id, created_at, quota_extra_calls, quota_extra_from, quota_extra_until,
             quota_extended_at
         from usage_plan_key where tenant_id = $1 and api_key_id = any($2)
         order by api_key_id, usage_plan_id",
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(Held::try_from).collect()
}

/// Grants so many calls in the period that the quota is shown in, in the place of any that were granted before.
pub async fn extend(
    tx: &mut Tx,
    tenant: TenantId,
    quota: &KeyQuota,
    extra_calls: i64,
    now: DateTime<Utc>,
) -> Result<()> {
    sqlx::query!(
        "update usage_plan_key
         set quota_extra_calls = $4, quota_extra_from = $5, quota_extra_until = $6, quota_extended_at = $7
         where tenant_id = $1 and usage_plan_id = $2 and api_key_id = $3",
        tenant.0,
        quota.usage_plan_id.as_str(),
        quota.api_key_id.as_str(),
        extra_calls,
        quota.starts_at,
        quota.ends_at,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

struct Row {
    usage_plan_id: String,
    api_key_id: String,
    created_at: DateTime<Utc>,
    quota_extra_calls: i64,
    quota_extra_from: Option<DateTime<Utc>>,
    quota_extra_until: Option<DateTime<Utc>>,
    quota_extended_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Held {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let bounds = row.quota_extra_from.zip(row.quota_extra_until);
        Ok(Self {
            usage_plan_id: row.usage_plan_id.parse()?,
            api_key_id: row.api_key_id.parse()?,
            joined_at: row.created_at,
            grant: bounds.map(|(from, until)| Grant { calls: row.quota_extra_calls, from, until }),
            extended_at: row.quota_extended_at,
        })
    }
}
