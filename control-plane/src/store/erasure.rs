//! What a tenant leaves behind, deleted. The first two functions run inside the tenant, the others outside any.

use chrono::{DateTime, Utc};

use crate::app::Tx;
use crate::error::{Error, Result};
use crate::ids::{
    ApiId, ClientCertificateId, DeploymentId, SecretId, TenantId, UsagePlanId, VpcLinkId,
};

/// What nodes hold of a tenant beside its keys.
pub struct Held {
    pub stages: Vec<(ApiId, String)>,
    pub deployments: Vec<DeploymentId>,
    pub usage_plans: Vec<UsagePlanId>,
    pub secrets: Vec<SecretId>,
    pub vpc_links: Vec<VpcLinkId>,
    pub client_certificates: Vec<ClientCertificateId>,
}

/// Tenants that were closed before this and are not erased.
pub async fn due(tx: &mut Tx, closed_before: DateTime<Utc>) -> Result<Vec<TenantId>> {
    let ids = sqlx::query_scalar!(
        "select id from tenant where status = 'closed' and closed_at < $1 and erased_at is null
         order by closed_at limit 100",
        closed_before,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(ids.into_iter().map(TenantId).collect())
}

/// Deletes at most so many API keys; answers which.
pub async fn api_keys(tx: &mut Tx, tenant: TenantId, most: i64) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar!(
        "delete from api_key where tenant_id = $1 and id in (
             select id from api_key where tenant_id = $1 order by id limit $2
         ) returning id",
        tenant.0,
        most,
    )
    .fetch_all(&mut **tx)
    .await?)
}

/// Deletes everything that the tenant's members made; answers what nodes hold of it.
pub async fn nouns(tx: &mut Tx, tenant: TenantId) -> Result<Held> {
    let usage_plans: Vec<String> =
        sqlx::query_scalar!("delete from usage_plan where tenant_id = $1 returning id", tenant.0)
            .fetch_all(&mut **tx)
            .await?;
    let stages = sqlx::query!(
        "delete from stage where tenant_id = $1 returning api_id, name, deployment_id, canary_deployment_id",
        tenant.0
    )
    .fetch_all(&mut **tx)
    .await?;
    // An Api takes its deployments, routes, resources, integrations and gateway responses with it, in this order: a route holds its
    // integration.
    sqlx::query!("delete from route where tenant_id = $1", tenant.0).execute(&mut **tx).await?;
    sqlx::query!("delete from api where tenant_id = $1", tenant.0).execute(&mut **tx).await?;
    sqlx::query!("delete from consumer where tenant_id = $1", tenant.0).execute(&mut **tx).await?;
    sqlx::query!("delete from access_key where tenant_id = $1", tenant.0)
        .execute(&mut **tx)
        .await?;
    let secrets =
        sqlx::query_scalar!("delete from secret where tenant_id = $1 returning id", tenant.0)
            .fetch_all(&mut **tx)
            .await?;
    let vpc_links: Vec<String> =
        sqlx::query_scalar!("delete from vpc_link where tenant_id = $1 returning id", tenant.0)
            .fetch_all(&mut **tx)
            .await?;
    let client_certificates: Vec<String> = sqlx::query_scalar!(
        "delete from client_certificate where tenant_id = $1 returning id",
        tenant.0
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut held = Held {
        stages: Vec::new(),
        deployments: Vec::new(),
        usage_plans: Vec::new(),
        secrets: secrets.into_iter().map(SecretId).collect(),
        vpc_links: Vec::new(),
        client_certificates: Vec::new(),
    };
    for id in usage_plans {
        held.usage_plans.push(id.parse()?);
    }
    for id in vpc_links {
        held.vpc_links.push(id.parse()?);
    }
    for id in client_certificates {
        held.client_certificates.push(id.parse()?);
    }
    for stage in stages {
        held.stages.push((stage.api_id.parse()?, stage.name));
        for id in stage.deployment_id.into_iter().chain(stage.canary_deployment_id) {
            held.deployments.push(id.parse()?);
        }
    }
    held.deployments.sort();
    held.deployments.dedup();
    Ok(held)
}

/// Throws the tenant's name and keys away. False where that was done already.
pub async fn tenant(tx: &mut Tx, tenant: TenantId, now: DateTime<Utc>) -> Result<bool> {
    let erased = sqlx::query!(
        "update tenant set name = 'erased ' || id, data_key = '', key_pepper = '', egress_allow = '{}',
             limits = '{}', suspended_at = null, suspended_reason = null, erased_at = $2, updated_at = $2
         where id = $1 and status = 'closed' and erased_at is null",
        tenant.0,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(erased.rows_affected() == 1)
}

/// Deletes the tenant's log, who was in it or was to be, and the users who are in no other.
pub async fn people(tx: &mut Tx, tenant: TenantId) -> Result<()> {
    sqlx::query!("select erase_audit_log($1)", tenant.0).execute(&mut **tx).await?;
    for query in [
        sqlx::query!("delete from api_key_use where tenant_id = $1", tenant.0),
        sqlx::query!("delete from download_token where tenant_id = $1", tenant.0),
        sqlx::query!("delete from idempotency_key where tenant_id = $1", tenant.0),
        sqlx::query!("delete from invitation where tenant_id = $1", tenant.0),
        sqlx::query!("delete from mail where tenant_id = $1", tenant.0),
        sqlx::query!("delete from management_request where tenant_id = $1", tenant.0),
        sqlx::query!("delete from access_log_count where tenant_id = $1", tenant.0),
        sqlx::query!("delete from reconciliation where tenant_id = $1", tenant.0),
        sqlx::query!("delete from session where tenant_id = $1", tenant.0),
        sqlx::query!("delete from usage_hour_due where tenant_id = $1", tenant.0),
        sqlx::query!("delete from usage_day_due where tenant_id = $1", tenant.0),
        sqlx::query!("delete from usage_day where tenant_id = $1", tenant.0),
        sqlx::query!("delete from usage_minute where tenant_id = $1", tenant.0),
        sqlx::query!("delete from usage_root where tenant_id = $1", tenant.0),
    ] {
        query.execute(&mut **tx).await?;
    }
    let members =
        sqlx::query_scalar!("delete from member where tenant_id = $1 returning user_id", tenant.0)
            .fetch_all(&mut **tx)
            .await?;
    let alone = sqlx::query_scalar!(
        "select id from user_account u where id = any($1) and not operator
             and not exists (select from member where user_id = u.id)
             and not exists (select from access_key where user_id = u.id)",
        &members,
    )
    .fetch_all(&mut **tx)
    .await?;
    sqlx::query!("delete from session where user_id = any($1)", &alone).execute(&mut **tx).await?;
    sqlx::query!("delete from user_account where id = any($1)", &alone)
        .execute(&mut **tx)
        .await
        .map_err(Error::from)?;
    Ok(())
}
