//! What tenants and strangers write stays text: no script in an answer, no formula in a file, no second line and no
//! terminal's command in a log.

use super::catalog::{Catalog, Door};
use super::fill::Fill;
use super::{cast, closed};
use harness::tenant::{month, text};
use harness::{Answer, Origin, World};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Script, formulas, and what is nothing special to us.
const TEXTS: [&str; 3] = [
    "=HYPERLINK(\"//evil.example\",1)<script>alert(1)</script>",
    "@SUM(1)\"'><img src=x onerror=alert(1)>${jndi:x}{{7*7}}",
    "+1-1%0d%0a%1b[31m';drop table api;--\u{202e}",
];
/// What may not be in a line: line ends, what terminals obey, and what PostgreSQL cannot hold.
const CONTROLS: [&str; 4] = ["a\r\n{\"level\":\"forged\"}", "a\u{1b}[31m", "a\u{9b}31m", "a\0"];

/// An answer that no browser takes for a page.
fn assert_inert(answer: &Answer, what: &str) {
    let kind = answer.header("content-type").unwrap_or_default();
    let kinds = [
        "application/json",
        "application/problem+json",
        "application/graphql-response+json",
        "text/csv; charset=utf-8; header=present",
    ];
    let empty = answer.status() == 204;
    assert!(empty || kinds.contains(&kind), "{what}: {kind}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{what}");
}

#[tokio::test]
async fn what_is_planted_in_any_field_stays_text() {
    let world = World::start().await;
    let catalog = Catalog::of(&world).await;
    let acme = cast::party(&world, &catalog, "acme", "prod").await;
    let token = Some(acme.tenant.token.as_str());

    let (mut kept, mut fields) = (0, BTreeSet::new());
    for operation in closed(&catalog).filter(|operation| !operation.reads()) {
        let deletes = matches!(&operation.door, Door::Rest { method, .. } if method == "DELETE");
        let texts = Fill::with(&catalog, &acme.ids).texts(operation);
        if deletes || texts.is_empty() {
            continue;
        }
        for planted in TEXTS.iter().chain(&CONTROLS) {
            for field in &texts {
                let fill = Fill::with(&catalog, &acme.ids).planted(planted).extra(Some(field));
                let request = fill.request(operation);
                let answer = request.send(&world, token).await;
                let what = format!("{request:?}: {}", answer.text());
                assert!(answer.status() < 500, "{what}");
                assert_inert(&answer, &what);
                let outcome = request.outcome(&answer);
                if outcome == "done" {
                    kept += usize::from(answer.text().contains(&as_json(planted)));
                    fields.insert(format!("{}.{field}", operation.name));
                }
            }
        }
    }
    // Plans, keys, Apis and the like take any name and description.
    assert!(kept >= 60 && fields.len() >= 30, "{kept} were kept, in {fields:?}");

    given_back(&acme).await;
    let origin = world.origin().await;
    download(&world, &acme, &origin).await;
    let mut seen = String::new();
    for operation in closed(&catalog).filter(|operation| operation.reads()) {
        if matches!(operation.name.as_str(), "node" | "nodes") {
            continue;
        }
        let request = Fill::with(&catalog, &acme.ids).request(operation);
        let answer = request.send(&world, token).await;
        assert_inert(&answer, &operation.name);
        seen.push_str(&answer.text());
    }
    for planted in TEXTS {
        assert!(seen.contains(&as_json(planted)), "{planted} is read back as it was written");
    }
    assert_lines_are_whole(&world);
}

/// What a caller calls a change comes back as it was sent.
async fn given_back(acme: &cast::Party<'_>) {
    let query = "mutation($input: DeleteInput!) { deleteConsumer(input: $input) {
        clientMutationId deletedId userErrors { code } } }";
    for planted in TEXTS.iter().chain(&CONTROLS) {
        let input = json!({ "input": { "id": "nobody's", "clientMutationId": planted } });
        let answer = acme.tenant.try_graphql(query, input).await;
        assert_inert(&answer, planted);
        assert_eq!(answer.json()["data"]["deleteConsumer"]["clientMutationId"], **planted);
    }
}

/// A text inside a JSON string.
fn as_json(text: &str) -> String {
    let quoted = json!(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// No cell of the file is a formula.
async fn download(world: &World, acme: &cast::Party<'_>, origin: &Origin) {
    let api = acme.tenant.api("=1+1").await;
    let api = api.route("GET", "/-1", false, &origin.url()).await.deploy("-1").await;
    api.get("/-1").await.expect(200);
    acme.tenant.counted(1).await;
    let csv = harness::eventually("the hour's row in the file", async || {
        let made = acme.tenant.rest("POST", "/v1/downloads").json(&json!({ "month": month() }));
        let url: url::Url = text(&made.await.expect(201).json()["url"]).parse().unwrap();
        let file = world.management().get(url.path()).await.expect(200);
        assert_inert(&file, "the file");
        let disposition = file.header("content-disposition").unwrap_or_default();
        assert!(disposition.starts_with("attachment"), "{disposition}");
        file.text().contains("/-1").then(|| file.text())
    })
    .await;
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    for row in rows.records().map(Result::unwrap) {
        let formula = row
            .iter()
            .find(|cell| cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) && *cell != "-");
        assert_eq!(formula, None, "{csv}");
    }
    assert!(csv.contains(",'-1,"), "the stage's name is escaped: {csv}");
}

#[tokio::test]
async fn what_strangers_send_cannot_forge_a_log_line() {
    let world = World::start().await;
    let acme = world.tenant("acme").await;
    let origin = world.origin().await;
    let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
    let hostile = "\u{9b}31m\u{202e}red";
    for client in [world.management(), api.client()] {
        for path in [
            "/%0d%0a%1b%5b31mforged".to_owned(),
            "/v1/apis/%1b%5b31m?x=%0d%0aforged".to_owned(),
            "/prod/pets/%c2%9b31m%7f".to_owned(),
            "/prod/pets?%1b[31m".to_owned(),
        ] {
            let call = client.get(&path);
            let call = call.header("user-agent", hostile).header("x-request-id", hostile);
            let call = call.header("referer", hostile).header("x-forwarded-for", hostile);
            call.header("traceparent", hostile).bearer(hostile).await;
        }
        client.clone().host("a\u{9b}31m.example").get("/").try_send().await.ok();
    }
    let who = json!({ "email": format!("{hostile}@example.com"), "password": hostile });
    let answer = world.management().post("/v1/login").json(&who).await;
    assert!(answer.status() < 500, "{}", answer.text());
    assert_lines_are_whole(&world);
}

/// Every line of the processes' logs is one JSON object without anything that a terminal obeys.
fn assert_lines_are_whole(world: &World) {
    for name in ["control-plane0.log", "node0.log"] {
        let log = std::fs::read_to_string(world.logs().join(name)).unwrap();
        assert!(!log.is_empty(), "{name} has lines");
        for line in log.lines() {
            let object: Value = serde_json::from_str(line).unwrap_or_default();
            assert!(object["message"].is_string(), "{name}: {line}");
            assert_ne!(object["level"], "forged", "{name}: {line}");
            let obeyed =
                line.chars().find(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(c));
            assert_eq!(obeyed, None, "{name}: {line}");
        }
    }
}
