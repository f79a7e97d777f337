//! A node's process is replaced by another, and its callers do not notice.

use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Command;
use std::time::{Duration, Instant};

use harness::kept::{Ask, KeptLoad, ways};
use harness::{Load, World, at_length, eventually};

/// How long a drain may take.
const DRAIN_MAX: Duration = Duration::from_secs(30);

async fn billed(world: &World) -> usize {
    let sum = "select coalesce(sum(billed_requests), 0)::bigint from usage_minute";
    let sum: i64 = sqlx::query_scalar(sum).fetch_one(&mut world.database().await).await.unwrap();
    usize::try_from(sum).unwrap()
}

#[tokio::test]
async fn nothing_fails_while_the_node_is_replaced_again_and_again() {
    let mut world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
    let (host, call) = (api.host(), api.get("/pets"));
    let ways = ways(&world);
    let pace = Duration::from_millis(10);
    let kept = KeptLoad::start(&ways, &Ask::get(&host, &["/prod/pets"]), pace);
    let fresh = Load::start(2, &[call], &[world.endpoint_address()]);
    let began = Instant::now();

    let (least, enough) = at_length((5, 1_000), (50, 100_000));
    let (mut times, mut slowest) = (0, Duration::ZERO);
    while times < least || kept.answered() < enough {
        let asked = Instant::now();
        world.replace_node().await;
        slowest = slowest.max(asked.elapsed());
        times += 1;
    }

    let (kept, fresh) = (kept.end().await, fresh.end().await);
    let answered = kept.answered() + fresh.answered.len();
    println!(
        "{times} replacements in {:.1?}, the slowest {slowest:.1?}: {answered} answered over {} connections, {} failed; p50 {:.1?}, p99 {:.1?}",
        began.elapsed(),
        kept.connections + fresh.answered.len(),
        kept.failed.len() + fresh.failed.len(),
        kept.per_mille(500),
        kept.per_mille(990),
    );
    assert!(kept.failed.is_empty(), "of {answered}: {:?}", kept.failed);
    assert!(fresh.failed.is_empty(), "of {answered}: {:?}", fresh.failed);
    assert!(kept.connections > ways.len() * times, "every process ended its connections");
    assert!(
        slowest <= DRAIN_MAX,
        "a process took {slowest:?} to take over and the one before it to drain"
    );
    // Each process ended only when all that it counted was in the ledger.
    world.stop_node().await;
    assert_eq!(billed(&world).await, answered);
}

#[tokio::test]
async fn a_process_that_cannot_take_over_leaves_the_node_as_it_was() {
    let world = World::start().await;
    let origin = world.origin().await.replies(200, "hello");
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
    api.get("/pets").await.expect(200);

    let mut command = world.node_command(0);
    command.arg("--take-over").env("TOLLGATE_NODE_TLS_CERTIFICATE_FILE", "/nowhere.pem");
    command.env("TOLLGATE_NODE_TLS_KEY_FILE", "/nowhere.pem");
    let mut failing = world.spawn("failing", command);
    eventually("the end of what cannot start", async || (!failing.runs()).then_some(())).await;
    assert!(failing.log().contains("/nowhere.pem"), "{}", failing.log());

    // It is served on, and what changes reaches the node.
    api.get("/pets").await.expect(200);
    let api = api.get_route("/more", &origin).await.deploy("prod").await;
    api.get("/more").await.expect(200);
}

#[tokio::test]
async fn a_node_that_is_told_to_stop_while_it_hands_over_is_not_taken_for_gone_before_it_has_ended()
{
    let mut world = World::start().await;
    let origin = world.origin().await.replies(200, "late but whole");
    origin.hold();
    let call = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
        api.get("/pets")
    };
    let in_progress = tokio::spawn(std::future::IntoFuture::into_future(call));
    origin.asked(1).await;

    // Whoever takes over seals what this node left in its journal, as soon as this connection has ended.
    let mut successor = UnixStream::connect(world.node_directory(0).join("handover.sock")).unwrap();
    assert!(successor.read(&mut [0; 4096]).unwrap() > 0, "it gave nothing over");
    let mut node = world.take_node();
    node.ask_to_end();
    let admin = world.node_admin();
    eventually("the drain", async || {
        let answer = admin.get("/readyz").try_send().await.ok()?;
        (answer.status() == 503).then_some(())
    })
    .await;
    successor.set_nonblocking(true).unwrap();
    let told = loop {
        match successor.read(&mut [0; 4096]) {
            Ok(bytes) if bytes > 0 => {}
            told => break told.map_err(|error| error.kind()),
        }
    };
    assert!(node.runs(), "the node ended with a request in progress");
    assert_eq!(told, Err(ErrorKind::WouldBlock), "it still counts the request in progress");

    origin.release();
    assert_eq!(in_progress.await.unwrap().expect(200).text(), "late but whole");
    node.ended().await;
    assert_eq!(successor.read(&mut [0; 4096]).unwrap(), 0);
    assert_eq!(billed(&world).await, 1);
}

/// Asks the node for its place and dies, with what the node is bound to its control plane by damaged meanwhile.
fn unbind(world: &World) {
    let certificate = world.node_directory(0).join("node.certificate");
    let mut successor = UnixStream::connect(world.node_directory(0).join("handover.sock")).unwrap();
    assert!(successor.read(&mut [0; 4096]).unwrap() > 0, "it gave nothing over");
    std::fs::rename(&certificate, certificate.with_extension("good")).unwrap();
    std::fs::write(&certificate, "damaged").unwrap();
}

fn bind_again(world: &World) {
    let certificate = world.node_directory(0).join("node.certificate");
    std::fs::rename(certificate.with_extension("good"), &certificate).unwrap();
}

#[tokio::test]
async fn a_node_that_was_not_replaced_and_has_lost_its_control_plane_serves_until_it_is_told_to_stop()
 {
    let mut world = World::start().await;
    let origin = world.origin().await.replies(200, "late but whole");
    let unbound = |world: &World, times: usize| {
        let log = std::fs::read_to_string(world.logs().join("node0.log")).unwrap();
        (log.matches("it serves on and tries again").count() >= times).then_some(())
    };
    let call = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
        api.get("/pets").await.expect(200);

        unbind(&world);
        eventually("the node without its control plane", async || unbound(&world, 2)).await;
        api.get("/pets").await.expect(200);
        bind_again(&world);
        // What changes reaches it, and what it counted the ledger.
        let api = api.get_route("/more", &origin).await.deploy("prod").await;
        api.get("/more").await.expect(200);
        acme.counted(3).await;
        api.get("/pets")
    };

    let before = std::fs::read_to_string(world.logs().join("node0.log")).unwrap();
    let before = before.matches("it serves on and tries again").count();
    unbind(&world);
    eventually("the node without its control plane", async || unbound(&world, before + 1)).await;
    origin.hold();
    let in_progress = tokio::spawn(std::future::IntoFuture::into_future(call));
    origin.asked(4).await;
    let node = world.take_node();
    node.ask_to_end();
    let admin = world.node_admin();
    eventually("the drain", async || {
        let answer = admin.get("/readyz").try_send().await.ok()?;
        (answer.status() == 503).then_some(())
    })
    .await;
    origin.release();
    assert_eq!(in_progress.await.unwrap().expect(200).text(), "late but whole");
    bind_again(&world);
    node.ended().await;
    // Nobody but the process that ended may have brought it there: no other was started.
    assert_eq!(billed(&world).await, 4);
}

/// The command that runs with these sockets as systemd gives them.
fn activated(command: &Command, sockets: &[(&str, &OwnedFd)]) -> Command {
    let redirects: Vec<_> = sockets
        .iter()
        .zip(3..)
        .map(|((_, socket), number)| format!("{number}<&{}", socket.as_raw_fd()))
        .collect();
    // From high numbers to low ones: the sockets' own numbers are among the low.
    let script = format!("export LISTEN_PID=$$; exec \"$@\" {}", redirects.join(" "));
    let names: Vec<_> = sockets.iter().map(|(name, _)| *name).collect();
    let mut activated = Command::new("bash");
    activated.args(["-c", &script, "bash"]).arg(command.get_program()).args(command.get_args());
    activated.env_clear().current_dir("/");
    activated.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    activated.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
    activated
}

/// The next process that says it is ready.
fn ready(notices: &UnixDatagram) -> u32 {
    loop {
        let mut notice = [0; 256];
        let bytes = notices.recv(&mut notice).unwrap();
        let notice = String::from_utf8_lossy(&notice[..bytes]);
        if let Some(process) = notice.strip_prefix("READY=1\nMAINPID=") {
            return process.parse().unwrap();
        }
        assert_eq!(notice, "STOPPING=1");
    }
}

fn ends(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

/// Ends a process that is not our child.
struct Ended(u32);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.to_string()).status();
    }
}

#[tokio::test]
async fn under_systemd_callers_wait_while_no_node_runs_and_a_reload_replaces_it() {
    let mut world = World::new(&[]).await;
    world.start_control_plane().await;
    // With room beside them, so that none has a number that a unit's socket gets.
    let beside: Vec<_> = (0..16).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    let addresses = world.listeners();
    let listen = |address| {
        let listener = TcpListener::bind(address).unwrap();
        rustix::io::dup(&listener).unwrap() // open in the child too
    };
    let admin = *addresses.last().unwrap();
    let (http, https, admin) =
        (listen(world.endpoint_address()), listen(world.tls_endpoint_address()), listen(admin));
    drop(beside);
    let sockets = [("http", &http), ("https", &https), ("admin", &admin)];
    let at = world.node_directory(0).with_file_name("notify");
    let notices = UnixDatagram::bind(&at).unwrap();
    notices.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let command = |world: &World| {
        let mut command = activated(&world.node_command(0), &sockets);
        command.env("NOTIFY_SOCKET", &at);
        command
    };

    let first = command(&world);
    world.run_node(0, first).await;
    assert_eq!(ready(&notices), world.node().unwrap().id());
    let origin = world.origin().await.replies(200, "hello");
    let call = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
        api.get("/pets")
    };
    call.clone().await.expect(200);

    world.stop_node().await;
    let waiting = tokio::spawn(std::future::IntoFuture::into_future(call.clone()));
    let second = command(&world);
    world.run_node(0, second).await;
    assert_eq!(waiting.await.unwrap().expect(200).text(), "hello");
    assert_eq!(ready(&notices), world.node().unwrap().id());

    let before = world.take_node();
    let reload = Command::new("kill").args(["-USR2", &before.id().to_string()]).status().unwrap();
    assert!(reload.success());
    let after = Ended(ready(&notices));
    assert_ne!(after.0, before.id());
    before.ended().await;
    call.await.expect(200);
    Command::new("kill").arg(after.0.to_string()).status().unwrap();
    eventually("the end of the process after it", async || ends(after.0).then_some(())).await;
    assert_eq!(billed(&world).await, 3);
}
