//! What a call costs among 100,000 routes of 1,000 Apis, and what among 100 of one.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt, stream};
use harness::Tenant;
use serde_json::json;

use super::Bench;
use crate::gateway::{Call, Gateway};
use crate::load::Target;
use crate::table::Table;

const ROUTES: usize = 100;
const APIS: usize = 1000;
const AT_ONCE: usize = 8;
const PATIENCE: Duration = Duration::from_mins(2);
const FEW: &str = "100 routes";
const MANY: &str = "100,000 routes";

/// Every route is called, in no order: none is found because it was just looked for.
pub(super) async fn run(bench: &Bench<'_>) -> Result<Table> {
    let few = Gateway::start(&[]).await?;
    let many = Gateway::start(&[]).await?;
    let targets = vec![target(bench, FEW, &few, 1).await?, target(bench, MANY, &many, APIS).await?];
    let title = "HTTP/1.1, 1 KiB, 64 connections, no key; every route of every Api, in no order";
    let mut comparison = bench.comparison("routes", title, targets);
    comparison.references = 1;
    comparison.run()?.goal(MANY, "× 100 routes", 1.2, 1.05)
}

async fn target(bench: &Bench<'_>, name: &str, gateway: &Gateway, apis: usize) -> Result<Target> {
    let uri = bench.backend.url("/b.json");
    let tenant = gateway.world.tenant("bench").await;
    let hosts: Vec<String> = stream::iter(0..apis)
        .map(|number| api(&tenant, number, &uri))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    gateway.world.settled_within(PATIENCE).await;
    let script = bench.backend.directory.join(format!("routes{apis}.lua"));
    fs::write(&script, lua(&hosts)?)?;
    let mut target = gateway.target(name, &Call::to(&hosts[0], "/prod/r1/12"));
    target.script = Some(script);
    Ok(target)
}

/// An Api with its routes, by its host. They are copied in the database: written one by one, 100,000 would take longer
/// than all the rest.
async fn api(tenant: &Tenant<'_>, number: usize, uri: &str) -> Result<String> {
    let api = tenant.api(&format!("routes{number}")).await;
    let api = api.route("GET", "/r1/{id}", false, uri).await;
    let copy = "insert into route (id, tenant_id, api_id, method, path, integration_id)
        select right($1, 6) || lpad(number::text, 4, '0'), tenant_id, api_id, method, '/r' || number || '/{id}',
               integration_id
        from route, generate_series(2, $2::int) number where api_id = $1 and path = '/r1/{id}'";
    let mut database = tenant.world.database().await;
    let copied = sqlx::query(copy).bind(&api.api_id).bind(i32::try_from(ROUTES)?);
    copied.execute(&mut database).await?;
    let input = json!({ "apiId": api.id, "stage": "prod" });
    let kind = "CreateDeploymentInput!";
    tenant.mutate("createDeployment", kind, input, "deployment { id }").await;
    Ok(api.host())
}

/// wrk's requests: one for each route, made beforehand, and of them any.
fn lua(hosts: &[String]) -> Result<String> {
    let mut script = "local hosts = {\n".to_owned();
    for host in hosts {
        writeln!(script, "  \"{host}\",")?;
    }
    write!(
        script,
        "}}
local requests = {{}}
function init()
  for _, host in ipairs(hosts) do
    for route = 1, {ROUTES} do
      requests[#requests + 1] = wrk.format(\"GET\", \"/prod/r\" .. route .. \"/12\", {{ Host = host }})
    end
  end
end
function request()
  return requests[math.random(#requests)]
end
"
    )?;
    Ok(script)
}
