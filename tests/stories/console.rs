//! The console in a real browser: web/e2e, each page by role and label, over a world of its own.

use harness::World;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

/// A script of web/package.json, with its arguments, which has to pass.
async fn passes(world: &World, script: &[&str], more: &[(&str, String)]) {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("web");
    assert!(
        web.join("node_modules").exists(),
        "web/node_modules is missing; tests/run installs it"
    );
    let mut command = Command::new("npm");
    command.args(["run", "--silent"]).args(script).current_dir(web).stdin(Stdio::null());
    command.env("TOLLGATE_URL", format!("http://{}", world.management_address()));
    command.env("TOLLGATE_OPERATOR_LINK", world.run(&["operator-link"]));
    command.envs(more.iter().map(|(name, value)| (name, value)));
    // On a thread of its own, so that nothing here waits for it.
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let (said, failed) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{failed}");
}

/// A third of the files.
async fn works(shard: &str) {
    let mut world = World::start().await;
    // For the operator's pages: one that is settled, one that a test settles, and more than these.
    world.send_lost_usage(3).await;
    passes(&world, &["e2e", "--", shard], &[]).await;
}

#[tokio::test]
async fn the_console_works_in_a_browser_first_third() {
    works("--shard=1/3").await;
}

#[tokio::test]
async fn the_console_works_in_a_browser_second_third() {
    works("--shard=2/3").await;
}

#[tokio::test]
async fn the_console_works_in_a_browser_last_third() {
    works("--shard=3/3").await;
}

#[tokio::test]
async fn the_console_leads_on_from_letters() {
    // The browser tests are the mail server: they read the letters.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("smtp://127.0.0.1:{port}");
    let from = "Tollgate <gate@example.com>";
    let settings = [("TOLLGATE_SMTP_URL", url.as_str()), ("TOLLGATE_MAIL_FROM", from)];
    let world = World::start_with(&settings).await;
    passes(&world, &["e2e:letters"], &[("TOLLGATE_MAIL_PORT", port.to_string())]).await;
}
