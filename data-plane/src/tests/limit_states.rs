//! What a node says of how a key's limits stand, against a real Redis: `REDIS_URL`, or the one on port 6399.

use proto::{
    config::v1::{ConcurrencyLimit, QuotaPeriod, Throttle, ThrottleMode, ThrottleOutage},
    inquiry::v1::{
        self as message, Counting, InProgress, Level, LimitState, LimitsAsked, Question, Tokens,
        answer, limit::Figures, limit_state::Standing, question,
    },
};

use super::{
    explain::{no_redis, throttle},
    limited::Limited,
    limits::{calendar, use_redis},
    world::{API, TENANT, TestNode, proxy, raw_origin, read_until},
};

impl Limited {
    async fn known(&self, node: &TestNode) -> Vec<LimitState> {
        limits(node, TENANT, &self.plan).await
    }

    /// Once it is so.
    async fn known_as(
        &self,
        node: &TestNode,
        is: impl Fn(&[LimitState]) -> bool,
    ) -> Vec<LimitState> {
        loop {
            let known = self.known(node).await;
            if is(&known) {
                return known;
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn limits(node: &TestNode, tenant: &str, plan: &str) -> Vec<LimitState> {
    let (usage_plan_id, api_key_id) = (plan.to_owned(), "keyaaaaaa1".to_owned());
    let kind = question::Kind::Limits(LimitsAsked { usage_plan_id, api_key_id });
    let asked = Question { id: 7, tenant_id: tenant.to_owned(), kind: Some(kind) };
    let answer = node.shared.inquiries.answer(asked).await.expect("an answer");
    assert_eq!(answer.question_id, 7);
    let Some(answer::Kind::Limits(known)) = answer.kind else { panic!("{answer:?}") };
    known.limits
}

fn named<'a>(known: &'a [LimitState], name: &str) -> &'a LimitState {
    let of = |it: &&LimitState| it.limit.as_ref().is_some_and(|limit| limit.name == name);
    known.iter().find(of).unwrap_or_else(|| panic!("no {name}: {known:?}"))
}

fn tokens(state: &LimitState) -> Tokens {
    let Some(Standing::Tokens(tokens)) = state.standing else { panic!("{state:?}") };
    tokens
}

/// What a bucket of one node has left: what the node holds of it, and the rest.
fn left(state: &LimitState) -> u64 {
    let Tokens { in_hand, seen } = tokens(state);
    in_hand.unwrap_or(0) + seen.map_or(0, |seen| seen.left)
}

fn counted(mode: ThrottleMode, outage: ThrottleOutage) -> Throttle {
    Throttle { mode: mode.into(), outage: outage.into(), ..throttle(5) }
}

#[tokio::test]
async fn a_key_has_left_what_its_calls_did_not_take_whichever_thread_served_them() {
    let limited = Limited::new();
    let node = limited.node(
        |_, plan| {
            plan.throttle = Some(throttle(5));
            plan.concurrency_limit = Some(ConcurrencyLimit { max_in_flight: 4, shadow: true });
            plan.quota = Some(calendar(9, QuotaPeriod::Day));
            let of_routes =
                [("/k/GET".to_owned(), throttle(8)), ("/x/GET".to_owned(), throttle(2))];
            plan.api_stages[0].route_throttles = of_routes.into();
        },
        |config| config.threads = 2,
    );
    limited.get(&node, "/b").await;
    assert_eq!(limited.known(&node).await, [], "nobody called with the key");
    for _ in 0..3 {
        assert_eq!(limited.get(&node, "/k").await.status(), 200);
    }
    // What goes back to Redis is in neither place for a moment.
    let rest = |known: &[LimitState], name, is| left(named(known, name)) == is;
    let is = |known: &[LimitState]| rest(known, "key", 2) && rest(known, "key-route", 5);
    let known = limited.known_as(&node, is).await;
    let names: Vec<_> = known.iter().map(|it| &*it.limit.as_ref().unwrap().name).collect();
    assert_eq!(names, ["key", "key-concurrency", "key-route", "quota"], "{known:?}");

    let of_route = named(&known, "key-route");
    assert_eq!((&*of_route.api_id, &of_route.stage), (API, &limited.stage));
    assert_eq!((&*of_route.route, of_route.counting()), ("GET /k", Counting::Leased));
    let limit = named(&known, "key").limit.clone().unwrap();
    let bucket = message::Throttle { rate_limit: 0.001, burst_limit: 5 };
    assert_eq!((limit.level(), limit.figures), (Level::Key, Some(Figures::Throttle(bucket))));
    let in_progress = named(&known, "key-concurrency");
    assert!(in_progress.shadow && !of_route.shadow);
    let quota = named(&known, "quota");
    assert_eq!(quota.counting(), Counting::Leased);
    let Some(Standing::Used(used)) = quota.standing else { panic!("{quota:?}") };
    assert!(used.used == 3 && used.at_s > 0, "{used:?}");
    let Some(Figures::Quota(of)) = quota.limit.as_ref().unwrap().figures else {
        panic!("{quota:?}")
    };
    assert_eq!((of.limit, of.period_s), (9, 86_400));
    assert!((1..=86_400).contains(&of.resets_in_s), "{of:?}");
}

#[tokio::test]
async fn limits_are_told_to_their_own_tenant_alone() {
    let limited = Limited::new();
    let node = limited.node(|_, plan| plan.throttle = Some(throttle(5)), |_| {});
    limited.get(&node, "/k").await;
    assert_eq!(limited.known(&node).await.len(), 1);
    assert_eq!(limits(&node, "018f0000-0000-7000-8000-00000000000f", &limited.plan).await, []);
    assert_eq!(limits(&node, TENANT, "no-such-plan").await, []);
}

#[tokio::test]
async fn a_question_that_this_release_does_not_know_gets_no_answer() {
    let limited = Limited::new();
    let node = limited.node(|_, _| {}, |_| {});
    limited.get(&node, "/b").await;
    let asked = Question { id: 7, tenant_id: TENANT.to_owned(), kind: None };
    assert_eq!(node.shared.inquiries.answer(asked).await, None);
}

#[tokio::test]
async fn it_is_told_how_a_throttle_is_counted_at_this_moment() {
    let exact = Limited::new();
    let counting = counted(ThrottleMode::Exact, ThrottleOutage::Unspecified);
    let node = exact.node(|_, plan| plan.throttle = Some(counting), |_| {});
    for _ in 0..3 {
        exact.get(&node, "/k").await;
    }
    let known = exact.known(&node).await;
    let state = named(&known, "key");
    assert_eq!((state.counting(), left(state)), (Counting::Exact, 2));
    assert_eq!(tokens(state).in_hand, None);

    for (mode, outage, told, in_hand) in [
        (ThrottleMode::Local, ThrottleOutage::Unspecified, Counting::Local, Some(4)),
        (ThrottleMode::Leased, ThrottleOutage::Unspecified, Counting::Fallback, Some(4)),
        (ThrottleMode::Leased, ThrottleOutage::FailOpen, Counting::FailOpen, None),
        (ThrottleMode::Leased, ThrottleOutage::FailClosed, Counting::FailClosed, None),
    ] {
        let alone = Limited::new();
        let counting = counted(mode, outage);
        let node = alone.node(
            |_, plan| {
                plan.throttle = Some(counting);
                // By which it is noticed soon that Redis is away.
                plan.quota = Some(calendar(1000, QuotaPeriod::Day));
            },
            no_redis,
        );
        alone.get(&node, "/k").await;
        let is = |known: &[LimitState]| named(known, "key").counting() == told;
        let known = alone.known_as(&node, is).await;
        let state = named(&known, "key");
        assert_eq!(tokens(state), Tokens { in_hand, seen: None }, "{told:?}");
        assert_eq!(known.len(), 1, "Redis never said what was used of the quota");
    }
}

#[tokio::test]
async fn calls_in_progress_are_counted_until_they_end() {
    let (backend, listener) = raw_origin().await;
    let limited = Limited::new();
    let routes = vec![("GET /b", proxy(format!("http://{backend}/")), true)];
    let resources = limited.with(routes, |_, plan| {
        plan.concurrency_limit = Some(ConcurrencyLimit { max_in_flight: 4, shadow: false });
    });
    let node = TestNode::start_with(resources, use_redis);
    let in_progress = |known: &[LimitState]| match known {
        [one] => one.standing,
        _ => None,
    };
    let held = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        let known = limited.known(&node).await;
        assert_eq!(
            in_progress(&known),
            Some(Standing::InProgress(InProgress { in_flight: 1 })),
            "{known:?}"
        );
        let most = message::Concurrency { max_in_flight: 4 };
        let limit = known[0].limit.clone().unwrap();
        assert_eq!(
            (&*limit.name, limit.figures),
            ("key-concurrency", Some(Figures::Concurrency(most)))
        );
    };
    tokio::join!(limited.get(&node, "/b"), held);
    let ended = Standing::InProgress(InProgress { in_flight: 0 });
    limited.known_as(&node, |known| in_progress(known) == Some(ended)).await;
}
