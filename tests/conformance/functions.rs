//! What functions get and what callers get of their answers: tables of a route, what its function answers, and what is right
//! on both sides.

use crate::backend;
use crate::score::Score;
use crate::table::Table;
use bytes::Bytes;
use harness::tenant::Api;
use harness::{Answer, World};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const TABLES: &str = include_str!("functions.json");

/// A function by a payload format, and what calls of it get: once in each of `dialects`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Case {
    row: String,
    rule: String,
    dialects: Vec<String>,
    format: String,
    #[serde(default = "any")]
    route: String,
    #[serde(default = "prod")]
    stage: String,
    #[serde(default)]
    variables: Map<String, Value>,
    /// `STREAM` or nothing.
    response_transfer_mode: Option<String>,
    /// The function's, as JSON.
    #[serde(default)]
    answer: Value,
    /// The same as it is, `\u0000` and all.
    text: Option<String>,
    calls: Vec<Call>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    request: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    /// The same in base64, where it is no text.
    base64: Option<String>,
    #[serde(default)]
    gets: Gets,
    /// Where a dialect's answer is another one.
    #[serde(default, rename = "in")]
    others: BTreeMap<String, Gets>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gets {
    status: Option<u16>,
    /// All values of each; an empty list: it is not there.
    #[serde(default)]
    headers: BTreeMap<String, Vec<String>>,
    body: Option<String>,
    /// The function's event, by JSON pointers; `${host}` and `${apiId}` stand for those.
    #[serde(default)]
    event: BTreeMap<String, Value>,
    /// What is not in it.
    #[serde(default)]
    absent: Vec<String>,
}

fn any() -> String {
    "ANY /f/{proxy+}".to_owned()
}

fn prod() -> String {
    "prod".to_owned()
}

/// The last event of each table's function, and what it answers.
#[derive(Default)]
struct Functions {
    answers: BTreeMap<String, String>,
    events: BTreeMap<String, Value>,
}

type Shared = Arc<Mutex<Functions>>;

#[tokio::test]
async fn functions_and_callers_get_what_the_tables_say() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let cases: Vec<Case> = serde_json::from_str(TABLES).unwrap();
    let functions = Shared::default();
    let reached = functions.clone();
    let address =
        backend::serve(move |request| std::future::ready(answer(&reached, &request))).await;
    let mut score = Score::default();
    let mut defined = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        for dialect in &case.dialects {
            let name = format!("{index}-{dialect}");
            let api = acme.api_in(dialect, &format!("{} {dialect}", case.row)).await;
            let (method, path) =
                case.route.split_once(' ').map_or((None, &*case.route), |(m, p)| (Some(m), p));
            let mut integration = json!({
                "type": "AWS_PROXY", "uri": format!("http://{address}/{name}"),
                "payloadFormatVersion": case.format,
            });
            if let Some(mode) = &case.response_transfer_mode {
                integration["responseTransferMode"] = json!(mode);
            }
            let input = json!({ "apiId": api.id, "method": method, "path": path, "integration": integration });
            acme.mutate("createRoute", "CreateRouteInput!", input, "route { id }").await;
            let stage =
                json!({ "apiId": api.id, "name": case.stage, "variables": variables(case) });
            acme.mutate("createStage", "CreateStageInput!", stage, "stage { id }").await;
            let input = json!({ "apiId": api.id, "stage": case.stage });
            acme.mutate("createDeployment", "CreateDeploymentInput!", input, "stage { id }").await;
            let answer = case.text.clone().unwrap_or_else(|| case.answer.to_string());
            functions.lock().unwrap().answers.insert(name.clone(), answer);
            defined.push((case, dialect, name, api));
        }
    }
    world.settled().await;
    for (case, dialect, name, api) in &defined {
        for call in &case.calls {
            let answer = called(call, api).await;
            let event = functions.lock().unwrap().events.remove(name).unwrap_or_default();
            let gets = call.others.get(*dialect).unwrap_or(&call.gets);
            let told = compared(gets, &answer, &event, api);
            score.note(&table(case), dialect, &call.request, told);
        }
    }
    score.settle("Functions");
}

fn variables(case: &Case) -> Value {
    let pair = |(name, value): (&String, &Value)| json!({ "name": name, "value": value });
    case.variables.iter().map(pair).collect()
}

async fn called(call: &Call, api: &Api<'_>) -> Answer {
    let (method, target) = call.request.split_once(' ').unwrap();
    let mut request = api.client().call(method, target);
    for (field, value) in &call.headers {
        request = request.header(field, value);
    }
    let body = match &call.base64 {
        None => call.body.clone().into_bytes(),
        Some(bytes) => {
            use base64::{Engine, engine::general_purpose::STANDARD};
            STANDARD.decode(bytes).unwrap()
        }
    };
    if !body.is_empty() {
        request = request.body(body);
    }
    request.await
}

/// As the score knows it.
fn table(case: &Case) -> Table {
    let of = json!({ "row": case.row, "rule": case.rule, "dialects": [] });
    serde_json::from_value(of).unwrap()
}

fn compared(gets: &Gets, answer: &Answer, event: &Value, api: &Api<'_>) -> Result<(), String> {
    let mut wrong = Vec::new();
    let status = gets.status.unwrap_or(200);
    if answer.status() != status {
        wrong.push(format!("status is {}, not {status}", answer.status()));
    }
    for (name, values) in &gets.headers {
        let got = answer.headers(name);
        if got != *values {
            wrong.push(format!("{name} is {got:?}, not {values:?}"));
        }
    }
    if let Some(body) = gets.body.as_ref().filter(|body| answer.text() != **body) {
        wrong.push(format!("body is {:?}, not {body:?}", answer.text()));
    }
    for (at, expected) in &gets.event {
        let got = event.pointer(at);
        let filled = expected.to_string().replace("${host}", &api.host());
        let filled = filled.replace("${apiId}", &api.api_id);
        if got.map(Value::to_string).as_ref() != Some(&filled) {
            wrong.push(format!("the event's {at} is {got:?}, not {filled}"));
        }
    }
    for at in &gets.absent {
        if let Some(got) = event.pointer(at) {
            wrong.push(format!("the event has {at}: {got}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// Answers by the first segment of the path, which names a table in one dialect.
fn answer(functions: &Shared, request: &http::Request<Bytes>) -> http::Response<Full<Bytes>> {
    let name = request.uri().path().trim_start_matches('/').to_owned();
    let mut functions = functions.lock().unwrap();
    let answer = functions.answers.get(&name).cloned().unwrap_or_default();
    functions.events.insert(name, serde_json::from_slice(request.body()).unwrap());
    http::Response::new(Full::new(answer.into()))
}
