//! What becomes of the truth when its server dies: a standby takes over, or a backup.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use harness::client::Call;
use harness::{Load, World, eventually, within};
use serde_json::json;

const WRITERS: usize = 8;
/// From the promotion to a change that is taken [REL-13].
const WRITABLE_WITHIN: Duration = Duration::from_secs(10);
/// A try that died is given up after 35 s; until then its key is in use.
const TOLD_WITHIN: Duration = Duration::from_mins(1);

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

#[tokio::test]
async fn a_backup_is_restored_while_nodes_serve_and_they_fill_in_what_it_misses() {
    let mut world = World::start_alone().await;
    let origin = world.origin().await.replies(200, "hello");
    let early = {
        let acme = world.tenant("acme").await;
        let api = acme.api("pets").await.get_route("/pets", &origin).await.deploy("prod").await;
        api.get("/pets")
    };
    early.clone().await.expect(200);
    let load = Load::start(2, std::slice::from_ref(&early), &[world.endpoint_address()]);
    let backup = world.back_up();

    // What the backup misses: a tenant's change, and usage that the ledger had acknowledged.
    let late = {
        let other = world.tenant("other").await;
        let api = other.api("late").await.get_route("/late", &origin).await.deploy("prod").await;
        api.get("/late")
    };
    late.clone().await.expect(200);
    let billed = "select coalesce(sum(billed_requests), 0)::bigint from usage_minute u
                  join tenant t on t.id = u.tenant_id where t.name = 'acme'";
    let mut database = world.database().await;
    eventually("usage in the ledger that is lost", async || {
        let sum: i64 = sqlx::query_scalar(billed).fetch_one(&mut database).await.ok()?;
        (sum > 100).then_some(())
    })
    .await;
    drop(database);
    let version = "select version from cell where id = 'default'";
    let lost: i64 =
        sqlx::query_scalar(version).fetch_one(&mut world.database().await).await.unwrap();

    world.stop_control_plane().await;
    world.kill_database();
    let began = Instant::now();
    world.restore(&backup).await;
    let held: i64 =
        sqlx::query_scalar(version).fetch_one(&mut world.database().await).await.unwrap();
    assert!(held < lost, "the backup is older: {held} of {lost}");
    world.start_control_plane().await;

    // The node was further; now it holds what the backup holds, and what is changed from now on.
    world.settled().await;
    let restored = began.elapsed();
    assert_eq!(late.clone().await.status(), 404, "what the backup misses is gone");
    let version: i64 =
        sqlx::query_scalar(version).fetch_one(&mut world.database().await).await.unwrap();
    assert!(version > lost, "versions never go back: {version} after {lost}");
    {
        let third = world.tenant("third").await;
        let api = third.api("new").await.get_route("/new", &origin).await.deploy("prod").await;
        api.get("/new").await.expect(200);
    }
    let seen = load.end().await;
    assert!(seen.failed.is_empty(), "of {} calls: {:?}", seen.answered.len(), seen.failed);

    // Every call is billed once: those from before the backup, those that it misses, those after.
    let answered = i64::try_from(seen.answered.len() + 1).unwrap();
    let mut database = world.database().await;
    let sum = eventually("every answered call in the ledger", async || {
        let sum: i64 = sqlx::query_scalar(billed).fetch_one(&mut database).await.ok()?;
        (sum >= answered).then_some(sum)
    })
    .await;
    assert_eq!(sum, answered);
    println!(
        "restored and serving from it after {restored:.1?}; {answered} calls, each billed once"
    );
}
