//! The console in a real browser: web/e2e, each page by role and label, over a world of its own.

use harness::World;
use std::path::Path;
use std::process::{Command, Stdio};

#[tokio::test]
async fn the_console_works_in_a_browser() {
    let world = World::start().await;
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("web");
    assert!(
        web.join("node_modules").exists(),
        "web/node_modules is missing; tests/run installs it"
    );
    let mut command = Command::new("npm");
    command.args(["run", "--silent", "e2e"]).current_dir(web).stdin(Stdio::null());
    command.env("TOLLGATE_URL", format!("http://{}", world.management_address()));
    command.env("TOLLGATE_OPERATOR_LINK", world.run(&["operator-link"]));
    // On a thread of its own, so that nothing here waits for it.
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (said, failed) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{failed}");
}
