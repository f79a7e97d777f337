//! The functions in `tests/functions`: the same app in three languages, each behind the adapter that people deploy it with.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{Shape, runtime_api};

/// A running function, and how its adapter differs from the others.
pub(super) struct Host {
    /// What takes its events.
    pub(super) uri: String,
    /// Of two fields of one name, `one` and `two`, those that the app is told.
    pub(super) many_told: ByFormat,
    /// Those of the app's two fields of one name that its adapter answers.
    pub(super) many_answered: ByFormat,
    /// Paths whose calls fail in the function, and not in the app.
    pub(super) failures: &'static [&'static str],
    _process: Child,
}

/// In payload format 1.0, and in 2.0.
pub(super) struct ByFormat([&'static [&'static str]; 2]);

const BOTH: &[&str] = &["one", "two"];

impl ByFormat {
    pub(super) fn by(&self, shape: Shape) -> &'static [&'static str] {
        self.0[usize::from(shape == Shape::V2)]
    }
}

fn tests() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn present(path: PathBuf, from: &str) -> PathBuf {
    assert!(path.exists(), "{} is missing; {from}", path.display());
    path
}

/// Starlette behind Mangum.
pub(super) async fn mangum() -> Host {
    let packages = tests().parent().unwrap().join("var/tools/functions");
    let mut python = Command::new("python3");
    python
        .arg(tests().join("functions/host.py"))
        .env("PYTHONPATH", present(packages, "tests/run installs it"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let (uri, process) = serving(python).await;
    Host {
        uri,
        many_told: ByFormat([BOTH, BOTH]),
        many_answered: ByFormat([BOTH, BOTH]),
        failures: &["/unhandled", "/nonsense"],
        _process: process,
    }
}

/// Express behind serverless-http.
pub(super) async fn serverless_http() -> Host {
    present(tests().join("functions/node_modules"), "tests/run installs it");
    let mut node = Command::new("node");
    node.arg(tests().join("functions/host.js"));
    let (uri, process) = serving(node).await;
    Host {
        uri,
        // It lets the event's `headers`, which have the last of a name, win over `multiValueHeaders`.
        many_told: ByFormat([&["two"], BOTH]),
        many_answered: ByFormat([BOTH, BOTH]),
        failures: &["/unhandled", "/nonsense"],
        _process: process,
    }
}

/// Credentials that Lambda's API knows, and where.
pub(super) const ACCESS_KEY_ID: &str = "AKIDEXAMPLE";
pub(super) const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub(super) const REGION: &str = "eu-west-1";

/// Lambda's Invoke API in front of a host, which checks signatures with botocore's own signer: where it is.
pub(super) async fn invoke_api(host: &Host) -> (String, Child) {
    let packages = tests().parent().unwrap().join("var/tools/functions");
    let mut python = Command::new("python3");
    python
        .arg(tests().join("functions/invoke.py"))
        .args([&*host.uri, ACCESS_KEY_ID, SECRET_ACCESS_KEY, REGION])
        .env("PYTHONPATH", present(packages, "tests/run installs it"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    serving(python).await
}

/// A server whose first line says its port.
async fn serving(mut command: Command) -> (String, Child) {
    let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut port = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).await.unwrap();
    let port: u16 = port.trim().parse().unwrap();
    (format!("http://127.0.0.1:{port}/"), process)
}

/// axum behind `lambda_http`, which polls for its events.
pub(super) async fn lambda_http() -> Host {
    let test = std::env::current_exe().unwrap();
    let beside = test.ancestors().nth(2).unwrap().join("examples/function");
    let address = runtime_api::serve().await;
    let process = Command::new(present(beside, "cargo build -p tests --examples makes it"))
        .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "pets")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        // The app's routes know no stage.
        .env("AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH", "true")
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    Host {
        uri: format!("http://{address}/2015-03-31/functions/function/invocations"),
        // As serverless-http, and of several in an answer 2.0 it writes the first into `headers`.
        many_told: ByFormat([&["two"], BOTH]),
        many_answered: ByFormat([BOTH, &["one"]]),
        failures: &["/unhandled"],
        _process: process,
    }
}
