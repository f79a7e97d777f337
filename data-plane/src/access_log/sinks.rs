//! Sinks on this machine: standard output and a file.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::LineSink;

/// A sink that goes on failing says so this often.
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

/// Lines on standard output.
#[derive(Default)]
pub struct Stdout;

/// Lines at the end of a file. Renamed away, it is begun anew by itself, so that logrotate needs no signal.
pub struct File {
    path: PathBuf,
    /// A file that would grow beyond it becomes `{path}.1`, in the place of the one before.
    bytes_max: Option<u64>,
    open: Option<Open>,
    complained: Option<Instant>,
}

struct Open {
    file: fs::File,
    /// Device and inode.
    identity: (u64, u64),
    bytes: u64,
}

impl LineSink for Stdout {
    fn name(&self) -> &'static str {
        "stdout"
    }

    fn write(&mut self, lines: &[u8]) -> bool {
        io::stdout().write_all(lines).is_ok()
    }
}

impl File {
    /// Opens it, so that a path that cannot be written is known at the start.
    pub fn open(path: PathBuf, bytes_max: Option<u64>) -> io::Result<Self> {
        let open = Some(Open::at(&path)?);
        Ok(Self { path, bytes_max, open, complained: None })
    }

    /// The file that is at the path now, with room for so many bytes.
    fn current(&mut self, more: u64) -> io::Result<&mut Open> {
        let there = fs::metadata(&self.path).ok().map(|it| (it.dev(), it.ino()));
        let open = self.open.take().filter(|open| Some(open.identity) == there);
        let open = match open {
            Some(open) if self.bytes_max.is_some_and(|max| open.bytes + more > max) => {
                fs::rename(&self.path, aside(&self.path))?;
                Open::at(&self.path)?
            }
            Some(open) => open,
            None => Open::at(&self.path)?,
        };
        Ok(self.open.insert(open))
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let open = self.current(u64::try_from(lines.len()).unwrap_or(u64::MAX))?;
        let before = open.file.metadata()?.len(); // it may have been truncated
        if let Err(error) = open.file.write_all(lines) {
            // Half a batch would end in half a line.
            let _ = open.file.set_len(before);
            return Err(error);
        }
        open.bytes = before + u64::try_from(lines.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

impl LineSink for File {
    fn name(&self) -> &'static str {
        "file"
    }

    fn write(&mut self, lines: &[u8]) -> bool {
        let Err(error) = self.append(lines) else { return true };
        if self.complained.is_none_or(|at| at.elapsed() > COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            let file = self.path.display();
            tracing::warn!(%error, %file, "the access log cannot be written; its records are lost");
        }
        false
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let file = fs::OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
        let is = file.metadata()?;
        Ok(Self { file, identity: (is.dev(), is.ino()), bytes: is.len() })
    }
}

/// `{path}.1`
fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Lines, Record},
        *,
    };

    fn line() -> Vec<u8> {
        let mut lines = Lines::default();
        lines.push(&Record::test().entry());
        lines.as_bytes().to_vec()
    }

    fn directory() -> PathBuf {
        let path = std::env::temp_dir().join(format!("tollgate-access-{}", uuid::Uuid::now_v7()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn count_of(path: &Path) -> usize {
        let text = fs::read_to_string(path).unwrap_or_default();
        let whole = |line: &&str| serde_json::from_str::<serde_json::Value>(line).is_ok();
        assert_eq!(text.lines().filter(whole).count(), text.lines().count(), "{text}");
        text.lines().count()
    }

    #[test]
    fn a_file_that_is_renamed_is_begun_anew() {
        let directory = directory();
        let path = directory.join("access.log");
        let mut file = File::open(path.clone(), None).unwrap();
        assert!(file.write(&line()));
        fs::rename(&path, directory.join("yesterday")).unwrap();
        assert!(file.write(&line()) && file.write(&line()));
        assert_eq!((count_of(&directory.join("yesterday")), count_of(&path)), (1, 2));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_file_and_the_one_before_it_stay_within_the_bound() {
        let directory = directory();
        let path = directory.join("access.log");
        let max = u64::try_from(line().len() * 10).unwrap();
        let mut file = File::open(path.clone(), Some(max)).unwrap();
        for _ in 0..35 {
            assert!(file.write(&line()));
        }
        assert_eq!((count_of(&path), count_of(&aside(&path))), (5, 10));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2);
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_full_disk_costs_the_lines_and_leaves_whole_ones() {
        // A device that is always full.
        let mut file = File::open("/dev/full".into(), None).unwrap();
        assert!(!file.write(&line()) && !file.write(&line()));
    }
}
