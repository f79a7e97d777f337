//! The erasure of a tenant, when nobody reopened it in the week after it was closed.
//!
//! What stays is what bills were made of: the tenant's id and its usage by hour. Its data key is thrown away, so that
//! what it wrapped is unreadable in old backups too.

use chrono::TimeDelta;
use proto::config::v1::resource_name::Kind as Name;
use serde::Serialize;

use crate::app::{App, Job};
use crate::domain::account::CLOSED_KEPT;
use crate::domain::audit;
use crate::error::Result;
use crate::ids::TenantId;
use crate::snapshot::compile;
use crate::store;

/// Later than a reopening is refused, so that two replicas whose clocks differ do not do both.
const MARGIN: TimeDelta = TimeDelta::hours(1);
/// Nodes forget so many keys by one message.
const KEYS_AT_ONCE: i64 = 10_000;

#[derive(Serialize)]
struct Recorded {
    status: &'static str,
}

/// Erases whichever tenants are due. One that fails does not hold the others up.
pub async fn run(app: &App) -> Result<()> {
    let closed_before = app.clock.now() - CLOSED_KEPT - MARGIN;
    let mut tx = app.system(Job::Erasure).await?;
    let due = store::erasure::due(&mut tx, closed_before).await?;
    drop(tx);
    let mut failed = None;
    for tenant in due {
        match erase(app, tenant).await {
            Ok(()) => tracing::info!(tenant.id = %tenant, "a closed tenant was erased"),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Each step may be repeated: what was interrupted goes on at the next run.
async fn erase(app: &App, tenant: TenantId) -> Result<()> {
    loop {
        let mut tx = app.begin_in(tenant).await?;
        let keys = store::erasure::api_keys(&mut tx, tenant, KEYS_AT_ONCE).await?;
        if keys.is_empty() {
            break;
        }
        for id in keys {
            tx.remove(Name::ApiKeyId(id).into());
        }
        tx.commit().await?;
    }
    let mut tx = app.begin_in(tenant).await?;
    let gone = store::erasure::nouns(&mut tx, tenant).await?;
    for (api, name) in gone.stages {
        tx.remove(compile::stage_name(api, &name));
    }
    for id in gone.deployments {
        tx.remove(compile::deployment_name(id));
    }
    for id in gone.usage_plans {
        tx.remove(Name::UsagePlanId(id.to_string()).into());
    }
    for id in gone.vpc_links {
        tx.remove(compile::vpc_link_name(id));
    }
    for id in gone.client_certificates {
        tx.remove(compile::client_certificate_name(id));
    }
    for id in gone.secrets {
        tx.remove(compile::secret_name(id));
    }
    tx.remove(Name::TenantId(tenant.to_string()).into());
    tx.commit().await?;

    let now = app.clock.now();
    let mut tx = app.system(Job::Erasure).await?;
    if !store::erasure::tenant(&mut tx, tenant, now).await? {
        return Ok(()); // another replica was first
    }
    store::erasure::people(&mut tx, tenant).await?;
    let (before, after) = (Recorded { status: "closed" }, Recorded { status: "erased" });
    let noun_id = tenant.to_string();
    let action = "tenant.erase";
    audit::record_administrator(app, &mut tx, action, &noun_id, Some(&before), Some(&after))
        .await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use proto::config::v1::Delta;
    use sqlx::PgPool;

    use super::*;
    use crate::access::actor::Caller;
    use crate::access::role::Role;
    use crate::domain::api::Dialect;
    use crate::domain::audit::AuditFilter;
    use crate::domain::consumer::{self, NewConsumer};
    use crate::domain::page::Page;
    use crate::domain::{account, audit_chain};
    use crate::ledger::rollup;
    use crate::testing;

    /// How many rows of each table are the tenant's.
    async fn rows(db: &PgPool, tenant: TenantId) -> Vec<(String, i64)> {
        let tables: Vec<String> = sqlx::query_scalar(
            "select c.table_name::text from information_schema.columns c join information_schema.tables t
                 using (table_schema, table_name)
             where c.table_schema = 'public' and c.column_name = 'tenant_id' and t.table_type = 'BASE TABLE'
             order by 1",
        )
        .fetch_all(db)
        .await
        .unwrap();
        let mut counts = Vec::new();
        for table in tables {
            let sql = format!("select count(*) from {table} where tenant_id = $1");
            let count = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(tenant.0);
            counts.push((table, count.fetch_one(db).await.unwrap()));
        }
        counts
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_tenant_that_was_closed_a_week_ago_leaves_nothing_but_its_ledger(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let operator = testing::operator(&app).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let viewer = testing::join(&app, alice.tenant, Role::Viewer).await;
        for owner in [&alice, &mallory] {
            let api = testing::new_api(&app, owner, Dialect::Native).await;
            testing::new_route(&app, owner, api, "GET /pets", testing::mock("pets")).await;
            testing::deploy(&app, owner, api, "prod").await.unwrap();
            let new = NewConsumer { name: "zoo".to_owned(), external_id: String::new() };
            consumer::create(&app, owner, new).await.unwrap();
            testing::log_in(&app, owner).await;
        }
        // Who is in another tenant too stays a user.
        sqlx::query("insert into member (tenant_id, user_id, role) values ($1, $2, 'viewer')")
            .bind(mallory.tenant.0)
            .bind(alice.user.0)
            .execute(&db)
            .await
            .unwrap();
        // Who was in another tenant once does not.
        sqlx::query("update deployment set created_by = $2 where tenant_id = $1")
            .bind(mallory.tenant.0)
            .bind(viewer.user.0)
            .execute(&db)
            .await
            .unwrap();
        sqlx::query(
            "insert into usage_hour (cell_id, tenant_id, consumer_id, api_id, stage, route, api_key_id, usage_plan_id,
                 status_class, cache, hour, requests, billed_requests, bytes_in, bytes_out, billed_bytes_out, duration_ms)
             values ('default', $1, '', 'a', 's', 'r', '', '', 2, 0, '2026-11-20T11:00:00Z', 1, 1, 1, 1, 1, 1)",
        )
        .bind(alice.tenant.0)
        .execute(&db)
        .await
        .unwrap();
        sqlx::query(
            "insert into usage_root (tenant_id, hour, rows, root, signature, sealed_at)
             values ($1, '2026-11-20T11:00:00Z', 1, sha256(''), sha256('') || sha256(''), now())",
        )
        .bind(alice.tenant.0)
        .execute(&db)
        .await
        .unwrap();
        for owner in [&alice, &mallory] {
            app.requests.offer(testing::management_request(&app, owner));
        }
        testing::write_requests(&app).await;
        let theirs = rows(&db, mallory.tenant).await;
        let name = account::get(&app, &operator, alice.tenant).await.unwrap().tenant.name;
        account::close(&app, &operator, alice.tenant, &name).await.unwrap();
        run(&app).await.unwrap();
        assert!(account::get(&app, &operator, alice.tenant).await.is_ok(), "not before the week");
        // The log is fenced by the database's own clock.
        sqlx::query("update tenant set closed_at = '2020-01-01' where id = $1")
            .bind(alice.tenant.0)
            .execute(&db)
            .await
            .unwrap();

        run(&app).await.unwrap();
        rollup::run(&app).await.unwrap();
        rollup::days(&app).await.unwrap();

        let left = rows(&db, alice.tenant).await;
        let left: Vec<&str> =
            left.iter().filter(|(_, count)| *count > 0).map(|(table, _)| table.as_str()).collect();
        assert_eq!(left, ["usage_hour", "usage_hour_default"], "what bills are made of");
        assert_eq!(rows(&db, mallory.tenant).await, theirs);
        let users: i64 = sqlx::query_scalar("select count(*) from user_account where not operator")
            .fetch_one(&db)
            .await
            .unwrap();
        assert_eq!(users, 2, "the viewer was nobody's member any more");
        let told: Vec<Delta> = testing::published(&app).await;
        let forgotten: usize = told.iter().map(|delta| delta.removals.len()).sum();
        assert_eq!(forgotten, 3, "the stage, its deployment, the tenant");
        let gone = account::get(&app, &operator, alice.tenant).await.unwrap_err();
        assert_eq!(gone.code(), "not_found");
        assert_eq!(
            account::reopen(&app, &operator, alice.tenant).await.unwrap_err().code(),
            "not_found"
        );
        let mut tx = app.system(Job::Publisher).await.unwrap();
        let held = compile::load_cell(&mut tx, &app.master, "default").await.unwrap();
        assert!(!format!("{held:?}").contains(&alice.tenant.to_string()));
        drop(tx);
        let filter = AuditFilter { noun: Some("tenant".to_owned()), ..AuditFilter::default() };
        let caller = Caller::Operator(operator);
        let log = audit::list(&app, &caller, &filter, &Page::default()).await.unwrap().items;
        assert_eq!(log[0].action, "tenant.erase");
        for log in audit_chain::all(&app).await.unwrap() {
            let found = audit_chain::verify_one(&app, log, None).await.unwrap();
            assert!(found.fault.is_none(), "{log:?}");
        }
        run(&app).await.unwrap();
    }
}
