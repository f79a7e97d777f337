//! Schemathesis against a running installation: requests that it makes from the documents which the product gives
//! of itself, right and wrong ones. No server error, every answer as it is described, and what is wrong refused.

use super::cast;
use super::catalog::{Catalog, Door};
use super::fill::Ids;
use harness::World;
use harness::tenant::{PASSWORD, text};
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// Of each operation: seconds in all, or minutes where `tests/run --long` set `TESTS_LONG` (SEC-14).
const EXAMPLES: u32 = 6;
const EXAMPLES_LONG: u32 = 200;

fn is_long() -> bool {
    std::env::var_os("TESTS_LONG").is_some()
}

/// The same requests in each short run; others in each long one, and `FUZZ_SEED` repeats them.
fn seed() -> String {
    let drawn = || if is_long() { rand::random::<u32>().to_string() } else { "1".to_owned() };
    std::env::var("FUZZ_SEED").unwrap_or_else(|_| drawn())
}

/// What is asked of every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,negative_data_rejection,\
    unsupported_method,allow_header_conformance,missing_required_header,ignored_auth,use_after_free";

/// Runs the tool in a directory of its own; a failed test shows what it said.
async fn run(directory: &Path, token: Option<&str>, url: &str, arguments: &[&str]) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let packages = tests.parent().unwrap().join("var/tools/schemathesis");
    assert!(packages.is_dir(), "{} is missing; tests/run installs it", packages.display());
    let packages = std::env::join_paths([packages, tests.join("schemathesis")]).unwrap();
    let seed = seed();
    println!("FUZZ_SEED={seed}");
    let examples = if is_long() { EXAMPLES_LONG } else { EXAMPLES };
    let mut command = Command::new("python3");
    command.args(["-m", "schemathesis.cli", "run", url, "--seed", &seed]);
    if let Some(token) = token {
        command.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    command
        .args(["--max-examples", &examples.to_string(), "--continue-on-failure"])
        .args(["--suppress-health-check", "all", "--warnings", "off", "--no-color"])
        .args(arguments)
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // What it keeps between runs would make one depend on another.
        .current_dir(directory);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    let last = said.trim_end().lines().next_back().unwrap_or_default();
    // Of a part whose answers lead nowhere, like the audit log, to follow them is no run and a failure.
    let nowhere = is_long() && last.contains("No links for stateful testing");
    assert!(
        output.status.success() || nowhere,
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A directory with ids of things that there are, for the parameters of the paths.
fn settle(world: &World, catalog: &Catalog, name: &str, ids: &Ids) -> std::path::PathBuf {
    let directory = world.directory().join(name);
    std::fs::create_dir(&directory).unwrap();
    let mut known = BTreeSet::new();
    for operation in &catalog.operations {
        let Door::Rest { parameters, .. } = &operation.door else { continue };
        let names = parameters.iter().filter(|parameter| parameter["in"] == "path");
        known.extend(names.filter_map(|parameter| parameter["name"].as_str()));
    }
    let mut settings = "[parameters]\n".to_owned();
    for (name, id) in known.iter().filter_map(|name| Some((name, ids.of_parameter(name)?))) {
        writeln!(settings, "\"path.{name}\" = \"{id}\"").unwrap();
    }
    assert!(settings.lines().count() > 8, "{settings}");
    // To the tool's own list: a wrong `If-Match` may be refused before what else is wrong.
    settings.push_str(
        "[checks.negative_data_rejection]\n\
         expected-statuses = [400, 401, 403, 404, 405, 406, 409, 412, 415, 422, 428, 429, \"5xx\"]\n",
    );
    std::fs::write(directory.join("schemathesis.toml"), settings).unwrap();
    directory
}

/// What a party's owner is answered. Nothing that the party had at first goes before the last requests ask for it.
async fn try_rest(world: &World, catalog: &Catalog, name: &str, only: &[&str]) {
    let party = cast::party(world, catalog, name, "prod").await;
    let directory = settle(world, catalog, name, &party.ids);
    let url = format!("http://{}/v1/openapi.json", world.management_address());
    let management = world.management();
    let runs: [&[&str]; 3] = [
        &["--phases", "examples,coverage,fuzzing", "--exclude-method", "DELETE"],
        &["--phases", "examples,coverage,fuzzing", "--include-method", "DELETE"],
        &["--phases", "stateful"],
    ];
    for which in runs {
        // A session of its own: the one before, whose id is known, may be ended.
        let who = json!({ "email": party.tenant.email, "password": PASSWORD });
        // From elsewhere: the address of the tool, which has tried to log in a hundred times, has to wait.
        let log_in = management.post("/v1/login").header("x-forwarded-for", "198.51.100.7");
        let session = log_in.json(&who).await.expect(200).json();
        let token = text(&session["accessToken"]);
        run(&directory, Some(&token), &url, &[&["--checks", CHECKS], which, only].concat()).await;
        // Or most answers would have been the same.
        management.get("/v1/session").bearer(&token).await.expect(200);
    }
}

#[tokio::test]
async fn every_rest_answer_is_as_openapi_says() {
    let world = World::start_with(&[("TOLLGATE_TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let catalog = Catalog::of(&world).await;
    let document = world.management().get("/v1/openapi.json").await.expect(200).json();
    let operations = document["paths"].as_object().unwrap().values();
    let operations = operations.flat_map(|path| path.as_object().unwrap().values());
    let tags: BTreeSet<&str> =
        operations.map(|operation| operation["tags"][0].as_str().unwrap()).collect();
    assert!(tags.len() > 5, "{tags:?}");
    if is_long() {
        // An access token is good for minutes: each part has its own.
        for tag in tags {
            let name = format!("acme-{}", tag.replace(' ', "-"));
            try_rest(&world, &catalog, &name, &["--include-tag", tag]).await;
        }
    } else {
        try_rest(&world, &catalog, "acme", &[]).await;
    }
}

/// The operator, and nobody: what they are answered is described too.
#[tokio::test]
async fn every_rest_answer_to_others_is_as_openapi_says() {
    let world = World::start().await;
    let catalog = Catalog::of(&world).await;
    let acme = cast::party(&world, &catalog, "acme", "prod").await;
    let directory = settle(&world, &catalog, "acme", &acme.ids);
    let url = format!("http://{}/v1/openapi.json", world.management_address());
    let arguments = ["--checks", CHECKS, "--phases", "examples,coverage,fuzzing"];

    let operator = world.operator().await;
    let operators = [arguments.as_slice(), &["--include-tag", "operator"]].concat();
    run(&directory, Some(&operator.token), &url, &operators).await;
    // Of most operations nobody gets one answer only.
    let arguments = ["--checks", CHECKS, "--phases", "fuzzing"];
    run(&directory, None, &url, &arguments).await;
}

#[tokio::test]
async fn graphql_answers_whatever_fits_the_schema() {
    let world = World::start().await;
    let catalog = Catalog::of(&world).await;
    let acme = cast::party(&world, &catalog, "acme", "prod").await;
    let directory = settle(&world, &catalog, "acme", &acme.ids);
    let schema = directory.join("schema.graphql");
    std::fs::write(&schema, world.run(&["print-schema"])).unwrap();
    let url = format!("http://{}/graphql", world.management_address());
    let arguments = ["--url", &url, "--checks", "no_error_of_ours"];
    for token in [Some(acme.tenant.token.as_str()), None] {
        run(&directory, token, schema.to_str().unwrap(), &arguments).await;
    }
}
