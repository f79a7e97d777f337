use sqlx::PgPool;

use super::*;
use crate::ledger::intake::{self, tests as ledger};
use crate::ledger::rollup;
use crate::testing;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn question(interval: Option<Interval>, since: &str, until: &str) -> Question {
    let (wanted, by) = (Wanted::default(), By::default());
    Question { interval, since: at(since), until: at(until), wanted, by }
}

#[test]
fn whole_days_are_taken_together_then_whole_hours_then_minutes() {
    let whole = |interval, since, until| {
        let (hours, days) = question(interval, since, until).whole();
        let text = |time: DateTime<Utc>| time.format("%dT%H").to_string();
        let text = |of: Range<DateTime<Utc>>| {
            (!of.is_empty()).then(|| format!("{}-{}", text(of.start), text(of.end)))
        };
        (text(hours), text(days))
    };
    let some = |text: &str| Some(text.to_owned());
    let (since, until) = ("2026-11-17T09:30:00Z", "2026-11-20T09:01:00Z");
    assert_eq!(whole(None, since, until), (some("17T10-20T09"), some("18T00-20T00")));
    let (since, until) = ("2026-11-18T00:00:00Z", "2026-11-20T00:00:00Z");
    assert_eq!(whole(None, since, until), (some("18T00-20T00"), some("18T00-20T00")));
    assert_eq!(whole(Some(Interval::Day), since, until), whole(None, since, until));
    assert_eq!(whole(Some(Interval::Hour), since, until), (some("18T00-20T00"), None));
    assert_eq!(whole(Some(Interval::Minute), since, until), (None, None));
    let (since, until) = ("2026-11-18T00:01:00Z", "2026-11-18T23:59:00Z");
    assert_eq!(whole(None, since, until), (some("18T01-18T23"), None));
    assert_eq!(whole(None, "2026-11-18T00:01:00Z", "2026-11-18T01:59:00Z"), (None, None));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_question_is_about_whole_intervals_that_are_kept(db: PgPool) {
    let app = testing::app(db).await;
    let ask = |interval, since: &str, until: Option<&str>| {
        let until = until.map(at);
        let asked =
            Question::new(&app, interval, at(since), until, Wanted::default(), By::default());
        asked
            .map(|asked| format!("{} {}", asked.since.to_rfc3339(), asked.until.to_rfc3339()))
            .map_err(|error| error.param().unwrap_or_default().to_owned())
    };
    let since = "2026-11-19T09:30:20Z";
    let told = |text: &str| Ok(text.to_owned());
    assert_eq!(
        ask(Some(Interval::Hour), since, Some("2026-11-20T09:00:01Z")),
        told("2026-11-19T09:00:00+00:00 2026-11-20T10:00:00+00:00")
    );
    assert_eq!(
        ask(None, since, Some("2026-11-20T09:00:00Z")),
        told("2026-11-19T09:30:00+00:00 2026-11-20T09:00:00+00:00")
    );
    assert_eq!(
        ask(Some(Interval::Day), since, None),
        told("2026-11-19T00:00:00+00:00 2026-11-21T00:00:00+00:00")
    );
    let wrong = Err("since".to_owned());
    assert_eq!(ask(None, "2026-11-20T12:00:01Z", Some("2026-11-20T11:00:00Z")), wrong);
    assert_eq!(ask(Some(Interval::Hour), "2025-09-01T00:00:00Z", None), wrong, "too long");
    assert!(ask(None, "2025-09-01T00:00:00Z", Some("2025-12-01T01:00:00Z")).is_ok());
    assert_eq!(ask(None, "2025-09-01T00:01:00Z", Some("2025-12-01T01:00:00Z")), wrong, "not kept");
    assert_eq!(ask(None, "2025-09-01T00:00:00Z", Some("2025-12-01T01:01:00Z")), wrong, "not kept");
    assert_eq!(
        ask(Some(Interval::Minute), "2026-10-01T00:00:00Z", Some("2026-10-01T01:00:00Z")),
        wrong
    );
    let bad = Wanted { status_class: Some(6), ..Wanted::default() };
    let refused = Question::new(&app, None, at(since), None, bad, By::default()).unwrap_err();
    assert_eq!(refused.param(), Some("statusClass"));
    let alice = testing::owner(&app).await;
    let page = Page::default();
    let long = question(Some(Interval::Minute), "2026-11-19T00:00:00Z", "2026-11-20T01:01:00Z");
    let refused = list(&app, &alice, &long, &page).await.unwrap_err();
    assert_eq!(refused.param(), Some("since"), "1,501 intervals");
    assert!(series(&app, &alice, &long, 6).await.is_err());
    let short = question(Some(Interval::Minute), "2026-11-19T00:00:00Z", "2026-11-20T01:00:00Z");
    assert!(list(&app, &alice, &short, &page).await.is_ok());
}

/// Three routes in each of two hours, the first more than the second more than the third; one call was refused.
async fn calls(app: &App, actor: &Actor) {
    let node = ledger::node(app, "default").await;
    for counter in 1..=2 {
        let mut calls = Vec::new();
        for (route, requests) in [("GET /a", 5), ("GET /b", 3), ("-", 1)] {
            let mut call = ledger::Call { route, ..ledger::call(app, actor.tenant) };
            call.record.requests = requests;
            if route == "-" {
                call.record.status = 404;
            }
            calls.push(call);
        }
        let segment = ledger::segment(ledger::place(counter), &calls);
        intake::take(app, node, &[segment]).await.unwrap();
        app.clock.advance(TimeDelta::hours(1));
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn usage_is_told_apart_by_what_is_asked_and_seen_by_its_tenant_alone(db: PgPool) {
    let app = testing::app(db).await;
    let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
    calls(&app, &alice).await;
    let ask = async |actor: &Actor, interval, by: &[Dimension], wanted: Wanted| {
        let since = at("2026-11-20T10:00:00Z");
        let by = by.iter().copied().collect();
        let question = Question::new(&app, interval, since, None, wanted, by).unwrap();
        list(&app, actor, &question, &Page::default()).await.unwrap().items
    };
    let all = Wanted::default;

    let whole = ask(&alice, None, &[], all()).await;
    assert_eq!(whole.len(), 1);
    assert_eq!(
        (whole[0].requests, whole[0].route.as_deref(), whole[0].status_class),
        (18, None, None)
    );
    let routes = ask(&alice, None, &[Dimension::Route], all()).await;
    let told: Vec<_> =
        routes.iter().map(|row| (row.route.as_deref().unwrap(), row.requests)).collect();
    assert_eq!(told, [("GET /a", 10), ("GET /b", 6), ("-", 2)], "what was called most first");
    let classes = ask(&alice, Some(Interval::Hour), &[Dimension::StatusClass], all()).await;
    let told: Vec<_> = classes.iter().map(|row| (row.status_class, row.requests)).collect();
    assert_eq!(told, [(Some(4), 1), (Some(2), 8), (Some(4), 1), (Some(2), 8)]);
    assert!(classes.is_sorted_by_key(|row| std::cmp::Reverse(row.start)));
    let every = [
        Dimension::Api,
        Dimension::Stage,
        Dimension::ApiKey,
        Dimension::UsagePlan,
        Dimension::Consumer,
    ];
    let one = ask(&alice, Some(Interval::Day), &every, all()).await;
    assert_eq!(one.len(), 1);
    assert_eq!(one[0].api_id.as_deref(), Some("abcdefghi0"));
    assert_eq!(one[0].api_key_id.as_deref(), Some("key4567890"));
    assert_eq!(
        (one[0].consumer_id.as_deref(), one[0].bytes_out, one[0].duration_ms),
        (None, 6000, 120)
    );
    for (wanted, requests) in [
        (Wanted { route: Some("GET /b".to_owned()), ..all() }, 6),
        (Wanted { status_class: Some(4), ..all() }, 2),
        (Wanted { stage: Some("prod".to_owned()), ..all() }, 18),
        (Wanted { stage: Some("beta".to_owned()), ..all() }, 0),
        (Wanted { api: "abcdefghi0".parse().ok(), ..all() }, 18),
        (Wanted { api_key: "other67890".parse().ok(), ..all() }, 0),
        (Wanted { usage_plan: "plan567890".parse().ok(), ..all() }, 18),
        (Wanted { consumer: Some(app.rng.id()), ..all() }, 0),
    ] {
        let rows = ask(&alice, None, &[], wanted.clone()).await;
        assert_eq!(rows.iter().map(|row| row.requests).sum::<i64>(), requests, "{wanted:?}");
    }
    assert_eq!(ask(&mallory, None, &[], all()).await, []);
    rollup::run(&app).await.unwrap();
    rollup::days(&app).await.unwrap();
    assert_eq!(ask(&alice, None, &[Dimension::Route], all()).await, routes);
    assert_eq!(ask(&mallory, None, &[], all()).await, []);
}

#[sqlx::test(migrations = "../migrations")]
async fn pages_of_a_question_hold_each_row_once_from_either_end(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    calls(&app, &alice).await;
    for interval in [None, Some(Interval::Hour)] {
        let by = By::from([Dimension::Route, Dimension::StatusClass]);
        let since = at("2026-11-20T10:00:00Z");
        let question = Question::new(&app, interval, since, None, Wanted::default(), by).unwrap();
        let all = list(&app, &alice, &question, &Page::default()).await.unwrap().items;
        assert_eq!(all.len(), if interval.is_none() { 3 } else { 6 });
        let mut forward = Vec::new();
        let mut after = None;
        loop {
            let page = Page::first(2, after, None).unwrap();
            let paged = list(&app, &alice, &question, &page).await.unwrap();
            after = paged.items.last().map(Keyed::key);
            forward.extend(paged.items);
            if !paged.has_next {
                break;
            }
        }
        let mut backward = Vec::new();
        let mut before = None;
        loop {
            let page = Page::last(2, None, before).unwrap();
            let mut paged = list(&app, &alice, &question, &page).await.unwrap();
            before = paged.items.first().map(Keyed::key);
            paged.items.append(&mut backward);
            backward = paged.items;
            if !paged.has_previous {
                break;
            }
        }
        assert_eq!(forward, all);
        assert_eq!(backward, all);
        let foreign = Key::new(Listed::LIST, all[0].start, &"x");
        let page = Page::first(2, Some(foreign), None).unwrap();
        let refused = list(&app, &alice, &question, &page).await.unwrap_err();
        assert_eq!(refused.code(), "bad_request");
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn what_takes_too_long_to_add_up_ends_and_says_how_to_ask(db: PgPool) {
    let app = testing::app(db.clone()).await;
    let alice = testing::owner(&app).await;
    calls(&app, &alice).await;
    let since = at("2026-11-20T10:00:00Z");
    let question =
        Question::new(&app, Some(Interval::Hour), since, None, Wanted::default(), By::default())
            .unwrap();
    let mut lock = db.begin().await.unwrap();
    let statement = "lock table usage_minute in access exclusive mode";
    sqlx::query(statement).execute(&mut *lock).await.unwrap();
    let page = Page::default();

    let both = async {
        tokio::join!(list(&app, &alice, &question, &page), series(&app, &alice, &question, 6))
    };
    let both = tokio::time::timeout(std::time::Duration::from_secs(20), Box::pin(both));
    let (list_, series_) = both.await.expect("they end");

    for refused in [list_.unwrap_err(), series_.unwrap_err()] {
        assert_eq!((refused.code(), refused.param()), ("limit_exceeded", Some("since")));
        assert!(refused.to_string().contains("ask for a shorter time"), "{refused}");
    }
    lock.rollback().await.unwrap();
    assert_eq!(list(&app, &alice, &question, &page).await.unwrap().items.len(), 2);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_series_has_a_line_for_each_of_the_most_called_and_one_for_the_rest(db: PgPool) {
    let app = testing::app(db).await;
    let alice = testing::owner(&app).await;
    calls(&app, &alice).await;
    let draw = async |by: &[Dimension], names| {
        let since = at("2026-11-20T10:00:00Z");
        let by = by.iter().copied().collect();
        let hour = Some(Interval::Hour);
        let question = Question::new(&app, hour, since, None, Wanted::default(), by).unwrap();
        series(&app, &alice, &question, names).await.unwrap()
    };
    let told = |points: &[GroupPoint]| -> Vec<(Option<String>, bool, i64)> {
        points.iter().map(|it| (it.group.clone(), it.other, it.requests)).collect()
    };
    let named = |name: &str, requests| (Some(name.to_owned()), false, requests);

    let routes = draw(&[Dimension::Route], 1).await;
    let expected = [named("GET /a", 5), (None, true, 4), named("GET /a", 5), (None, true, 4)];
    assert_eq!(told(&routes), expected);
    assert!(routes.is_sorted_by_key(|point| point.start));
    let classes = draw(&[Dimension::StatusClass], 6).await;
    assert_eq!(told(&classes)[..2], [named("2", 8), named("4", 1)]);
    assert_eq!(told(&draw(&[], 6).await), [(None, false, 9), (None, false, 9)]);
    assert_eq!(
        told(&draw(&[Dimension::Consumer], 6).await)[..1],
        [(None, false, 9)],
        "none is a line too"
    );
}
