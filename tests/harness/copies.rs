//! An installation of a size that nobody would type in: copies of one API, rows as the control plane wrote them.

use crate::{Api, Tenant};
use prost::Message;
use proto::config::v1::Deployment;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::collections::BTreeMap;
use std::time::Duration;

/// What differs from the API's own row, by table: `c` is the copy (`id`, `number`, `document`), `own` the row, and
/// `nth` its place among the API's rows of this table.
const COPIED: [(&str, &str, &str); 5] = [
    ("api", "id", "'id', c.id, 'name', own.name || ' ' || c.number"),
    ("integration", "api_id", "'id', nth || lpad(c.number::text, 9, '0'), 'api_id', c.id"),
    (
        "route",
        "api_id",
        "'id', nth || lpad(c.number::text, 9, '0'), 'api_id', c.id, 'integration_id', (
             select n || lpad(c.number::text, 9, '0') from (
                 select id, row_number() over (order by id collate \"C\") as n
                 from integration where api_id = $1
             ) i where i.id = own.integration_id)",
    ),
    (
        "deployment",
        "api_id",
        "'id', c.id, 'api_id', c.id, 'document', c.document, 'digest', sha256(c.document), 'version', $4",
    ),
    ("stage", "api_id", "'api_id', c.id, 'deployment_id', c.id"),
];

impl Tenant<'_> {
    /// So many copies of an API that was deployed once, with its routes, their integrations, the deployment and its
    /// stage. Answers their ids once every node that runs serves them.
    pub async fn copies(&self, api: &Api<'_>, many: usize, patience: Duration) -> Vec<String> {
        let mut database = self.world.database().await;
        insert(&mut database, &api.api_id, many).await;
        let ids = (1..=many).map(id).collect();
        // Nodes hear of what the outbox tells; a gap in it, like the one that the copies made, gives them a snapshot.
        let deployments = format!("/v1/apis/{}/deployments", api.api_id);
        self.rest("POST", &deployments).json(&json!({ "stage": api.stage })).await.expect(201);
        self.world.settled_within(patience).await;
        ids
    }
}

fn id(number: usize) -> String {
    format!("c{number:09}")
}

async fn insert(database: &mut PgConnection, api: &str, many: usize) {
    let mut tx = database.begin().await.expect("a transaction");
    let version: i64 = sqlx::query_scalar(
        "update cell set version = version + 1 where id = 'default' returning version",
    )
    .fetch_one(&mut *tx)
    .await
    .expect("the cell has a version");
    let frozen: Vec<u8> = sqlx::query_scalar("select document from deployment where api_id = $1")
        .bind(api)
        .fetch_one(&mut *tx)
        .await
        .expect("the API was deployed once");
    let frozen = Deployment::decode(frozen.as_slice()).expect("a deployment is a message");
    let (ids, documents): (Vec<_>, Vec<_>) =
        (1..=many).map(|number| (id(number), copy(&frozen, number).encode_to_vec())).unzip();
    for (table, of_api, differs) in COPIED {
        let key = if table == "stage" { "name" } else { "id" };
        // What PostgreSQL makes of other columns it makes of the copy's too.
        let columns: Vec<String> = sqlx::query_scalar(
            "select quote_ident(attname) from pg_attribute
             where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = ''",
        )
        .bind(table)
        .fetch_all(&mut *tx)
        .await
        .expect("a table has columns");
        let (into, from) = (columns.join(", "), columns.join(", copy."));
        let statement = format!(
            "insert into {table} ({into})
             select copy.{from} from (
                 select *, row_number() over (order by {key} collate \"C\") as nth
                 from {table} where {of_api} = $1
             ) own
             cross join unnest($2::text[], $3::bytea[]) with ordinality as c(id, document, number)
             cross join lateral jsonb_populate_record(
                 null::{table}, to_jsonb(own) || jsonb_build_object({differs})
             ) copy
             where $4::bigint > 0"
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(api)
            .bind(&ids)
            .bind(&documents)
            .bind(version)
            .execute(&mut *tx)
            .await
            .unwrap_or_else(|error| panic!("{table} cannot be copied: {error}"));
    }
    tx.commit().await.expect("the copies can be kept");
}

/// The frozen document of a copy: what its rows are called, in each place that names them.
fn copy(frozen: &Deployment, number: usize) -> Deployment {
    let mut copy = frozen.clone();
    copy.api.as_mut().expect("a deployment has an API").id = id(number);
    let name = |nth: usize| format!("{}{number:09}", nth + 1);
    let places = |ids: Vec<String>| -> BTreeMap<String, usize> {
        let sorted: std::collections::BTreeSet<_> = ids.into_iter().collect();
        sorted.into_iter().zip(0..).collect()
    };
    let routes = places(copy.routes.iter().map(|route| route.id.clone()).collect());
    let integrations = places(copy.integrations.iter().map(|it| it.id.clone()).collect());
    assert!(routes.len() < 10 && integrations.len() < 10, "ids have ten characters");
    for route in &mut copy.routes {
        route.id = name(routes[&route.id]);
        route.integration_id = name(integrations[&route.integration_id]);
    }
    for integration in &mut copy.integrations {
        integration.id = name(integrations[&integration.id]);
    }
    copy
}
