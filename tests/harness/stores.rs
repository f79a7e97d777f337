//! A world's PostgreSQL database and Redis.

use crate::process::{Process, command, in_path, make_directory};
use crate::standby::Standby;
use crate::{World, within};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// In the URL under which the processes log in. A server that trusts everyone does not ask for it.
pub const DATABASE_PASSWORD: &str = "twelve-brass-lanterns-in-a-row";

const START_MAX: Duration = Duration::from_mins(1);

/// One database, in a shared server (by an administrator's URL) or in one that lives as long as this.
pub(crate) struct Database {
    pub(crate) server: Option<Process>,
    pub(crate) standby: Option<Standby>,
    /// An administrator's URL of the server's own database.
    admin_url: url::Url,
    name: String,
    pub(crate) directory: PathBuf,
}

impl Database {
    pub(crate) async fn start(directory: &Path, name: &str, shared: Option<&str>) -> Self {
        let (server, admin_url) = if let Some(url) = shared {
            (None, url.parse().expect("DATABASE_URL is a URL"))
        } else {
            initdb(directory);
            let mut url = url::Url::parse("postgres://postgres@localhost/postgres").expect("a URL");
            url.query_pairs_mut().append_pair("host", &sockets(directory).to_string_lossy());
            (Some(postgres(directory)), url)
        };
        let mut database = Self {
            server,
            standby: None,
            admin_url,
            name: name.to_owned(),
            directory: directory.to_owned(),
        };
        database.ready().await;
        database
    }

    /// Until the server answers.
    pub(crate) async fn ready(&mut self) {
        within(START_MAX, "PostgreSQL's start", async || {
            if let Some(server) = &mut self.server {
                server.check();
            }
            PgConnection::connect(self.admin_url.as_str()).await.ok()
        })
        .await;
    }

    /// Makes the database itself, which the migrations' role owns. The roles are there already.
    pub(crate) async fn create(&self) {
        let mut admin =
            PgConnection::connect(self.admin_url.as_str()).await.expect("the server answers");
        let create = format!("create database {} owner tollgate_owner", self.name);
        sqlx::raw_sql(AssertSqlSafe(create))
            .execute(&mut admin)
            .await
            .expect("a database can be made");
    }

    pub(crate) fn admin_url(&self) -> &str {
        self.admin_url.as_str()
    }

    /// The world's database, as an administrator: row-level security does not hold.
    pub(crate) fn admin_url_here(&self) -> String {
        let mut url = self.admin_url.clone();
        url.set_path(&self.name);
        url.into()
    }

    /// The world's database, as the processes reach it.
    pub(crate) fn url(&self) -> String {
        let mut url = self.admin_url.clone();
        url.set_path(&self.name);
        url.set_username("tollgate").expect("this kind of URL takes a user");
        if url.password().is_none() {
            url.set_password(Some(DATABASE_PASSWORD)).expect("this kind of URL takes a password");
        }
        url.into()
    }

    /// Stops the server as a crash would. Only a world with a server of its own can do that.
    pub(crate) fn kill(&mut self) {
        self.server
            .take()
            .expect("only a world that was started alone has a PostgreSQL of its own")
            .kill_with_children();
    }

    pub(crate) async fn restart(&mut self) {
        // Children of a killed server hold its memory for a moment, and keep the next one from starting.
        within(START_MAX, "PostgreSQL's restart", async || {
            if !self.server.as_mut().is_some_and(Process::runs) {
                self.server = Some(postgres(&self.directory));
            }
            PgConnection::connect(self.admin_url.as_str()).await.ok()
        })
        .await;
    }

    /// Frees the space in a shared server.
    pub(crate) fn remove(&self) {
        if self.server.is_none() && in_path("psql").is_some() {
            let statement = format!("drop database if exists {} with (force)", self.name);
            let dropped = std::process::Command::new("psql")
                .args(["-q", "-d", self.admin_url.as_str(), "-c", &statement])
                .output();
            drop(dropped);
        }
    }
}

fn sockets(directory: &Path) -> PathBuf {
    directory.join("sockets")
}

/// initdb and the server refuse root.
pub(crate) fn user() -> Option<&'static str> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|ours| ours.uid() == 0);
    root.then_some("postgres")
}

pub(crate) fn binaries() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        installed.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).max();
    match (newest, in_path("initdb")) {
        (Some(version), _) => PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")),
        (None, Some(initdb)) => initdb.parent().expect("a file has a directory").to_owned(),
        (None, None) => panic!("PostgreSQL is missing; tests/run installs it"),
    }
}

fn initdb(directory: &Path) {
    make_directory(&sockets(directory), user(), 0o755);
    initdb_at(&directory.join("postgres"));
}

pub(crate) fn initdb_at(data: &Path) {
    make_directory(data, user(), 0o700);
    let output = command(&binaries().join("initdb"), user())
        .args([
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "-D",
        ])
        .arg(data)
        .output()
        .expect("initdb runs");
    assert!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
}

fn postgres(directory: &Path) -> Process {
    postgres_at("postgres", &directory.join("postgres"), &sockets(directory), directory)
}

/// Without fsync: no test pulls the plug of the machine.
pub(crate) fn postgres_at(name: &str, data: &Path, sockets: &Path, directory: &Path) -> Process {
    let mut server = command(&binaries().join("postgres"), user());
    server.arg("-D").arg(data).arg("-k").arg(sockets);
    for setting in ["listen_addresses=", "fsync=off", "max_connections=100", "shared_buffers=32MB"]
    {
        server.args(["-c", setting]);
    }
    Process::start(name, server, &directory.join("log"))
}

/// A Redis on a Unix socket, without anything on disk.
pub(crate) async fn redis(directory: &Path) -> Process {
    let socket = redis_socket(directory);
    let program = in_path("redis-server").expect("redis-server is missing; tests/run installs it");
    let mut server = command(&program, None);
    server
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(&socket)
        .arg("--dir")
        .arg(directory);
    let mut process = Process::start("redis", server, &directory.join("log"));
    within(START_MAX, "Redis's start", async || {
        process.check();
        tokio::net::UnixStream::connect(&socket).await.ok()
    })
    .await;
    process
}

/// The world's Redis, as it fails, and its PostgreSQL.
impl World {
    /// The process of PostgreSQL where the world has one of its own.
    pub fn database_server(&self) -> Option<u32> {
        self.database.server.as_ref().map(Process::id)
    }

    /// # Panics
    /// Where no Redis runs.
    pub fn kill_redis(&mut self) {
        self.redis.take().expect("a Redis runs").kill();
    }

    /// Everything that Redis holds, as it would stand in a file.
    pub async fn redis_dump(&self) -> Vec<u8> {
        redis_dump(self.directory()).await
    }

    /// Redis forgets everything and runs on.
    ///
    /// # Panics
    /// Where it cannot be told to.
    pub async fn empty_redis(&self) {
        redis_empty(self.directory()).await;
    }

    pub async fn start_redis(&mut self) {
        self.redis = Some(redis(self.directory()).await);
    }
}

/// Has it write everything to a file, uncompressed, and reads that.
pub(crate) async fn redis_dump(directory: &Path) -> Vec<u8> {
    let mut redis = redis_connection(directory).await;
    let mut plain = redis::cmd("CONFIG");
    plain.arg("SET").arg("rdbcompression").arg("no");
    for command in [plain, redis::cmd("SAVE")] {
        let () = command.query_async(&mut redis).await.expect("Redis can save");
    }
    std::fs::read(directory.join("dump.rdb")).expect("what Redis saved can be read")
}

pub(crate) async fn redis_empty(directory: &Path) {
    let mut redis = redis_connection(directory).await;
    let () = redis::cmd("FLUSHALL").query_async(&mut redis).await.expect("Redis can be emptied");
}

async fn redis_connection(directory: &Path) -> redis::aio::MultiplexedConnection {
    let url = format!("redis+unix://{}", redis_socket(directory).display());
    let client = redis::Client::open(url).expect("a Redis URL");
    client.get_multiplexed_async_connection().await.expect("the world's Redis answers")
}

pub(crate) fn redis_socket(directory: &Path) -> PathBuf {
    directory.join("redis.sock")
}
