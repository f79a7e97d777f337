//! Files that only this node may read, replaced whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Makes the directory, 0700, where it is missing.
pub(crate) fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// What the file holds; nothing where there is none.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces the file's content, mode 0600. After a crash at any moment it is the old one or the new one.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut fresh = Fresh::create(path)?;
    fresh.file.write_all(content)?;
    fresh.publish().map(drop)
}

/// A file that is being written beside the one that it will replace.
pub(crate) struct Fresh {
    pub(crate) file: File,
    at: PathBuf,
    target: PathBuf,
}

impl Fresh {
    pub(crate) fn create(target: &Path) -> io::Result<Self> {
        let at = beside(target, "new");
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&at)?;
        Ok(Self { file, at, target: target.to_owned() })
    }

    /// Puts it in its place and on the disk.
    pub(crate) fn publish(self) -> io::Result<File> {
        self.file.sync_all()?;
        fs::rename(&self.at, &self.target)?;
        sync_dir(&self.target)?;
        Ok(self.file)
    }
}

/// Keeps the present file under the other name as well, in place of what was there.
pub(crate) fn keep_as(path: &Path, other: &Path) -> io::Result<()> {
    let at = beside(other, "new");
    match fs::remove_file(&at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::hard_link(path, &at)?;
    fs::rename(&at, other)?;
    sync_dir(other)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}
