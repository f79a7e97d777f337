//! A whole installation: database, Redis, control plane and node as real processes, with nothing shared.

use crate::ports::Port;
use crate::process::{Process, command, make_directory};
use crate::stores::{self, Database};
use crate::{Client, Origin, Tenant, eventually, within};
use sqlx::{Connection, PgConnection, Row};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const START_MAX: Duration = Duration::from_mins(1);

pub struct World {
    directory: PathBuf,
    binary: PathBuf,
    ports: Ports,
    settings: BTreeMap<String, String>,
    /// Before the stores in order of dropping: what uses them goes first.
    pub node: Option<Process>,
    pub control_plane: Option<Process>,
    redis: Option<Process>,
    database: Database,
}

struct Ports {
    http: Port,
    admin: Port,
    grpc: Port,
    node: Port,
    node_admin: Port,
}

impl World {
    /// Everything, ready to be called.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// [`World::start`] with settings of the story's own, by the names of their variables.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let mut world = Self::new(settings).await;
        world.start_control_plane().await;
        world.start_node().await;
        world
    }

    /// [`World::start`] with a PostgreSQL of its own, which the story may kill.
    pub async fn start_alone() -> Self {
        let mut world = Self::with_stores(&[], None).await;
        world.start_control_plane().await;
        world.start_node().await;
        world
    }

    /// The stores, and a migrated database; no plane runs yet.
    pub async fn new(settings: &[(&str, &str)]) -> Self {
        let shared = std::env::var("DATABASE_URL").ok();
        Self::with_stores(settings, shared.as_deref()).await
    }

    async fn with_stores(settings: &[(&str, &str)], shared: Option<&str>) -> Self {
        let name = hex::encode(rand::random::<[u8; 4]>());
        // Short: paths of Unix sockets are bounded.
        let directory = std::env::temp_dir().join(format!("tollgate-{name}"));
        make_directory(&directory, None, 0o711);
        make_directory(&directory.join("log"), None, 0o700);
        let database = Database::start(&directory, &format!("world_{name}"), shared).await;
        let redis = Some(stores::redis(&directory).await);
        let ports = Ports {
            http: Port::reserve(),
            admin: Port::reserve(),
            grpc: Port::reserve(),
            node: Port::reserve(),
            node_admin: Port::reserve(),
        };
        let mut world = Self {
            directory,
            binary: binary(),
            ports,
            settings: BTreeMap::new(),
            node: None,
            control_plane: None,
            redis,
            database,
        };
        world.settle(settings);
        world.prepare_database().await;
        world
    }

    fn settle(&mut self, settings: &[(&str, &str)]) {
        let key = self.directory.join("master.key");
        std::fs::write(&key, hex::encode(rand::random::<[u8; 32]>()))
            .expect("the world's directory can be written");
        let (http, node) = (self.ports.http.address(), self.ports.node.address());
        let values = [
            ("TOLLGATE_HOME", self.directory.to_string_lossy().into_owned()),
            ("TOLLGATE_HTTP_LISTEN", http.to_string()),
            ("TOLLGATE_ADMIN_LISTEN", self.ports.admin.address().to_string()),
            ("TOLLGATE_GRPC_LISTEN", self.ports.grpc.address().to_string()),
            ("TOLLGATE_PUBLIC_URL", format!("http://{http}")),
            ("TOLLGATE_SIGNUP", "open".to_owned()),
            ("TOLLGATE_MASTER_KEY_FILE", key.to_string_lossy().into_owned()),
            (
                "TOLLGATE_ENDPOINT_TEMPLATE",
                format!("http://{{apiId}}.execute-api.localhost:{}", node.port()),
            ),
            ("TOLLGATE_PATH_ENDPOINT_TEMPLATE", format!("http://{node}/_api/{{apiId}}")),
            ("TOLLGATE_EGRESS_ALLOW", "127.0.0.0/8".to_owned()),
            (
                "TOLLGATE_EGRESS_REFUSE",
                self.listeners().map(|address| address.to_string()).join(","),
            ),
            ("TOLLGATE_PATH_ADDRESSING", "on".to_owned()),
            ("TOLLGATE_DATABASE_CONNECTIONS_MAX", "8".to_owned()),
            ("DATABASE_URL", self.database.url()),
            ("TOLLGATE_NODE_LISTEN", node.to_string()),
            ("TOLLGATE_NODE_ADMIN_LISTEN", self.ports.node_admin.address().to_string()),
            ("TOLLGATE_NODE_DIR", self.directory.join("node").to_string_lossy().into_owned()),
            ("TOLLGATE_NODE_THREADS", "2".to_owned()),
            // A machine that also compiles may keep Redis waiting; no story is about that.
            ("TOLLGATE_REDIS_TIMEOUT_MS", "2000".to_owned()),
            ("TOLLGATE_CONTROL_PLANE", format!("https://{}", self.ports.grpc.address())),
            (
                "REDIS_URL",
                format!("redis+unix://{}", stores::redis_socket(&self.directory).display()),
            ),
        ];
        self.settings.extend(values.map(|(name, value)| (name.to_owned(), value)));
        self.settings
            .extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    }

    async fn prepare_database(&self) {
        let mut roles = self.tollgate(&["migrate", "--roles"]);
        roles.env("DATABASE_URL", self.database.admin_url());
        output(roles);
        self.database.create().await;
        output(self.tollgate(&["migrate"]));
    }

    /// The binary with this world's settings.
    pub fn tollgate(&self, arguments: &[&str]) -> Command {
        let mut command = command(&self.binary, None);
        command.args(arguments).envs(&self.settings);
        command
    }

    /// What one of the binary's short commands prints.
    pub fn run(&self, arguments: &[&str]) -> String {
        output(self.tollgate(arguments))
    }

    pub async fn start_control_plane(&mut self) {
        let process =
            Process::start("control-plane", self.tollgate(&["control-plane"]), &self.logs());
        let process = self.control_plane.insert(process);
        ready(process, self.ports.admin.address()).await;
    }

    /// Joins by a fresh token at its first start.
    pub async fn start_node(&mut self) {
        let joined = self.directory.join("node").exists();
        let mut node = self.tollgate(&["data-plane"]);
        if !joined {
            node.env("TOLLGATE_JOIN_TOKEN", self.run(&["join-token"]));
        }
        let process = Process::start("data-plane", node, &self.logs());
        ready(self.node.insert(process), self.ports.node_admin.address()).await;
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// Where no node runs.
    pub fn kill_node(&mut self) {
        self.node.take().expect("a node runs").kill();
    }

    /// SIGTERM, until it has ended.
    ///
    /// # Panics
    /// Where no node runs.
    pub async fn stop_node(&mut self) {
        self.node.take().expect("a node runs").terminate().await;
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// Where no control plane runs.
    pub fn kill_control_plane(&mut self) {
        self.control_plane.take().expect("a control plane runs").kill();
    }

    /// # Panics
    /// Where no Redis runs.
    pub fn kill_redis(&mut self) {
        self.redis.take().expect("a Redis runs").kill();
    }

    pub async fn start_redis(&mut self) {
        self.redis = Some(stores::redis(&self.directory).await);
    }

    /// In a server of the world's own it kills PostgreSQL itself.
    pub fn kill_database(&mut self) {
        self.database.kill();
    }

    pub async fn start_database(&mut self) {
        self.database.restart().await;
    }

    /// Console, GraphQL and REST.
    pub fn management(&self) -> Client {
        Client::new(self.ports.http.address())
    }

    pub fn management_address(&self) -> SocketAddr {
        self.ports.http.address()
    }

    /// The tenants' endpoint; choose the API by [`Client::host`].
    pub fn endpoint(&self) -> Client {
        Client::new(self.ports.node.address())
    }

    pub fn endpoint_address(&self) -> SocketAddr {
        self.ports.node.address()
    }

    pub fn control_plane_admin(&self) -> Client {
        Client::new(self.ports.admin.address())
    }

    pub fn node_admin(&self) -> Client {
        Client::new(self.ports.node_admin.address())
    }

    /// Every port that is ours: no tenant's backend may be there.
    pub fn listeners(&self) -> [SocketAddr; 5] {
        let ports = &self.ports;
        [&ports.http, &ports.admin, &ports.grpc, &ports.node, &ports.node_admin].map(Port::address)
    }

    /// A new tenant, signed up through GraphQL, and its owner.
    pub async fn tenant(&self, name: &str) -> Tenant<'_> {
        Tenant::sign_up(self, name).await
    }

    /// The operator, by the one-time link.
    pub async fn operator(&self) -> Tenant<'_> {
        Tenant::operator(self).await
    }

    pub async fn origin(&self) -> Origin {
        Origin::start().await
    }

    /// The database as an administrator: row-level security does not hold.
    ///
    /// # Panics
    /// Where it cannot be reached.
    pub async fn database(&self) -> PgConnection {
        PgConnection::connect(&self.database.admin_url_here())
            .await
            .expect("the world's database answers")
    }

    /// The URL under which the processes log in, for stories that try what that login may.
    pub fn database_url(&self) -> String {
        self.database.url()
    }

    /// Until the node has acknowledged everything that was changed so far.
    pub async fn settled(&self) {
        let mut database = self.database().await;
        eventually("the node's acknowledgement of the newest version", async || {
            let row = sqlx::query(
                "select count(n.version) > 0 and bool_and(n.version = c.version) as settled
                 from cell c left join node_cell n on n.cell_id = c.id where c.id = 'default'",
            )
            .fetch_one(&mut database)
            .await
            .expect("versions can be read");
            row.get::<Option<bool>, _>("settled").unwrap_or(false).then_some(())
        })
        .await;
    }

    fn logs(&self) -> PathBuf {
        self.directory.join("log")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // In this order, before the directory under them goes.
        self.node = None;
        self.control_plane = None;
        self.redis = None;
        self.database.remove();
        self.database.server = None;
        std::fs::remove_dir_all(&self.directory).ok();
    }
}

async fn ready(process: &mut Process, admin: SocketAddr) {
    let client = Client::new(admin);
    within(START_MAX, "readiness", async || {
        process.check();
        let answer = client.get("/readyz").try_send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
}

fn output(mut command: Command) -> String {
    let output = command.output().expect("the binary runs");
    let (said, failed) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed: {failed}");
    said.trim().to_owned()
}

/// `TOLLGATE_BIN`, or the one that was built beside this test.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("TOLLGATE_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a program knows its file");
    // A test lies in target/…/deps, the benchmark one above it.
    let beside = test.ancestors().skip(1).take(2).map(|directory| directory.join("tollgate"));
    let built = beside.into_iter().find(|path| path.is_file()).unwrap_or_default();
    assert!(
        built.is_file(),
        "no tollgate beside {}; build it, or set TOLLGATE_BIN",
        test.display()
    );
    built
}
