//! From sign-up to bill by REST, the door for programs.

use harness::tenant::{PASSWORD, month, since, text};
use harness::{Client, World};
use serde_json::{Value, json};

struct Caller {
    client: Client,
    token: String,
}

impl Caller {
    async fn send(&self, method: &str, path: &str, body: Value, status: u16) -> Value {
        let call = self.client.call(method, path).bearer(&self.token);
        let call = if body.is_null() { call } else { call.json(&body) };
        let answer = call.await.expect(status);
        if answer.text().is_empty() { Value::Null } else { answer.json() }
    }
}

#[tokio::test]
async fn a_call_goes_through_from_sign_up_to_bill() {
    let world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let management = world.management();

    let who = json!({ "email": "ann@example.com", "password": PASSWORD, "tenant": "acme" });
    let signed_up = management.post("/v1/signup").json(&who).await.expect(201);
    let body = signed_up.json();
    assert_eq!(body["tenant"]["name"], "acme");
    assert_eq!(body["user"]["email"], "ann@example.com");
    assert!(body["expiresInSeconds"].as_u64().unwrap() <= 600);
    let cookie = signed_up
        .headers("set-cookie")
        .into_iter()
        .find(|value| value.starts_with("tollgate_session="))
        .unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/v1/session"] {
        assert!(cookie.contains(part), "{cookie}");
    }

    let who = json!({ "email": "ann@example.com", "password": PASSWORD });
    let logged_in = management.post("/v1/login").json(&who).await.expect(200).json();
    let ann = Caller { client: management, token: text(&logged_in["accessToken"]) };
    let session = ann.send("GET", "/v1/session", Value::Null, 200).await;
    assert_eq!(session["user"]["email"], "ann@example.com");

    let api = ann.send("POST", "/v1/apis", json!({ "name": "pets" }), 201).await;
    let api = text(&api["id"]);
    let integration = json!({ "type": "HTTP_PROXY", "uri": format!("{}/pets", origin.url()) });
    let route = json!({ "method": "GET", "path": "/pets", "apiKeyRequired": true, "integration": integration });
    let route = ann.send("POST", &format!("/v1/apis/{api}/routes"), route, 201).await;
    assert_eq!(route["routeKey"], "GET /pets");
    ann.send("POST", &format!("/v1/apis/{api}/deployments"), json!({ "stage": "prod" }), 201).await;
    let stage = ann.send("GET", &format!("/v1/apis/{api}/stages/prod"), Value::Null, 200).await;
    assert!(text(&stage["invokeUrl"]).contains(&api));

    let plan = json!({
        "name": "gold", "throttle": { "rateLimit": 0.01, "burstLimit": 1 },
        "quota": { "limit": 100, "period": "DAY" }, "apiStages": [{ "apiId": api, "stage": "prod" }],
    });
    let plan = ann.send("POST", "/v1/usage-plans", plan, 201).await;
    let key = json!({ "name": "first", "usagePlanIds": [plan["id"]] });
    let key = ann.send("POST", "/v1/api-keys", key, 201).await;
    let value = text(&key["value"]);
    assert!(value.starts_with("tg_live_"), "{value}");
    let again =
        ann.send("GET", &format!("/v1/api-keys/{}", text(&key["id"])), Value::Null, 200).await;
    assert!(again.get("value").is_none(), "a key's value is shown once");

    world.settled().await;
    let consumer = world.endpoint().host(&format!("{api}.execute-api.localhost"));
    assert_eq!(consumer.get("/prod/pets").key(&value).await.expect(200).text(), "hello");
    consumer.get("/prod/pets").key(&value).await.expect(429);

    // By hour, since the bill and the file are made of hours.
    let path = format!("/v1/usage?interval=hour&since={}", since());
    harness::eventually("two calls in the ledger", async || {
        let usage = ann.send("GET", &path, Value::Null, 200).await;
        let requests: u64 = usage["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|row| row["requests"].as_u64())
            .sum();
        (requests == 2).then_some(())
    })
    .await;
    let bill = ann.send("GET", "/v1/bill", Value::Null, 200).await;
    assert_eq!(text(&bill["month"]), month());

    let link = ann.send("POST", "/v1/downloads", json!({ "month": month() }), 201).await;
    let url: url::Url = text(&link["url"]).parse().unwrap();
    let file = ann.client.get(&url[url::Position::BeforePath..]).await.expect(200);
    assert!(file.text().contains("GET /pets"), "{}", file.text());

    let document = ann.send("GET", "/v1/openapi.json", Value::Null, 200).await;
    assert!(text(&document["openapi"]).starts_with("3.1"));
    assert_eq!(document["servers"][0]["url"], "/v1");
    for path in ["/signup", "/apis", "/usage-plans", "/api-keys", "/usage"] {
        assert!(document["paths"].get(path).is_some(), "{path} is not in the OpenAPI document");
    }
}

#[tokio::test]
async fn a_session_is_refreshed_by_its_cookie_and_ends_at_log_out() {
    let world = World::start().await;
    let management = world.management();
    let origin = format!("http://{}", world.management_address());
    let who = json!({ "email": "ann@example.com", "password": PASSWORD, "tenant": "acme" });
    let answer = management.post("/v1/signup").json(&who).await.expect(201);
    let cookie = |answer: &harness::Answer| {
        let set = answer
            .headers("set-cookie")
            .into_iter()
            .find(|value| value.starts_with("tollgate_session="))
            .unwrap();
        set.split(';').next().unwrap().to_owned()
    };
    let first = cookie(&answer);

    let refresh = |cookie: &str| {
        management.post("/v1/session").header("origin", &origin).header("cookie", cookie)
    };
    let refreshed = refresh(&first).await.expect(200);
    let second = cookie(&refreshed);
    assert_ne!(first, second, "the cookie rotates");
    let token = text(&refreshed.json()["accessToken"]);
    management.get("/v1/session").bearer(&token).await.expect(200);

    let elsewhere = management
        .post("/v1/session")
        .header("origin", "http://evil.example")
        .header("cookie", &second);
    assert_eq!(elsewhere.await.status() / 100, 4, "another origin must not refresh");

    let out = management
        .call("DELETE", "/v1/session")
        .header("origin", &origin)
        .header("cookie", &second)
        .await;
    assert_eq!(out.status() / 100, 2, "{}", out.text());
    refresh(&second).await.expect(401);
    harness::eventually("the end of the access token", async || {
        (management.get("/v1/session").bearer(&token).await.status() == 401).then_some(())
    })
    .await;
}
