//! What can go wrong between a node's journal and the ledger: whatever comes late, twice, in pieces or by two ways.

use std::pin::pin;

use futures_util::future::{Either, join_all, select};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use sqlx::PgPool;

use super::tests::{Call, call, node, place, segment, total};
use super::*;
use crate::testing;

/// A segment of one call that ended so long before now.
fn late(app: &App, tenant: TenantId, at: i64, by: TimeDelta) -> Shipped {
    let mut late = call(app, tenant);
    let by = u64::try_from(by.num_milliseconds()).unwrap();
    late.record.started_ms -= by;
    late.record.ended_ms -= by;
    segment(place(at), &[late])
}

#[sqlx::test(migrations = "../migrations")]
async fn what_comes_72_hours_late_counts_in_its_minute_and_what_is_older_is_kept_for_the_operator(
    db: PgPool,
) {
    let app = testing::app(db).await;
    let (node, tenant) = (node(&app, "default").await, testing::owner(&app).await.tenant);
    let in_time = late(&app, tenant, 1, TimeDelta::hours(72));
    let too_old = late(&app, tenant, 2, LATE_MAX + TimeDelta::seconds(1));

    let outcomes = take(&app, node, &[in_time, too_old.clone()]).await.unwrap();

    assert_eq!(outcomes[0], Outcome::Applied);
    assert!(
        matches!(&outcomes[1], Outcome::Quarantined(why) if why.contains("too long ago")),
        "{outcomes:?}"
    );
    let mut tx = app.system(Job::Intake).await.unwrap();
    let minutes: Vec<(DateTime<Utc>, i64)> =
        sqlx::query_as("select minute, requests from usage_minute")
            .fetch_all(&mut *tx)
            .await
            .unwrap();
    let its_own = (app.clock.now() - TimeDelta::hours(72) - TimeDelta::seconds(10))
        .duration_trunc(TimeDelta::minutes(1))
        .unwrap();
    assert_eq!(minutes, [(its_own, 1)]);
    let aside: Vec<(uuid::Uuid, i64, String, Vec<u8>)> =
        sqlx::query_as("select node_id, counter, reason, content from usage_quarantine")
            .fetch_all(&mut *tx)
            .await
            .unwrap();
    let [(from, counter, reason, content)] = &aside[..] else { panic!("{aside:?}") };
    assert_eq!((*from, *counter, content), (node.0, 2, &too_old.content));
    assert!(reason.contains("too long ago"), "{reason}");
}

#[sqlx::test(migrations = "../migrations")]
async fn calls_of_a_node_whose_clock_jumps_count_in_the_minutes_that_it_said(db: PgPool) {
    let app = testing::app(db).await;
    let (node, tenant) = (node(&app, "default").await, testing::owner(&app).await.tenant);
    let hour = 3_600_000;
    let jumped = |change: fn(&mut Record, u64)| {
        let mut jumped = call(&app, tenant);
        change(&mut jumped.record, hour);
        jumped
    };
    let calls = [
        call(&app, tenant),
        jumped(|record, hour| record.ended_ms -= hour), // it ended before it began
        jumped(|record, hour| record.started_ms -= hour), // or took an hour
        jumped(|record, hour| {
            (record.started_ms, record.ended_ms) =
                (record.started_ms + 23 * hour, record.ended_ms + 23 * hour);
        }),
    ];

    let outcome = take(&app, node, &[segment(place(1), &calls)]).await.unwrap();
    // And the replica's own clock goes back.
    app.clock.advance(TimeDelta::hours(-2));
    let batch = [segment(place(1), &calls), segment(place(2), &calls[..1])];
    let again = take(&app, node, &batch).await.unwrap();

    assert_eq!(outcome, [Outcome::Applied]);
    assert_eq!(again, [Outcome::Duplicate, Outcome::Applied]);
    let mut tx = app.system(Job::Intake).await.unwrap();
    let minutes: Vec<(DateTime<Utc>, i64)> =
        sqlx::query_as("select minute, requests from usage_minute order by minute")
            .fetch_all(&mut *tx)
            .await
            .unwrap();
    let said = |hours| {
        let noon = testing::noon() - TimeDelta::seconds(10) + TimeDelta::hours(hours);
        noon.duration_trunc(TimeDelta::minutes(1)).unwrap()
    };
    assert_eq!(minutes, [(said(-1), 1), (said(0), 3), (said(23), 1)]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_batch_that_was_cut_off_at_any_table_counts_once_when_it_comes_again(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let (node, tenant) = (node(&app, "default").await, testing::owner(&app).await.tenant);
    let written =
        ["usage_segment", "usage_high_water", "usage_minute", "usage_hour_due", "api_key_use"];
    for (round, table) in (0..).zip(written) {
        let calls = [call(&app, tenant), call(&app, tenant)];
        let batch: Vec<_> = (1..=3).map(|at| segment(place(round * 3 + at), &calls)).collect();
        let mut held = db.begin().await.unwrap();
        let hold = sqlx::AssertSqlSafe(format!("lock table {table} in share mode"));
        sqlx::query(hold).execute(&mut *held).await.unwrap();
        {
            let taking = pin!(take(&app, node, &batch));
            let waits = pin!(testing::somebody_waits(&db));
            let Either::Right(_) = select(taking, waits).await else {
                panic!("{table} not written")
            };
        }
        held.rollback().await.unwrap();
        assert_eq!(total(&app, "usage_minute").await.requests, round * 6, "cut off at {table}");

        let again = take(&app, node, &batch).await.unwrap();

        assert_eq!(again, [Outcome::Applied, Outcome::Applied, Outcome::Applied]);
        assert_eq!(total(&app, "usage_minute").await.requests, (round + 1) * 6);
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn in_whatever_order_and_through_whichever_replica_segments_come_each_counts_once(
    db: PgPool,
) {
    const SEGMENTS: i64 = 60;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let replicas = [testing::app(db.clone()).await, testing::app(db).await];
    let (node, tenant) =
        (node(&replicas[0], "default").await, testing::owner(&replicas[0]).await.tenant);
    let sent: Vec<Shipped> = (1..=SEGMENTS)
        .map(|at| {
            let calls: Vec<Call> = (0..=at % 3).map(|_| call(&replicas[0], tenant)).collect();
            segment(place(at), &calls)
        })
        .collect();
    let requests: i64 = (1..=SEGMENTS).map(|at| at % 3 + 1).sum();

    // A node goes from replica to replica and begins again where it was not answered; what is on its way at the one may
    // still arrive when it ships to the other.
    let mut applied = vec![0; sent.len()];
    for _ in 0..30 {
        let deliveries: Vec<(usize, Vec<usize>)> = (0..random.random_range(1..=3))
            .map(|_| {
                let first = random.random_range(0..sent.len());
                let last = (first + random.random_range(1..=16)).min(sent.len());
                let mut batch: Vec<_> = (first..last).collect();
                if random.random_bool(0.3) {
                    batch.shuffle(&mut random);
                }
                (random.random_range(0..replicas.len()), batch)
            })
            .collect();
        let taken = deliveries.iter().map(|(replica, batch)| {
            let segments: Vec<_> = batch.iter().map(|index| sent[*index].clone()).collect();
            let replica = &replicas[*replica];
            async move { take(replica, node, &segments).await.unwrap() }
        });
        let outcomes = join_all(taken).await;
        for ((_, batch), outcomes) in deliveries.iter().zip(outcomes) {
            for (index, outcome) in batch.iter().zip(outcomes) {
                applied[*index] += i32::from(outcome == Outcome::Applied);
            }
        }
    }
    let rest = take(&replicas[1], node, &sent).await.unwrap();
    for (applied, outcome) in applied.iter_mut().zip(rest) {
        *applied += i32::from(outcome == Outcome::Applied);
    }

    assert!(applied.iter().all(|times| *times == 1), "{applied:?}");
    assert_eq!(total(&replicas[0], "usage_minute").await.requests, requests);
    let marks = open_epoch(&replicas[0], node, place(1).epoch).await.unwrap().unwrap();
    assert_eq!(marks.iter().map(|mark| mark.counter).collect::<Vec<_>>(), [SEGMENTS]);
}

#[sqlx::test(migrations = "../migrations")]
async fn what_the_disk_held_when_it_was_cloned_counts_once_and_what_each_clone_adds_counts_too(
    db: PgPool,
) {
    let app = testing::app(db).await;
    let (node, tenant) = (node(&app, "default").await, testing::owner(&app).await.tenant);
    let before = segment(place(1), &[call(&app, tenant)]);
    // Both go on in the epoch that they were cloned in, with the same numbers.
    let one = segment(place(2), &[call(&app, tenant), call(&app, tenant)]);
    let other = segment(place(2), &[call(&app, tenant), call(&app, tenant), call(&app, tenant)]);

    let from_one = take(&app, node, &[before.clone(), one.clone()]).await.unwrap();
    let from_other = take(&app, node, &[before, other]).await.unwrap();

    assert_eq!(from_one, [Outcome::Applied, Outcome::Applied]);
    assert_eq!(from_other, [Outcome::Duplicate, Outcome::Applied]);
    assert_eq!(take(&app, node, &[one]).await.unwrap(), [Outcome::Duplicate]);
    assert_eq!(total(&app, "usage_minute").await.requests, 6);
}
