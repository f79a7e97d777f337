//! What becomes of the truth when its server dies: a standby takes over, or a backup.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use harness::client::Call;
use harness::{Load, Origin, World, at_length, eventually, within};
use serde_json::json;

const WRITERS: usize = 8;
/// From the promotion to a change that is taken [REL-13].
const WRITABLE_WITHIN: Duration = Duration::from_secs(10);
/// A try that died is given up after 35 s; until then its key is in use.
const TOLD_WITHIN: Duration = Duration::from_mins(1);
/// From the loss of the server to nodes that hold what the backup holds [REL-15].
const RESTORED_WITHIN: Duration = Duration::from_mins(15);
/// `archive_timeout`. What is lost is at most twice as old: five minutes where it is a minute, with room to spare.
const ARCHIVED_WITHIN: Duration = Duration::from_secs(5);

/// A change under a key of its own: a second one would be told that the name is taken.
fn make(consumers: &Call, name: &str) -> Call {
    consumers.clone().header("idempotency-key", name).json(&json!({ "name": name }))
}

#[tokio::test]
async fn a_standby_takes_over_without_the_loss_of_an_acknowledged_change() {
    let mut world = World::start_alone().await;
    world.add_standby().await;
    let origin = world.origin().await.replies(200, "hello");
    let (call, consumers) = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
        let call = api.get("/pets");
        call.clone().await.expect(200);
        (call, acme.rest("POST", "/v1/consumers"))
    };
    let load = Load::start(2, &[call], &[world.endpoint_address()]);

    let acknowledged = Arc::<Mutex<BTreeSet<String>>>::default();
    let stop = Arc::<AtomicBool>::default();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (consumers, acknowledged, stop) =
                (consumers.clone(), acknowledged.clone(), stop.clone());
            tokio::spawn(async move {
                let mut refused = Vec::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let name = format!("c{writer}-{number}");
                    let answer = make(&consumers, &name).try_send().await;
                    if answer.is_ok_and(|answer| answer.status() == 201) {
                        acknowledged.lock().unwrap().insert(name);
                    } else {
                        refused.push(name);
                    }
                }
                refused
            })
        })
        .collect();
    let written = || acknowledged.lock().unwrap().len();
    eventually("changes before the crash", async || (written() >= 100).then_some(())).await;

    world.kill_database();
    let before = written();
    let promoted = Instant::now();
    world.promote_standby();
    within(WRITABLE_WITHIN, "an acknowledged change after the promotion", async || {
        (written() > before).then_some(())
    })
    .await;
    let writable = promoted.elapsed();
    eventually("changes after the crash", async || (written() >= before + 100).then_some(())).await;
    stop.store(true, Ordering::Relaxed);
    let mut refused = 0;
    for writer in writers {
        // The first was on its way when the server died: nobody knows how it ended, and the same key tells.
        let names = writer.await.unwrap();
        refused += names.len();
        let Some(name) = names.into_iter().next() else { continue };
        within(TOLD_WITHIN, "an answer to a try under the same key", async || {
            let answer = make(&consumers, &name).try_send().await.ok()?;
            if answer.status() == 201 {
                return Some(());
            }
            match answer.json()["code"].as_str() {
                Some("idempotency_key_in_use") => None,
                Some("idempotency_answer_lost") => Some(()), // and the change is made
                _ => panic!("{}", answer.text()),
            }
        })
        .await;
        acknowledged.lock().unwrap().insert(name);
    }

    let mut database = world.database().await;
    let kept: Vec<String> =
        sqlx::query_scalar("select name from consumer").fetch_all(&mut database).await.unwrap();
    let kept: BTreeSet<String> = kept.into_iter().collect();
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    let lost: Vec<_> = acknowledged.difference(&kept).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), acknowledged.len());
    let seen = load.end().await;
    assert!(seen.failed.is_empty(), "of {} calls: {:?}", seen.answered.len(), seen.failed);
    println!(
        "{} changes acknowledged, none lost; {refused} refused; writable {writable:.1?} after the promotion; \
         {} calls answered meanwhile, none failed",
        acknowledged.len(),
        seen.answered.len(),
    );
}

/// What the ledger bills a tenant.
async fn billed(world: &World, tenant: &str) -> i64 {
    let sum = "select coalesce(sum(billed_requests), 0)::bigint from usage_minute u
               join tenant t on t.id = u.tenant_id where t.name = $1";
    sqlx::query_scalar(sum).bind(tenant).fetch_one(&mut world.database().await).await.unwrap()
}

/// Every call is billed once: those from before the loss, those that the restored database lacked, those after.
async fn each_billed_once(world: &World, tenant: &str, calls: usize) {
    let calls = i64::try_from(calls).unwrap();
    let sum = eventually("every answered call in the ledger", async || {
        let sum = billed(world, tenant).await;
        (sum >= calls).then_some(sum)
    })
    .await;
    assert_eq!(sum, calls);
}

async fn version(world: &World) -> i64 {
    let version = "select version from cell where id = 'default'";
    sqlx::query_scalar(version).fetch_one(&mut world.database().await).await.unwrap()
}

/// Calls each once, at a node, a few at a time. All must be answered with 200.
async fn call_all(world: &World, node: usize, calls: Vec<Call>) {
    let address = world.endpoint_address_at(node);
    futures_util::stream::iter(calls)
        .for_each_concurrent(8, async |call| {
            call.at(address).await.expect(200);
        })
        .await;
}

/// What is made after a restore is served like anything else.
async fn changes_reach_both_nodes(world: &World, origin: &Origin) {
    let third = world.tenant("third").await;
    let api = third.api("new").await.get_route("/new", origin).await.deploy("prod").await;
    for node in 0..2 {
        call_all(world, node, vec![api.get("/new")]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_restored_while_nodes_serve_and_they_fill_in_what_it_misses() {
    let many = at_length(200, 10_000);
    let mut world = World::start_many(1, 2).await;
    let origin = world.origin().await.replies(200, "hello");
    let (early, copies) = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
        let ids = acme.copies(&api, many, RESTORED_WITHIN).await;
        let client = |id| world.endpoint().host(&api.host().replace(&api.api_id, id));
        let copies: Vec<_> = ids.iter().map(|id| client(id).get("/prod/pets")).collect();
        (api.get("/pets"), copies)
    };
    early.clone().await.expect(200);
    let mut called = vec![early];
    called.extend(copies.iter().step_by(many / 20).cloned());
    let nodes = [0, 1].map(|node| world.endpoint_address_at(node));
    let load = Load::start(2, &called, &nodes);
    let began = Instant::now();
    let backup = world.back_up();
    let backed_up = began.elapsed();

    // What the backup misses: a tenant's change, and usage that the ledger had acknowledged.
    let late = {
        let other = world.tenant("other").await;
        let api = other.api("late").await.get_route("/late", &origin).await.deploy("prod").await;
        api.get("/late")
    };
    late.clone().await.expect(200);
    eventually("usage in the ledger that is lost", async || {
        (billed(&world, "acme").await > 100).then_some(())
    })
    .await;
    let lost = version(&world).await;

    world.stop_control_plane().await;
    world.kill_database();
    let began = Instant::now();
    let before = load.answered();
    world.restore(&backup).await;
    let filled = began.elapsed();
    let held = version(&world).await;
    assert!(held < lost, "the backup is older: {held} of {lost}");
    world.start_control_plane().await;

    // The nodes were further; now they hold what the backup holds, and what is changed from now on.
    world.settled_within(RESTORED_WITHIN).await;
    let restored = began.elapsed();
    let meanwhile = load.answered() - before;
    assert!(restored <= RESTORED_WITHIN, "{restored:?}");
    assert!(meanwhile > 0, "nodes serve while there is no database");
    for node in nodes {
        assert_eq!(late.clone().at(node).await.status(), 404, "what the backup misses is gone");
    }
    let now = version(&world).await;
    assert!(now > lost, "versions never go back: {now} after {lost}");
    let kept = "select count(*) from api a
                join route r on r.api_id = a.id join integration i on i.id = r.integration_id
                join stage s on s.api_id = a.id join deployment d on d.id = s.deployment_id";
    let kept: i64 = sqlx::query_scalar(kept).fetch_one(&mut world.database().await).await.unwrap();
    assert_eq!(usize::try_from(kept).unwrap(), many + 1);
    changes_reach_both_nodes(&world, &origin).await;
    let seen = load.end().await;
    assert!(seen.failed.is_empty(), "of {} calls: {:?}", seen.answered.len(), seen.failed);

    // A node that knows nothing gets all of it.
    world.stop_node_at(1).await;
    std::fs::remove_dir_all(world.node_directory(1)).unwrap();
    world.start_node_at(1).await;
    world.settled_within(RESTORED_WITHIN).await;
    call_all(&world, 1, copies).await;
    let calls = seen.answered.len() + 1 + many;
    each_billed_once(&world, "acme", calls).await;
    println!(
        "{} APIs: backed up in {backed_up:.1?}; a new server filled {filled:.1?} after the loss, nodes in step with it \
         after {restored:.1?}; {meanwhile} calls meanwhile, none failed; {calls} in all, each billed once",
        many + 1,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_server_is_recovered_from_its_archive_but_for_the_last_moments() {
    let mut world = World::start_archived(2, ARCHIVED_WITHIN.as_secs()).await;
    let origin = world.origin().await.replies(200, "hello");
    let early = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
        api.get("/pets")
    };
    early.clone().await.expect(200);
    let nodes = [0, 1].map(|node| world.endpoint_address_at(node));
    let load = Load::start(2, &[early], &nodes);
    world.back_up_server();

    // What only the archive has: an API, its plan, and keys, one after the other until the server is lost.
    let (call, keys, plan) = {
        let late = world.tenant("late").await;
        let api = late.api("late").await.get_route_with_key("/late", &origin).await;
        let api = api.deploy("prod").await;
        api.usage_plan("gold").key().await;
        let plan: String = sqlx::query_scalar("select id from usage_plan")
            .fetch_one(&mut world.database().await)
            .await
            .unwrap();
        (api.get("/late"), late.rest("POST", "/v1/api-keys"), plan)
    };
    let acknowledged = Arc::<Mutex<Vec<(String, Instant)>>>::default();
    let writer = tokio::spawn({
        let acknowledged = acknowledged.clone();
        async move {
            for number in 0.. {
                let key = json!({ "name": format!("k{number}"), "usagePlanIds": [plan] });
                let answer = keys.clone().json(&key).try_send().await;
                let Some(answer) = answer.ok().filter(|answer| answer.status() == 201) else {
                    return;
                };
                let value = answer.json()["value"].as_str().unwrap().to_owned();
                acknowledged.lock().unwrap().push((value, Instant::now()));
            }
        }
    });
    let written = || acknowledged.lock().unwrap().len();
    eventually("keys", async || (written() >= 10).then_some(())).await;
    let before = world.archived().await;
    let archived = eventually("a file of the log in the archive", async || {
        world.archived().await.filter(|archived| Some(*archived) != before)
    })
    .await;
    // The worst moment is the one before the next file is due.
    eventually("nearly the next file", async || {
        let age = jiff::Timestamp::now().duration_since(archived);
        (age.as_secs_f64() >= ARCHIVED_WITHIN.as_secs_f64() * 0.8).then_some(())
    })
    .await;
    let lost_version = version(&world).await;
    world.lose_database();
    let killed = Instant::now();
    writer.await.unwrap();
    let before = load.answered();

    // The control plane runs on through it, and has nodes send again what the ledger lacks.
    world.recover().await;
    let recovered = killed.elapsed();
    eventually("versions that go on", async || {
        (version(&world).await > lost_version).then_some(())
    })
    .await;
    world.settled().await;
    let restored = killed.elapsed();
    let meanwhile = load.answered() - before;
    assert!(meanwhile > 0, "nodes serve while there is no database");

    let kept: i64 = sqlx::query_scalar("select count(*) from api_key where name like 'k%'")
        .fetch_one(&mut world.database().await)
        .await
        .unwrap();
    let kept = usize::try_from(kept).unwrap();
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    assert!((10..acknowledged.len()).contains(&kept), "{kept} of {}", acknowledged.len());
    let (_, oldest) = &acknowledged[kept];
    let lost = killed.duration_since(*oldest);
    assert!(lost <= ARCHIVED_WITHIN * 2, "acknowledged {lost:?} before the loss, and lost");
    // Keys were made in order: the archive has the first of them, without a hole, and nodes hold these and no other.
    for (number, (value, _)) in acknowledged.iter().enumerate() {
        let status = if number < kept { 200 } else { 403 };
        for node in nodes {
            let answer = call.clone().key(value).at(node).await;
            assert_eq!(answer.status(), status, "key {number} of {kept}");
        }
    }
    changes_reach_both_nodes(&world, &origin).await;
    let seen = load.end().await;
    assert!(seen.failed.is_empty(), "of {} calls: {:?}", seen.answered.len(), seen.failed);
    each_billed_once(&world, "acme", seen.answered.len() + 1).await;
    println!(
        "archived every {ARCHIVED_WITHIN:?}: of {} acknowledged changes the last {} were lost, the oldest of them \
         {lost:.1?} before the loss; recovered after {recovered:.1?}, nodes in step after {restored:.1?}; {meanwhile} \
         calls meanwhile, none failed; {} in all, each billed once",
        acknowledged.len(),
        acknowledged.len() - kept,
        seen.answered.len() + 1,
    );
}
