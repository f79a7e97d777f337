//! How long a committed change takes to be live on every node: p50 and p99, with two nodes of one machine.

use std::time::{Duration, Instant};

use anyhow::Result;
use harness::client::Call;
use harness::tenant::text;
use harness::{Origin, Tenant, World, within};
use serde_json::json;

use crate::percentile;

const NODES: usize = 2;
const ROUTES: usize = 300;
const DEPLOYMENTS: usize = 40;
/// As many as an operator may allow one API.
const MANY_ROUTES: usize = 10_000;
const MANY_DEPLOYMENTS: usize = 20;
const KEYS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(30);

/// From the answer that says "committed" to the first call that the last node answers by the change. Nodes are
/// asked every 20 ms at the latest, so that figures are upper bounds by as much.
pub(crate) async fn run() -> Result<()> {
    let world = World::start_many(1, NODES).await;
    let backend = world.origin().await.replies(200, "hello");
    let tenant = world.tenant("bench").await;
    let mut api = tenant.api("pets").await;
    for route in DEPLOYMENTS + 1..ROUTES {
        api = api.get_route(&format!("/old{route}"), &backend).await;
    }
    api = api.get_route_with_key("/keyed", &backend).await.deploy("prod").await;

    let mut deployments = Vec::new();
    for change in 0..DEPLOYMENTS {
        let path = format!("/new{change}");
        api = api.get_route(&path, &backend).await;
        let input = json!({ "apiId": api.id, "stage": "prod" });
        let kind = "CreateDeploymentInput!";
        tenant.mutate("createDeployment", kind, input, "deployment { id }").await;
        deployments.push(until_live(&world, &api.get(&path)).await);
    }
    let many = many(&world, &tenant, &backend).await?;
    let input = json!({ "name": "gold", "stageIds": [api.stage_id] });
    let kind = "CreateUsagePlanInput!";
    let plan = tenant.mutate("createUsagePlan", kind, input, "usagePlan { id }").await;
    let mut keys = Vec::new();
    for key in 0..KEYS {
        let input = json!({ "name": key.to_string(), "usagePlanIds": [plan["usagePlan"]["id"]] });
        let made = tenant.mutate("createApiKey", "CreateApiKeyInput!", input, "value").await;
        keys.push(until_live(&world, &api.get("/keyed").key(&text(&made["value"]))).await);
    }

    println!("| change, until live on {NODES} nodes | changes | p50 ms | p99 ms |");
    println!("|---|---|---|---|");
    print(&format!("a deployment of {ROUTES} routes"), deployments)?;
    print(&format!("a deployment of {MANY_ROUTES} routes"), many)?;
    print("an API key", keys)
}

/// The same for a stage of so many routes. They are copied in the database: written one by one, they would take longer
/// than all the rest, and the limits of the management API stand before them.
async fn many(world: &World, tenant: &Tenant<'_>, backend: &Origin) -> Result<Vec<Duration>> {
    let api = tenant.api("many").await.get_route("/first", backend).await.deploy("prod").await;
    let mut database = world.database().await;
    let copy = "insert into route (id, tenant_id, api_id, method, path, integration_id)
        select $2 || lpad(number::text, 8, '0'), tenant_id, api_id, method, '/' || $2 || number, integration_id
        from route, generate_series($3::int, $4::int) number where api_id = $1 and path = '/first'";
    let mut add = async |prefix: &str, from: usize, to: usize| -> Result<()> {
        let (from, to) = (i32::try_from(from)?, i32::try_from(to)?);
        let added = sqlx::query(copy).bind(&api.api_id).bind(prefix).bind(from).bind(to);
        added.execute(&mut database).await?;
        Ok(())
    };
    add("ol", 2, MANY_ROUTES - MANY_DEPLOYMENTS).await?;
    let mut took = Vec::new();
    for change in 0..MANY_DEPLOYMENTS {
        add("ne", change, change).await?;
        let input = json!({ "apiId": api.id, "stage": "prod" });
        let kind = "CreateDeploymentInput!";
        tenant.mutate("createDeployment", kind, input, "deployment { id }").await;
        took.push(until_live(world, &api.get(&format!("/ne{change}"))).await);
    }
    Ok(took)
}

async fn until_live(world: &World, call: &Call) -> Duration {
    let committed = Instant::now();
    for node in 0..NODES {
        let call = call.clone().at(world.endpoint_address_at(node));
        within(PATIENCE, "a change", async || (call.clone().await.status() == 200).then_some(()))
            .await;
    }
    committed.elapsed()
}

fn print(what: &str, mut took: Vec<Duration>) -> Result<()> {
    took.sort_unstable();
    let (p50, p99) = (percentile(&took, 50)?, percentile(&took, 99)?);
    println!("| {what} | {} | {p50:.1} | {p99:.1} |", took.len());
    Ok(())
}
