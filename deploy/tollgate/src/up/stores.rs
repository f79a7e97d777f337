//! The private PostgreSQL and Redis, from the machine's own binaries, on Unix sockets only.

use super::home::Home;
use super::missing;
use super::service::Spec;
use crate::cli::UpArgs;
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Older ones lack what the tables use (`unique nulls not distinct`).
const POSTGRES_MAJOR_MIN: u32 = 15;
const DEBIAN_POSTGRES: &str = "/usr/lib/postgresql";
const STOP_MAX: Duration = Duration::from_secs(30);

/// The programs found; `None` where a URL was set, so that none is needed.
pub(super) struct Binaries {
    postgres: Option<PathBuf>,
    redis: Option<PathBuf>,
}

impl Binaries {
    pub(super) fn find(args: &UpArgs, home: &Home) -> Result<Self> {
        let postgres = match args.control_plane.database.url()? {
            Some(_) => None,
            None => Some(postgres_binaries(&data(home))?),
        };
        let redis = match args.data_plane.redis_url()? {
            Some(_) => None,
            None => Some(redis_binary()?),
        };
        if rustix::process::geteuid().is_root()
            && home.stores_user().is_none()
            && (postgres.is_some() || redis.is_some())
        {
            return Err(missing(
                "the system user postgres is missing",
                "apt-get install postgresql",
            ));
        }
        Ok(Self { postgres, redis })
    }

    /// Makes the cluster at the first start; an unclean one left by a killed `up` is stopped first.
    pub(super) fn postgres(&self, home: &Home) -> Result<Spec> {
        let binaries = self.postgres.as_ref().context("no PostgreSQL was looked for")?;
        let data = data(home);
        if data.join("PG_VERSION").exists() {
            stop_leftover(binaries, home, &data)?;
        } else {
            initdb(binaries, home, &data)?;
        }
        let mut command = as_stores_user(home, "INT", &binaries.join("postgres"));
        command.arg("-D").arg(&data).arg("-k").arg(home.sockets());
        for setting in ["listen_addresses=", "unix_socket_permissions=0700", "max_connections=200"]
        {
            command.args(["-c", setting]);
        }
        let log = home.logs().join("postgres.log");
        Ok(Spec {
            name: "postgres",
            command: command.into(),
            log,
            stop_signal: Signal::INT,
            stop_max: STOP_MAX,
        })
    }

    pub(super) fn redis(&self, home: &Home) -> Result<Spec> {
        let binary = self.redis.as_ref().context("no Redis was looked for")?;
        let directory = home.path().join("redis");
        home.store_directory(&directory)?;
        let mut command = as_stores_user(home, "TERM", binary);
        command.args([
            "--port",
            "0",
            "--unixsocketperm",
            "700",
            "--appendonly",
            "yes",
            "--save",
            "",
        ]);
        command.arg("--unixsocket").arg(redis_socket(home)).arg("--dir").arg(&directory);
        let log = home.logs().join("redis.log");
        Ok(Spec {
            name: "redis",
            command: command.into(),
            log,
            stop_signal: Signal::TERM,
            stop_max: STOP_MAX,
        })
    }
}

pub(super) fn postgres_url(home: &Home, login: &str, database: &str) -> String {
    let mut url = url::Url::parse("postgres://localhost").expect("a constant URL parses");
    url.set_username(login).expect("this kind of URL takes a user");
    url.set_path(database);
    url.query_pairs_mut().append_pair("host", &home.sockets().to_string_lossy());
    url.into()
}

pub(super) fn redis_socket(home: &Home) -> PathBuf {
    home.sockets().join("redis.sock")
}

pub(super) async fn ping(socket: &Path) -> Result<()> {
    let mut stream =
        tokio::net::UnixStream::connect(socket).await.context("cannot connect to Redis")?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await?;
    if &answer != b"+PONG\r\n" {
        bail!("Redis is still loading");
    }
    Ok(())
}

fn data(home: &Home) -> PathBuf {
    home.path().join("postgres")
}

/// A command under the stores' user, told to end when we do: as root our own death would otherwise leave it behind.
fn as_stores_user(home: &Home, signal: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if let Some(user) = home.stores_user() {
        command.args(["--reuid", user.name, "--regid", user.name, "--init-groups"]);
    }
    command.args(["--pdeathsig", signal]).arg(program);
    // The caller's directory may be closed to that user, and its PG… variables are about another server.
    command.current_dir("/").env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

fn initdb(binaries: &Path, home: &Home, data: &Path) -> Result<()> {
    home.store_directory(data)?;
    let output = as_stores_user(home, "TERM", &binaries.join("initdb"))
        .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "-D"])
        .arg(data)
        .output()
        .context("cannot run initdb")?;
    if !output.status.success() {
        bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn stop_leftover(binaries: &Path, home: &Home, data: &Path) -> Result<()> {
    let pg_ctl = |action: &[&str]| {
        let mut command = as_stores_user(home, "TERM", &binaries.join("pg_ctl"));
        command.args(action).arg("-D").arg(data).output().context("cannot run pg_ctl")
    };
    if pg_ctl(&["status"])?.status.success() {
        let stopped = pg_ctl(&["stop", "-m", "fast", "-w"])?;
        if !stopped.status.success() {
            bail!("a PostgreSQL of an earlier run holds {} and does not stop", data.display());
        }
    }
    Ok(())
}

/// The directory of `postgres` and `initdb`: of the version that made the data, else the newest.
fn postgres_binaries(data: &Path) -> Result<PathBuf> {
    let wanted = match std::fs::read_to_string(data.join("PG_VERSION")) {
        Ok(text) => Some(text.trim().parse::<u32>().context("PG_VERSION is not a number")?),
        Err(_) => None,
    };
    let mut found: Vec<(u32, PathBuf)> = debian_binaries().chain(path_binaries()).collect();
    found.retain(|(major, _)| {
        wanted.is_none_or(|wanted| wanted == *major) && *major >= POSTGRES_MAJOR_MIN
    });
    found.sort_by_key(|(major, _)| *major);
    match (found.pop(), wanted) {
        (Some((_, directory)), _) => Ok(directory),
        (None, Some(version)) => Err(missing(
            &format!("{} was made by PostgreSQL {version}, which is missing", data.display()),
            &format!("apt-get install postgresql-{version}"),
        )),
        (None, None) => {
            Err(missing("PostgreSQL 15 or newer is missing", "apt-get install postgresql"))
        }
    }
}

fn debian_binaries() -> impl Iterator<Item = (u32, PathBuf)> {
    let versions = std::fs::read_dir(DEBIAN_POSTGRES).into_iter().flatten().flatten();
    versions.filter_map(|entry| {
        let major = entry.file_name().to_str()?.parse().ok()?;
        let directory = entry.path().join("bin");
        directory.join("initdb").exists().then_some((major, directory))
    })
}

fn path_binaries() -> Option<(u32, PathBuf)> {
    let directory = in_path("initdb")?.parent()?.to_owned();
    let output = Command::new(directory.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some((first_number(&text)?, directory))
}

fn redis_binary() -> Result<PathBuf> {
    in_path("redis-server")
        .ok_or_else(|| missing("Redis 7 is missing", "apt-get install redis-server"))
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.exists())
}

/// The major version in, say, `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn first_number(text: &str) -> Option<u32> {
    let digits = text.trim_start_matches(|char: char| !char.is_ascii_digit());
    digits.split(|char: char| !char.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_major_version_is_read_from_what_postgres_says() {
        assert_eq!(
            first_number("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(first_number("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(first_number("postgres\n"), None);
    }
}
