//! `--demo`: a tenant with a working API, a key, traffic and a bill, made once through the doors that everybody uses.
//!
//! What was made is kept in `{home}/demo.json`, so that a later start shows it again and makes nothing.

use crate::http;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// How long the node may take to serve what was deployed, and the ledger to show what was called.
const PATIENCE: Duration = Duration::from_secs(30);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// More than the plan's burst, so that the usage page has refusals to show.
const CALLS: usize = 40;
const BURST_LIMIT: u32 = 25;

/// What a visitor of the demo needs.
#[derive(Serialize, Deserialize)]
pub(super) struct Demo {
    email: String,
    password: String,
    operator_email: String,
    operator_password: String,
    invoke_url: String,
    api_key: String,
}

/// Where the demo's own calls go.
pub(super) struct Doors {
    /// The control plane's REST.
    pub(super) management: SocketAddr,
    /// The node.
    pub(super) endpoint: SocketAddr,
}

/// What an earlier start made.
pub(super) fn read(file: &Path) -> Result<Option<Demo>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    serde_json::from_str(&text)
        .map(Some)
        .with_context(|| format!("{} is damaged; remove it to make another demo", file.display()))
}

/// Makes it, with passwords drawn at random; `operator_link` is a fresh one-time link.
pub(super) async fn make(doors: &Doors, operator_link: &str, file: &Path) -> Result<Demo> {
    let draw = || hex::encode(rand::random::<[u8; 12]>());
    let name = hex::encode(rand::random::<[u8; 3]>());
    let (password, operator_password) = (draw(), draw());
    let email = format!("demo-{name}@example.com");
    let operator_email = format!("operator-{name}@example.com");

    let (_, token) = operator_link.split_once("token=").context("an operator link has a token")?;
    let who = json!({ "token": token, "email": operator_email, "password": operator_password });
    let operator = doors.sign_in("/v1/operator/session", &who).await?;
    let price = doors.ask(&operator, "GET", "/v1/operator/price", &Value::Null).await?;
    if price["effectiveFrom"].is_null() {
        // High, so that a few calls make cents.
        let price = json!({
            "currency": "USD", "perMillionRequests": "3500", "perGbOut": "0.09", "freeRequests": 0,
        });
        doors.ask(&operator, "PUT", "/v1/operator/price", &price).await?;
    }

    let who = json!({ "email": email, "password": password, "tenant": "demo" });
    let owner = doors.sign_in("/v1/signup", &who).await?;
    let api = doors.ask(&owner, "POST", "/v1/apis", &json!({ "name": "pets" })).await?;
    let api = text(&api["id"])?;
    for (method, path, answer) in [
        ("GET", "/pets", r#"[{"id":1,"name":"Rex"},{"id":2,"name":"Mia"}]"#),
        ("GET", "/pets/{petId}", r#"{"id":1,"name":"Rex"}"#),
    ] {
        let integration = json!({
            "type": "MOCK",
            "mockResponse": { "status": 200, "headers": [{ "name": "content-type", "value": "application/json" }], "body": answer },
        });
        let route = json!({
            "method": method, "path": path, "apiKeyRequired": true, "integration": integration,
        });
        doors.ask(&owner, "POST", &format!("/v1/apis/{api}/routes"), &route).await?;
    }
    let deployments = format!("/v1/apis/{api}/deployments");
    doors.ask(&owner, "POST", &deployments, &json!({ "stage": "prod" })).await?;
    let stage = format!("/v1/apis/{api}/stages/prod");
    let invoke_url = text(&doors.ask(&owner, "GET", &stage, &Value::Null).await?["invokeUrl"])?;
    let plan = json!({
        "name": "gold",
        "throttle": { "rateLimit": 5, "burstLimit": BURST_LIMIT },
        "quota": { "limit": 10_000, "period": "DAY" },
        "apiStages": [{ "apiId": api, "stage": "prod" }],
    });
    let plan = doors.ask(&owner, "POST", "/v1/usage-plans", &plan).await?;
    let key = json!({ "name": "first", "usagePlanIds": [plan["id"]] });
    let key = doors.ask(&owner, "POST", "/v1/api-keys", &key).await?;
    let api_key = text(&key["value"])?;

    doors.call(&invoke_url, &api_key).await?;
    within("the demo's bill", async || {
        let bill = doors.ask(&owner, "GET", "/v1/bill", &Value::Null).await?;
        Ok(text(&bill["total"])?.contains(|digit| matches!(digit, '1'..='9')).then_some(()))
    })
    .await?;

    let demo = Demo { email, password, operator_email, operator_password, invoke_url, api_key };
    let mut options = fs::OpenOptions::new();
    let kept = options.write(true).create(true).truncate(true).mode(0o600).open(file);
    kept.and_then(|mut kept| kept.write_all(json!(demo).to_string().as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(demo)
}

impl Demo {
    pub(super) fn announce(&self) {
        println!("  demo       log in as {} with {}", self.email, self.password);
        println!(
            "             as operator {} with {}",
            self.operator_email, self.operator_password
        );
        println!("             curl -i -H 'x-api-key: {}' {}/pets", self.api_key, self.invoke_url);
    }
}

impl Doors {
    /// The access token that signing up, or opening the operator's link, gives.
    async fn sign_in(&self, path: &str, who: &Value) -> Result<String> {
        text(&self.ask("", "POST", path, who).await?["accessToken"])
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: &Value) -> Result<Value> {
        let mut request = ::http::Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let (status, answer) = http::send(self.management, request, body).await?;
        if !(200..300).contains(&status) {
            bail!("the demo could not be made: {method} {path} answered {status}: {answer}");
        }
        serde_json::from_str(&answer)
            .with_context(|| format!("{method} {path} answered what is not JSON"))
    }

    /// Traffic: calls with the key, some of them over the plan's burst, and two that are wrong.
    async fn call(&self, invoke_url: &str, key: &str) -> Result<()> {
        let url = url::Url::parse(invoke_url).context("the stage's address is no URL")?;
        let host = url[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
        let stage = url.path().trim_end_matches('/').to_owned();
        let call = async |path: &str, key: Option<&str>| {
            let request = ::http::Request::get(format!("{stage}{path}")).header("host", &host);
            let request = match key {
                Some(key) => request.header("x-api-key", key),
                None => request,
            };
            Ok::<_, anyhow::Error>(http::send(self.endpoint, request, String::new()).await?.0)
        };
        within("the demo's first call", async || {
            Ok((call("/pets", Some(key)).await? == 200).then_some(()))
        })
        .await?;
        for _ in 0..CALLS {
            call("/pets/1", Some(key)).await?;
        }
        call("/pets", None).await?;
        call("/unknown", Some(key)).await?;
        Ok(())
    }
}

async fn within(what: &str, mut probe: impl AsyncFnMut() -> Result<Option<()>>) -> Result<()> {
    let until = tokio::time::Instant::now() + PATIENCE;
    while probe().await?.is_none() {
        if tokio::time::Instant::now() >= until {
            bail!("{what} did not come within {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
    Ok(())
}

fn text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).context("an answer lacks what the demo needs from it")
}
