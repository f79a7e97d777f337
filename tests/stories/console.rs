//! The console in a real browser: web/e2e, each page by role and label, over a world of its own.

use harness::World;
use std::path::Path;
use std::process::{Command, Stdio};

#[tokio::test]
async fn the_console_works_in_a_browser() {
    let world = World::start().await;
    let origin = world.origin().await.replies(200, "hello from the origin");
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("web");
    assert!(
        web.join("node_modules").exists(),
        "web/node_modules is missing; tests/run installs it"
    );
    let mut command = Command::new("npm");
    command.args(["run", "--silent", "e2e"]).current_dir(web).stdin(Stdio::null());
    command.env("TOLLGATE_URL", format!("http://{}", world.management_address()));
    command.env("TOLLGATE_ORIGIN_URL", origin.url());
    command.env("TOLLGATE_OPERATOR_LINK", world.run(&["operator-link"]));
    // On a thread of its own: the origin must go on answering on this one.
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (said, failed) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{failed}");
}
