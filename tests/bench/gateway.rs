//! Our node, configured through a real control plane, as each case wants it.

use anyhow::{Context, Result};
use harness::World;

use crate::nginx::Nginx;
use crate::{Case, pin};

/// A world whose node has one data thread, and the calls that the cases make.
pub(crate) struct Gateway {
    world: World,
    node: u32,
    open: Target,
    keyed: Target,
    limited: Target,
}

/// A route to call.
struct Target {
    host: String,
    path: String,
    key: Option<String>,
}

impl Gateway {
    pub(crate) async fn start(backend: &Nginx, settings: &[(&str, &str)]) -> Result<Self> {
        let settings = [&[("TOLLGATE_NODE_THREADS", "1")][..], settings].concat();
        let mut world = World::start_with(&settings).await;
        let node = world.node().context("the world has a node")?.id();
        pin(node)?;
        let uri = backend.url("/b.json");
        let (open, keyed, limited) = {
            let tenant = world.tenant("bench").await;
            let api = tenant.api("open").await.route("GET", "/items/{id}", false, &uri).await;
            let api = api.deploy("prod").await;
            let open = Target { host: api.host(), path: "/prod/items/12".to_owned(), key: None };

            let api = tenant.api("keyed").await.route("GET", "/items/{id}", true, &uri).await;
            let api = api.deploy("prod").await;
            let key = api.usage_plan("unlimited").key().await;
            let keyed = Target {
                host: api.host(),
                path: "/prod/items/12".to_owned(),
                key: Some(key.value),
            };

            let api = tenant.api("limited").await.route("GET", "/items/{id}", true, &uri).await;
            let api = api.deploy("prod").await;
            let key = api
                .usage_plan("ample")
                .throttle(1e6, 1_000_000)
                .quota(1_000_000_000, "DAY")
                .key()
                .await;
            let limited = Target {
                host: api.host(),
                path: "/prod/items/12".to_owned(),
                key: Some(key.value),
            };
            (open, keyed, limited)
        };
        Ok(Self { world, node, open, keyed, limited })
    }

    pub(crate) fn cases(&self) -> Vec<Case> {
        vec![
            self.open("tollgate: route, count, log"),
            self.case("tollgate: the same and a key", &self.keyed),
            self.case("tollgate: the same, throttle and quota (exact)", &self.limited),
        ]
    }

    /// A call without a key.
    pub(crate) fn open(&self, name: &'static str) -> Case {
        self.case(name, &self.open)
    }

    fn case(&self, name: &'static str, target: &Target) -> Case {
        let headers = [
            Some(format!("Host: {}", target.host)),
            target.key.as_ref().map(|key| format!("x-api-key: {key}")),
        ];
        Case {
            name,
            url: format!("http://{}{}", self.world.endpoint_address(), target.path),
            headers: headers.into_iter().flatten().collect(),
            processes: vec![self.node],
            rounds: Vec::new(),
        }
    }
}
