//! Our node, configured through a real control plane.

use anyhow::{Context, Result};
use harness::{Api, World};

use crate::load::Target;
use crate::machine::pin;

/// A world whose node has cores of its own.
pub(crate) struct Gateway {
    pub(crate) world: World,
    node: u32,
}

/// What a call of a route says.
#[derive(Clone)]
pub(crate) struct Call {
    host: String,
    path: String,
    key: Option<String>,
}

impl Call {
    /// Of the stage that was last deployed to.
    pub(crate) fn of(api: &Api<'_>, path: &str, key: Option<&str>) -> Self {
        let path = format!("/{}{path}", api.stage);
        Self { host: api.host(), path, key: key.map(str::to_owned) }
    }

    /// Without a key, by the whole path.
    pub(crate) fn to(host: &str, path: &str) -> Self {
        Self { host: host.to_owned(), path: path.to_owned(), key: None }
    }
}

impl Gateway {
    /// With one data thread on the first core, but for what the settings say.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_on("0", &[&[("TOLLGATE_NODE_THREADS", "1")], settings].concat()).await
    }

    pub(crate) async fn start_on(cores: &str, settings: &[(&str, &str)]) -> Result<Self> {
        let mut world = World::start_with(settings).await;
        let node = world.node().context("the world has a node")?.id();
        pin(node, cores)?;
        Ok(Self { world, node })
    }

    /// Serves one route that needs no key.
    pub(crate) async fn serve_open(&self, uri: &str) -> Call {
        let tenant = self.world.tenant("bench").await;
        let api = tenant.api("open").await.route("GET", "/items/{id}", false, uri).await;
        Call::of(&api.deploy("prod").await, "/items/12", None)
    }

    pub(crate) fn target(&self, name: &str, call: &Call) -> Target {
        self.called(name, call, format!("http://{}{}", self.world.endpoint_address(), call.path))
    }

    pub(crate) fn tls_target(&self, name: &str, call: &Call) -> Target {
        let address = self.world.tls_endpoint_address();
        self.called(name, call, format!("https://{address}{}", call.path))
    }

    fn called(&self, name: &str, call: &Call, url: String) -> Target {
        // With a small letter wrk would say its own beside it.
        let host = ("Host", call.host.clone());
        let key = call.key.clone().map(|key| ("x-api-key", key));
        Target {
            name: name.to_owned(),
            url,
            headers: [host].into_iter().chain(key).collect(),
            script: None,
            processes: vec![self.node],
        }
    }
}
