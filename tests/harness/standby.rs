//! More PostgreSQL servers of one world: a synchronous standby that takes over, and a new server from a backup or from
//! an archive. The processes keep one address, as behind a load balancer: the directory of the server's socket, which moves.

use crate::process::{Process, command, make_directory};
use crate::stores::{Database, binaries, initdb_at, postgres_at, user};
use crate::{World, within};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const START_MAX: Duration = Duration::from_mins(1);
const RECOVERY_MAX: Duration = Duration::from_mins(15);

/// A second server, and where its own socket is.
pub(crate) struct Standby {
    server: Process,
    sockets: PathBuf,
}

impl World {
    /// So many nodes, and a PostgreSQL of their own that archives what it writes, at the latest after so many seconds.
    pub async fn start_archived(nodes: usize, seconds: u64) -> Self {
        let mut world = Self::with_stores(&[], None, (1, nodes)).await;
        world.database.archive(seconds).await;
        Self::started(world).await
    }

    /// A copy of the whole server, from which [`World::recover`] goes on with what was archived since.
    pub fn back_up_server(&self) {
        self.database.base_backup();
    }

    /// When the server last archived a file of its log.
    pub async fn archived(&self) -> Option<jiff::Timestamp> {
        let at = "select (extract(epoch from last_archived_time) * 1000000)::bigint from pg_stat_archiver";
        let at: Option<i64> = sqlx::query_scalar(at)
            .fetch_one(&mut self.database().await)
            .await
            .expect("the archiver tells");
        at.map(|at| jiff::Timestamp::from_microsecond(at).expect("a time"))
    }

    /// The server dies, and its disk with it.
    pub fn lose_database(&mut self) {
        self.database.lose();
    }

    /// A new server in the place of the one that was lost, with what the copy and the archive hold.
    pub async fn recover(&mut self) {
        self.database.recover().await;
    }
}

impl Database {
    /// Copies the server while it serves; from then on it acknowledges nothing that the copy does not have.
    pub(crate) async fn add_standby(&mut self) {
        let sockets = self.directory.join("sockets-standby");
        let data = self.directory.join("standby");
        make_directory(&sockets, user(), 0o755);
        make_directory(&data, user(), 0o700);
        run(tool("pg_basebackup").args(["-d", &self.conninfo("standby"), "-D"]).arg(&data).args([
            "--write-recovery-conf",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--no-sync",
        ]));
        let server = postgres_at("standby", &data, &sockets, &self.directory);
        let mut admin = self.admin().await;
        for statement in [
            "alter system set synchronous_standby_names = 'standby'",
            "alter system set synchronous_commit = on",
            "select pg_reload_conf()",
        ] {
            sqlx::raw_sql(statement).execute(&mut admin).await.expect("the primary can be set");
        }
        within(START_MAX, "the standby in step", async || {
            let state =
                "select sync_state from pg_stat_replication where application_name = 'standby'";
            let state: Option<String> =
                sqlx::query_scalar(state).fetch_optional(&mut admin).await.ok()?;
            (state.as_deref() == Some("sync")).then_some(())
        })
        .await;
        self.standby = Some(Standby { server, sockets });
    }

    /// The standby takes over, and the address leads to it.
    pub(crate) fn promote(&mut self) {
        let Standby { server, sockets } = self.standby.take().expect("there is a standby");
        let promoted = tool("pg_ctl")
            .args(["promote", "--silent", "-D"])
            .arg(self.directory.join("standby"))
            .output();
        let promoted = promoted.expect("pg_ctl runs");
        assert!(promoted.status.success(), "{}", String::from_utf8_lossy(&promoted.stderr));
        self.move_to(&sockets);
        self.server = Some(server);
    }

    /// A backup of the database as the operator's page describes it, taken while it serves.
    pub(crate) fn dump(&self, file: &Path) {
        let url = self.admin_url_here();
        run(tool("pg_dump").args(["--format=custom", "--dbname", &url, "--file"]).arg(file));
    }

    /// A server that never knew of this database takes over, empty. `prepare` makes the roles there.
    pub(crate) async fn replace(&mut self, prepare: impl FnOnce(&str)) {
        let (sockets, data) = (self.directory.join("sockets-new"), self.directory.join("new"));
        make_directory(&sockets, user(), 0o755);
        initdb_at(&data);
        self.server = Some(postgres_at("postgres-new", &data, &sockets, &self.directory));
        self.move_to(&sockets);
        self.ready().await;
        prepare(self.admin_url());
        self.create().await;
    }

    /// Puts the backup into the database, which is empty.
    pub(crate) fn restore(&self, file: &Path) {
        let url = self.admin_url_here();
        run(tool("pg_restore").args(["--exit-on-error", "--dbname", &url]).arg(file));
    }

    /// From now on every file of the write-ahead log is archived once it is full, or so many seconds after the last.
    pub(crate) async fn archive(&mut self, seconds: u64) {
        let archive = self.archive_directory();
        make_directory(&archive, user(), 0o700);
        let archive = archive.display();
        // A file appears under its name once it is whole.
        let keep = format!(
            "test ! -f {archive}/%f && cp %p {archive}/%f.part && mv {archive}/%f.part {archive}/%f"
        );
        let mut admin = self.admin().await;
        for statement in [
            "alter system set archive_mode = on".to_owned(),
            format!("alter system set archive_command = '{keep}'"),
            format!("alter system set archive_timeout = '{seconds}s'"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut admin)
                .await
                .expect("the server can be set");
        }
        drop(admin);
        self.kill(); // it reads the mode at its start
        self.restart().await;
    }

    /// A copy of the server, as the operator's page describes it, taken while it serves.
    pub(crate) fn base_backup(&self) {
        let base = self.directory.join("base");
        make_directory(&base, user(), 0o700);
        run(tool("pg_basebackup")
            .args(["-d", &self.conninfo("base"), "-D"])
            .arg(&base)
            .args(["--checkpoint=fast", "--no-sync"]));
    }

    /// Kills the server and removes its disk.
    pub(crate) fn lose(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.directory.join("postgres")).expect("a disk can be lost");
    }

    /// A server from the copy, with all that was archived since.
    pub(crate) async fn recover(&mut self) {
        let (sockets, data) = (self.directory.join("sockets-new"), self.directory.join("new"));
        make_directory(&sockets, user(), 0o755);
        make_directory(&data, user(), 0o700);
        let (base, archive) = (self.directory.join("base"), self.archive_directory());
        let script = format!(
            "cp -a {base}/. {data} && touch {data}/recovery.signal &&
             echo \"restore_command = 'cp {archive}/%f %p'\" >> {data}/postgresql.auto.conf",
            base = base.display(),
            data = data.display(),
            archive = archive.display(),
        );
        run(command(Path::new("sh"), user()).args(["-c", &script]));
        self.server = Some(postgres_at("postgres-new", &data, &sockets, &self.directory));
        self.move_to(&sockets);
        self.ready().await;
        let mut admin = self.admin().await;
        within(RECOVERY_MAX, "the end of the recovery", async || {
            let goes_on: bool = sqlx::query_scalar("select pg_is_in_recovery()")
                .fetch_one(&mut admin)
                .await
                .expect("the server tells");
            (!goes_on).then_some(())
        })
        .await;
    }

    fn archive_directory(&self) -> PathBuf {
        self.directory.join("archive")
    }

    fn move_to(&self, sockets: &Path) {
        let address = self.directory.join("sockets");
        std::fs::rename(&address, self.directory.join("sockets-before"))
            .expect("the address can move");
        std::os::unix::fs::symlink(sockets, address).expect("the address can move");
    }

    async fn admin(&self) -> PgConnection {
        PgConnection::connect(self.admin_url()).await.expect("the server answers")
    }

    fn conninfo(&self, name: &str) -> String {
        let sockets = self.directory.join("sockets");
        format!("host={} user=postgres application_name={name}", sockets.display())
    }
}

fn tool(name: &str) -> Command {
    command(&binaries().join(name), user())
}

fn run(command: &mut Command) {
    let output = command.output().expect("PostgreSQL's own tool runs");
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {failed}");
}
