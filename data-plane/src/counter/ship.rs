//! Brings sealed segments to the ledger and keeps each until it is acknowledged, and for three days after that.

use std::{
    collections::{HashMap, VecDeque},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use proto::{
    segment::{CONTENT_BYTES_MAX, Header},
    usage::v1::{
        HighWater, OpenEpochRequest, Outcome, Segment, SegmentAck,
        usage_intake_client::UsageIntakeClient,
    },
};
use rand::RngExt;
use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use super::{
    journal::{Id, Shared, is_passing, listed},
    queue::{Place, Sealed},
};

/// Segments sent and not yet acknowledged.
const WINDOW: usize = 16;
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A ledger that answers nothing for so long is tried elsewhere.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);
const PRUNE_EVERY: Duration = Duration::from_mins(1);

/// Runs beside the data threads, on the node's own runtime.
pub struct Shipper {
    shared: Arc<Shared>,
}

/// Why a stream ended.
enum Ended {
    Failed(Status),
    /// The ledger could not take a segment now.
    Busy(String),
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        Self::Failed(status)
    }
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Failed(Status::internal(error.to_string()))
    }
}

impl Shipper {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Ships for as long as it is polled; dropped, it can be run again. `channels` lead to the control plane's
    /// replicas; one is used at a time, the next when it fails.
    pub async fn run(&self, channels: &[Channel]) {
        let mut backoff = BACKOFF_FIRST;
        for channel in channels.iter().cycle() {
            let started = Instant::now();
            let Err(ended) = self.ship(channel.clone()).await;
            if started.elapsed() > BACKOFF_MAX {
                backoff = BACKOFF_FIRST;
            }
            let (why, code) = match &ended {
                Ended::Failed(status) => (status.message(), format!("{:?}", status.code())),
                Ended::Busy(reason) => (reason.as_str(), "retry".to_owned()),
            };
            tracing::warn!(error = why, code, "usage is not being shipped; it is kept and will be");
            let jitter = rand::rng().random_range(0.5..1.0);
            tokio::time::sleep(backoff.mul_f64(jitter)).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Waits until everything that was sealed is acknowledged, at most until `deadline`; says whether it is. Call
    /// it after the data threads have dropped their counters, with [`Shipper::run`] still running.
    pub async fn drain(&self, deadline: Instant) -> bool {
        loop {
            let settled = self.shared.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if self.unacknowledged() == 0 {
                return true;
            }
            if tokio::time::timeout_at(deadline, settled).await.is_err() {
                return self.unacknowledged() == 0;
            }
        }
    }

    /// Segments sealed and not acknowledged.
    pub fn unacknowledged(&self) -> u64 {
        self.shared.unacknowledged.load(Ordering::Acquire)
    }

    /// Tries the disk once more for what it had no room for, and gives how many segments stay in memory alone. Blocks.
    /// Call it after [`Shipper::run`] was dropped: what is on its way is in nobody's queue.
    pub fn save(&self) -> usize {
        self.shared.move_to_disk();
        self.shared.queue.in_memory()
    }

    async fn ship(&self, channel: Channel) -> Result<std::convert::Infallible, Ended> {
        let mut client =
            UsageIntakeClient::new(channel).max_encoding_message_size(2 * CONTENT_BYTES_MAX);
        loop {
            let epoch = self.shared.epoch().to_vec();
            let opened = client.open_epoch(OpenEpochRequest { epoch }).await?.into_inner();
            if !opened.redraw {
                self.resend(opened.high_water).await?;
                break;
            }
            tracing::warn!("another live node uses this epoch; drew a new one");
            self.shared.redraw()?;
        }
        let mut flying = Flying { shared: &self.shared, segments: VecDeque::new() };
        let (to_ledger, segments) = mpsc::channel(WINDOW);
        let mut acks = client.ship(ReceiverStream::new(segments)).await?.into_inner();
        let mut prune = tokio::time::interval(PRUNE_EVERY);
        loop {
            while flying.segments.len() < WINDOW
                && let Some(sealed) = self.shared.queue.pop()
            {
                flying.segments.push_back(sealed);
                if let Some(message) = self.read(flying.segments.back()).await? {
                    // There is room for a whole window.
                    let sent = to_ledger.send(message).await;
                    sent.map_err(|_| Status::unavailable("the stream was closed"))?;
                } else {
                    flying.segments.pop_back();
                }
            }
            tokio::select! {
                ack = next(&mut acks, flying.segments.is_empty()) => {
                    self.acknowledged(&ack?, &mut flying.segments)?;
                }
                () = self.shared.queue.queued.notified(), if flying.segments.len() < WINDOW => {}
                _ = prune.tick() => self.prune(SystemTime::now()).await,
            }
        }
    }

    /// None: it could not be read and is set aside.
    async fn read(&self, sealed: Option<&Sealed>) -> io::Result<Option<Segment>> {
        let Some(sealed) = sealed else { return Ok(None) };
        let content = match &sealed.place {
            Place::Memory(memory) => Ok(memory.to_vec()),
            Place::File(path) => tokio::fs::read(path).await,
        };
        let intact = content.and_then(|content| {
            let header = Header::decode(&content).map_err(io::Error::other)?;
            let id = Id { epoch: header.epoch, thread: header.thread, counter: header.counter };
            if id == sealed.id {
                Ok(content)
            } else {
                Err(io::Error::other("its name is another's"))
            }
        });
        match intact {
            Ok(content) => Ok(Some(Segment {
                epoch: sealed.id.epoch.to_vec(),
                thread: sealed.id.thread,
                counter: sealed.id.counter,
                sha256: Sha256::digest(&content).to_vec(),
                content,
            })),
            Err(error) if is_passing(&error) => Err(error),
            Err(error) => {
                tracing::error!(%error, "a segment of the usage journal cannot be read and is set aside");
                self.shared.metrics.quarantined.inc();
                self.store(sealed, "quarantine");
                self.shared.settle(sealed.id);
                Ok(None)
            }
        }
    }

    fn acknowledged(&self, ack: &SegmentAck, flying: &mut VecDeque<Sealed>) -> Result<(), Ended> {
        let matches = |sealed: &Sealed| {
            sealed.id.epoch[..] == ack.epoch[..]
                && sealed.id.thread == ack.thread
                && sealed.id.counter == ack.counter
        };
        if !flying.front().is_some_and(matches) {
            return Err(Status::internal("an acknowledgement out of order").into());
        }
        match ack.outcome() {
            Outcome::Applied | Outcome::Duplicate => {
                self.shared.metrics.acknowledged.inc();
                self.store(&flying[0], "kept");
            }
            Outcome::Quarantined => {
                tracing::error!(
                    reason = ack.reason,
                    "the ledger set a segment of the usage journal aside"
                );
                self.shared.metrics.quarantined.inc();
                self.store(&flying[0], "quarantine");
            }
            Outcome::Retry | Outcome::Unspecified => return Err(Ended::Busy(ack.reason.clone())),
        }
        if let Some(settled) = flying.pop_front() {
            self.shared.settle(settled.id);
        }
        Ok(())
    }

    /// Moves a segment to another directory; one that is only in memory has none. Not in another task: a segment
    /// that was moved must not be sent again because nobody waited for it.
    fn store(&self, sealed: &Sealed, directory: &str) {
        let Place::File(path) = &sealed.place else { return };
        if let Err(error) = fs::rename(path, self.shared.path(directory, sealed.id)) {
            // At worst it is sent again, and is a duplicate.
            tracing::error!(%error, "a segment of the usage journal was not moved to {directory}");
        }
    }

    /// Queues again what was acknowledged but is not in the ledger: its database was restored from a backup.
    async fn resend(&self, high_water: Vec<HighWater>) -> io::Result<()> {
        let known: HashMap<(Vec<u8>, u32), u64> =
            high_water.into_iter().map(|mark| ((mark.epoch, mark.thread), mark.counter)).collect();
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let mut again = Vec::new();
            for file in listed(&shared.settings.dir.join("kept"))? {
                let mark =
                    known.get(&(file.id.epoch.to_vec(), file.id.thread)).copied().unwrap_or(0);
                if file.id.counter > mark {
                    let path = shared.path("sealed", file.id);
                    fs::rename(&file.path, &path)?;
                    again.push(Sealed { id: file.id, place: Place::File(path) });
                }
            }
            if !again.is_empty() {
                tracing::warn!(
                    segments = again.len(),
                    "the ledger lacks usage that it had; sending it again"
                );
                shared.queue_files(again);
            }
            Ok(())
        })
        .await
    }

    /// Drops acknowledged segments that are too old or too many.
    async fn prune(&self, now: SystemTime) {
        let (kept, settings) =
            (self.shared.settings.dir.join("kept"), self.shared.settings.clone());
        let pruned =
            blocking(move || prune(&kept, now, settings.kept_for, settings.kept_bytes_max)).await;
        if let Err(error) = pruned {
            tracing::warn!(%error, "acknowledged usage was not pruned");
        }
    }
}

/// Sent and not acknowledged. However the stream ends, they go back to the head of the queue.
struct Flying<'a> {
    shared: &'a Shared,
    segments: VecDeque<Sealed>,
}

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        self.shared.queue.push_front(std::mem::take(&mut self.segments));
    }
}

/// The next acknowledgement. While none is due it may take for ever.
async fn next(acks: &mut Streaming<SegmentAck>, idle: bool) -> Result<SegmentAck, Status> {
    let message = if idle {
        acks.message().await
    } else {
        tokio::time::timeout(ACK_TIMEOUT, acks.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no acknowledgement came"))?
    };
    message?.ok_or_else(|| Status::unavailable("the ledger closed the stream"))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Removes files older than `kept_for`, and the oldest beyond `bytes_max` of disk. A file takes whole pages.
fn prune(
    dir: &Path,
    now: SystemTime,
    kept_for: Duration,
    bytes_max: u64,
) -> io::Result<Vec<PathBuf>> {
    let files = listed(dir)?;
    let on_disk = |bytes: u64| bytes.next_multiple_of(4096);
    let mut total: u64 = files.iter().map(|file| on_disk(file.bytes)).sum();
    let mut removed = Vec::new();
    for file in files {
        let old = now.duration_since(file.modified).is_ok_and(|age| age > kept_for);
        if !old && total <= bytes_max {
            break;
        }
        match fs::remove_file(&file.path) {
            // A process that shares the directory was faster.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        total -= on_disk(file.bytes);
        removed.push(file.path);
    }
    Ok(removed)
}

#[cfg(test)]
mod tests;
