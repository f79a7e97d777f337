//! What backends get and what callers get of them, and what mocks answer: tables of a route, what its backend answers, and
//! what is right on both sides.

use crate::backend::{Authority, serve, serve_over_tls};
use crate::score::Score;
use crate::table::Table;
use bytes::Bytes;
use harness::World;
use harness::tenant::{Api, Tenant};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const TABLES: [&str; 6] = [
    include_str!("integrations.json"),
    include_str!("http_custom.json"),
    include_str!("mock.json"),
    include_str!("backend_tls.json"),
    include_str!("services.json"),
    include_str!("subtypes.json"),
];

/// A route, its backend's answer, and what calls of it get: once in each of `dialects`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Case {
    row: String,
    rule: String,
    dialects: Vec<String>,
    /// What `updateApi` is told beside the Api's id.
    #[serde(default)]
    api: Map<String, Value>,
    /// `GET /a`, which leads to `integration`, whose URI is the backend's with this behind it.
    #[serde(default)]
    route: String,
    #[serde(default)]
    integration: Map<String, Value>,
    /// Its backend is spoken to over TLS, and has a certificate for `localhost` and `inside.test` by a private authority.
    #[serde(default)]
    secure: bool,
    /// Which lets in none but who shows the certificate `known`; there is a `stranger` too.
    #[serde(default)]
    asks: bool,
    /// Which of them the stage has.
    shown: Option<String>,
    /// Its URI is an ARN, which is called at a backend of its own, by credentials of the tenant.
    #[serde(default)]
    aws: bool,
    #[serde(default)]
    backend: Reply,
    #[serde(default)]
    calls: Vec<Call>,
    /// The integration is not taken, and this field is named for it.
    refused_for: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Reply {
    status: Option<u16>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    /// How often the body is said.
    repeated: Option<usize>,
    #[serde(default)]
    delay_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    request: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    gets: Gets,
    /// Where a dialect's answer is another one.
    #[serde(default, rename = "in")]
    others: BTreeMap<String, Gets>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gets {
    #[serde(default = "ok")]
    status: u16,
    /// Null: it is not there.
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    body: Option<String>,
    /// What the backend got.
    backend: Option<Got>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Got {
    /// Method, path and query, byte for byte, behind the backend's address.
    request: String,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    body: Option<String>,
    /// Region and service of its signature.
    signed: Option<String>,
}

fn ok() -> u16 {
    200
}

/// What the backend got last of each table, and what it answers.
#[derive(Default)]
struct Backend {
    replies: BTreeMap<String, Reply>,
    got: BTreeMap<String, Asked>,
}

#[derive(Default)]
struct Asked {
    request: String,
    headers: http::HeaderMap,
    body: Bytes,
}

type Shared = Arc<Mutex<Backend>>;

#[tokio::test]
async fn backends_and_callers_get_what_the_tables_say() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let cases: Vec<Case> =
        TABLES.iter().flat_map(|text| serde_json::from_str::<Vec<Case>>(text).unwrap()).collect();
    let backend = Shared::default();
    let asked = backend.clone();
    let address = serve(move |request| answer(asked.clone(), None, request)).await;
    let asked = backend.clone();
    let (authority, clients) = (Authority::new(), Authority::new());
    let secure = authority.acceptor(None);
    let secure = serve_over_tls(secure, move |request| answer(asked.clone(), None, request)).await;
    let asked = backend.clone();
    let asking = authority.acceptor(Some(&clients));
    let asking = serve_over_tls(asking, move |request| answer(asked.clone(), None, request)).await;
    let certificates = [
        ("known", uploaded(&acme, clients.client()).await),
        ("stranger", uploaded(&acme, Authority::new().client()).await),
    ];
    let known = Known { authority: authority.pem, certificates: certificates.into() };
    let secret = credentials(&acme).await;
    let mut score = Score::default();
    let mut defined = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        for dialect in &case.dialects {
            let name = format!("{index}-{dialect}");
            let api = acme.api_in(dialect, &format!("{} {dialect}", case.row)).await;
            if !case.api.is_empty() {
                let mut input = json!(case.api);
                input["id"] = json!(api.id);
                acme.mutate("updateApi", "UpdateApiInput!", input, "api { id }").await;
            }
            let uri = match (case.secure, case.asks) {
                (true, _) => format!("https://localhost:{}/{name}", secure.port()),
                (false, true) => format!("https://localhost:{}/{name}", asking.port()),
                (false, false) => format!("http://{address}/{name}"),
            };
            let mut input = route(case, &api, &uri, &known);
            if case.aws {
                let (asked, name) = (backend.clone(), name.clone());
                let own = serve(move |it| answer(asked.clone(), Some(name.clone()), it)).await;
                let aws = &mut input["integration"]["aws"];
                aws["secretId"] = json!(secret);
                aws["endpointUrl"] = json!(format!("http://{own}"));
            }
            if let Some(param) = &case.refused_for {
                let told = refused(&acme, input, param).await;
                score.note(&table(case), dialect, param, told);
                continue;
            }
            acme.mutate("createRoute", "CreateRouteInput!", input, "route { id }").await;
            let input = json!({ "apiId": api.id, "stage": "prod" });
            let fields = "stage { id }";
            let made =
                acme.mutate("createDeployment", "CreateDeploymentInput!", input, fields).await;
            if let Some(shown) = &case.shown {
                let id = &known.certificates[shown.as_str()].0;
                let input = json!({ "id": made["stage"]["id"], "clientCertificateId": id });
                acme.mutate("updateStage", "UpdateStageInput!", input, fields).await;
            }
            backend.lock().unwrap().replies.insert(name.clone(), case.backend.clone());
            defined.push((case, dialect, name, api));
        }
    }
    world.settled().await;
    for (case, dialect, name, api) in &defined {
        for call in &case.calls {
            let (method, target) = call.request.split_once(' ').unwrap();
            let mut request = api.client().call(method, target);
            for (field, value) in &call.headers {
                request = request.header(field, value);
            }
            if !call.body.is_empty() {
                request = request.body(call.body.clone());
            }
            let answer = request.await;
            let got = backend.lock().unwrap().got.remove(name);
            let gets = call.others.get(*dialect).unwrap_or(&call.gets);
            let host = api.host();
            score.note(&table(case), dialect, &call.request, compared(gets, &answer, got, &host));
        }
    }
    score.settle("Integrations");
}

/// As the score knows it.
fn table(case: &Case) -> Table {
    let of = json!({ "row": case.row, "rule": case.rule, "dialects": [] });
    serde_json::from_value(of).unwrap()
}

/// What tables name.
struct Known {
    authority: String,
    /// GraphQL's id, and that of integrations.
    certificates: BTreeMap<&'static str, (String, String)>,
}

async fn uploaded(tenant: &Tenant<'_>, (chain, key): (String, String)) -> (String, String) {
    let input = json!({ "certificateChain": chain, "privateKey": key });
    let (of, fields) =
        ("UploadClientCertificateInput!", "clientCertificate { id clientCertificateId }");
    let made = tenant.mutate("uploadClientCertificate", of, input, fields).await;
    let text = |field: &str| made["clientCertificate"][field].as_str().unwrap().to_owned();
    (text("id"), text("clientCertificateId"))
}

async fn credentials(tenant: &Tenant<'_>) -> String {
    let keys = json!({ "accessKeyId": "AKIDEXAMPLE", "secretAccessKey": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" });
    let input = json!({ "name": "aws", "awsCredentials": keys });
    let made = tenant.mutate("createSecret", "CreateSecretInput!", input, "secret { id }").await;
    made["secret"]["id"].as_str().unwrap().to_owned()
}

/// `${authority}` in a bundle is the backend's, and a client certificate is called by its name.
fn route(case: &Case, api: &Api<'_>, backend: &str, known: &Known) -> Value {
    let (method, path) = case.route.split_once(' ').unwrap();
    let mut integration = json!(case.integration);
    if let Some(Value::String(below)) = integration.get("uri").filter(|_| !case.aws) {
        integration["uri"] = json!(format!("{backend}{below}"));
    }
    if let Some(Value::String(bundle)) = integration.pointer_mut("/tlsConfig/caBundle") {
        *bundle = bundle.replace("${authority}", &known.authority);
    }
    if let Some(Value::String(id)) = integration.pointer_mut("/tlsConfig/clientCertificateId")
        && let Some((_, certificate)) = known.certificates.get(id.as_str())
    {
        id.clone_from(certificate);
    }
    json!({ "apiId": api.id, "method": method, "path": path, "integration": integration })
}

async fn refused(tenant: &Tenant<'_>, input: Value, param: &str) -> Result<(), String> {
    let query = "mutation($input: CreateRouteInput!) { createRoute(input: $input) { userErrors { param } } }";
    let data = tenant.graphql(query, json!({ "input": input })).await;
    let told = data["createRoute"]["userErrors"][0]["param"].as_str().unwrap_or("nothing");
    if told == format!("integration.{param}") { Ok(()) } else { Err(format!("refused for {told}")) }
}

fn compared(
    gets: &Gets,
    answer: &harness::Answer,
    got: Option<Asked>,
    host: &str,
) -> Result<(), String> {
    let mut wrong = Vec::new();
    let mut compare = |what: &str, expected: Option<&str>, got: Option<&str>| {
        let expected = expected.map(|text| text.replace("${host}", host));
        if expected.as_deref() != got {
            wrong.push(format!("{what} is {got:?}, not {expected:?}"));
        }
    };
    let (status, expected) = (answer.status().to_string(), gets.status.to_string());
    compare("status", Some(&expected), Some(&status));
    for (name, value) in &gets.headers {
        compare(name, value.as_deref(), answer.header(name));
    }
    if let Some(body) = &gets.body {
        compare("body", Some(body), Some(&answer.text()));
    }
    if let Some(expected) = &gets.backend {
        let got = got.unwrap_or_default();
        compare("backend's request", Some(&expected.request), Some(&got.request));
        let field = |name: &str| got.headers.get(name).and_then(|value| value.to_str().ok());
        for (name, value) in &expected.headers {
            compare(&format!("backend's {name}"), value.as_deref(), field(name));
        }
        if let Some(body) = &expected.body {
            compare("backend's body", Some(body), std::str::from_utf8(&got.body).ok());
        }
        if let Some(scope) = &expected.signed {
            let signed = field("authorization").and_then(|value| {
                let (_, scope) = value.split_once("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")?;
                let (_day, scope) = scope.split_once('/')?;
                scope.split_once("/aws4_request,").map(|(scope, _)| scope)
            });
            compare("scope of the signature", Some(scope), signed);
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

/// Answers as the table's case in one dialect that is named, here or by the first segment of the path.
async fn answer(
    backend: Shared,
    name: Option<String>,
    request: http::Request<Bytes>,
) -> http::Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query().unwrap().as_str();
    let (name, below) = if let Some(name) = name {
        (name, target)
    } else {
        let end = target[1..].find(['/', '?']).map_or(target.len(), |at| at + 1);
        (target[1..end].to_owned(), &target[end..])
    };
    let reply = {
        let mut backend = backend.lock().unwrap();
        let request = format!("{} {below}", head.method);
        backend.got.insert(name.clone(), Asked { request, headers: head.headers, body });
        backend.replies.get(&name).cloned().unwrap_or_default()
    };
    tokio::time::sleep(Duration::from_millis(reply.delay_ms)).await;
    let mut response = http::Response::builder().status(reply.status.unwrap_or(200));
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let body = reply.body.repeat(reply.repeated.unwrap_or(1));
    response.body(Full::new(body.into())).unwrap()
}
