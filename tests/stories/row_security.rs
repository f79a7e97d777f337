//! The last fence: a query that forgets its tenant still sees nothing of another.

use harness::World;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

/// The tables that carry a tenant, partitions too.
const TENANT_TABLES: &str = "
    select c.oid::regclass::text as name, c.relrowsecurity and c.relforcerowsecurity as fenced,
           has_table_privilege('tollgate_app', c.oid, 'select') as readable,
           has_table_privilege('tollgate_app', c.oid, 'update') as writable
    from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
      and (c.relname = 'tenant' or exists (
          select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped))
    order by 1";

#[tokio::test]
async fn every_table_with_a_tenant_is_fenced_and_the_service_owns_nothing() {
    let world = World::new(&[]).await;
    let mut database = world.database().await;

    let tables = sqlx::query(TENANT_TABLES).fetch_all(&mut database).await.unwrap();
    assert!(tables.len() > 12, "only {} tables carry a tenant", tables.len());
    let open: Vec<String> = tables
        .iter()
        .filter(|row| !row.get::<bool, _>("fenced"))
        .map(|row| row.get("name"))
        .collect();
    assert!(open.is_empty(), "without forced row-level security: {open:?}");

    let owned = "select count(*) from pg_class c join pg_roles r on r.oid = c.relowner
                 where r.rolname in ('tollgate_app', 'tollgate_system', 'tollgate')";
    assert_eq!(sqlx::query_scalar::<_, i64>(owned).fetch_one(&mut database).await.unwrap(), 0);
    let above = "select count(*) from pg_roles where rolname like 'tollgate%' and (rolsuper or rolbypassrls)";
    assert_eq!(sqlx::query_scalar::<_, i64>(above).fetch_one(&mut database).await.unwrap(), 0);
    let inherits = "select rolinherit from pg_roles where rolname = 'tollgate'";
    assert!(!sqlx::query_scalar::<_, bool>(inherits).fetch_one(&mut database).await.unwrap());
    // Policies for the application's role never let everything through, save the price list.
    let loose = "select tablename::text from pg_policies
                 where 'tollgate_app' = any(roles) and qual = 'true' and tablename <> 'price'";
    let loose: Vec<String> = sqlx::query_scalar(loose).fetch_all(&mut database).await.unwrap();
    assert!(loose.is_empty(), "policies that fence nothing: {loose:?}");
}

#[tokio::test]
async fn a_query_whose_tenant_clause_is_removed_returns_nothing_of_another() {
    let mut world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let mut ids = Vec::new();
    for name in ["acme", "mallory"] {
        let tenant = world.tenant(name).await;
        let api = tenant
            .api("pets")
            .await
            .get_route_with_key("/pets", &origin)
            .await
            .deploy("prod")
            .await;
        let key = api.usage_plan("gold").throttle(100.0, 100).key().await;
        api.get("/pets").key(&key.value).await.expect(200);
        tenant.counted(1).await;
        ids.push(tenant.plain_id().await);
    }
    world.stop_node().await;
    let mut admin = world.database().await;
    let tables = sqlx::query(TENANT_TABLES).fetch_all(&mut admin).await.unwrap();

    let mut login = PgConnection::connect(&world.database_url()).await.unwrap();
    sqlx::query("set role tollgate_app").execute(&mut login).await.unwrap();
    let mut filled = 0;
    for row in tables.iter().filter(|row| row.get("readable")) {
        let name: String = row.get("name");
        let column = if name == "tenant" { "id" } else { "tenant_id" };

        let nobody = format!("select count(*) from {name}");
        let seen: i64 =
            sqlx::query_scalar(AssertSqlSafe(nobody)).fetch_one(&mut login).await.unwrap();
        assert_eq!(seen, 0, "{name} shows rows to nobody in particular");

        let mut tx = login.begin().await.unwrap();
        let set = "select set_config('app.tenant_id', $1, true)";
        sqlx::query(set).bind(&ids[1]).execute(&mut *tx).await.unwrap();
        let others = format!("select count(*) from {name} where {column} <> current_tenant_id()");
        let seen: i64 =
            sqlx::query_scalar(AssertSqlSafe(others)).fetch_one(&mut *tx).await.unwrap();
        assert_eq!(seen, 0, "{name} shows another tenant's rows");
        let all = format!("select count(*) from {name}");
        let own: i64 = sqlx::query_scalar(AssertSqlSafe(all)).fetch_one(&mut *tx).await.unwrap();
        if row.get("writable") {
            let update = format!("update {name} set {column} = {column}");
            let touched = sqlx::query(AssertSqlSafe(update)).execute(&mut *tx).await;
            if let Ok(touched) = touched {
                assert_eq!(
                    touched.rows_affected(),
                    u64::try_from(own).unwrap(),
                    "{name} lets another's rows be written"
                );
            }
        }
        tx.rollback().await.unwrap();
        filled += usize::from(own > 0);
    }
    assert!(filled >= 8, "only {filled} tables had rows to hide: the story proves too little");
}
