//! A change reaches every node whole, and as soon as there is a way.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harness::kept::{Ask, KeptLoad, Way};
use harness::tenant::text;
use harness::{Tenant, Wire, World, at_length, eventually};
use serde_json::{Value, json};

/// How long after the end of a partition a node may still serve what was before it.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);

/// An API whose two routes both answer with the number of the deployment.
pub(crate) struct Numbered {
    /// GraphQL's ids.
    api: String,
    routes: Vec<String>,
    pub(crate) host: String,
}

pub(crate) const PATHS: [&str; 2] = ["/prod/a", "/prod/b"];

fn number(number: usize) -> Value {
    json!({ "type": "MOCK", "mockResponse": { "status": 200, "body": number.to_string() } })
}

impl Numbered {
    /// The number is 0, and every node serves it.
    pub(crate) async fn new(tenant: &Tenant<'_>) -> Self {
        let api = tenant.api("numbered").await;
        let mut routes = Vec::new();
        for path in ["/a", "/b"] {
            let input = json!({
                "apiId": api.id, "method": "GET", "path": path, "integration": number(0),
            });
            let made =
                tenant.mutate("createRoute", "CreateRouteInput!", input, "route { id }").await;
            routes.push(text(&made["route"]["id"]));
        }
        let numbered = Self { host: api.host(), api: api.id, routes };
        numbered.release(tenant).await;
        tenant.world.settled().await;
        numbered
    }

    /// Deploys the next number, and does not wait until any node serves it.
    pub(crate) async fn deploy(&self, tenant: &Tenant<'_>, next: usize) {
        for route in &self.routes {
            let input = json!({ "id": route, "integration": number(next) });
            tenant.mutate("updateRoute", "UpdateRouteInput!", input, "route { id }").await;
        }
        self.release(tenant).await;
    }

    async fn release(&self, tenant: &Tenant<'_>) {
        let input = json!({ "apiId": self.api, "stage": "prod" });
        let fields = "deployment { id }";
        tenant.mutate("createDeployment", "CreateDeploymentInput!", input, fields).await;
    }
}

/// What a node serves as number, by one route.
pub(crate) async fn served(world: &World, node: SocketAddr, host: &str, path: &str) -> usize {
    let call = world.endpoint().host(host).get(path).at(node);
    call.await.expect(200).text().parse().unwrap()
}

fn ways(addresses: &[SocketAddr]) -> Vec<Way> {
    let both = |address: &SocketAddr| {
        [false, true].map(|http2| Way { addresses: vec![*address], http2, tls: None })
    };
    addresses.iter().flat_map(both).collect()
}

/// That none ever was answered by a deployment older than one that had answered it before.
fn assert_never_back(bodies: &[Vec<String>]) {
    for bodies in bodies {
        let numbers: Vec<usize> = bodies.iter().map(|body| body.parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_ever_sees_half_a_deployment() {
    let world = World::start_many(2, 2).await;
    let acme = world.tenant("acme").await;
    let numbered = Numbered::new(&acme).await;
    let nodes = [world.endpoint_address_at(0), world.endpoint_address_at(1)];
    // Each asks by both routes in turn: one that were ahead of the other would be seen.
    let load =
        KeptLoad::start(&ways(&nodes), &Ask::get(&numbered.host, &PATHS), Duration::from_millis(1));
    let began = Instant::now();

    let mut deployed = 0;
    let (time, requests) = at_length((10, 5_000), (240, 1_000_000));
    while began.elapsed().as_secs() < time || load.answered() < requests {
        deployed += 1;
        numbered.deploy(&acme, deployed).await;
    }
    for node in nodes {
        for path in PATHS {
            eventually("the last deployment", async || {
                (served(&world, node, &numbered.host, path).await == deployed).then_some(())
            })
            .await;
        }
    }

    let seen = load.end().await;
    println!(
        "{deployed} deployments in {:.1?}: {} requests, {} failed",
        began.elapsed(),
        seen.answered(),
        seen.failed.len(),
    );
    assert!(seen.failed.is_empty(), "of {}: {:?}", seen.answered(), seen.failed);
    assert_never_back(&seen.bodies);
    let met: usize = seen.bodies.iter().map(Vec::len).sum();
    assert!(met > deployed, "callers met {met} changes of {deployed} deployments");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_cut_off_serves_on_and_catches_up_within_five_seconds() {
    let partition = at_length(Duration::from_secs(25), Duration::from_mins(5));
    let mut world = World::start_many(1, 2).await;
    world.stop_node_at(1).await;
    let wire = Wire::to(world.grpc_address_at(0)).await;
    let mut command = world.node_command(1);
    command.env("TOLLGATE_CONTROL_PLANE", format!("https://{}", wire.address()));
    world.run_node(1, command).await;
    let acme = world.tenant("acme").await;
    let numbered = Numbered::new(&acme).await;
    let nodes = [world.endpoint_address_at(0), world.endpoint_address_at(1)];
    let ask = Ask::get(&numbered.host, &PATHS);
    let load = KeptLoad::start(&ways(&nodes), &ask, Duration::from_millis(20));

    wire.cut();
    let began = Instant::now();
    let mut deployed = 0;
    while began.elapsed() < partition {
        deployed += 1;
        numbered.deploy(&acme, deployed).await;
        eventually("the deployment at the other node", async || {
            (served(&world, nodes[0], &numbered.host, PATHS[1]).await == deployed).then_some(())
        })
        .await;
        assert_eq!(served(&world, nodes[1], &numbered.host, PATHS[1]).await, 0, "it is cut off");
    }
    wire.mend();
    let mended = Instant::now();
    eventually("the last deployment at the node that was cut off", async || {
        (served(&world, nodes[1], &numbered.host, PATHS[1]).await == deployed).then_some(())
    })
    .await;
    let took = mended.elapsed();

    let seen = load.end().await;
    println!(
        "{partition:?} cut off from the control plane, {deployed} deployments: {} answered, caught up after {took:.2?}",
        seen.answered(),
    );
    assert!(seen.failed.is_empty(), "of {}: {:?}", seen.answered(), seen.failed);
    assert_never_back(&seen.bodies);
    assert!(took <= CATCH_UP_MAX, "{took:?}");
    // What it counted meanwhile arrives too, once.
    eventually("all that was counted in the ledger", async || {
        (acme.requests().await.0 >= u64::try_from(seen.answered()).unwrap()).then_some(())
    })
    .await;
}
