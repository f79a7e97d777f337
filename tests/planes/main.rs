//! Both planes in one process, over real sockets, real TLS and a real database: how configuration reaches a node,
//! and what is left when something of it fails.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod tampering;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use control_plane::access::sealed::WrappingKey;
use control_plane::app::{App, Job};
use control_plane::config::Signup;
use control_plane::domain;
use control_plane::grpc::Grpc;
use control_plane::ids::{NodeId, Rng, TenantId};
use control_plane::snapshot::compile;
use data_plane::snapshot::join::{self, Identity};
use data_plane::snapshot::resources::Resources;
use data_plane::snapshot::stream::{ConfigStream, Metrics, Settings};
use proto::config::v1::Heartbeat;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::ConnectOptions;
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// Nothing here takes so long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// A directory of this test's own.
struct Home(PathBuf);

impl Home {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tollgate-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("master.key"), hex::encode(Rng.bytes::<32>())).unwrap();
        Self(path)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One control-plane replica, as far as nodes see it.
struct Replica {
    app: App,
    address: String,
    stop: CancellationToken,
    served: JoinHandle<()>,
}

async fn replica(db: &PgPool, home: &Home) -> Replica {
    control_plane::install_crypto();
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let options: &PgConnectOptions = &db.connect_options();
    let config = control_plane::Config {
        http_listen: loopback,
        admin_listen: loopback,
        grpc_listen: loopback,
        grpc_names: Vec::new(),
        public_url: "http://127.0.0.1:8080".to_owned(),
        database_url: options.to_url_lossy().to_string(),
        master_key_file: home.0.join("master.key"),
        signup: Signup::Open,
        mail: None,
        endpoint_template: String::new(),
        path_endpoint_template: None,
        trusted_proxies: Vec::new(),
        egress_allow: Vec::new(),
        egress_refuse: Vec::new(),
        user_points_per_minute: NonZeroU32::MAX,
        address_points_per_minute: NonZeroU32::MAX,
        database_connections_max: 16,
        usage_minutes_kept_days: 35,
    };
    let app = App::connect(config).await.unwrap();
    let grpc = Box::pin(Grpc::bind(&app)).await.unwrap();
    let address = format!("https://{}", grpc.address().unwrap());
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let served = tokio::spawn(async move { Box::pin(grpc.serve(stopped)).await.unwrap() });
    Replica { app, address, stop, served }
}

impl Replica {
    async fn token(&self) -> String {
        let cells = ["default".to_owned()];
        domain::node::create_join_token(&self.app, &cells, TimeDelta::hours(1)).await.unwrap()
    }

    /// Commits one more tenant; answers the version.
    async fn change(&self) -> u64 {
        change(&self.app).await
    }

    async fn end(self) {
        self.stop.cancel();
        self.served.await.unwrap();
    }
}

async fn change(app: &App) -> u64 {
    let mut tx = app.system(Job::SignUp).await.unwrap();
    let id: TenantId = app.rng.id();
    let data_key: [u8; 32] = app.rng.bytes();
    let pepper: [u8; 32] = app.rng.bytes();
    let pepper = WrappingKey::new(data_key).wrap(&format!("tenant:{id}:key_pepper"), &pepper);
    sqlx::query("insert into tenant (id, name, data_key, key_pepper) values ($1, $2, $3, $4)")
        .bind(id.0)
        .bind(id.to_string())
        .bind(app.master.wrap(&format!("tenant:{id}:data_key"), &data_key))
        .bind(pepper)
        .execute(&mut *tx)
        .await
        .unwrap();
    let tenant = compile::tenant(&mut tx, &app.master, id).await.unwrap();
    tx.publish_to("default");
    tx.upsert(tenant);
    tx.commit().await.unwrap().unwrap()
}

/// What a node serves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Served {
    /// None until anything was published.
    version: Option<u64>,
    tenants: u64,
}

struct Node {
    served: watch::Receiver<Served>,
    /// Every version at which something was published, in order.
    history: Arc<Mutex<Vec<u64>>>,
    channels: watch::Receiver<Arc<[Channel]>>,
    registry: prometheus::Registry,
    stop: CancellationToken,
    ran: JoinHandle<Result<(), join::Error>>,
}

fn node(home: &Home, addresses: &[&Replica], token: Option<&str>) -> Result<Node, join::Error> {
    let addresses = addresses.iter().map(|replica| replica.address.clone()).collect();
    node_at(home, addresses, token)
}

fn node_at(home: &Home, addresses: Vec<String>, token: Option<&str>) -> Result<Node, join::Error> {
    let (sender, served) = watch::channel(Served::default());
    let history = Arc::<Mutex<Vec<u64>>>::default();
    let seen = history.clone();
    let publish = Box::new(move |resources: &Resources, _: &[_]| {
        let version = resources.version("default");
        seen.lock().unwrap().push(version);
        let tenants = resources.iter().count() as u64;
        sender.send_replace(Served { version: Some(version), tenants });
        Vec::new()
    });
    let (registry, metrics) = (prometheus::Registry::new(), Metrics::default());
    metrics.register(&registry).unwrap();
    let settings = Settings {
        directory: home.0.join("node"),
        control_planes: addresses,
        join_token: token.map(str::parse).transpose()?,
        name: "test".to_owned(),
        cells: vec!["default".to_owned()],
    };
    let stream = ConfigStream::open(settings, publish, metrics)?;
    let (channels, stop) = (stream.channels(), CancellationToken::new());
    let ran = tokio::spawn(stream.run(Arc::new(Heartbeat::default), stop.clone()));
    Ok(Node { served, history, channels, registry, stop, ran })
}

impl Node {
    /// Waits until this version is served.
    async fn at(&mut self, version: u64) -> Served {
        let reached = self.served.wait_for(|served| served.version >= Some(version));
        *tokio::time::timeout(PATIENCE, reached).await.expect("the version comes").unwrap()
    }

    fn metric(&self, name: &str) -> u64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).expect("a metric");
        let metric = &family.get_metric()[0];
        let value = metric.get_counter().get_value() + metric.get_gauge().get_value();
        value.to_string().parse().expect("a whole number")
    }

    async fn end(self) {
        self.stop.cancel();
        self.ran.await.unwrap().unwrap();
    }
}

/// Waits until the control plane's tables say it.
async fn until(app: &App, query: &'static str) {
    let reached = async {
        while !sqlx::query_scalar::<_, bool>(query).fetch_one(app.system_pool()).await.unwrap() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("it comes to be so");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_joins_follows_and_acknowledges(db: PgPool) {
    let home = Home::new();
    let replica = replica(&db, &home).await;
    replica.change().await;

    let mut node = node(&home, &[&replica], Some(&replica.token().await)).unwrap();

    assert_eq!(node.at(1).await.tenants, 1);
    let version = replica.change().await;
    assert_eq!(node.at(version).await.tenants, 2);
    until(&replica.app, "select exists (select from node_cell where version = 2)").await;
    let converged =
        domain::convergence::of_version(&replica.app, "default", version, &[]).await.unwrap();
    assert!(converged.live(), "{converged:?}");
    node.end().await;
    replica.end().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_wrong_secret_and_a_wrong_pin_are_refused_at_once(db: PgPool) {
    let home = Home::new();
    let replica = replica(&db, &home).await;
    let token = replica.token().await;
    let (secret, pin) = token.split_once('.').unwrap();

    let wrong_secret = format!("wrong.{pin}");
    let refused = node(&home, &[&replica], Some(&wrong_secret)).unwrap().ran.await.unwrap();
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("the join token is unknown or has expired"), "{refused}");

    let wrong_pin = format!("{secret}.{}", "00".repeat(32));
    let refused = node(&home, &[&replica], Some(&wrong_pin)).unwrap().ran.await.unwrap();
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("UnknownIssuer"), "{refused}");

    assert!(matches!(node(&home, &[&replica], None), Err(join::Error::NoToken)));
    assert!(matches!(node(&home, &[&replica], Some("token")), Err(join::Error::Token)));
    replica.end().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn with_32_writers_and_2_replicas_every_node_has_every_version_in_order(db: PgPool) {
    const WRITERS: u64 = 32;
    const CHANGES: u64 = 8;
    let seed: u64 =
        std::env::var("TEST_SEED").map_or_else(|_| rand::random(), |it| it.parse().unwrap());
    println!("TEST_SEED={seed}");
    let (home, second_home) = (Home::new(), Home::new());
    let (here, there) = (replica(&db, &home).await, replica(&db, &home).await);
    let mut nodes = Vec::new();
    for home in [&home, &second_home] {
        nodes.push(node(home, &[&here, &there], Some(&here.token().await)).unwrap());
    }
    for node in &nodes {
        streams(node, 2).await;
    }

    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let app = if writer % 2 == 0 { here.app.clone() } else { there.app.clone() };
        let mut pauses = StdRng::seed_from_u64(seed ^ writer);
        writers.spawn(async move {
            for _ in 0..CHANGES {
                let pause = Duration::from_micros(pauses.random_range(0..12_750));
                tokio::time::sleep(pause).await; // so that the writers meet in any order
                change(&app).await;
            }
        });
    }
    for node in &mut nodes {
        let served = node.at(WRITERS * CHANGES).await;
        assert_eq!(served.tenants, WRITERS * CHANGES, "each version brought a tenant of its own");
    }
    writers.join_all().await;

    until(&here.app, "select count(*) filter (where version = 256) = 2 from node_cell").await;
    for node in nodes {
        let history = node.history.lock().unwrap().clone();
        assert!(history.is_sorted(), "{history:?}");
        assert_eq!(node.metric("tollgate_config_updates_refused_total"), 0, "no gap, no forgery");
        node.end().await;
    }
    here.end().await;
    there.end().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_starts_with_everything_else_down(db: PgPool) {
    let home = Home::new();
    let replica = replica(&db, &home).await;
    let mut first = node(&home, &[&replica], Some(&replica.token().await)).unwrap();
    first.at(0).await;
    let version = replica.change().await;
    let before = first.at(version).await;
    first.end().await;
    let address = replica.address.clone();
    replica.end().await;
    db.close().await;

    let node = node_at(&home, vec![address], None).unwrap();

    // Published before `open` returns: no network was needed.
    assert_eq!(*node.served.borrow(), before);
    node.end().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_that_was_away_resumes_without_a_snapshot(db: PgPool) {
    let home = Home::new();
    let replica = replica(&db, &home).await;
    let before = settled(&home, &replica).await;
    replica.change().await;
    let version = replica.change().await;

    let mut again = node(&home, &[&replica], None).unwrap();

    assert_eq!(again.at(version).await.tenants, 4);
    again.end().await;
    assert_eq!(std::fs::read(previous(&home)).unwrap(), before);
    replica.end().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_whose_outbox_rows_are_gone_takes_a_snapshot(db: PgPool) {
    let home = Home::new();
    let replica = replica(&db, &home).await;
    let before = settled(&home, &replica).await;
    replica.change().await;
    let version = replica.change().await;
    replica.end().await;
    sqlx::query("delete from outbox where version < 4").execute(&db).await.unwrap();
    let fresh = self::replica(&db, &home).await;

    let mut again = node(&home, &[&fresh], None).unwrap();

    assert_eq!(again.at(version).await.tenants, 4);
    assert_eq!(again.at(fresh.change().await).await.tenants, 5);
    again.end().await;
    assert_ne!(std::fs::read(previous(&home)).unwrap(), before);
    fresh.end().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_with_a_damaged_file_serves_the_rest_and_mends_it(db: PgPool) {
    let home = Home::new();
    let replica = replica(&db, &home).await;
    let mut first = node(&home, &[&replica], Some(&replica.token().await)).unwrap();
    first.at(0).await;
    for _ in 0..3 {
        first.at(replica.change().await).await;
    }
    first.end().await;
    let path = home.0.join("node").join("default.config");
    let mut content = std::fs::read(&path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    std::fs::write(&path, content).unwrap();

    let mut again = node(&home, &[&replica], None).unwrap();

    assert_eq!(again.history.lock().unwrap()[0], 2, "the version before the damaged one");
    assert_eq!(again.metric("tollgate_config_last_good_damaged_total"), 1);
    again.at(replica.change().await).await;
    again.end().await;
    let third = node(&home, &[&replica], None).unwrap();
    assert_eq!(third.metric("tollgate_config_last_good_damaged_total"), 0);
    assert_eq!(*third.served.borrow(), Served { version: Some(4), tenants: 4 });
    third.end().await;
    replica.end().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_certificate_is_renewed_over_the_one_before(db: PgPool) {
    let home = Home::new();
    let replica = replica(&db, &home).await;
    let mut node = node(&home, &[&replica], Some(&replica.token().await)).unwrap();
    node.at(0).await;
    let channel = node.channels.borrow()[0].clone();
    let directory = home.0.join("node");
    let before = std::fs::read(directory.join("node.certificate")).unwrap();
    let identity = Identity::load(&directory).unwrap().unwrap();

    identity.renew(&replica.address, channel).await.unwrap();

    assert_ne!(std::fs::read(directory.join("node.certificate")).unwrap(), before);
    node.end().await;
    let mut again = self::node(&home, &[&replica], None).unwrap();
    again.at(replica.change().await).await;
    assert_eq!(Identity::load(&directory).unwrap().unwrap().node(), identity.node());
    again.end().await;
    replica.end().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn one_of_two_replicas_is_enough(db: PgPool) {
    let home = Home::new();
    let (here, there) = (replica(&db, &home).await, replica(&db, &home).await);
    let mut node = node(&home, &[&here, &there], Some(&here.token().await)).unwrap();
    node.at(here.change().await).await;
    streams(&node, 2).await;

    here.end().await;

    for tenants in [2, 3] {
        assert_eq!(node.at(there.change().await).await.tenants, tenants);
    }
    streams(&node, 1).await;
    node.end().await;
    there.end().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_revoked_node_is_cut_off_and_goes_on_with_what_it_has(db: PgPool) {
    let home = Home::new();
    let replica = replica(&db, &home).await;
    let mut node = node(&home, &[&replica], Some(&replica.token().await)).unwrap();
    node.at(0).await;
    let before = node.at(replica.change().await).await;
    let id = sqlx::query_scalar("select id from node").fetch_one(&db).await.unwrap();

    domain::node::revoke(&replica.app, NodeId(id)).await.unwrap();

    streams(&node, 0).await;
    replica.change().await;
    assert_eq!(*node.served.borrow(), before);
    node.end().await;
    replica.end().await;
}

/// Waits until this many replicas stream to the node.
async fn streams(node: &Node, count: u64) {
    let reached = async {
        while node.metric("tollgate_config_streams") != count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("the streams come and go");
}

/// A node that joined, was told of two changes, and has a file to go back to, which its second start makes: that file.
async fn settled(home: &Home, replica: &Replica) -> Vec<u8> {
    let mut first = node(home, &[replica], Some(&replica.token().await)).unwrap();
    first.at(0).await;
    first.at(replica.change().await).await;
    first.end().await;
    let mut second = node(home, &[replica], None).unwrap();
    second.at(replica.change().await).await;
    second.end().await;
    std::fs::read(previous(home)).unwrap()
}

/// The file that a new snapshot puts the one before it in.
fn previous(home: &Home) -> PathBuf {
    home.0.join("node").join("default.config.previous")
}
