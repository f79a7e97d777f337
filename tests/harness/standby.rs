//! More PostgreSQL servers of one world: a synchronous standby that takes over, and a new server from a backup. The
//! processes keep one address, as behind a load balancer: the directory of the server's socket, which moves.

use crate::process::{Process, command, make_directory};
use crate::stores::{Database, binaries, initdb_at, postgres_at, user};
use crate::within;
use sqlx::{Connection, PgConnection};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const START_MAX: Duration = Duration::from_mins(1);

/// A second server, and where its own socket is.
pub(crate) struct Standby {
    server: Process,
    sockets: PathBuf,
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
