//! A disk so small that a story can fill it: a file system in memory, in a mount namespace of the node's own, so that
//! it goes with the process. Whoever is not root gets it through a user namespace.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Process;

/// The same command, with a disk of so many MiB mounted over `directory`.
pub fn on_small_disk(inner: &Command, directory: &Path, mebibytes: u32) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let mount = format!(
        "mkdir -p \"$0\" && mount -t tmpfs -o size={mebibytes}m,mode=0700 tollgate \"$0\" && exec \"$@\""
    );
    command.args(["--mount", "sh", "-c", &mount]).arg(directory);
    command.arg(inner.get_program()).args(inner.get_args());
    command.env_clear().current_dir("/");
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// What takes the room on such a disk.
pub struct Filler {
    path: PathBuf,
    file: File,
}

impl Filler {
    /// On the disk that this process sees in `directory`.
    ///
    /// # Panics
    /// Where nothing can be made there.
    pub fn new(process: &Process, directory: &Path) -> Self {
        let root = PathBuf::from(format!("/proc/{}/root", process.id()));
        let below = directory.strip_prefix("/").unwrap_or(directory);
        let path = root.join(below).join("filler");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        Self { file: file.expect("the node's disk is reached through its namespace"), path }
    }

    /// Takes what is left, to the last page.
    ///
    /// # Panics
    /// Where something else fails.
    pub fn fill(&mut self) {
        for size in [64 * 1024, 4096] {
            let bytes = vec![0; size];
            let error = loop {
                if let Err(error) = self.file.write_all(&bytes) {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        }
    }

    /// Gives all of it back.
    ///
    /// # Panics
    /// Where the file cannot be removed.
    pub fn empty(self) {
        std::fs::remove_file(self.path).expect("the filler can be removed");
    }
}
