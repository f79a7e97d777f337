//! Where state lives, and who may reach it.

use crate::settings::Common;
use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Used instead of `var/` where the stores' user cannot reach the checkout.
const SYSTEM_HOME: &str = "/var/lib/tollgate";
/// The system user for the private stores when we are root: initdb refuses root.
const STORES_USER: &str = "postgres";
/// `sockaddr_un` holds 108 bytes; PostgreSQL adds `/.s.PGSQL.5432`.
const SOCKETS_BYTES_MAX: usize = 90;

/// A user other than ours, under whom the stores run.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: &'static str,
    uid: u32,
    gid: u32,
}

#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    sockets: PathBuf,
    stores_user: Option<User>,
    first_start: bool,
}

/// While it lives no second `up` runs from the same home.
pub(super) struct Lock {
    _file: File,
}

impl Home {
    /// Decides where; touches nothing.
    pub(super) fn find(common: &Common) -> Result<Self> {
        let root = rustix::process::geteuid().is_root();
        let stores_user = if root { User::find(STORES_USER)? } else { None };
        let path = match &common.home {
            Some(path) => std::path::absolute(path)?,
            None => default_path(stores_user.as_ref())?,
        };
        let sockets = sockets(&path, root)?;
        let first_start = !path.join("started").exists();
        Ok(Self { path, sockets, stores_user, first_start })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn logs(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The private stores' Unix sockets; mode 0700, so that whoever gets in may be trusted.
    pub(super) fn sockets(&self) -> &Path {
        &self.sockets
    }

    pub(super) fn stores_user(&self) -> Option<&User> {
        self.stores_user.as_ref()
    }

    pub(super) fn first_start(&self) -> bool {
        self.first_start
    }

    pub(super) fn mark_started(&self) -> Result<()> {
        fs::write(self.path.join("started"), "").context("cannot write to the home")
    }

    /// Whoever started us with `--detach` waits for this file.
    pub(super) fn mark_ready(&self) -> Result<()> {
        fs::write(self.ready_file(), std::process::id().to_string())
            .context("cannot write to the home")
    }

    pub(super) fn unmark_ready(&self) {
        fs::remove_file(self.ready_file()).ok();
    }

    /// Whether that process, and not an earlier one, has marked itself ready.
    pub(super) fn ready_by(&self, process: u32) -> bool {
        fs::read_to_string(self.ready_file()).is_ok_and(|text| text == process.to_string())
    }

    /// Whether the last `up` ended without ending its children: it never got to take its mark away.
    pub(super) fn was_killed(&self) -> bool {
        self.ready_file().exists()
    }

    /// With these settings the short commands reach what this home runs.
    pub(super) fn settings_file(&self) -> PathBuf {
        self.path.join("settings.toml")
    }

    /// Mode 0600: there are URLs with passwords in it.
    pub(super) fn write_settings(&self, text: &str) -> Result<()> {
        let path = self.settings_file();
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        let mut file = file.with_context(|| format!("cannot write {}", path.display()))?;
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }

    fn ready_file(&self) -> PathBuf {
        self.path.join("ready")
    }

    /// Takes the home for this process and writes its id to `up.pid`.
    pub(super) fn lock(&self) -> Result<Lock> {
        self.make(&self.path)?;
        let path = self.path.join("up.pid");
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            bail!(
                "Tollgate already runs from {} (process {}); stop it with deploy/down",
                self.path.display(),
                pid.trim()
            );
        }
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())?;
        Ok(Lock { _file: file })
    }

    pub(super) fn prepare_log(&self) -> Result<()> {
        self.make(&self.path)?;
        private(&self.logs())
    }

    /// Makes the directories.
    pub(super) fn prepare(&self) -> Result<()> {
        self.prepare_log()?;
        private(&self.path.join("node"))?;
        self.make(self.sockets.parent().context("the sockets' directory has no parent")?)?;
        self.store_directory(&self.sockets)
    }

    /// A directory that only the stores' user may enter.
    pub(super) fn store_directory(&self, path: &Path) -> Result<()> {
        private(path)?;
        if let Some(user) = &self.stores_user {
            let cannot_give =
                || format!("cannot give {} to the user {}", path.display(), user.name);
            std::os::unix::fs::chown(path, Some(user.uid), Some(user.gid))
                .with_context(cannot_give)?;
        }
        Ok(())
    }

    /// A directory that holds a store's directory: another user must be able to pass through.
    fn make(&self, path: &Path) -> Result<()> {
        let mode = if self.stores_user.is_some() { 0o711 } else { 0o700 };
        directory(path, mode)
    }
}

impl User {
    fn find(name: &'static str) -> Result<Option<Self>> {
        let text = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let fields = text
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields[0] == name);
        let Some(fields) = fields else { return Ok(None) };
        let (Some(uid), Some(gid)) = (fields.get(2), fields.get(3)) else {
            bail!("/etc/passwd has a broken line for {name}")
        };
        Ok(Some(Self { name, uid: uid.parse()?, gid: gid.parse()? }))
    }

    /// Whether this user may enter the directory.
    fn reaches(&self, path: &Path) -> bool {
        let status = Command::new("setpriv")
            .args(["--reuid", self.name, "--regid", self.name, "--init-groups", "test", "-x"])
            .arg(path)
            .status();
        status.is_ok_and(|status| status.success())
    }
}

fn default_path(stores_user: Option<&User>) -> Result<PathBuf> {
    let here = std::env::current_dir().context("the current directory is gone")?;
    match stores_user {
        Some(user) if !user.reaches(&here) => {
            println!(
                "State goes to {SYSTEM_HOME}: the user {} cannot reach {}.",
                user.name,
                here.display()
            );
            Ok(PathBuf::from(SYSTEM_HOME))
        }
        _ => Ok(here.join("var")),
    }
}

fn sockets(home: &Path, root: bool) -> Result<PathBuf> {
    let digest = hex::encode(Sha256::digest(home.as_os_str().as_encoded_bytes()));
    let parent = match std::env::var_os("XDG_RUNTIME_DIR") {
        _ if root => PathBuf::from("/run/tollgate"),
        Some(runtime) if !runtime.is_empty() => PathBuf::from(runtime).join("tollgate"),
        _ => std::env::temp_dir().join(format!("tollgate-{}", rustix::process::getuid().as_raw())),
    };
    let path = parent.join(&digest[..8]);
    if path.as_os_str().len() > SOCKETS_BYTES_MAX {
        bail!(
            "{} is too long for a Unix socket; set XDG_RUNTIME_DIR to a shorter path",
            path.display()
        );
    }
    Ok(path)
}

fn private(path: &Path) -> Result<()> {
    directory(path, 0o700)
}

fn directory(path: &Path, mode: u32) -> Result<()> {
    let cannot_make = || format!("cannot make the directory {}", path.display());
    DirBuilder::new().recursive(true).mode(mode).create(path).with_context(cannot_make)?;
    let found = fs::metadata(path).with_context(cannot_make)?;
    let ours =
        found.uid() == rustix::process::geteuid().as_raw() || rustix::process::geteuid().is_root();
    if !ours {
        bail!("{} belongs to another user", path.display());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(cannot_make)
}

/// 32 random bytes as hex, only if there is no such file yet: without this key no stored secret can be read.
pub(super) fn make_master_key(path: &Path) -> Result<()> {
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
        Err(error) => {
            return Err(error)
                .with_context(|| format!("cannot make the master key {}", path.display()));
        }
    };
    let key: [u8; 32] = rand::random();
    file.write_all(hex::encode(key).as_bytes())?;
    file.sync_all().context("cannot keep the master key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_key_is_private_and_made_once() {
        let path = std::env::temp_dir()
            .join(format!("tollgate-key-{}", hex::encode(rand::random::<[u8; 8]>())));
        make_master_key(&path).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        make_master_key(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(first.len(), 64);
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn two_homes_have_two_socket_directories() {
        let one = sockets(Path::new("/srv/one"), true).unwrap();
        let two = sockets(Path::new("/srv/two"), true).unwrap();
        assert_ne!(one, two);
        assert!(one.starts_with("/run/tollgate"));
    }
}
