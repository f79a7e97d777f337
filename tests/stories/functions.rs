//! A function behind a node: a real app behind the adapter that people deploy it with, in both of AWS's payload formats.

use std::path::Path;
use std::process::Stdio;

use harness::World;
use harness::tenant::Api;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// `tests/functions/host.py`, and its port.
async fn function() -> (Child, u16) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = tests.parent().unwrap().join("var/tools/functions");
    assert!(packages.is_dir(), "{} is missing; tests/run installs it", packages.display());
    let mut host = Command::new("python3")
        .arg(tests.join("functions/host.py"))
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(host.stdout.take().unwrap()).read_line(&mut port).await.unwrap();
    (host, port.trim().parse().unwrap())
}

async fn api<'w>(world: &'w World, version: &str, port: u16) -> Api<'w> {
    let api = world.tenant(&format!("acme{}", &version[..1])).await.api("pets").await;
    let integration = json!({
        "type": "AWS_PROXY", "uri": format!("http://127.0.0.1:{port}/"), "payloadFormatVersion": version,
    });
    let route = json!({ "method": "ANY", "path": "/{proxy+}", "integration": integration });
    api.route_of(route).await.deploy("$default").await
}

/// What a web app is for, and how it fails.
async fn everything(api: &Api<'_>) {
    let client = api.client();
    let asked = client.get("/pets/tom%20cat?q=1&q=a%26b").header("cookie", "a=1; b=2");
    let pet = asked.header("x-many", "one").await.expect(200).json();
    assert_eq!((&pet["name"], &pet["q"]), (&json!("tom cat"), &json!(["1", "a&b"])));
    assert_eq!(pet["cookies"], json!({ "a": "1", "b": "2" }));
    assert_eq!((&pet["many"], &pet["client"]), (&json!("one"), &json!("127.0.0.1")));
    assert_eq!(pet["stage"], "$default");
    let url = pet["url"].as_str().unwrap();
    assert!(url.starts_with(&format!("http://{}/pets/tom", api.host())), "{url}");

    let cat = json!({ "name": "Tom", "friend": "Jérôme" });
    let made = client.post("/pets").json(&cat).await.expect(201);
    assert_eq!((made.json(), made.header("content-type")), (cat, Some("application/json")));
    let cookies = made.headers("set-cookie");
    assert!(
        matches!(&*cookies, [first, second] if first.starts_with("first=1;") && second.contains("HttpOnly")),
        "{cookies:?}"
    );

    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let turned = client.call("PUT", "/turned").header("content-type", "image/png");
    let turned = turned.body(bytes.clone()).await.expect(200);
    assert!(turned.bytes().iter().rev().eq(&bytes));
    let image = client.get("/image").await.expect(200);
    assert_eq!(
        (image.bytes(), image.header("content-type")),
        (&b"\x89PNG\r\n\x1a\n\0\xff"[..], Some("image/png"))
    );

    let moved = client.get("/moved").await.expect(303);
    assert_eq!(moved.header("location"), Some("/pets/tom"));
    client.get("/nothing").await.expect(404);
    assert_eq!(client.get("/crash").await.expect(500).header("x-amzn-errortype"), None);
    for failure in ["/unhandled", "/nonsense"] {
        let refused = client.get(failure).await.expect(502).json();
        assert_eq!(refused["code"], "FUNCTION_FAILURE", "{refused}");
    }
    client.get("/pets/tom").await.expect(200);
}

#[tokio::test]
async fn an_app_behind_mangum_is_served_in_both_payload_formats() {
    let world = World::start().await;
    let (_host, port) = function().await;
    for version in ["1.0", "2.0"] {
        everything(&api(&world, version, port).await).await;
    }
}

#[tokio::test]
async fn what_is_no_function_is_refused_by_its_field() {
    let world = World::start_alone().await;
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await;
    let to = "http://127.0.0.1:7000/";
    let arn = "arn:aws:lambda:us-east-1:123456789012:function:pets";
    for (param, integration) in [
        ("payloadFormatVersion", json!({ "type": "AWS_PROXY", "uri": to })),
        (
            "payloadFormatVersion",
            json!({ "type": "AWS_PROXY", "uri": to, "payloadFormatVersion": "3.0" }),
        ),
        (
            "payloadFormatVersion",
            json!({ "type": "HTTP_PROXY", "uri": to, "payloadFormatVersion": "1.0" }),
        ),
        ("uri", json!({ "type": "AWS_PROXY", "payloadFormatVersion": "2.0" })),
        ("uri", json!({ "type": "AWS_PROXY", "uri": arn, "payloadFormatVersion": "2.0" })),
        (
            "method",
            json!({ "type": "AWS_PROXY", "uri": to, "method": "GET", "payloadFormatVersion": "2.0" }),
        ),
    ] {
        let query = "mutation($input: CreateIntegrationInput!) { createIntegration(input: $input) \
                     { integration { id } userErrors { param message } } }";
        let input = json!({ "apiId": api.id, "integration": integration });
        let data = acme.graphql(query, json!({ "input": input })).await;
        let error = &data["createIntegration"]["userErrors"][0];
        assert_eq!(error["param"], format!("integration.{param}"), "{integration}: {error}");

        let made = acme.rest("POST", &format!("/v1/apis/{}/integrations", api.api_id));
        made.json(&integration).await.expect(400);
    }
}
