//! A whole installation: database, Redis, control planes and nodes as real processes, with nothing shared.
//!
//! Most stories want one replica and one node: the words without `_at` mean the first of each.

use crate::ports::Port;
use crate::process::{Process, binary, command, make_directory};
use crate::stores::{self, Database};
use crate::{Client, Detour, Origin, PATIENCE, Tenant, within};
use sqlx::{Connection, PgConnection, Row};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const HTTP1_SERVER: &str = "TOLLGATE_NODE_HTTP1_SERVER";
const START_MAX: Duration = Duration::from_mins(1);

pub struct World {
    directory: PathBuf,
    binary: PathBuf,
    settings: BTreeMap<String, String>,
    /// Before the stores in order of dropping: what uses them goes first.
    nodes: Vec<Node>,
    replicas: Vec<Replica>,
    pub(crate) redis: Option<Process>,
    pub(crate) database: Database,
}

/// A control-plane replica: its ports stay its own while it is down.
struct Replica {
    http: Port,
    admin: Port,
    grpc: Port,
    process: Option<Process>,
}

/// A node: its ports and its directory stay its own while it is down.
struct Node {
    endpoint: Port,
    tls: Port,
    admin: Port,
    process: Option<Process>,
}

impl Replica {
    fn reserve() -> Self {
        let (http, admin, grpc) = (Port::reserve(), Port::reserve(), Port::reserve());
        Self { http, admin, grpc, process: None }
    }
}

impl Node {
    fn reserve() -> Self {
        Self {
            endpoint: Port::reserve(),
            tls: Port::reserve(),
            admin: Port::reserve(),
            process: None,
        }
    }
}

impl World {
    /// Everything, ready to be called.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// [`World::start`] with settings of the story's own, by the names of their variables.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::started(Self::new(settings).await).await
    }

    /// [`World::start`] with a PostgreSQL of its own, which the story may kill.
    pub async fn start_alone() -> Self {
        Self::started(Self::with_stores(&[], None, (1, 1)).await).await
    }

    /// [`World::start_alone`] with settings of the story's own.
    pub async fn start_alone_with(settings: &[(&str, &str)]) -> Self {
        Self::started(Self::with_stores(settings, None, (1, 1)).await).await
    }

    /// So many replicas and so many nodes, and a PostgreSQL of their own, which the story may kill.
    pub async fn start_many(replicas: usize, nodes: usize) -> Self {
        Self::started(Self::with_stores(&[], None, (replicas, nodes)).await).await
    }

    /// So many replicas with settings of the story's own; no node is started.
    pub async fn start_replicas(replicas: usize, settings: &[(&str, &str)]) -> Self {
        let shared = std::env::var("DATABASE_URL").ok();
        let mut world = Self::with_stores(settings, shared.as_deref(), (replicas, 1)).await;
        world.start_control_planes().await;
        world
    }

    /// So many nodes with settings of the story's own.
    pub async fn start_nodes(nodes: usize, settings: &[(&str, &str)]) -> Self {
        let shared = std::env::var("DATABASE_URL").ok();
        Self::started(Self::with_stores(settings, shared.as_deref(), (1, nodes)).await).await
    }

    /// [`World::start_nodes`] that reach Redis by a detour.
    pub async fn start_nodes_over(
        detour: &Detour,
        nodes: usize,
        settings: &[(&str, &str)],
    ) -> Self {
        let shared = std::env::var("DATABASE_URL").ok();
        let mut world = Self::with_stores(settings, shared.as_deref(), (1, nodes)).await;
        detour.leads_to(&stores::redis_socket(&world.directory));
        world.settings.insert("REDIS_URL".to_owned(), detour.url());
        Self::started(world).await
    }

    pub(crate) async fn started(mut self) -> Self {
        self.start_control_planes().await;
        for node in 0..self.nodes.len() {
            self.start_node_at(node).await;
        }
        self
    }

    async fn start_control_planes(&mut self) {
        for replica in 0..self.replicas.len() {
            self.start_control_plane_at(replica).await;
        }
    }

    /// The stores, and a migrated database; no plane runs yet.
    pub async fn new(settings: &[(&str, &str)]) -> Self {
        let shared = std::env::var("DATABASE_URL").ok();
        Self::with_stores(settings, shared.as_deref(), (1, 1)).await
    }

    pub(crate) async fn with_stores(
        settings: &[(&str, &str)],
        shared: Option<&str>,
        (replicas, nodes): (usize, usize),
    ) -> Self {
        let name = hex::encode(rand::random::<[u8; 4]>());
        // Short: paths of Unix sockets are bounded.
        let directory = std::env::temp_dir().join(format!("tollgate-{name}"));
        make_directory(&directory, None, 0o711);
        make_directory(&directory.join("log"), None, 0o700);
        let database = Database::start(&directory, &format!("world_{name}"), shared).await;
        let redis = Some(stores::redis(&directory).await);
        let mut world = Self {
            directory,
            binary: binary(),
            settings: BTreeMap::new(),
            nodes: (0..nodes).map(|_| Node::reserve()).collect(),
            replicas: (0..replicas).map(|_| Replica::reserve()).collect(),
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
        let (http, node) = (self.management_address(), self.endpoint_address());
        let listeners = self.listeners().into_iter().map(|address| address.to_string());
        let grpc = self.replicas.iter().map(|it| format!("https://{}", it.grpc.address()));
        let values = [
            ("TOLLGATE_HOME", self.directory.to_string_lossy().into_owned()),
            ("TOLLGATE_PUBLIC_URL", format!("http://{http}")),
            ("TOLLGATE_SIGNUP", "open".to_owned()),
            ("TOLLGATE_MASTER_KEY_FILE", key.to_string_lossy().into_owned()),
            (
                "TOLLGATE_ENDPOINT_TEMPLATE",
                format!("http://{{apiId}}.execute-api.localhost:{}", node.port()),
            ),
            ("TOLLGATE_PATH_ENDPOINT_TEMPLATE", format!("http://{node}/_api/{{apiId}}")),
            ("TOLLGATE_EGRESS_ALLOW", "127.0.0.0/8".to_owned()),
            ("TOLLGATE_EGRESS_REFUSE", listeners.collect::<Vec<_>>().join(",")),
            ("TOLLGATE_PATH_ADDRESSING", "on".to_owned()),
            ("TOLLGATE_DATABASE_CONNECTIONS_MAX", "8".to_owned()),
            // Stories and strangers call faster than people, all from one address.
            ("TOLLGATE_USER_POINTS_PER_MINUTE", "100000000".to_owned()),
            ("TOLLGATE_ADDRESS_POINTS_PER_MINUTE", "100000000".to_owned()),
            ("DATABASE_URL", self.database.url()),
            ("TOLLGATE_NODE_THREADS", "2".to_owned()),
            // A node does not wait for Redis longer than 5 ms, and then goes on with its share of the limits. Stories
            // about exact limits need Redis waited for, also on a machine that compiles.
            ("TOLLGATE_REDIS_TIMEOUT_MS", "2000".to_owned()),
            ("TOLLGATE_CONTROL_PLANE", grpc.collect::<Vec<_>>().join(",")),
            (
                "REDIS_URL",
                format!("redis+unix://{}", stores::redis_socket(&self.directory).display()),
            ),
        ];
        self.settings.extend(values.map(|(name, value)| (name.to_owned(), value)));
        let server = std::env::var(HTTP1_SERVER);
        self.settings.extend(server.map(|server| (HTTP1_SERVER.to_owned(), server)));
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

    /// What only this replica has.
    fn replica_settings(&self, index: usize) -> [(&'static str, String); 3] {
        let replica = &self.replicas[index];
        [
            ("TOLLGATE_HTTP_LISTEN", replica.http.address().to_string()),
            ("TOLLGATE_ADMIN_LISTEN", replica.admin.address().to_string()),
            ("TOLLGATE_GRPC_LISTEN", replica.grpc.address().to_string()),
        ]
    }

    /// What only this node has.
    fn node_settings(&self, index: usize) -> [(&'static str, String); 4] {
        let node = &self.nodes[index];
        let directory = self.node_directory(index);
        [
            ("TOLLGATE_NODE_LISTEN", node.endpoint.address().to_string()),
            ("TOLLGATE_NODE_TLS_LISTEN", node.tls.address().to_string()),
            ("TOLLGATE_NODE_ADMIN_LISTEN", node.admin.address().to_string()),
            ("TOLLGATE_NODE_DIR", directory.to_string_lossy().into_owned()),
        ]
    }

    /// Where all that the world keeps lies: keys, logs, the nodes' disks.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A node's own disk.
    pub fn node_directory(&self, index: usize) -> PathBuf {
        self.directory.join(format!("node{index}"))
    }

    /// The binary with this world's settings.
    pub fn tollgate(&self, arguments: &[&str]) -> Command {
        let mut command = command(&self.binary, None);
        command.args(arguments).envs(&self.settings);
        // A world may have replicas only.
        if !self.replicas.is_empty() {
            command.envs(self.replica_settings(0));
        }
        if !self.nodes.is_empty() {
            command.envs(self.node_settings(0));
        }
        command
    }

    /// What one of the binary's short commands prints.
    pub fn run(&self, arguments: &[&str]) -> String {
        output(self.tollgate(arguments))
    }

    pub async fn start_control_plane(&mut self) {
        self.start_control_plane_at(0).await;
    }

    pub async fn start_control_plane_at(&mut self, index: usize) {
        let mut command = self.tollgate(&["control-plane"]);
        command.envs(self.replica_settings(index));
        let process = Process::start(&format!("control-plane{index}"), command, &self.logs());
        let replica = &mut self.replicas[index];
        ready(replica.process.insert(process), replica.admin.address()).await;
    }

    pub async fn start_node(&mut self) {
        self.start_node_at(0).await;
    }

    /// Joins by a fresh token at its first start.
    pub async fn start_node_at(&mut self, index: usize) {
        let command = self.node_command(index);
        self.run_node(index, command).await;
    }

    /// What starts a node, for stories that start it in their own way.
    pub fn node_command(&self, index: usize) -> Command {
        let mut command = self.tollgate(&["data-plane"]);
        command.envs(self.node_settings(index));
        if !self.node_directory(index).exists() {
            command.env("TOLLGATE_JOIN_TOKEN", self.run(&["join-token"]));
        }
        command
    }

    /// Starts a node by this command, and waits until it serves.
    pub async fn run_node(&mut self, index: usize, command: Command) {
        let process = Process::start(&format!("node{index}"), command, &self.logs());
        let node = &mut self.nodes[index];
        ready(node.process.insert(process), node.admin.address()).await;
    }

    /// Starts another process that takes the node's place, and waits until the one before has ended by itself.
    pub async fn replace_node(&mut self) {
        let before = self.take_node();
        let mut command = self.node_command(0);
        command.arg("--take-over");
        self.nodes[0].process = Some(Process::start("node0", command, &self.logs()));
        before.ended().await;
        let node = &mut self.nodes[0];
        let admin = node.admin.address();
        ready(node.process.as_mut().expect("it was started"), admin).await;
    }

    /// Starts a process of the binary with a log of its own, and does not wait for it.
    pub fn spawn(&self, name: &str, command: Command) -> Process {
        Process::start(name, command, &self.logs())
    }

    /// The first node's process while it runs.
    pub fn node(&mut self) -> Option<&mut Process> {
        self.nodes[0].process.as_mut()
    }

    /// The first node's process.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn running_node(&self) -> &Process {
        self.nodes[0].process.as_ref().expect("the node runs")
    }

    /// The first replica's process.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn control_plane(&self) -> &Process {
        self.replicas[0].process.as_ref().expect("the control plane runs")
    }

    /// The first node's process, which the story ends itself.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn take_node(&mut self) -> Process {
        self.take_node_at(0)
    }

    fn take_node_at(&mut self, index: usize) -> Process {
        self.nodes[index].process.take().expect("the node runs")
    }

    fn take_control_plane_at(&mut self, index: usize) -> Process {
        self.replicas[index].process.take().expect("the control plane runs")
    }

    /// SIGKILL.
    pub fn kill_node(&mut self) {
        self.kill_node_at(0);
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn kill_node_at(&mut self, index: usize) {
        self.take_node_at(index).kill();
    }

    /// SIGTERM, until it has ended.
    pub async fn stop_node(&mut self) {
        self.stop_node_at(0).await;
    }

    /// SIGTERM, until it has ended.
    ///
    /// # Panics
    /// Where it does not run.
    pub async fn stop_node_at(&mut self, index: usize) {
        self.take_node_at(index).terminate().await;
    }

    /// SIGKILL.
    pub fn kill_control_plane(&mut self) {
        self.kill_control_plane_at(0);
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn kill_control_plane_at(&mut self, index: usize) {
        self.take_control_plane_at(index).kill();
    }

    /// SIGTERM, until it has ended.
    pub async fn stop_control_plane(&mut self) {
        self.take_control_plane_at(0).terminate().await;
    }

    /// In a server of the world's own it kills PostgreSQL itself.
    pub fn kill_database(&mut self) {
        self.database.kill();
    }

    pub async fn start_database(&mut self) {
        self.database.restart().await;
    }

    /// A synchronous standby of the world's own PostgreSQL: from now on nothing is acknowledged that it lacks.
    pub async fn add_standby(&mut self) {
        self.database.add_standby().await;
    }

    /// The standby takes the place of the server that was killed, under the same address.
    pub fn promote_standby(&mut self) {
        self.database.promote();
    }

    /// A backup of the database, taken while it serves, as a file.
    pub fn back_up(&self) -> PathBuf {
        let directory = self.directory.join("backup");
        crate::process::make_directory(&directory, crate::stores::user(), 0o700);
        let file = directory.join("tollgate.dump");
        self.database.dump(&file);
        file
    }

    /// A new server in the place of the one that was lost, with what the backup holds.
    pub async fn restore(&mut self, backup: &std::path::Path) {
        let mut roles = self.tollgate(&["migrate", "--roles"]);
        let prepare = |admin_url: &str| {
            roles.env("DATABASE_URL", admin_url);
            output(roles);
        };
        self.database.replace(prepare).await;
        self.database.restore(backup);
    }

    /// Console, GraphQL and REST, of the first replica that runs.
    pub fn management(&self) -> Client {
        let running = self.replicas.iter().position(|replica| replica.process.is_some());
        self.management_at(running.unwrap_or(0))
    }

    pub fn management_at(&self, index: usize) -> Client {
        Client::new(self.replicas[index].http.address())
    }

    pub fn management_address(&self) -> SocketAddr {
        self.management_address_at(0)
    }

    pub fn management_address_at(&self, index: usize) -> SocketAddr {
        self.replicas[index].http.address()
    }

    /// The tenants' endpoint; choose the API by [`Client::host`].
    pub fn endpoint(&self) -> Client {
        Client::new(self.endpoint_address())
    }

    pub fn endpoint_address(&self) -> SocketAddr {
        self.endpoint_address_at(0)
    }

    pub fn endpoint_address_at(&self, index: usize) -> SocketAddr {
        self.nodes[index].endpoint.address()
    }

    /// The same endpoint over TLS, with the node's certificate for development.
    pub fn tls_endpoint_address(&self) -> SocketAddr {
        self.nodes[0].tls.address()
    }

    /// Where a replica serves nodes.
    pub fn grpc_address_at(&self, index: usize) -> SocketAddr {
        self.replicas[index].grpc.address()
    }

    pub fn control_plane_admin(&self) -> Client {
        Client::new(self.replicas[0].admin.address())
    }

    pub fn node_admin(&self) -> Client {
        self.node_admin_at(0)
    }

    pub fn node_admin_at(&self, index: usize) -> Client {
        Client::new(self.node_admin_address_at(index))
    }

    pub(crate) fn node_admin_address_at(&self, index: usize) -> SocketAddr {
        self.nodes[index].admin.address()
    }

    /// Every port that is ours: no tenant's backend may be there.
    pub fn listeners(&self) -> Vec<SocketAddr> {
        let replicas = self.replicas.iter().flat_map(|it| [&it.http, &it.admin, &it.grpc]);
        let nodes = self.nodes.iter().flat_map(|it| [&it.endpoint, &it.tls, &it.admin]);
        replicas.chain(nodes).map(Port::address).collect()
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

    /// Until every node that runs has acknowledged everything that was changed so far.
    pub async fn settled(&self) {
        self.settled_within(PATIENCE).await;
    }

    /// [`World::settled`] with a patience of the story's own.
    pub async fn settled_within(&self, patience: Duration) {
        let running = self.nodes.iter().filter(|node| node.process.is_some()).count();
        let running = i64::try_from(running).expect("nodes are few");
        let mut database = self.database().await;
        within(patience, "the nodes' acknowledgement of the newest version", async || {
            let row = sqlx::query(
                "select count(*) as current from cell c join node_cell n on n.cell_id = c.id
                 where c.id = 'default' and n.version = c.version",
            )
            .fetch_one(&mut database)
            .await
            .expect("versions can be read");
            (row.get::<i64, _>("current") >= running).then_some(())
        })
        .await;
    }

    /// Where every process writes what it has to say.
    pub fn logs(&self) -> PathBuf {
        self.directory.join("log")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // In this order, before the directory under them goes.
        self.nodes.clear();
        self.replicas.clear();
        self.redis = None;
        self.database.remove();
        self.database.server = None;
        self.database.standby = None;
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
