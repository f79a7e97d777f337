//! Who calls: a tenant to be robbed, its members of each role, a stranger, the operator, and what each of them has.

use super::catalog::{Catalog, Request};
use super::fill::{Fill, Ids};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control_plane::access::api_version;
use control_plane::access::sealed::WrappingKey;
use control_plane::access::token::{Bearer, TokenSigner};
use control_plane::clock::Clock;
use control_plane::ids::{SessionId, TenantId, UserId};
use harness::tenant::{PASSWORD, text};
use harness::{Tenant, World};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection, Row};
use std::collections::BTreeMap;

/// In the name of everything that the victim has: no stranger's answer may hold it.
pub(super) const CANARY: &str = "planted-canary";

/// A tenant with one of every noun.
pub(super) struct Party<'w> {
    pub tenant: Tenant<'w>,
    pub ids: Ids,
}

/// A tenant whose things are all named after it.
pub(super) async fn party<'w>(
    world: &'w World,
    catalog: &Catalog,
    name: &str,
    stage: &str,
) -> Party<'w> {
    let origin = world.origin().await;
    let tenant = world.tenant(name).await;
    let api = tenant.api(&format!("{name} api")).await;
    let api = api.get_route_with_key("/pets", &origin).await.deploy(stage).await;
    let plan = api.usage_plan(&format!("{name} plan")).throttle(10.0, 10);
    plan.quota(1_000_000, "MONTH").key().await;
    let mut ids = owned(world, catalog, &tenant.token).await;
    let planted = format!("{name} text");
    // Kinds that the way to a call did not make.
    for noun in &catalog.nodes {
        let made_by = ["create", "generate"].map(|verb| format!("{verb}{noun}"));
        let operation = catalog.operations.iter().find(|operation| {
            made_by.contains(&operation.name)
                && matches!(operation.door, super::catalog::Door::Graphql { .. })
        });
        if let (false, Some(operation)) = (ids.global.contains_key(noun), operation) {
            let request =
                Fill::with(catalog, &ids).planted(&planted).everywhere().request(operation);
            let answer = request.send(world, Some(&tenant.token)).await;
            assert_eq!(request.outcome(&answer), "done", "{request:?}: {}", answer.text());
        }
    }
    ids = owned(world, catalog, &tenant.token).await;
    let request = logged(&tenant).await;
    ids.global.insert("Request".to_owned(), URL_SAFE_NO_PAD.encode(format!("Request:{request}")));
    Party { tenant, ids }
}

/// The id of a request of this tenant's, once its log has one.
async fn logged(tenant: &Tenant<'_>) -> String {
    harness::eventually("a request in the log", async || {
        let list = tenant.rest("GET", "/v1/management-requests?limit=1").await.expect(200).json();
        list["items"][0]["requestId"].as_str().map(str::to_owned)
    })
    .await
}

/// One id of every noun that this token's holder can reach from the root questions.
async fn owned(world: &World, catalog: &Catalog, token: &str) -> Ids {
    let mut ids = Ids::default();
    for question in catalog.open_questions() {
        let field = question.name.node.to_string();
        let pages = question.arguments.iter().any(|argument| argument.node.name.node == "first");
        let page = if pages { "(first: 20)" } else { "" };
        let query = format!("{{ {field}{page} {} }}", catalog.selection(&question.ty.node, 3));
        let request = Request::Graphql { field, query, variables: json!({}) };
        let answer = request.send(world, Some(token)).await;
        collect(&answer.json(), &mut ids);
    }
    ids
}

fn collect(value: &Value, ids: &mut Ids) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, ids)),
        Value::Object(fields) => {
            if let (Some(kind), Some(id)) = (fields.get("__typename"), fields.get("id")) {
                // A root of a tree is not like the others: a later one is the better example.
                ids.global.insert(text(kind), text(id));
            }
            fields.values().for_each(|field| collect(field, ids));
        }
        _ => {}
    }
}

/// A member of the tenant with this role, written straight into the database, and logged in.
pub(super) async fn member(world: &World, tenant: &Tenant<'_>, role: &str) -> String {
    let own = world.tenant(&format!("one-{role}")).await;
    let tenant = tenant.plain_id().await;
    sqlx::query(
        "insert into member (tenant_id, user_id, role) select $1::uuid, id, $3 from user_account where email = $2",
    )
    .bind(&tenant)
    .bind(&own.email)
    .bind(role)
    .execute(&mut world.database().await)
    .await
    .unwrap();
    let who = json!({ "email": own.email, "password": PASSWORD, "tenant": tenant });
    text(&world.management().post("/v1/login").json(&who).await.expect(200).json()["accessToken"])
}

/// The same token as it was an hour ago: right in everything but its time.
pub(super) async fn expired(world: &World, token: &str) -> String {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let id = |name: &str| claims[name].as_str().unwrap().parse().unwrap();
    let bearer = Bearer {
        user: UserId(id("sub")),
        session: SessionId(id("sid")),
        tenant: Some(TenantId(id("tid"))),
        api_version: api_version::FIRST,
    };
    let wrapped: Vec<u8> =
        sqlx::query_scalar("select private from installation_key where name = 'session_signing'")
            .fetch_one(&mut world.database().await)
            .await
            .unwrap();
    let master = WrappingKey::read(&world.directory().join("master.key")).unwrap();
    let key = master.unwrap("installation:session_signing", &wrapped).unwrap();
    let signer = TokenSigner::new(&key).unwrap();
    let now = Clock::system();
    assert!(signer.verify(&now, &signer.sign(&now, bearer).unwrap()).is_ok(), "the key is right");
    let an_hour_ago = Clock::at(now.now() - chrono::TimeDelta::hours(1));
    signer.sign(&an_hour_ago, bearer).unwrap()
}

/// The same token with one bit of its claims changed.
pub(super) fn tampered(token: &str) -> String {
    let mut bytes = token.as_bytes().to_vec();
    let middle = token.find('.').unwrap() + 20;
    bytes[middle] = if bytes[middle] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

/// A digest of every row of a tenant, by table; without the audit chain's head, which a job seals in its own time
/// (its entries and links are here), and the log of requests, where its members' own stand a moment later.
pub(super) async fn digests(
    database: &mut PgConnection,
    tenant: &str,
) -> BTreeMap<String, Option<String>> {
    let tables = "select c.relname::text as name from pg_class c join pg_attribute a on a.attrelid = c.oid
                  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and a.attname = 'tenant_id'
                  and c.relname not in ('audit_chain', 'management_request')";
    let tables = sqlx::query(tables).fetch_all(&mut *database).await.unwrap();
    let mut digests = BTreeMap::new();
    for row in tables {
        let name: String = row.get("name");
        let digest = format!(
            "select md5(string_agg(t::text, '|' order by t::text)) from {name} t where t.tenant_id = $1::uuid"
        );
        let digest = sqlx::query_scalar(AssertSqlSafe(digest))
            .bind(tenant)
            .fetch_one(&mut *database)
            .await
            .unwrap();
        digests.insert(name, digest);
    }
    // What belongs to no tenant, and is not written by the machines themselves.
    for name in ["tenant", "price", "installation_key"] {
        let digest = format!("select md5(string_agg(t::text, '|' order by t::text)) from {name} t");
        let digest =
            sqlx::query_scalar(AssertSqlSafe(digest)).fetch_one(&mut *database).await.unwrap();
        digests.insert(name.to_owned(), digest);
    }
    digests
}
