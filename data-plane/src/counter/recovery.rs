//! What a process that died left behind: its open segments are sealed, and what cannot be read is set aside.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::Path,
    time::SystemTime,
};

use proto::segment::{self, BLOCK_BYTES, CONTENT_BYTES_MAX, Footer};

use super::{
    journal::{Id, is_passing, sync_dir},
    metrics::Metrics,
};

/// Seals what an earlier process left open, sets aside what cannot be read, removes what was never used.
/// Files whose names begin with `ours` are this process's own and left alone.
pub(super) fn recover(dir: &Path, metrics: &Metrics, now_ms: u64, ours: &str) -> io::Result<()> {
    let mut sealed = 0;
    for entry in fs::read_dir(dir.join("open"))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(ours) {
            continue;
        }
        let path = entry.path();
        match recover_one(dir, &path, metrics, now_ms) {
            Ok(kept) => sealed += u32::from(kept),
            Err(error) if is_passing(&error) => {
                tracing::error!(%error, path = %path.display(), "a segment of the usage journal waits for the next start");
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

/// Whether there was anything in it.
fn recover_one(dir: &Path, path: &Path, metrics: &Metrics, now_ms: u64) -> io::Result<bool> {
    let mut content = Vec::new();
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    (&mut file).take(CONTENT_BYTES_MAX as u64 + 1).read_to_end(&mut content)?;
    if content.iter().all(|byte| *byte == 0) {
        fs::remove_file(path)?;
        return Ok(false);
    }
    let segment = segment::decode(&content).map_err(io::Error::other)?;
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
        file.write_all_at(&footer.encode(segment.header.seed()), at)?;
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
