//! Secrets that are easy to recognise go the whole way, through errors too, and are then searched for everywhere.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use harness::tenant::{PASSWORD, month, text};
use harness::{Answer, Origin, Tenant, World, eventually, stores};
use serde_json::json;
use sqlx::{AssertSqlSafe, Row};
use std::path::Path;

/// What must not be found, and what was found.
#[derive(Default)]
struct Hunt {
    /// What it is, and its value.
    secrets: Vec<(&'static str, String)>,
    /// Where each was found.
    found: Vec<String>,
    /// Answers that tell of an error, to be searched with the rest.
    answers: Vec<String>,
}

impl Hunt {
    fn plant(&mut self, what: &'static str, value: &str) {
        assert!(value.len() >= 12, "{what} is too short to be recognised");
        self.secrets.push((what, value.to_owned()));
    }

    /// A secret that the story makes up.
    fn made_up(&mut self, what: &'static str) -> String {
        let value = format!("canary-{}", hex::encode(rand::random::<[u8; 12]>()));
        self.plant(what, &value);
        value
    }

    /// An answer that shows no secret.
    fn answered(&mut self, answer: &Answer) {
        self.answers.push(format!("{answer:?}"));
        self.answers.push(answer.text());
    }

    /// Looks for every secret as it is, in base64 and in hexadecimal.
    fn search(&mut self, place: &str, content: &[u8]) {
        let content = String::from_utf8_lossy(content);
        for (what, value) in &self.secrets {
            let forms = [
                value.clone(),
                STANDARD.encode(value).trim_end_matches('=').to_owned(),
                URL_SAFE_NO_PAD.encode(value),
                hex::encode(value),
            ];
            for at in forms.iter().filter_map(|form| content.find(form.as_str())) {
                let around: String = content[..at].chars().rev().take(120).collect();
                let around: String = around.chars().rev().collect();
                self.found.push(format!("{what} in {place}, after: …{around}"));
            }
        }
    }

    fn search_files(&mut self, directory: &Path) -> usize {
        let mut files = 0;
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            if kind.is_dir() {
                files += self.search_files(&path);
            } else if kind.is_file() {
                self.search(&path.display().to_string(), &std::fs::read(&path).unwrap());
                files += 1;
            }
        }
        files
    }

    /// Every row of every table; a row's text shows bytes in hexadecimal.
    async fn search_database(&mut self, world: &World) {
        let mut database = world.database().await;
        let tables = "select c.relname::text as name from pg_class c
                      where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'";
        let tables = sqlx::query(tables).fetch_all(&mut database).await.unwrap();
        assert!(tables.len() > 25, "the search sees the tables");
        for table in tables {
            let name: String = table.get("name");
            let rows: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(format!("select t::text from {name} t")))
                    .fetch_all(&mut database)
                    .await
                    .unwrap();
            self.search(&format!("table {name}"), rows.join("\n").as_bytes());
        }
    }
}

fn cookie(answer: &Answer) -> String {
    let set = answer.headers("set-cookie");
    let set = set.iter().find_map(|value| value.strip_prefix("tollgate_session="));
    set.unwrap().split(';').next().unwrap().to_owned()
}

/// Log-in, refresh, log-out, and what they refuse.
async fn sessions(world: &World, hunt: &mut Hunt) {
    let management = world.management();
    let password = hunt.made_up("a password");
    let who = json!({ "email": "ann@example.com", "password": password, "tenant": "ann" });
    let answer = management.post("/v1/signup").json(&who).await.expect(201);
    hunt.plant("an access token", &text(&answer.json()["accessToken"]));
    let first = cookie(&answer);
    hunt.plant("a refresh cookie", &first);
    let origin = format!("http://{}", world.management_address());
    let refresh = |cookie: &str| {
        let cookie = format!("tollgate_session={cookie}");
        management.post("/v1/session").header("origin", &origin).header("cookie", &cookie)
    };
    let second = cookie(&refresh(&first).await.expect(200));
    hunt.plant("the next refresh cookie", &second);
    let forged = hunt.made_up("a forged refresh cookie");
    hunt.answered(&refresh(&forged).await.expect(401));

    let wrong = hunt.made_up("a wrong password");
    let log_in = |password: &str| json!({ "email": "ann@example.com", "password": password });
    hunt.answered(&management.post("/v1/login").json(&log_in(&wrong)).await.expect(401));
    let mut odd = log_in(&password);
    odd["pasword"] = json!(password);
    hunt.answered(&management.post("/v1/login").json(&odd).await.expect(400));
    let listed = json!({ "email": "ann@example.com", "password": [password] });
    hunt.answered(&management.post("/v1/login").json(&listed).await.expect(400));
    let cut = format!("{{\"email\":\"ann@example.com\",\"password\":\"{password}\"");
    let call = management.post("/v1/login").header("content-type", "application/json");
    hunt.answered(&call.body(cut).await.expect(400));

    let document = "mutation($input: LogInInput!) { logIn(input: $input) { accessToken userErrors { message } } }";
    for input in [
        json!({ "email": "ann@example.com", "password": [password] }),
        json!({ "email": "ann@example.com", "password": { "value": password } }),
        json!({ "email": 7, "password": password }),
        json!({ "email": "ann@example.com", "password": password, "extra": password }),
    ] {
        let body = json!({ "query": document, "variables": { "input": input } });
        hunt.answered(&management.post("/graphql").json(&body).await);
    }
    for literal in [
        format!(
            "mutation {{ logIn(input: {{ email: \"a\", password: \"{password}\" }}) {{ nothing }} }}"
        ),
        format!("mutation {{ logIn(input: {{ email: \"a\", password: \"{password}\" "),
        format!(
            "mutation {{ logIn(input: {{ email: \"a\", password: {{ a: \"{password}\" }} }}) {{ accessToken }} }}"
        ),
        format!(
            "mutation {{ logIn(input: {{ email: \"a\", password: \"{wrong}\" }}) {{ accessToken }} }}"
        ),
    ] {
        let body = json!({ "query": literal });
        hunt.answered(&management.post("/graphql").json(&body).await);
    }
    let token = hunt.made_up("a bearer token that is none");
    hunt.answered(&management.get("/v1/apis").bearer(&token).await.expect(401));
    let basic = hunt.made_up("a Basic credential");
    let call = management.get("/v1/apis").header("authorization", &format!("Basic {basic}"));
    hunt.answered(&call.await.expect(401));
    let in_query = hunt.made_up("a token in a query string");
    hunt.answered(&management.get(&format!("/v1/apis?access_token={in_query}")).await.expect(401));
    hunt.answered(&management.get(&format!("/v1/{in_query}")).await.expect(404));
    let forged = hunt.made_up("a forged operator link");
    let who = json!({ "token": forged, "email": "mallory@example.com", "password": password });
    hunt.answered(&management.post("/v1/operator/session").json(&who).await);
}

/// Keys of a tenant, and the links that open without one.
async fn keys(world: &World, acme: &Tenant<'_>, hunt: &mut Hunt) {
    let own = hunt.made_up("an API key's value of one's own");
    let call = || acme.rest("POST", "/v1/api-keys").header("idempotency-key", "a-key-of-its-own");
    let body = json!({ "name": "own", "value": own });
    call().json(&body).await.expect(201);
    // Whatever remembers the answer for a second try must not keep it in plain.
    let drawn = acme
        .rest("POST", "/v1/api-keys")
        .header("idempotency-key", "another-key-of-its-own")
        .json(&json!({ "name": "drawn" }))
        .await
        .expect(201);
    hunt.plant("an API key's value by REST", &text(&drawn.json()["value"]));
    let twice = acme.rest("POST", "/v1/api-keys").json(&json!({ "name": "twice", "value": own }));
    hunt.answered(&twice.await);
    let made = acme.rest("POST", "/v1/access-keys").json(&json!({ "name": "ci" }));
    let made = made.await.expect(201).json();
    hunt.plant("an access key's secret", &text(&made["secretAccessKey"]));
    let made = acme
        .mutate(
            "createAccessKey",
            "CreateAccessKeyInput!",
            json!({ "name": "cd" }),
            "secretAccessKey",
        )
        .await;
    hunt.plant("an access key's secret by GraphQL", &text(&made["secretAccessKey"]));

    secrets(acme, hunt).await;

    let made = acme.rest("POST", "/v1/downloads").json(&json!({ "month": month() }));
    let url: url::Url = text(&made.await.expect(201).json()["url"]).parse().unwrap();
    hunt.plant("a download's link", url.path().rsplit('/').next().unwrap());
    let file = world.management().get(url.path()).await.expect(200);
    hunt.answered(&file);
    hunt.answered(&world.management().get(url.path()).await.expect(404));

    let link: url::Url = world.run(&["operator-link"]).parse().unwrap();
    let (_, token) = link.query_pairs().find(|(name, _)| name == "token").unwrap();
    hunt.plant("an operator's link", &token);
    let who = json!({ "token": token, "email": "op@example.com", "password": PASSWORD });
    world.management().post("/v1/operator/session").json(&who).await.expect(201);
    hunt.plant("a join token", &world.run(&["join-token"]));
}

/// A tenant's secrets, by both doors, and in what they refuse.
async fn secrets(acme: &Tenant<'_>, hunt: &mut Hunt) {
    let text = hunt.made_up("a secret's text");
    let made = acme.rest("POST", "/v1/secrets").header("idempotency-key", "a-secret-of-its-own");
    let made = made.json(&json!({ "name": "text", "text": text })).await.expect(201);
    hunt.answered(&made);
    let path = format!("/v1/secrets/{}", harness::tenant::text(&made.json()["id"]));
    let rotated = hunt.made_up("a secret's next text");
    hunt.answered(&acme.rest("PATCH", &path).json(&json!({ "text": rotated })).await.expect(200));
    let credentials = |id: &str, secret: &str, token: &str| {
        let credentials =
            json!({ "accessKeyId": id, "secretAccessKey": secret, "sessionToken": token });
        json!({ "name": "aws", "awsCredentials": credentials })
    };
    let (id, secret, token) = (
        hunt.made_up("the id of an access key"),
        hunt.made_up("a secret access key"),
        hunt.made_up("a session's token"),
    );
    acme.mutate(
        "createSecret",
        "CreateSecretInput!",
        credentials(&id, &secret, &token),
        "secret { id }",
    )
    .await;
    for wrong in [
        credentials(&format!("{id}/"), &secret, &token),
        credentials(&id, &format!("{secret} "), &token),
        json!({ "name": "both", "text": text, "awsCredentials": { "accessKeyId": id, "secretAccessKey": secret } }),
        json!({ "name": "odd", "txt": text }),
        json!({ "name": "list", "text": [text] }),
    ] {
        hunt.answered(&acme.rest("POST", "/v1/secrets").json(&wrong).await.expect(400));
    }
    hunt.answered(
        &acme.rest("PATCH", &path).json(&credentials(&id, &secret, &token)).await.expect(400),
    );
}

/// Credentials that consumers send to backends, and those that a tenant writes into an integration.
async fn calls(acme: &Tenant<'_>, origin: &Origin, hunt: &mut Hunt) {
    let in_uri = hunt.made_up("a backend's password in a URI");
    let mut uri: url::Url = origin.url().parse().unwrap();
    uri.set_username("backend").unwrap();
    uri.set_password(Some(&in_uri)).unwrap();
    let integration = json!({ "type": "HTTP_PROXY", "uri": uri.as_str() });
    let api = acme.api("pets").await;
    let path = format!("/v1/apis/{}/integrations", api.api_id);
    hunt.answered(&acme.rest("POST", &path).json(&integration).await.expect(400));

    let api = api.get_route_with_key("/pets", origin).await;
    let api = api.route("GET", "/gone", false, "http://127.0.0.1:1/gone").await;
    let api = api.deploy("prod").await;
    let key = api.usage_plan("gold").throttle(1000.0, 1000).key().await;
    hunt.plant("an API key's value", &key.value);
    let (authorization, cookie, query, body) = (
        hunt.made_up("a call's Authorization"),
        hunt.made_up("a call's cookie"),
        hunt.made_up("a call's query string"),
        hunt.made_up("a call's body"),
    );
    let unknown = hunt.made_up("an unknown API key");
    let in_path = hunt.made_up("a path that no route has");
    let secretly = |call: harness::client::Call| {
        call.bearer(&authorization)
            .header("cookie", &format!("session={cookie}"))
            .body(body.clone())
    };
    secretly(api.get(&format!("/pets?token={query}")).key(&key.value)).await.expect(200);
    assert!(origin.received()[0].path.contains(&query), "the backend gets all of it");
    for (path, key, status) in [
        (format!("/pets?token={query}"), &unknown, 403),
        (format!("/gone?token={query}"), &key.value, 502),
        (format!("/{in_path}?token={query}"), &key.value, 403),
    ] {
        let answer = secretly(api.get(&path).key(key)).await;
        assert_eq!(answer.status() / 100, status / 100, "{path}: {}", answer.text());
        hunt.answered(&answer);
    }
    // What HTTP itself refuses.
    let long = format!("{query}{}", "a".repeat(70_000));
    let refused = secretly(api.get("/pets")).header("x-long", &long).try_send().await;
    if let Ok(answer) = refused {
        hunt.answered(&answer);
    }
}

/// What the command line says of settings that are wrong.
fn commands(world: &World, hunt: &mut Hunt) {
    let password = hunt.made_up("a database password");
    let url = |host: &str| format!("postgres://tollgate:{password}@{host}/none");
    for (arguments, variable, value) in [
        (vec!["check-config"], "DATABASE_URL", url("localhost")),
        (vec!["migrate"], "DATABASE_URL", url("127.0.0.1:1")),
        (vec!["migrate"], "DATABASE_URL", format!("postgres://tollgate:{password}@@/%%")),
        (vec!["check-config"], "REDIS_URL", format!("redis://:{password}@localhost:1")),
        (vec!["check-config"], "REDIS_URL", format!("redis://:{password}@@:x")),
        (vec!["check-config"], "TOLLGATE_JOIN_TOKEN", password.clone()),
    ] {
        let output = world.tollgate(&arguments).env(variable, value).output().unwrap();
        let place = format!("what tollgate {} says", arguments.join(" "));
        hunt.search(&place, &output.stdout);
        hunt.search(&place, &output.stderr);
    }
}

#[tokio::test]
async fn no_secret_is_anywhere_but_where_it_belongs() {
    // Takes whatever OpenTelemetry sends, and keeps it.
    let telemetry = Origin::start().await;
    let mut world = World::start_alone_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &telemetry.url()),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("TOLLGATE_LOG", "debug"),
    ])
    .await;
    let mut hunt = Hunt::default();
    hunt.plant("the database's password", stores::DATABASE_PASSWORD);
    let master = std::fs::read_to_string(world.directory().join("master.key")).unwrap();
    hunt.plant("the master key", master.trim());
    let origin = world.origin().await.replies(200, "hello");
    {
        let acme = world.tenant("acme").await;
        hunt.plant("the owner's password", PASSWORD);
        hunt.plant("the owner's access token", &acme.token);
        sessions(&world, &mut hunt).await;
        keys(&world, &acme, &mut hunt).await;
        calls(&acme, &origin, &mut hunt).await;
    }
    commands(&world, &mut hunt);

    for (place, client) in [
        ("the control plane's metrics", world.control_plane_admin()),
        ("the node's", world.node_admin()),
    ] {
        hunt.search(place, client.get("/metrics").await.expect(200).text().as_bytes());
    }
    hunt.search_database(&world).await;
    let dump = world.redis_dump().await;
    assert!(dump.len() > 100, "Redis holds something");
    hunt.search("Redis", &dump);
    eventually("spans of both planes", async || {
        let seen = |name: &str| {
            telemetry
                .received()
                .iter()
                .any(|batch| batch.body.windows(name.len()).any(|part| part == name.as_bytes()))
        };
        (seen("tollgate-node") && seen("tollgate-control-plane")).then_some(())
    })
    .await;
    // What they still had to tell goes out at the end, and what they were about to write lies on disk.
    world.stop_node().await;
    world.stop_control_plane().await;
    for batch in telemetry.received() {
        hunt.search(&format!("telemetry, {}", batch.path), &batch.body);
    }
    for answer in std::mem::take(&mut hunt.answers) {
        hunt.search("an answer", answer.as_bytes());
    }
    let (logs, disk) = (world.logs(), world.node_directory(0));
    assert!(hunt.search_files(&logs) >= 4, "the search sees the logs");
    let log = std::fs::read_to_string(logs.join("node0.log")).unwrap();
    assert!(log.contains("\"level\":\"DEBUG\""), "the node says all that it can");
    assert!(hunt.search_files(&disk) >= 3, "the search sees the node's disk");

    // The search finds what there is to find.
    let mut sure = Hunt::default();
    sure.plant("the endpoint", &origin.url());
    sure.plant("an address that is logged", &world.management_address().to_string());
    sure.search_database(&world).await;
    sure.search_files(&logs);
    assert!(sure.found.len() >= 2, "{:?}", sure.found);
    hunt.found.sort();
    hunt.found.dedup();
    assert!(hunt.found.is_empty(), "{} found:\n{}", hunt.found.len(), hunt.found.join("\n"));
}
