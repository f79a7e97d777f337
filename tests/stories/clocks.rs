//! Clocks that jump an hour, a node's and a control plane's: nothing is let through that should not be, nobody is shut
//! out for good, and what was counted is in the minutes that the node's clock said.

use std::time::{Duration, Instant};

use harness::clock::Clock;
use harness::tenant::{PASSWORD, text};
use harness::{Origin, Tenant, World, eventually};
use serde_json::json;

const RATE: f64 = 5.0;
const BURST: u32 = 5;
const JUMPS: [&str; 3] = ["+1h", "-1h", "+0"];

/// A world whose node and control plane see clocks of their own.
async fn world(node: &Clock, control_plane: &Clock) -> World {
    let settings = control_plane.settings();
    let settings: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut world = World::new(&settings).await;
    world.start_control_plane().await;
    let mut command = world.node_command(0);
    command.envs(node.settings());
    world.run_node(0, command).await;
    world
}

/// A directory for the clocks, which are there before the world is.
struct Home(std::path::PathBuf);

impl Home {
    fn new() -> Self {
        let name = hex::encode(rand::random::<[u8; 4]>());
        let path = std::env::temp_dir().join(format!("tollgate-clocks-{name}"));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Calls for a second, over the jump in its middle, and until they are more than may pass, however slowly a busy machine
/// makes them; how many were let through, of how many.
async fn flood(call: &harness::client::Call, jump: impl FnOnce()) -> (u32, u32) {
    let started = Instant::now();
    let mut jump = Some(jump);
    let (mut admitted, mut made) = (0, 0);
    let most = |made_in: Duration| RATE * made_in.as_secs_f64() + f64::from(BURST);
    while started.elapsed() < Duration::from_secs(1)
        || jump.is_some()
        || f64::from(made) <= most(started.elapsed())
    {
        if started.elapsed() > Duration::from_millis(400)
            && let Some(jump) = jump.take()
        {
            jump();
        }
        let status = call.clone().await.status();
        assert!(matches!(status, 200 | 429), "{status}");
        made += 1;
        admitted += u32::from(status == 200);
    }
    let most = most(started.elapsed());
    assert!(f64::from(admitted) <= most, "{admitted} of at most {most}");
    assert!(admitted < made, "all of {made} calls were let through");
    assert!(f64::from(admitted) >= RATE * 0.5, "{admitted} of {made}: shut out");
    (admitted, made)
}

#[tokio::test]
async fn a_node_whose_clock_jumps_admits_what_it_should_and_bills_each_call_once() {
    let home = Home::new();
    let clocks = [Clock::new(&home.0, "node"), Clock::new(&home.0, "control-plane")];
    let mut world = world(&clocks[0], &clocks[1]).await;
    let origin = world.origin().await.replies(200, "hello");
    let (mut admitted, mut made) = (0, 0);
    let call = {
        let acme = world.tenant("acme").await;
        let mut api = acme.api("pets").await.get_route_with_key("/pets", &origin).await;
        api = api.deploy("prod").await;
        let key = api.usage_plan("gold").throttle(RATE, BURST).key().await;
        let call = api.get("/pets").key(&key.value);
        for (number, jump) in JUMPS.into_iter().enumerate() {
            let (more, of) = flood(&call, || clocks[0].jump(jump)).await;
            (admitted, made) = (admitted + more, made + of);
            // The stream stands: a change comes as ever.
            let path = format!("/new{number}");
            api = api.get_route(&path, &origin).await.deploy("prod").await;
            api.get(&path).await.expect(200);
            (admitted, made) = (admitted + 1, made + 1);
        }
        call
    };
    // The same by the node's own share of the limits, which no other clock keeps.
    world.kill_redis();
    let mut quick = 0;
    eventually("calls that no thread lets wait for Redis", async || {
        let asked = Instant::now();
        let status = call.clone().await.status();
        (admitted, made) = (admitted + u32::from(status == 200), made + 1);
        quick = if asked.elapsed() < Duration::from_millis(500) { quick + 1 } else { 0 };
        (quick >= 30).then_some(())
    })
    .await;
    for jump in JUMPS {
        let (more, of) = flood(&call, || clocks[0].jump(jump)).await;
        (admitted, made) = (admitted + more, made + of);
    }

    // Each call is in the ledger once, in a minute that the node's clock showed.
    let mut database = world.database().await;
    let sums =
        "select coalesce(sum(requests), 0)::bigint, coalesce(sum(billed_requests), 0)::bigint
                from usage_minute";
    eventually("all calls in the ledger", async || {
        let (requests, billed): (i64, i64) =
            sqlx::query_as(sums).fetch_one(&mut database).await.unwrap();
        assert!(
            requests <= i64::from(made) && billed <= i64::from(admitted),
            "{requests} {billed}"
        );
        (requests == i64::from(made) && billed == i64::from(admitted)).then_some(())
    })
    .await;
    let offsets = "select distinct round(extract(epoch from now() - minute) / 3600)::int
                   from usage_minute order by 1";
    let offsets: Vec<i32> = sqlx::query_scalar(offsets).fetch_all(&mut database).await.unwrap();
    assert_eq!(offsets, [-1, 0, 1], "hours before now");
    let aside = "select count(*) from usage_quarantine";
    let aside: i64 = sqlx::query_scalar(aside).fetch_one(&mut database).await.unwrap();
    assert_eq!(aside, 0, "segments set aside");
    no_panic(&world);
}

#[tokio::test]
async fn a_control_plane_whose_clock_jumps_shuts_nobody_out_and_forgets_no_log_out() {
    let home = Home::new();
    let clocks = [Clock::new(&home.0, "node"), Clock::new(&home.0, "control-plane")];
    let mut world = world(&clocks[0], &clocks[1]).await;
    let origin = world.origin().await.replies(200, "hello");
    let (mut token, api_id, client) = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
        (acme.token.clone(), api.id.clone(), api.client())
    };
    let mut number = 0;
    for jump in JUMPS {
        clocks[1].jump(jump);
        // A token lives for minutes: it may have ended with the hour, and that is what is said. Who logs in is in.
        let answer = world.management().get("/v1/session").bearer(&token).await;
        if jump == "-1h" {
            answer.expect(200);
        } else {
            let problem = answer.expect(401).json();
            assert_eq!(problem["detail"], "the access token has expired", "{problem}");
        }
        let ended = log_in(&world).await;
        end_session(&world, &ended).await;
        eventually("the end of a session", async || {
            let answer = world.management().get("/v1/session").bearer(&ended).await;
            (answer.status() == 401).then_some(())
        })
        .await;

        // The stream stands, and comes again where it was lost: certificates are good for clocks that differ.
        for _ in 0..2 {
            token = log_in(&world).await;
            number += 1;
            let path = format!("/new{number}");
            deploy(&world, &token, &api_id, &path, &origin).await;
            let call = client.get(&format!("/prod{path}"));
            eventually("a change", async || (call.clone().await.status() == 200).then_some(()))
                .await;
            world.kill_control_plane();
            client.get("/prod/pets").await.expect(200);
            world.start_control_plane().await;
            let still = world.management().get("/v1/session").bearer(&ended).await;
            assert_eq!(still.status(), 401, "a session that was ended, after a restart");
        }
    }
    no_panic(&world);
}

async fn log_in(world: &World) -> String {
    let who = json!({ "email": "acme@example.com", "password": PASSWORD });
    let answer = world.management().post("/v1/login").json(&who).await.expect(200).json();
    text(&answer["accessToken"])
}

/// Ends the session of this token.
async fn end_session(world: &World, token: &str) {
    let sessions = world.management().get("/v1/sessions").bearer(token).await.expect(200).json();
    let sessions = sessions["items"].as_array().unwrap();
    let mine = sessions.iter().find(|session| session["current"] == true).unwrap();
    let path = format!("/v1/sessions/{}", text(&mine["id"]));
    let answer = world.management().call("DELETE", &path).bearer(token).await;
    assert_eq!(answer.status() / 100, 2, "{}", answer.text());
}

async fn deploy(world: &World, token: &str, api_id: &str, path: &str, origin: &Origin) {
    let (id, email) = (String::new(), "acme@example.com".to_owned());
    let acme = Tenant { world, id, email, token: token.to_owned() };
    let integration =
        json!({ "type": "HTTP_PROXY", "uri": format!("{}{path}", origin.url()), "method": "ANY" });
    let route =
        json!({ "apiId": api_id, "method": "GET", "path": path, "integration": integration });
    acme.mutate("createRoute", "CreateRouteInput!", route, "route { id }").await;
    let input = json!({ "apiId": api_id, "stage": "prod" });
    acme.mutate("createDeployment", "CreateDeploymentInput!", input, "deployment { id }").await;
}

fn no_panic(world: &World) {
    for name in ["node0.log", "control-plane0.log"] {
        let log = std::fs::read_to_string(world.logs().join(name)).unwrap();
        assert!(!log.contains("panicked"), "{name}: {log}");
    }
}
