//! Throttles that say themselves how they are counted, and what holds while Redis is away: `REDIS_URL`, or port 6399.

use std::time::Duration;

use proto::config::v1::{
    Dialect::Native, Resource, Throttle, ThrottleMode as Mode, ThrottleOutage as Outage,
};

use super::{
    limits::{Node, local, redis_url, use_redis},
    world::{PATIENCE, TestNode, api_with, mock},
};
use crate::{
    config::{
        LimiterMode::{Exact, Leased, Local},
        LimiterOutage::{FailClosed, FailOpen, LocalFallback},
    },
    policies::{limiter::Settings, throttle::Throttle as Taken},
    snapshot::served::Bucket,
};

/// No token comes back within a test.
const BUCKET: Bucket = Bucket { rate: 0.001, burst: 4 };

fn settings(url: &str) -> Settings<'_> {
    Settings {
        url: Some(url),
        authority: None,
        budget: PATIENCE,
        mode: Leased,
        outage: LocalFallback,
    }
}

fn bucket() -> Taken {
    Taken::alone("stage", format!("test:{{{}}}", uuid::Uuid::now_v7()), BUCKET)
}

#[tokio::test]
async fn each_throttle_of_a_call_is_counted_as_it_says() {
    local(async {
        let (url, node) = (redis_url(), Node::default());
        let thread = node.thread(settings(&url));
        let throttles =
            [bucket().counted(Exact, FailClosed), bucket().counted(Local, FailClosed), bucket()];
        for call in 0..4 {
            let answers = thread.take_all(&throttles).await;
            let allowed = answers.iter().all(|taken| taken.as_ref().expect("Redis").allowed);
            assert!(allowed, "{call}: {answers:?}");
        }
        let asked = |purpose| node.redis_calls(purpose);
        assert_eq!(asked("take"), 4, "once a call");
        assert!((1..=4).contains(&asked("lease")), "by lease {}", asked("lease"));
        let answers = thread.take_each(&throttles).await;
        let refused = answers.iter().filter(|taken| !taken.as_ref().expect("Redis").allowed);
        assert_eq!(refused.count(), 3, "{answers:?}");
    })
    .await;
}

#[tokio::test]
async fn a_throttle_that_is_counted_locally_never_asks_redis() {
    local(async {
        let (url, node) = (redis_url(), Node::default());
        let thread = node.thread(settings(&url));
        let throttle = bucket().counted(Local, FailClosed);
        let take = async || {
            let mut answers = thread.take_all(std::slice::from_ref(&throttle)).await;
            answers.pop().unwrap().expect("nobody is asked")
        };
        let mut left = Vec::new();
        for _ in 0..6 {
            let taken = take().await;
            left.push((taken.allowed, taken.remaining));
        }
        let refused = (false, 0);
        assert_eq!(left, [(true, 3), (true, 2), (true, 1), (true, 0), refused, refused]);
        let asked = ["take", "lease", "report"].map(|purpose| node.redis_calls(purpose));
        assert_eq!(asked, [0; 3]);
    })
    .await;
}

#[tokio::test]
async fn what_a_refused_call_took_from_a_local_throttle_goes_back() {
    let name = format!("s{}", uuid::Uuid::new_v4().simple());
    let routes = vec![("GET /a", mock(200, "a"), false), ("GET /b", mock(200, "b"), false)];
    let throttle = |mode: Mode, burst_limit| Throttle {
        rate_limit: 0.001,
        burst_limit,
        mode: mode.into(),
        outage: Outage::FailClosed.into(),
        ..Throttle::default()
    };
    let resources = api_with(Native, routes, |(_, _, stage)| {
        stage.name.clone_from(&name);
        stage.throttle = Some(throttle(Mode::Local, 3));
        stage.route_throttles = [("GET /a".to_owned(), throttle(Mode::Exact, 1))].into();
    });
    let node = TestNode::start_with(resources, |config| {
        // By its share, which is the whole where no other node is known; and nobody can be asked.
        config.limits.redis_timeout = Duration::from_millis(50);
    });
    let status = async |path: &str| node.get(&format!("/{name}{path}")).await.status();
    for _ in 0..5 {
        assert_eq!(status("/a").await, 503);
    }
    let seen = [status("/b").await, status("/b").await, status("/b").await, status("/b").await];
    assert_eq!(seen, [200, 200, 200, 429]);
}

/// A stage throttled to two calls in its own way.
fn stage(mode: Mode, outage: Outage) -> Vec<Resource> {
    let name = format!("s{}", uuid::Uuid::new_v4().simple());
    api_with(Native, vec![("GET /a", mock(200, "a"), false)], |(_, _, stage)| {
        stage.name = name;
        stage.throttle = Some(Throttle {
            rate_limit: 0.001,
            burst_limit: 2,
            mode: mode.into(),
            outage: outage.into(),
            ..Throttle::default()
        });
    })
}

async fn statuses(node: &TestNode, resources: &[Resource]) -> [u16; 3] {
    let name = resources.iter().find_map(|resource| match &resource.kind {
        Some(proto::config::v1::resource::Kind::Stage(stage)) => Some(stage.name.clone()),
        _ => None,
    });
    let path = format!("/{}/a", name.expect("a stage"));
    let mut statuses = [0; 3];
    for status in &mut statuses {
        *status = node.get(&path).await.status();
    }
    statuses
}

#[tokio::test]
async fn a_throttles_own_outage_policy_goes_before_the_nodes() {
    for (of_node, of_throttle, expected) in [
        (FailClosed, Outage::LocalFallback, [200, 200, 429]),
        (FailClosed, Outage::FailOpen, [200, 200, 200]),
        (FailOpen, Outage::FailClosed, [503, 503, 503]),
        (FailClosed, Outage::Unspecified, [503, 503, 503]),
        (FailOpen, Outage::Unspecified, [200, 200, 200]),
    ] {
        for mode in [Mode::Leased, Mode::Exact] {
            let resources = stage(mode, of_throttle);
            let node = TestNode::start_with(resources.clone(), |config| {
                config.redis_url = Some("redis://127.0.0.1:1/".to_owned());
                config.limits.redis_timeout = Duration::from_millis(50);
                config.limiter_outage = of_node;
            });
            let what = (of_node, of_throttle, mode);
            assert_eq!(statuses(&node, &resources).await, expected, "{what:?}");
        }
    }
    let resources = stage(Mode::Local, Outage::FailClosed);
    let node = TestNode::start_with(resources.clone(), |config| {
        config.redis_url = Some("redis://127.0.0.1:1/".to_owned());
        config.limiter_outage = FailClosed;
    });
    let seen = statuses(&node, &resources).await;
    assert_eq!(seen, [200, 200, 429], "Redis is nothing to it");
}

#[tokio::test]
async fn a_throttles_own_mode_goes_before_the_nodes() {
    for (of_node, of_throttle, purpose) in [
        (Leased, Mode::Exact, "take"),
        (Exact, Mode::Leased, "lease"),
        (Local, Mode::Exact, "take"),
        (Local, Mode::Leased, "lease"),
        (Exact, Mode::Unspecified, "take"),
    ] {
        let resources = stage(of_throttle, Outage::Unspecified);
        let node = TestNode::start_with(resources.clone(), |config| {
            use_redis(config);
            config.limiter_mode = of_node;
        });
        let what = (of_node, of_throttle);
        assert_eq!(statuses(&node, &resources).await, [200, 200, 429], "{what:?}");
        let metrics = &node.shared.metrics.limits;
        let other = if purpose == "take" { "lease" } else { "take" };
        assert!(metrics.redis_calls(purpose) > 0, "{what:?}");
        assert_eq!(metrics.redis_calls(other), 0, "{what:?}");
    }
}
