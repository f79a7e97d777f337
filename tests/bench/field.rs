//! Where gateways are compared: 1,000 routes and 10,000 keys on our node, made through its control plane, and the same in
//! the configurations of its peers.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::{StreamExt, stream};
use harness::tenant::text;
use harness::{Api, Tenant};
use serde_json::{Value, json};

use crate::gateway::{Call, Gateway};
use crate::load::Target;
use crate::machine::pin;
use crate::peer::{Features, Peer};
use crate::{haproxy, nginx};

const SERVICES: usize = 1000;
/// With those of two plans more they are 10,000, which is a tenant's limit.
const KEYS: usize = 9998;
/// Until the node has all of them.
const PATIENCE: Duration = Duration::from_mins(2);
/// An Api may have 300 routes.
const SERVICES_PER_API: usize = 250;
/// Changes that are on their way to the control plane at once.
const AT_ONCE: usize = 8;
/// The service and the key that calls use.
const CALLED: usize = 777;
/// For peers, who do not make keys.
const SMALL_KEY: &str = "small-plan-of-one-call-a-second";

pub(crate) struct Field {
    pub(crate) gateway: Gateway,
    pub(crate) nginx: Peer,
    pub(crate) nginx_featured: Peer,
    pub(crate) haproxy: Peer,
    pub(crate) haproxy_featured: Peer,
    /// Without key, throttle and quota.
    pub(crate) open: Call,
    /// A key with a throttle.
    pub(crate) throttled: Call,
    /// A key with throttle and quota.
    pub(crate) all: Call,
    pub(crate) download: Call,
    pub(crate) upload: Call,
    /// A key that may call once a second.
    pub(crate) small: Call,
    /// A key that nobody has.
    pub(crate) unknown: Call,
    /// GraphQL's opaque id of the Api that `all` calls, and the token of who may change it.
    pub(crate) api: String,
    pub(crate) token: String,
    key: String,
}

impl Field {
    pub(crate) async fn start(backend: &Peer) -> Result<Self> {
        let gateway = Gateway::start(&[]).await?;
        let open = gateway.serve_open(&backend.url("/b.json")).await;
        let tenant = gateway.world.tenant("busy").await;
        let mut apis = Vec::new();
        for first in (0..SERVICES).step_by(SERVICES_PER_API) {
            apis.push(services(&tenant, first, backend).await);
        }
        let called = &apis[CALLED / SERVICES_PER_API];
        let stages: Vec<_> = apis.iter().map(|api| api.stage_id.clone()).collect();
        let ample = json!({ "rateLimit": 1e6, "burstLimit": 1_000_000 });
        let quota = json!({ "limit": 1_000_000_000, "period": "DAY" });
        let plan = plan(
            &tenant,
            json!({ "name": "ample", "stageIds": stages, "throttle": ample, "quota": quota }),
        )
        .await;
        let keys: Vec<_> = stream::iter(0..KEYS)
            .map(|number| key(&tenant, number, &plan))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        gateway.world.settled_within(PATIENCE).await;
        let throttled = called.usage_plan("throttled").throttle(1e6, 1_000_000).key().await.value;
        let small = called.usage_plan("small").throttle(1.0, 1).key().await.value;
        let key = keys[CALLED].clone();
        let path = format!("/api/v1/svc{CALLED}/12/items");
        let call = |path: &str, key: &str| Call::of(called, path, Some(key));
        let calls = [
            call(&path, &throttled),
            call(&path, &key),
            call("/m1", &key),
            call("/up", &key),
            call(&path, &small),
            call(&path, "nobody-has-this-key"),
        ];
        let [throttled, all, download, upload, small, unknown] = calls;
        let (api, token) = (called.id.clone(), tenant.token.clone());
        drop(apis);
        drop(tenant);

        let features = Features { services: SERVICES, keys: &keys, small_key: SMALL_KEY };
        let peers = [
            nginx::plain(backend),
            nginx::featured(backend, &features),
            haproxy::plain(backend),
            haproxy::featured(backend, &features),
        ];
        let [nginx, nginx_featured, haproxy, haproxy_featured] = peers;
        let field = Self {
            gateway,
            nginx: nginx.context("nginx")?,
            nginx_featured: nginx_featured.context("nginx with features")?,
            haproxy: haproxy.context("HAProxy")?,
            haproxy_featured: haproxy_featured.context("HAProxy with features")?,
            open,
            throttled,
            all,
            download,
            upload,
            small,
            unknown,
            api,
            token,
            key,
        };
        for peer in [&field.nginx, &field.nginx_featured, &field.haproxy, &field.haproxy_featured] {
            for process in peer.processes()? {
                pin(process, "0")?;
            }
        }
        Ok(field)
    }

    /// nginx and HAProxy with features, by this path.
    pub(crate) fn featured(&self, path: &str, tls: bool) -> Result<Vec<Target>> {
        self.featured_with(path, tls, &self.key)
    }

    /// The same for a key that is refused with 429.
    pub(crate) fn featured_small(&self) -> Result<Vec<Target>> {
        self.featured_with(&Self::path(), false, SMALL_KEY)
    }

    /// The same for a key that is refused with 403.
    pub(crate) fn featured_unknown(&self) -> Result<Vec<Target>> {
        self.featured_with(&Self::path(), false, "nobody-has-this-key")
    }

    fn featured_with(&self, path: &str, tls: bool, key: &str) -> Result<Vec<Target>> {
        let key = [("x-api-key", key.to_owned())];
        Ok(vec![
            peer("nginx", &self.nginx_featured, path, tls, &key)?,
            peer("HAProxy", &self.haproxy_featured, path, tls, &key)?,
        ])
    }

    /// nginx and HAProxy that pass everything on.
    pub(crate) fn plain(&self) -> Result<Vec<Target>> {
        Ok(vec![
            peer("nginx", &self.nginx, "/b.json", false, &[])?,
            peer("HAProxy", &self.haproxy, "/b.json", false, &[])?,
        ])
    }

    /// Of the service that is called, as peers know it.
    pub(crate) fn path() -> String {
        format!("/api/v1/svc{CALLED}/12/items")
    }
}

pub(crate) fn peer(
    name: &str,
    peer: &Peer,
    path: &str,
    tls: bool,
    headers: &[(&'static str, String)],
) -> Result<Target> {
    Ok(Target {
        name: name.to_owned(),
        url: if tls { peer.tls_url(path) } else { peer.url(path) },
        headers: headers.to_vec(),
        script: None,
        processes: peer.processes()?,
    })
}

/// An Api with its share of the services, and what passes large bodies.
async fn services<'w>(tenant: &Tenant<'w>, first: usize, backend: &Peer) -> Api<'w> {
    let mut api = tenant.api(&format!("from{first}")).await;
    for number in first..first + SERVICES_PER_API {
        let path = format!("/api/v1/svc{number}/{{id}}/items");
        api =
            api.route("GET", &path, true, &backend.url(&format!("/api/svc{number}/{{id}}"))).await;
    }
    api = api.route("GET", "/m1", true, &backend.url("/m1")).await;
    api = api.route("POST", "/up", true, &backend.url("/up")).await;
    api.deploy("prod").await
}

async fn plan(tenant: &Tenant<'_>, input: Value) -> Value {
    let kind = "CreateUsagePlanInput!";
    let made = tenant.mutate("createUsagePlan", kind, input, "usagePlan { id }").await;
    made["usagePlan"]["id"].clone()
}

async fn key(tenant: &Tenant<'_>, number: usize, plan: &Value) -> String {
    let input = json!({ "name": format!("key{number}"), "usagePlanIds": [plan] });
    let made = tenant.mutate("createApiKey", "CreateApiKeyInput!", input, "value").await;
    text(&made["value"])
}
