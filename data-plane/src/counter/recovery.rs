//! What a process that died left behind: its open segments are sealed, and what cannot be read is set aside.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use proto::segment::{self, BLOCK_BYTES, CONTENT_BYTES_MAX, Footer, Header, State};

use super::{
    journal::{Id, is_passing, sync_dir},
    metrics::Metrics,
};

/// Seals what an earlier process left open, sets aside what cannot be read, removes what was never used.
/// Files whose names begin with `ours` are this process's own and left alone.
pub(super) fn recover(dir: &Path, metrics: &Metrics, now_ms: u64, ours: &str) -> io::Result<()> {
    recover_by(header_of, dir, metrics, now_ms, ours)
}

/// The same with a way to read headers.
pub(super) fn recover_by(
    header_of: impl Fn(&Path) -> io::Result<Option<Header>>,
    dir: &Path,
    metrics: &Metrics,
    now_ms: u64,
    ours: &str,
) -> io::Result<()> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir.join("open"))? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(ours) {
            paths.push(entry.path());
        }
    }
    // As they were made. What a segment moved on to the next is given up there before the next may be counted.
    paths.sort();
    let last = match last_written(&paths, header_of) {
        Ok(last) => last,
        Err(error) => {
            tracing::error!(%error, "the segments of the usage journal wait for the next start");
            return Ok(());
        }
    };
    let mut sealed = 0;
    for path in paths {
        match recover_one(dir, &path, &last, metrics, now_ms) {
            Ok(kept) => sealed += u32::from(kept),
            Err(error) if is_passing(&error) => {
                tracing::error!(
                    %error,
                    path = %path.display(),
                    "segments of the usage journal wait for the next start, this one and those after it"
                );
                break;
            }
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "a segment of the usage journal was not recovered");
                set_aside(dir, &path, metrics)?;
            }
        }
    }
    sync_dir(&dir.join("sealed"))?;
    if sealed > 0 {
        tracing::info!(segments = sealed, "recovered the usage journal of the process before");
    }
    Ok(())
}

/// By process and thread: the file that was begun last.
type Last = HashMap<(String, u32), PathBuf>;

/// Fails where the machine lacks something for the moment: while one cannot be looked at, nobody knows which is the last.
fn last_written(
    paths: &[PathBuf],
    header_of: impl Fn(&Path) -> io::Result<Option<Header>>,
) -> io::Result<Last> {
    let mut last = Last::new();
    for path in paths {
        let header = match header_of(path) {
            Err(error) if is_passing(&error) => return Err(error),
            // What cannot be read will be set aside.
            read => read.ok().flatten(),
        };
        if let (Some(process), Some(header)) = (process(path), header) {
            last.insert((process, header.thread), path.clone()); // in place of the earlier
        }
    }
    Ok(last)
}

/// None where the file has none that is whole.
pub(super) fn header_of(path: &Path) -> io::Result<Option<Header>> {
    let mut block = [0; BLOCK_BYTES];
    match File::open(path)?.read_exact(&mut block) {
        Ok(()) => Ok(Header::decode(&block).ok()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the names of one process's files begin with.
fn process(path: &Path) -> Option<String> {
    let (process, _) = path.file_name()?.to_str()?.split_once('-')?;
    Some(process.to_owned())
}

/// Whether there was anything in it.
fn recover_one(
    dir: &Path,
    path: &Path,
    last: &Last,
    metrics: &Metrics,
    now_ms: u64,
) -> io::Result<bool> {
    let mut content = Vec::new();
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    (&mut file).take(CONTENT_BYTES_MAX as u64 + 1).read_to_end(&mut content)?;
    if content.iter().all(|byte| *byte == 0) {
        fs::remove_file(path)?;
        return Ok(false);
    }
    let mut segment = segment::decode(&content).map_err(io::Error::other)?;
    if segment.damaged > 0 {
        tracing::error!(
            path = %path.display(),
            damaged = segment.damaged,
            readable = segment.records.len(),
            "a segment of the usage journal is damaged; a copy is in quarantine, the rest is counted",
        );
        metrics.quarantined.inc();
        fs::copy(path, dir.join("quarantine").join(file_name(path)))?;
    }
    let seed = segment.header.seed();
    let thread = process(path).map(|process| (process, segment.header.thread));
    let moved_on = thread.and_then(|thread| last.get(&thread)).is_some_and(|last| last != path);
    if moved_on {
        // The thread gave its begun slots up here when it began the next. A machine that died may have written that
        // one to its disk, and not this.
        for index in &segment.begun {
            let at = u64::from(*index) * BLOCK_BYTES as u64;
            file.write_all_at(&segment::encode_void(seed, *index), at)?;
        }
        segment.records.retain(|record| record.state == State::Done);
    }
    if segment.records.is_empty() {
        fs::remove_file(path)?;
        return Ok(false);
    }

    let mut blocks = segment.blocks;
    if segment.footer.is_none() {
        blocks += 1;
        let footer = Footer {
            blocks,
            records: u32::try_from(segment.records.len()).expect("fewer than blocks"),
            sealed_ms: now_ms,
            recovered: true,
        };
        let at = u64::from(segment.blocks) * BLOCK_BYTES as u64;
        file.write_all_at(&footer.encode(seed), at)?;
    }
    file.set_len(u64::from(blocks) * BLOCK_BYTES as u64)?;
    file.sync_data()?;
    let header = segment.header;
    let id = Id { epoch: header.epoch, thread: header.thread, counter: header.counter };
    let to = dir.join("sealed").join(id.file_name());
    if to.exists() || dir.join("kept").join(id.file_name()).exists() {
        return Err(io::Error::other("a segment of this name exists already"));
    }
    fs::rename(path, to)?;
    Ok(true)
}

fn set_aside(dir: &Path, path: &Path, metrics: &Metrics) -> io::Result<()> {
    metrics.quarantined.inc();
    fs::rename(path, dir.join("quarantine").join(file_name(path)))
}

/// A name of its own, whatever lies there from earlier starts.
fn file_name(path: &Path) -> String {
    let stamp = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    format!("{stamp}-{}", path.file_name().unwrap_or_default().to_string_lossy())
}
