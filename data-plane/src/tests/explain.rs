//! What a node says of a request that it is asked about, against a real Redis: `REDIS_URL`, or the one on port 6399.

use proto::{
    config::v1::{
        ClientKey, ClientThrottle, ConcurrencyLimit, QuotaPeriod, Stage, Throttle, ThrottleMode,
        UsagePlan,
    },
    inquiry::v1::{
        self as message, Decision, Explanation, How, Level, NotKept, Question, RequestAsked,
        answer, limit::Figures, question,
    },
};

use super::{
    access::Memory,
    limited::Limited,
    limits::{KEY, calendar, use_redis},
    world::{API, Answer, TENANT, TestNode, mock, proxy, raw_origin, read_until, until},
};
use crate::{
    Config,
    config::{LimiterMode, LimiterOutage},
};

/// No token comes back within a test.
const RATE: f64 = 0.001;

pub(super) fn throttle(burst_limit: u32) -> Throttle {
    Throttle { rate_limit: RATE, burst_limit, ..Throttle::default() }
}

impl Limited {
    /// A node with the routes `/k`, which needs a key, and `/b`.
    pub(super) fn node(
        &self,
        change: impl FnOnce(&mut Stage, &mut UsagePlan),
        config: impl FnOnce(&mut Config),
    ) -> TestNode {
        let routes = vec![("GET /k", mock(200, "k"), true), ("GET /b", mock(200, "b"), false)];
        let resources = self.with(routes, change);
        TestNode::start_with(resources, |it| {
            use_redis(it);
            config(it);
        })
    }

    pub(super) async fn get(&self, node: &TestNode, path: &str) -> Answer {
        node.call(&format!("GET /{}{path}?secret=planted", self.stage), &[KEY]).await
    }

    /// What the node says of the last of so many calls, whose status is this.
    async fn last_of(&self, node: &TestNode, path: &str, calls: u32, status: u16) -> Explanation {
        for _ in 1..calls {
            self.get(node, path).await;
        }
        let answer = self.get(node, path).await;
        assert_eq!(answer.status(), status, "{answer:?}");
        let explained = explain(node, TENANT, answer.field("x-request-id").unwrap()).await.unwrap();
        let told = explained.decision.as_ref().map(|it| it.retry_after_s.to_string());
        assert_eq!(told.as_deref(), answer.field("retry-after"), "{answer:?}");
        explained
    }
}

async fn explain(node: &TestNode, tenant: &str, id: &str) -> Result<Explanation, NotKept> {
    let kind = question::Kind::Request(RequestAsked { request_id: id.to_owned() });
    let asked = Question { id: 7, tenant_id: tenant.to_owned(), kind: Some(kind) };
    let answer = node.shared.inquiries.answer(asked).await.expect("an answer");
    assert_eq!(answer.question_id, 7);
    match answer.kind.unwrap() {
        answer::Kind::Explanation(found) => Ok(found),
        answer::Kind::NotKept(since) => Err(since),
        answer::Kind::Limits(other) => panic!("{other:?}"),
    }
}

/// Nobody listens there.
pub(super) fn no_redis(config: &mut Config) {
    config.redis_url = Some("redis://127.0.0.1:1/".to_owned());
    config.limits.redis_timeout = std::time::Duration::from_millis(50);
}

/// Name, level and how it was known.
fn decided(explained: &Explanation) -> (&str, Level, How) {
    let decision = explained.decision.as_ref().expect("a limit refused it");
    let limit = decision.limit.as_ref().unwrap();
    (&limit.name, limit.level(), decision.how())
}

fn figures(explained: &Explanation) -> Figures {
    let limit = explained.decision.as_ref().and_then(|decision| decision.limit.as_ref());
    limit.and_then(|limit| limit.figures).unwrap()
}

#[tokio::test]
async fn of_a_refused_call_it_is_known_which_throttle_refused_it_and_of_others_that_none_did() {
    let limited = Limited::new();
    let node = limited.node(
        |stage, plan| {
            plan.throttle = Some(throttle(2));
            stage.throttle = Some(throttle(9));
            stage.route_throttles =
                [("GET /k".to_owned(), Throttle { shadow: true, ..throttle(1) })].into();
        },
        |config| config.threads = 2,
    );
    let passed = limited.last_of(&node, "/k", 1, 200).await;
    assert_eq!((passed.decision, passed.status, passed.code.as_str()), (None, 200, ""));
    let names: Vec<_> = passed.standings.iter().map(|it| (it.name.as_str(), it.limit)).collect();
    assert_eq!(names, [("key", 2), ("stage", 9)]);
    let beyond = limited.last_of(&node, "/k", 1, 200).await;
    assert_eq!((beyond.decision, &*beyond.shadow_throttled_by), (None, &["route".to_owned()][..]));

    let refused = limited.last_of(&node, "/k", 1, 429).await;
    let (name, level, how) = decided(&refused);
    assert_eq!((name, level), ("key", Level::Key));
    assert!(matches!(how, How::Lease | How::Remembered), "{how:?}");
    let bucket = message::Throttle { rate_limit: RATE, burst_limit: 2 };
    assert_eq!(figures(&refused), Figures::Throttle(bucket));
    assert_eq!((refused.api_id.as_str(), &refused.stage), (API, &limited.stage));
    assert_eq!((refused.method.as_str(), refused.route.as_str()), ("GET", "GET /k"));
    assert_eq!((refused.path.as_str(), refused.code.as_str()), ("/k", "THROTTLED"));
    assert_eq!(
        (refused.api_key_id.as_str(), &refused.usage_plan_id),
        ("keyaaaaaa1", &limited.plan)
    );
    assert_eq!((refused.deployment_id.as_str(), refused.config_version), ("deploy0001", 1));
    assert!(!format!("{refused:?}").contains("planted"), "{refused:?}");
    // Nobody asks Redis again until a token is due.
    let again = limited.last_of(&node, "/k", 1, 429).await;
    assert_eq!(decided(&again), ("key", Level::Key, How::Remembered));
    let without_key = node.call(&format!("GET /{}/k", limited.stage), &[]).await;
    let id = without_key.field("x-request-id").unwrap();
    let explained = explain(&node, TENANT, id).await.unwrap();
    assert_eq!((explained.decision, explained.code.as_str()), (None, "INVALID_API_KEY"));
}

#[tokio::test]
async fn a_request_is_explained_to_its_own_tenant_alone() {
    let limited = Limited::new();
    let node = limited.node(|_, _| {}, |_| {});
    let answer = limited.get(&node, "/b").await;
    let id = answer.field("x-request-id").unwrap();
    assert!(explain(&node, TENANT, id).await.is_ok());
    let other = "018f0000-0000-7000-8000-00000000000f";
    let gone = explain(&node, other, id).await.unwrap_err();
    assert!(gone.refused_since_ms > 0 && gone.others_since_ms > 0, "{gone:?}");
}

#[tokio::test]
async fn each_way_in_which_a_throttle_is_counted_is_told() {
    let exact = Limited::new();
    let counted = |mode: ThrottleMode, burst| Throttle { mode: mode.into(), ..throttle(burst) };
    let node =
        exact.node(|stage, _| stage.throttle = Some(counted(ThrottleMode::Exact, 1)), |_| {});
    let refused = exact.last_of(&node, "/b", 2, 429).await;
    assert_eq!(decided(&refused), ("stage", Level::Stage, How::Exact));

    let local = Limited::new();
    let routes = |mode| [("GET /b".to_owned(), counted(mode, 1))].into();
    let node = local.node(|stage, _| stage.route_throttles = routes(ThrottleMode::Local), |_| {});
    let refused = local.last_of(&node, "/b", 2, 429).await;
    assert_eq!(decided(&refused), ("route", Level::Route, How::Local));

    let alone = Limited::new();
    let node = alone.node(|stage, _| stage.throttle = Some(throttle(1)), no_redis);
    let refused = alone.last_of(&node, "/b", 2, 429).await;
    assert_eq!(decided(&refused), ("stage", Level::Stage, How::Fallback));

    let closed = Limited::new();
    let node = closed.node(
        |stage, _| stage.throttle = Some(throttle(1)),
        |config| {
            no_redis(config);
            config.limiter_outage = LimiterOutage::FailClosed;
        },
    );
    let refused = closed.last_of(&node, "/b", 1, 503).await;
    assert_eq!(decided(&refused), ("stage", Level::Stage, How::Unavailable));
    assert_eq!(refused.code, "LIMITS_UNAVAILABLE");

    let never = Limited::new();
    let node = never.node(|_, plan| plan.throttle = Some(throttle(0)), |_| {});
    let refused = never.last_of(&node, "/k", 1, 429).await;
    assert_eq!(decided(&refused), ("key", Level::Key, How::Setting));
}

#[tokio::test]
async fn a_client_throttle_is_told_by_its_name_and_the_key_of_a_route_by_its_level() {
    let limited = Limited::new();
    let of_client = ClientThrottle {
        name: "per-ip".to_owned(),
        key: ClientKey::Ip.into(),
        throttle: Some(throttle(1)),
        ..ClientThrottle::default()
    };
    let node = limited.node(
        |stage, plan| {
            stage.restrictions = vec!["clientThrottles".to_owned()];
            stage.client_throttles = vec![of_client];
            plan.api_stages[0].route_throttles = [("/k/GET".to_owned(), throttle(0))].into();
        },
        |_| {},
    );
    let refused = limited.last_of(&node, "/b", 2, 429).await;
    let (name, level, _) = decided(&refused);
    assert_eq!((name, level), ("per-ip", Level::Client));
    let refused = limited.last_of(&node, "/k", 1, 429).await;
    assert_eq!(decided(&refused), ("key-route", Level::KeyRoute, How::Setting));
}

#[tokio::test]
async fn a_quota_is_told_with_its_period_and_who_counted_it() {
    for (redis, how) in [(true, How::Exact), (false, How::Fallback)] {
        let limited = Limited::new();
        let node = limited.node(
            |_, plan| plan.quota = Some(calendar(1, QuotaPeriod::Day)),
            |config| {
                if !redis {
                    no_redis(config);
                }
            },
        );
        let refused = limited.last_of(&node, "/k", 2, 429).await;
        assert_eq!(decided(&refused), ("quota", Level::Key, how));
        let Figures::Quota(quota) = figures(&refused) else { panic!("{refused:?}") };
        assert_eq!((quota.limit, quota.period_s), (1, 86_400));
        assert!((1..=86_400).contains(&quota.resets_in_s), "{quota:?}");
        assert_eq!(refused.code, "QUOTA_EXCEEDED");
    }
}

#[tokio::test]
async fn limits_of_requests_in_progress_and_a_tenants_share_are_told() {
    let (backend, listener) = raw_origin().await;
    let limited = Limited::new();
    let routes = vec![("GET /b", proxy(format!("http://{backend}/")), false)];
    let resources = limited.with(routes.clone(), |stage, _| {
        stage.concurrency_limit = Some(ConcurrencyLimit { max_in_flight: 1, shadow: false });
    });
    let log = Memory::default();
    let node = TestNode::start_with(resources, |config| {
        use_redis(config);
        log.config(config);
    });
    let held = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        let refused = limited.last_of(&node, "/b", 1, 429).await;
        drop(stream);
        refused
    };
    let (_, refused) = tokio::join!(limited.get(&node, "/b"), held);
    let (name, level, _) = decided(&refused);
    assert_eq!((name, level), ("stage-concurrency", Level::Stage));
    let most = message::Concurrency { max_in_flight: 1 };
    assert_eq!(figures(&refused), Figures::Concurrency(most));
    until(|| log.len() == 2).await;
    assert_eq!(log.count("throttled_by", Some("stage-concurrency")), 1);
    assert_eq!(log.count("throttled_by", None), 1, "the one that was let through");

    let crowded = Limited::new();
    let node = TestNode::start_with(crowded.with(routes, |_, _| {}), |config| {
        config.limits.tenant_in_flight_max = 1;
    });
    let held = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        let refused = crowded.last_of(&node, "/b", 1, 503).await;
        drop(stream);
        refused
    };
    let (_, refused) = tokio::join!(crowded.get(&node, "/b"), held);
    assert_eq!(decided(&refused), ("tenant-share", Level::Tenant, How::Local));
    assert_eq!(figures(&refused), Figures::Share(message::Share { max_in_flight: 1 }));
}

#[tokio::test]
async fn a_configuration_that_comes_later_is_told_by_its_version() {
    let limited = Limited::new();
    let mut node = limited.node(|_, _| {}, |config| config.limiter_mode = LimiterMode::Local);
    let of = |throttle| {
        let routes = vec![("GET /b", mock(200, "b"), false)];
        limited.with(routes, |stage, _| stage.throttle = throttle)
    };
    node.publish(of(Some(throttle(1))));
    let refused = limited.last_of(&node, "/b", 2, 429).await;
    assert_eq!(refused.config_version, 2);
    node.publish(of(None));
    let passed = limited.last_of(&node, "/b", 1, 200).await;
    assert_eq!((passed.config_version, passed.decision), (3, None::<Decision>));
}
