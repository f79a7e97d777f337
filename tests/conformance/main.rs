//! What an installation must do, as tables that are data: each names the row of the feature list that it holds, and is
//! run in each dialect that it names against a real control plane and a real node.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod backend;
mod bodies;
mod functions;
mod integrations;
mod score;
mod table;

use harness::tenant::{Api, Tenant};
use harness::{Answer, World};
use score::Score;
use serde_json::{Value, json};
use table::{Expected, Refusal, ResponseRefusal, SettingsRefusal, Table};

const TABLES: [&str; 3] = [
    include_str!("routing.json"),
    include_str!("gateway_responses.json"),
    include_str!("cors.json"),
];

#[tokio::test]
async fn calls_get_what_the_tables_say() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let read = |text| serde_json::from_str::<Vec<Table>>(text).unwrap();
    let tables: Vec<Table> = TABLES.into_iter().flat_map(read).collect();
    let mut score = Score::default();
    let mut defined = Vec::new();
    for table in &tables {
        assert!(table.has_cases(), "{} is empty", table.rule);
        for dialect in &table.dialects {
            for refusal in &table.refusals {
                let told = refused(&acme, table, dialect, refusal).await;
                score.note(table, dialect, &refusal.route, told);
            }
            for refusal in &table.refused_settings {
                let told = settings_refused(&acme, table, dialect, refusal).await;
                score.note(table, dialect, &json!(refusal.api).to_string(), told);
            }
            for refusal in &table.refused_gateway_responses {
                let told = response_refused(&acme, table, dialect, refusal).await;
                score.note(table, dialect, &json!(refusal.response).to_string(), told);
            }
            let api = define(&acme, table, dialect).await;
            if !table.cases.is_empty() {
                deploy(&acme, table, &api).await;
                defined.push((table, dialect, api));
            }
        }
    }
    world.settled().await;
    for (table, dialect, api) in &defined {
        for case in &table.cases {
            let (method, target) = case.request.split_once(' ').unwrap();
            let call = api.client().call(method, target);
            let call =
                case.fields.iter().fold(call, |call, (name, value)| call.header(name, value));
            let answer = call.await;
            score.note(table, dialect, &case.request, compared(case.expected(dialect), &answer));
        }
    }
    score.settle("Routing, CORS, gateway responses");
}

/// The Api of a table in one dialect. Each of its routes answers with its own key, in the field `x-route`.
async fn define<'w>(tenant: &Tenant<'w>, table: &Table, dialect: &str) -> Api<'w> {
    let mut api = tenant.api_in(dialect, &format!("{} {dialect}", table.row)).await;
    if !table.api.is_empty() {
        let mut input = json!(table.api);
        input["id"] = json!(api.id);
        tenant.mutate("updateApi", "UpdateApiInput!", input, "api { id }").await;
    }
    for (response_type, settings) in &table.gateway_responses {
        let mut input = json!(settings);
        input["apiId"] = json!(api.id);
        input["responseType"] = json!(response_type);
        let (kind, selection) = ("UpdateGatewayResponseInput!", "gatewayResponse { version }");
        tenant.mutate("updateGatewayResponse", kind, input, selection).await;
    }
    for key in &table.routes {
        api = api.route_of(route(table, key)).await;
    }
    api
}

fn route(table: &Table, key: &str) -> Value {
    let mock = json!({ "status": 200, "headers": [{ "name": "x-route", "value": key }] });
    let (method, path) = key.split_once(' ').map_or((None, key), |(m, path)| (Some(m), path));
    let integration = json!({ "type": "MOCK", "mockResponse": mock });
    let mut input = json!({ "method": method, "path": path, "integration": integration });
    for (name, value) in table.route_settings.get(key).into_iter().flatten() {
        input[name] = value.clone();
    }
    input
}

async fn deploy(tenant: &Tenant<'_>, table: &Table, api: &Api<'_>) {
    for stage in &table.stages {
        let input = json!({ "apiId": api.id, "stage": stage });
        tenant.mutate("createDeployment", "CreateDeploymentInput!", input, "stage { id }").await;
    }
}

/// What is wrong with the answer to a route that must be refused, when it is written or when it is deployed.
async fn refused(
    tenant: &Tenant<'_>,
    table: &Table,
    dialect: &str,
    refusal: &Refusal,
) -> Result<(), String> {
    let api = define(tenant, table, dialect).await;
    let mut input = route(table, &refusal.route);
    input["apiId"] = json!(api.id);
    let mut param = param_of(tenant, "createRoute", "CreateRouteInput", input).await;
    if param.is_none() {
        let input = json!({ "apiId": api.id, "stage": "prod" });
        param = param_of(tenant, "createDeployment", "CreateDeploymentInput", input).await;
    }
    if param.as_ref() == Some(&refusal.param) {
        return Ok(());
    }
    Err(format!("refused for {param:?}, not for {:?}", refusal.param))
}

/// What is wrong with the answer to settings that an Api must not have.
async fn settings_refused(
    tenant: &Tenant<'_>,
    table: &Table,
    dialect: &str,
    refusal: &SettingsRefusal,
) -> Result<(), String> {
    let api = tenant.api_in(dialect, &format!("{} refused {dialect}", table.row)).await;
    let mut input = json!(refusal.api);
    input["id"] = json!(api.id);
    let param = param_of(tenant, "updateApi", "UpdateApiInput", input).await;
    if param.as_ref() == Some(&refusal.param) {
        return Ok(());
    }
    Err(format!("refused for {param:?}, not for {:?}", refusal.param))
}

/// What is wrong with the answer to a gateway response that an Api must not have.
async fn response_refused(
    tenant: &Tenant<'_>,
    table: &Table,
    dialect: &str,
    refusal: &ResponseRefusal,
) -> Result<(), String> {
    let api = tenant.api_in(dialect, &format!("{} refused {dialect}", table.row)).await;
    let mut input = json!(refusal.response);
    input["apiId"] = json!(api.id);
    let kind = "UpdateGatewayResponseInput";
    let param = param_of(tenant, "updateGatewayResponse", kind, input).await;
    if param.as_ref() == Some(&refusal.param) {
        return Ok(());
    }
    Err(format!("refused for {param:?}, not for {:?}", refusal.param))
}

/// The field that a mutation is refused for.
async fn param_of(
    tenant: &Tenant<'_>,
    name: &str,
    input_type: &str,
    input: Value,
) -> Option<String> {
    let query = format!(
        "mutation($input: {input_type}!) {{ {name}(input: $input) {{ userErrors {{ param }} }} }}"
    );
    let data = tenant.graphql(&query, json!({ "input": input })).await;
    data[name]["userErrors"][0]["param"].as_str().map(str::to_owned)
}

/// What of an answer is not as expected.
fn compared(expected: &Expected, answer: &Answer) -> Result<(), String> {
    let mut wrong = Vec::new();
    let mut compare = |what: &str, expected: Value, got: Value| {
        if expected != got {
            wrong.push(format!("{what} {got}, not {expected}"));
        }
    };
    compare("status", json!(expected.status), json!(answer.status()));
    compare("route", json!(expected.route), json!(answer.header("x-route")));
    for (name, value) in &expected.headers {
        compare(name, json!(value), json!(answer.header(name)));
    }
    if !expected.body.is_empty() {
        let body: Value = serde_json::from_slice(answer.bytes()).unwrap_or_default();
        for (name, value) in &expected.body {
            compare(name, value.clone(), body[name].clone());
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}
