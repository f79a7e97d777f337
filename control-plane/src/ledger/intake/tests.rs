use proto::segment::{Footer, Header, State};
use sqlx::PgPool;

use super::*;
use crate::ids::Rng;
use crate::testing;

/// One request to a tenant's Api, ten seconds ago.
pub(crate) struct Call {
    pub(crate) tenant: TenantId,
    pub(crate) route: &'static str,
    pub(crate) record: Record,
}

pub(crate) fn call(app: &App, tenant: TenantId) -> Call {
    let ended = (app.clock.now() - TimeDelta::seconds(10)).timestamp_millis();
    let ended_ms = u64::try_from(ended).unwrap();
    let record = Record {
        state: State::Done,
        names: 0,
        started_ms: ended_ms - 20,
        ended_ms,
        bytes_in: 100,
        bytes_out: 1000,
        duration_ms: 20,
        requests: 1,
        status: 200,
        cache: Cache::None,
        billed: true,
        test: false,
        aborted: false,
        upgraded: false,
        test_invoke: false,
    };
    Call { tenant, route: "GET /pets", record }
}

/// A sealed segment of these calls.
pub(crate) fn segment(place: Place, calls: &[Call]) -> Shipped {
    let header = Header {
        epoch: place.epoch,
        thread: place.thread.unsigned_abs(),
        counter: place.counter.unsigned_abs(),
        created_ms: 0,
    };
    let seed = header.seed();
    let mut content = header.encode().to_vec();
    let blocks = |content: &Vec<u8>| u32::try_from(content.len() / segment::BLOCK_BYTES).unwrap();
    for call in calls {
        let tenant_id = call.tenant.to_string();
        let names = Names {
            cell: "default",
            tenant_id: &tenant_id,
            consumer_id: "",
            api_id: "abcdefghi0",
            stage: "prod",
            route: call.route,
            api_key_id: "key4567890",
            usage_plan_id: "plan567890",
        };
        let number = blocks(&content);
        content.extend(segment::encode_names(&names.encode(), seed, number).flatten());
        let record = Record { names: number, ..call.record };
        content.extend(record.encode(seed, blocks(&content)));
    }
    let records = u32::try_from(calls.len()).unwrap();
    let footer = Footer { blocks: blocks(&content) + 1, records, sealed_ms: 0, recovered: false };
    content.extend(footer.encode(seed));
    shipped(place, content)
}

fn shipped(place: Place, content: Vec<u8>) -> Shipped {
    Shipped { place, sha256: Sha256::digest(&content).into(), content }
}

pub(crate) fn place(counter: i64) -> Place {
    Place { epoch: [7; 16], thread: 0, counter }
}

/// A node that joined, and serves this cell.
pub(crate) async fn node(app: &App, cell: &str) -> NodeId {
    let id: NodeId = Rng.id();
    let mut tx = app.system(Job::Nodes).await.unwrap();
    sqlx::query("insert into node (id, cells, certificate_expires_at) values ($1, $2, now())")
        .bind(id.0)
        .bind([cell].as_slice())
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    id
}

/// The sums over everything in a table of the ledger.
pub(crate) async fn total(app: &App, table: &'static str) -> Sums {
    macro_rules! total {
        ($table:literal) => {
            concat!(
                "select array[sum(requests), sum(billed_requests), sum(bytes_in), sum(bytes_out), ",
                "sum(billed_bytes_out), sum(duration_ms)]::bigint[] from ",
                $table
            )
        };
    }
    let sql = match table {
        "usage_minute" => total!("usage_minute"),
        "usage_hour" => total!("usage_hour"),
        _ => total!("usage_day"),
    };
    let mut tx = app.system(Job::Intake).await.unwrap();
    let sums: Vec<Option<i64>> = sqlx::query_scalar(sql).fetch_one(&mut *tx).await.unwrap();
    let sum = |index: usize| sums[index].unwrap_or_default();
    Sums {
        requests: sum(0),
        billed_requests: sum(1),
        bytes_in: sum(2),
        bytes_out: sum(3),
        billed_bytes_out: sum(4),
        duration_ms: sum(5),
    }
}

async fn count(app: &App, table: &'static str) -> i64 {
    let sql = match table {
        "usage_segment" => "select count(*) from usage_segment",
        "usage_quarantine" => "select count(*) from usage_quarantine",
        _ => "select count(*) from usage_minute",
    };
    let mut tx = app.system(Job::Intake).await.unwrap();
    sqlx::query_scalar(sql).fetch_one(&mut *tx).await.unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_segment_is_applied_once_however_often_it_comes(db: PgPool) {
    let app = testing::app(db).await;
    let (node, tenant) = (node(&app, "default").await, testing::owner(&app).await.tenant);
    let first = segment(place(1), &[call(&app, tenant), call(&app, tenant)]);
    let second = segment(place(2), &[call(&app, tenant)]);

    let once = take(&app, node, std::slice::from_ref(&first)).await.unwrap();
    let again = take(&app, node, &[second.clone(), first.clone(), second.clone()]).await.unwrap();
    let later = take(&app, node, &[first, second]).await.unwrap();

    assert_eq!(once, [Outcome::Applied]);
    assert_eq!(again, [Outcome::Applied, Outcome::Duplicate, Outcome::Duplicate]);
    assert_eq!(later, [Outcome::Duplicate, Outcome::Duplicate]);
    let sums = Sums {
        requests: 3,
        billed_requests: 3,
        bytes_in: 300,
        bytes_out: 3000,
        billed_bytes_out: 3000,
        duration_ms: 60,
    };
    assert_eq!(total(&app, "usage_minute").await, sums);
    assert_eq!(count(&app, "usage_minute").await, 1, "one minute, one row");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_keys_last_use_follows_its_calls_and_is_no_change_of_the_key(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let (node, alice) = (node(&app, "default").await, testing::owner(&app).await);
    let stranger = testing::owner(&app).await.tenant;
    sqlx::query(
        "insert into api_key (id, tenant_id, digest, hint) values ('key4567890', $1, '\\x01', 'abcd')",
    )
    .bind(alice.tenant.0)
    .execute(&db)
    .await
    .unwrap();
    let key = || async {
        let id = "key4567890".parse().unwrap();
        let key = crate::domain::api_key::get(&app, &alice, id).await.unwrap();
        (key.last_used_at, key.revision)
    };
    let now = app.clock.now();
    let at = |seconds: i64| now + TimeDelta::seconds(seconds);
    let used = |seconds: i64| {
        let mut call = call(&app, alice.tenant);
        let ms = u64::try_from(at(seconds).timestamp_millis()).unwrap();
        (call.record.started_ms, call.record.ended_ms) = (ms, ms + 1);
        call
    };
    assert_eq!(key().await, (None, 1));

    // Another tenant's call names a key that is not its own.
    let foreign = Call { tenant: stranger, ..used(-5) };
    take(&app, node, &[segment(place(1), &[foreign])]).await.unwrap();
    assert_eq!(key().await, (None, 1));
    let calls = [used(-60), used(-40), used(-50)];
    take(&app, node, &[segment(place(2), &calls)]).await.unwrap();
    assert_eq!(key().await, (Some(at(-40)), 1));
    take(&app, node, &[segment(place(3), &[used(-55)])]).await.unwrap();
    assert_eq!(key().await, (Some(at(-40)), 1), "an earlier call that comes later");
    take(&app, node, &[segment(place(4), &[used(-25)])]).await.unwrap();
    assert_eq!(key().await, (Some(at(-40)), 1), "within 15 seconds of the one that is noted");
    take(&app, node, &[segment(place(5), &[used(-24)])]).await.unwrap();
    assert_eq!(key().await, (Some(at(-24)), 1));
    take(&app, node, &[segment(place(6), &[used(3600)])]).await.unwrap();
    assert_eq!(key().await, (Some(now), 1), "a node's clock runs ahead");
    let noted: i64 =
        sqlx::query_scalar("select count(*) from api_key_use").fetch_one(&db).await.unwrap();
    assert_eq!(noted, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn another_hash_at_the_same_place_is_applied(db: PgPool) {
    let app = testing::app(db).await;
    let (node, tenant) = (node(&app, "default").await, testing::owner(&app).await.tenant);
    let one = segment(place(1), &[call(&app, tenant)]);
    let other = segment(place(1), &[call(&app, tenant), call(&app, tenant)]);

    let outcomes = take(&app, node, &[one, other]).await.unwrap();

    assert_eq!(outcomes, [Outcome::Applied, Outcome::Applied]);
    assert_eq!(total(&app, "usage_minute").await.requests, 3);
}

#[sqlx::test(migrations = "../migrations")]
async fn test_keys_and_refusals_are_counted_and_never_billed(db: PgPool) {
    let app = testing::app(db).await;
    let (node, tenant) = (node(&app, "default").await, testing::owner(&app).await.tenant);
    let with = |change: fn(&mut Record)| {
        let mut call = call(&app, tenant);
        change(&mut call.record);
        call
    };
    let calls = [
        with(|record| record.test = true),
        with(|record| (record.billed, record.status) = (false, 429)),
        with(|record| (record.state, record.status) = (State::Begun, 0)),
        with(|record| record.requests = 5),
        with(|record| record.test_invoke = true),
    ];

    take(&app, node, &[segment(place(1), &calls)]).await.unwrap();

    let sums = total(&app, "usage_minute").await;
    assert_eq!((sums.requests, sums.billed_requests, sums.billed_bytes_out), (8, 6, 2000));
    let mut tx = app.system(Job::Intake).await.unwrap();
    let classes: Vec<(i16, i64)> =
        sqlx::query_as("select status_class, requests from usage_minute order by status_class")
            .fetch_all(&mut *tx)
            .await
            .unwrap();
    assert_eq!(classes, [(0, 1), (2, 6), (4, 1)]);
}

#[sqlx::test(migrations = "../migrations")]
async fn what_is_impossible_is_kept_aside_and_nothing_of_it_counts(db: PgPool) {
    let app = testing::app(db).await;
    let (here, tenant) = (node(&app, "default").await, testing::owner(&app).await.tenant);
    let with = |change: fn(&mut Record)| {
        let mut wrong = call(&app, tenant);
        change(&mut wrong.record);
        segment(place(1), &[call(&app, tenant), wrong]).content
    };
    let good = segment(place(1), &[call(&app, tenant)]).content;
    let unsealed = good[..good.len() - segment::BLOCK_BYTES].to_vec();
    let elsewhere = segment(place(2), &[call(&app, tenant)]).content;
    let stranger = segment(place(1), &[Call { tenant: Rng.id(), ..call(&app, tenant) }]).content;
    let contents = [
        (Vec::new(), "no intact header"),
        (vec![1; 640], "no intact header"),
        (unsealed, "never sealed"),
        (elsewhere, "another place"),
        (stranger, "no tenant"),
        (with(|record| record.ended_ms += 25 * 3_600_000), "ended more than 24 hours"),
        (with(|record| record.started_ms = u64::MAX), "began more than 24 hours"),
        (with(|record| record.ended_ms -= 80 * 3_600_000), "too long ago"),
        (with(|record| record.bytes_out = u64::MAX), "impossible numbers"),
        (with(|record| record.requests = 0), "impossible numbers"),
    ];

    for (content, reason) in contents {
        let outcome = take(&app, here, &[shipped(place(1), content)]).await.unwrap();
        let [Outcome::Quarantined(why)] = &outcome[..] else { panic!("{reason}: {outcome:?}") };
        assert!(why.contains(reason), "{why} is not: {reason}");
    }
    let mut forged = segment(place(1), &[call(&app, tenant)]);
    forged.sha256 = [0; 32];
    let outcome = take(&app, here, &[forged]).await.unwrap();
    assert!(matches!(&outcome[..], [Outcome::Quarantined(why)] if why.contains("another hash")));

    assert_eq!(total(&app, "usage_minute").await, Sums::default());
    assert_eq!(count(&app, "usage_quarantine").await, 11);
    let again = take(&app, here, &[shipped(place(1), Vec::new())]).await.unwrap();
    assert_eq!(again, [Outcome::Duplicate], "it is not kept twice");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_tenant_that_nobody_knows_costs_no_other_tenant_its_calls(db: PgPool) {
    let app = testing::app(db).await;
    let (node, tenant) = (node(&app, "default").await, testing::owner(&app).await.tenant);
    let lost = Call { tenant: Rng.id(), ..call(&app, tenant) };
    let calls = [call(&app, tenant), lost, call(&app, tenant)];

    let outcome = take(&app, node, &[segment(place(1), &calls)]).await.unwrap();

    assert_eq!(outcome, [Outcome::Applied]);
    assert_eq!(total(&app, "usage_minute").await.requests, 2);
    assert_eq!(count(&app, "usage_quarantine").await, 1, "the whole is kept for the operator");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_counts_only_tenants_of_its_cells(db: PgPool) {
    let app = testing::app(db.clone()).await;
    sqlx::query("insert into cell (id) values ('elsewhere')").execute(&db).await.unwrap();
    let (other, tenant) = (node(&app, "elsewhere").await, testing::owner(&app).await.tenant);

    let outcome = take(&app, other, &[segment(place(1), &[call(&app, tenant)])]).await.unwrap();

    assert!(matches!(&outcome[..], [Outcome::Quarantined(_)]), "{outcome:?}");
    assert_eq!(total(&app, "usage_minute").await, Sums::default());
}

#[sqlx::test(migrations = "../migrations")]
async fn the_good_slots_of_a_damaged_segment_count(db: PgPool) {
    let app = testing::app(db).await;
    let (node, tenant) = (node(&app, "default").await, testing::owner(&app).await.tenant);
    let mut content = segment(place(1), &[call(&app, tenant), call(&app, tenant)]).content;
    let last_slot = content.len() - 2 * segment::BLOCK_BYTES;
    content[last_slot + 30] ^= 1;

    let outcome = take(&app, node, &[shipped(place(1), content)]).await.unwrap();

    assert_eq!(outcome, [Outcome::Applied]);
    assert_eq!(total(&app, "usage_minute").await.requests, 1);
    assert_eq!(count(&app, "usage_quarantine").await, 1, "the whole is kept for the operator");
}

#[sqlx::test(migrations = "../migrations")]
async fn two_replicas_in_parallel_apply_each_segment_once(db: PgPool) {
    let (here, there) = (testing::app(db.clone()).await, testing::app(db).await);
    let node = node(&here, "default").await;
    let mut tenants = Vec::new();
    for _ in 0..4 {
        tenants.push(testing::owner(&here).await.tenant);
    }
    let segments: Vec<Shipped> = (1..=60)
        .map(|counter| {
            let calls: Vec<Call> = tenants.iter().map(|tenant| call(&here, *tenant)).collect();
            segment(place(counter), &calls)
        })
        .collect();
    let mut backwards = segments.clone();
    backwards.reverse();

    let ship = async |app: &App, segments: &[Shipped]| {
        for batch in segments.chunks(7) {
            take(app, node, batch).await.unwrap();
        }
    };
    let roll_up = async || {
        for _ in 0..20 {
            crate::ledger::rollup::run(&there).await.unwrap();
        }
    };
    tokio::join!(
        ship(&here, &segments),
        ship(&there, &backwards),
        ship(&there, &segments),
        roll_up()
    );

    assert_eq!(total(&here, "usage_minute").await.requests, 240);
    crate::ledger::rollup::run(&here).await.unwrap();
    assert_eq!(total(&here, "usage_hour").await, total(&here, "usage_minute").await);
    let marks = open_epoch(&here, node, place(1).epoch).await.unwrap().unwrap();
    assert_eq!(marks.iter().map(|mark| mark.counter).collect::<Vec<_>>(), [60]);
}

#[sqlx::test(migrations = "../migrations")]
async fn the_high_water_mark_stops_before_a_gap(db: PgPool) {
    let app = testing::app(db).await;
    let (node, tenant) = (node(&app, "default").await, testing::owner(&app).await.tenant);
    let mark = async || {
        let marks = open_epoch(&app, node, [1; 16]).await.unwrap().unwrap();
        marks.first().map(|mark| (mark.epoch, mark.thread, mark.counter))
    };
    assert_eq!(mark().await, None);

    for (counter, expected) in [(2, 0), (1, 2), (5, 2), (3, 3), (4, 5)] {
        take(&app, node, &[segment(place(counter), &[call(&app, tenant)])]).await.unwrap();
        assert_eq!(mark().await, Some(([7; 16], 0, expected)), "after {counter}");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn an_epoch_belongs_to_the_node_that_asked_first(db: PgPool) {
    let app = testing::app(db).await;
    let (first, second) = (node(&app, "default").await, node(&app, "default").await);

    assert!(open_epoch(&app, first, [1; 16]).await.unwrap().is_some());
    assert!(open_epoch(&app, second, [1; 16]).await.unwrap().is_none());
    assert!(open_epoch(&app, first, [1; 16]).await.unwrap().is_some(), "a reconnect");
    assert!(open_epoch(&app, second, [2; 16]).await.unwrap().is_some());
}
