//! The logs of children, which are bounded in size.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A log that has outgrown this moves to the file beside it that ends in `.1`, in the place of what was there.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Keeps a child's log within its bound. The child writes on into the same file, at its end; a line that it writes in
/// the instant between the copy and the cut is lost.
pub(super) async fn bound(log: PathBuf) {
    let shown = log.display().to_string();
    let bounded = tokio::task::spawn_blocking(move || bound_at(&log, BYTES_MAX)).await;
    if let Ok(Err(error)) = bounded {
        eprintln!("the log {shown} cannot be cut: {error}");
    }
}

fn bound_at(log: &Path, bytes_max: u64) -> io::Result<()> {
    let mut log_file = OpenOptions::new().read(true).write(true).open(log)?;
    if log_file.metadata()?.len() <= bytes_max {
        return Ok(());
    }
    let mut earlier = log.as_os_str().to_owned();
    earlier.push(".1");
    let kept = File::create(earlier).and_then(|mut earlier| io::copy(&mut log_file, &mut earlier));
    // The bound holds also where there is no room for the copy.
    log_file.set_len(0)?;
    kept.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    #[test]
    fn a_log_is_cut_while_its_child_writes_and_one_earlier_is_kept() {
        let directory = std::env::temp_dir().join(format!("tollgate-logs-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let log = directory.join("child.log");
        let mut child = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();

        child.write_all(b"first").unwrap();
        bound_at(&log, 5).unwrap();
        assert_eq!((read("child.log"), read("child.log.1")), ("first".into(), String::new()));
        child.write_all(b" and more").unwrap();
        bound_at(&log, 5).unwrap();
        child.write_all(b"second").unwrap();
        assert_eq!(read("child.log"), "second");
        assert_eq!(read("child.log.1"), "first and more");
        bound_at(&log, 5).unwrap();
        assert_eq!((read("child.log"), read("child.log.1")), (String::new(), "second".into()));
        fs::remove_dir_all(directory).unwrap();
    }
}
