//! What becomes of bodies on their way: compressed, or converted between text and binary, as the tables say.

use crate::score::Score;
use crate::table::Table;
use base64::{Engine, engine::general_purpose::STANDARD};
use harness::origin::Origin;
use harness::tenant::{Api, Tenant};
use harness::{Answer, World};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Read;

const COMPRESSION: &str = include_str!("compression.json");
const DECOMPRESSION: &str = include_str!("decompression.json");
const MEDIA: &str = include_str!("media.json");

/// One integration, and what calls of it get: once in each of `dialects`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bodies {
    row: String,
    rule: String,
    dialects: Vec<String>,
    /// What `updateApi` is told beside the Api's id.
    #[serde(default)]
    api: Map<String, Value>,
    /// As `createRoute` takes it, but for the URI of the backend.
    integration: Value,
    /// In the place of the MOCK's body: so many bytes of text.
    #[serde(default)]
    body_bytes: Option<usize>,
    /// What the backend answers: a text, or JSON.
    #[serde(default)]
    backend: Value,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    /// The same in base64, where it is no text.
    base64: Option<String>,
    gets: Expected,
    /// Where a dialect's answer is another one.
    #[serde(default, rename = "in")]
    others: BTreeMap<String, Expected>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    #[serde(default = "ok")]
    status: u16,
    /// Null: the field is not there.
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    /// The body, decoded where its coding is gzip or deflate.
    text: Option<String>,
    /// Its bytes in hexadecimal.
    hex: Option<String>,
    /// Members of the event that the function got.
    #[serde(default)]
    event: Map<String, Value>,
    /// What the backend got.
    backend: Option<Came>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Came {
    /// Null: the field is not there.
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    text: Option<String>,
    /// Its bytes in base64.
    base64: Option<String>,
}

fn get() -> String {
    "GET".to_owned()
}

fn ok() -> u16 {
    200
}

#[tokio::test]
async fn bodies_are_compressed_and_converted_as_the_tables_say() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let mut tables: Vec<Bodies> = serde_json::from_str(COMPRESSION).unwrap();
    tables.extend(serde_json::from_str::<Vec<Bodies>>(DECOMPRESSION).unwrap());
    tables.extend(serde_json::from_str::<Vec<Bodies>>(MEDIA).unwrap());
    let mut score = Score::default();
    let mut defined = Vec::new();
    for table in &tables {
        for dialect in &table.dialects {
            let origin = Origin::start().await.replies(200, &said(&table.backend));
            let api = define(&acme, table, dialect, &origin).await;
            defined.push((table, dialect, api, origin));
        }
    }
    world.settled().await;
    for (table, dialect, api, origin) in &defined {
        for case in &table.cases {
            let body = case.base64.as_ref().map(|bytes| STANDARD.decode(bytes).unwrap());
            let body = body.unwrap_or_else(|| case.body.clone().into_bytes());
            let mut call = api.client().call(&case.method, "/prod/").body(body);
            for (name, value) in &case.headers {
                call = call.header(name, value);
            }
            let answer = call.await;
            let expected = case.others.get(*dialect).unwrap_or(&case.gets);
            let what = format!("{} {:?}", case.method, case.headers);
            score.note(&noted(table), dialect, &what, compared(table, expected, &answer, origin));
        }
    }
    score.settle("Bodies");
}

async fn define<'w>(
    tenant: &Tenant<'w>,
    table: &Bodies,
    dialect: &str,
    origin: &Origin,
) -> Api<'w> {
    let api = tenant.api_in(dialect, &format!("{} {dialect}", table.row)).await;
    if !table.api.is_empty() {
        let mut input = json!(table.api);
        input["id"] = json!(api.id);
        tenant.mutate("updateApi", "UpdateApiInput!", input, "api { id }").await;
    }
    let mut integration = table.integration.clone();
    if let Some(bytes) = table.body_bytes {
        integration["mockResponse"]["body"] = json!(text(bytes));
    }
    if integration["type"] != "MOCK" {
        integration["uri"] = json!(origin.url());
    }
    let route = json!({ "method": "ANY", "path": "/", "integration": integration });
    let api = api.route_of(route).await;
    let input = json!({ "apiId": api.id, "stage": "prod" });
    tenant.mutate("createDeployment", "CreateDeploymentInput!", input, "stage { id }").await;
    api
}

fn text(bytes: usize) -> String {
    "All pets are good pets. ".chars().cycle().take(bytes).collect()
}

fn said(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What of an answer is not as expected.
fn compared(
    table: &Bodies,
    expected: &Expected,
    answer: &Answer,
    origin: &Origin,
) -> Result<(), String> {
    let mut wrong = Vec::new();
    let mut compare = |what: &str, expected: Value, got: Value| {
        if expected != got {
            wrong.push(format!("{what} {got}, not {expected}"));
        }
    };
    compare("status", json!(expected.status), json!(answer.status()));
    for (name, value) in &expected.headers {
        compare(name, json!(value), json!(answer.header(name)));
    }
    let bytes = decoded(answer);
    if let Some(bytes_of_text) = table.body_bytes.filter(|_| bytes.is_some()) {
        let whole = bytes == Some(text(bytes_of_text).into_bytes());
        compare("whole", json!(true), json!(whole || answer.bytes().is_empty()));
    }
    let body = bytes.unwrap_or_default();
    if let Some(text) = &expected.text {
        compare("body", json!(text), json!(String::from_utf8_lossy(&body)));
    }
    if let Some(hex) = &expected.hex {
        let got = hex::encode(&body);
        compare("bytes", json!(hex), json!(got));
    }
    if !expected.event.is_empty() {
        let got = origin.received().pop().map(|received| received.body).unwrap_or_default();
        let event: Value = serde_json::from_slice(&got).unwrap_or_default();
        for (name, value) in &expected.event {
            compare(name, value.clone(), event[name].clone());
        }
    }
    if let Some(came) = &expected.backend {
        let Some(got) = origin.received().pop() else { return Err("nothing came".to_owned()) };
        for (name, value) in &came.headers {
            let field = got.headers.get(name).map(|value| value.to_str().unwrap());
            compare(name, json!(value), json!(field));
        }
        if let Some(text) = &came.text {
            compare("what came", json!(text), json!(String::from_utf8_lossy(&got.body)));
        }
        if let Some(bytes) = &came.base64 {
            compare("what came", json!(bytes), json!(STANDARD.encode(&got.body)));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// `None` of a coding that is not read here.
fn decoded(answer: &Answer) -> Option<Vec<u8>> {
    let (bytes, mut plain) = (answer.bytes(), Vec::new());
    if bytes.is_empty() {
        return Some(plain);
    }
    match answer.header("content-encoding") {
        None => plain.extend_from_slice(bytes),
        Some("gzip") => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain)),
        Some("deflate") => drop(flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut plain)),
        Some(_) => return None,
    }
    Some(plain)
}

/// What a case is counted by.
fn noted(table: &Bodies) -> Table {
    let of = json!({ "row": table.row, "rule": table.rule, "dialects": [] });
    serde_json::from_value(of).unwrap()
}
