//! One change of many tries under one `Idempotency-Key`, on two replicas, one of which dies.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use harness::client::{Answer, Call};
use harness::{Tenant, World, eventually, within};
use serde_json::json;

const TRIES: usize = 1000;

/// One try of making an Api, sent to this replica.
fn make(tenant: &Tenant<'_>, replica: usize, key: &str, name: &str) -> Call {
    let replica = tenant.world.management_at(replica);
    let call = replica.post("/v1/apis").bearer(&tenant.token).header("idempotency-key", key);
    call.json(&json!({ "name": name }))
}

fn code(answer: &Answer) -> String {
    answer.json()["code"].as_str().unwrap_or_default().to_owned()
}

/// The names of the tenant's Apis, as the second replica knows them.
async fn names(tenant: &Tenant<'_>) -> Vec<String> {
    let call = tenant.world.management_at(1).get("/v1/apis?limit=100").bearer(&tenant.token);
    let list = call.await.expect(200).json();
    assert!(list["nextCursor"].is_null());
    let items = list["items"].as_array().unwrap().iter();
    items.map(|api| api["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_thousand_tries_at_once_make_one_api() {
    let world = World::start_many(2, 1).await;
    let acme = world.tenant("acme").await;
    // Each comes back until it is told how it went, as a client's library would.
    let tries = (0..TRIES).map(async |index| {
        eventually("an answer", async || {
            let answer = make(&acme, index % 2, "the-one", "pets").try_send().await.ok()?;
            match answer.status() {
                201 => Some(answer),
                409 => {
                    assert_eq!(code(&answer), "idempotency_key_in_use");
                    assert_eq!(answer.header("retry-after"), Some("1"));
                    None
                }
                other => panic!("{other}: {}", answer.text()),
            }
        })
        .await
    });
    let answers = join_all(tries).await;

    let bodies: BTreeSet<String> = answers.iter().map(Answer::text).collect();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let first = answers.iter().filter(|it| it.header("idempotent-replayed").is_none());
    assert_eq!(first.count(), 1);
    assert_eq!(names(&acme).await, ["pets"]);
}

#[tokio::test]
async fn a_change_whose_replica_was_killed_is_made_once_by_whoever_tries_again() {
    const KEYS: usize = 40;
    let mut world = World::start_many(2, 1).await;
    let acme = world.tenant("acme").await;
    let tries = (0..KEYS)
        .map(|key| tokio::spawn(make(&acme, 0, &key.to_string(), &format!("api{key}")).try_send()));
    let mut tries: Vec<_> = tries.collect();
    let Tenant { id, email, token, .. } = acme;
    // In the midst of them: the first answer is there, the others are not.
    let first = tries.remove(0).await.unwrap();
    world.kill_control_plane_at(0);
    let mut answered = usize::from(first.is_ok_and(|answer| answer.status() == 201));
    for one in tries {
        answered += usize::from(one.await.unwrap().is_ok_and(|answer| answer.status() == 201));
    }

    let tenant = Tenant { world: &world, id, email, token };
    let again = (0..KEYS).map(async |key| {
        let key = key.to_string();
        let name = format!("api{key}");
        let what = format!("the end of {name}");
        within(Duration::from_mins(1), &what, async || {
            let answer = make(&tenant, 1, &key, &name).await;
            match (answer.status(), code(&answer).as_str()) {
                (201, _) | (409, "idempotency_answer_lost") => Some(()),
                (409, "idempotency_key_in_use") => None,
                _ => panic!("{}: {}", answer.status(), answer.text()),
            }
        })
        .await;
    });
    join_all(again).await;

    let names = names(&tenant).await;
    let distinct: BTreeSet<&String> = names.iter().collect();
    assert_eq!((names.len(), distinct.len()), (KEYS, KEYS), "{answered} were answered");
}
