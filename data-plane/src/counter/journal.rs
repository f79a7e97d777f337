//! The journal: its files, and the regions that data threads write to.
//!
//! | directory | what lies there |
//! |---|---|
//! | `open/` | segments being written and spare ones: 1 MiB each, space allocated, mapped by a data thread |
//! | `sealed/` | sealed, on disk for good, not acknowledged |
//! | `kept/` | acknowledged; kept for 72 h so that a restored database can be filled again |
//! | `quarantine/` | what could not be read whole, and what the ledger would not take |
//!
//! A segment is shipped only after it is on disk, so what was shipped never changes. Where the disk has no room it is
//! shipped from memory, and goes to the disk if that has room before the ledger has it; there requests of one kind share
//! a slot, so that the memory lasts for as many kinds of requests, not for as many requests.
#![expect(unsafe_code, reason = "maps the files that data threads write to")]

use std::{
    collections::{HashSet, VecDeque},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    ops::{Deref, DerefMut},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use memmap2::MmapMut;
use prometheus::IntGauge;
use rand::TryRng;
use rustix::{
    fs::{FallocateFlags, FlockOperation},
    io::Errno,
};
use tokio::sync::Notify;

use super::{
    Counter, Room,
    coalesce::coalesce,
    memory::Memory,
    metrics::Metrics,
    queue::{Place, Queue, Sealed},
    recovery::recover,
    segment::Finished,
};

/// 16,383 blocks beside the header.
const REGION_BYTES: usize = 1024 * 1024;
/// So much of a spare is faulted in ahead: about a thousand requests.
const TOUCHED_BYTES: usize = 64 * 1024;
const PAGE_BYTES: usize = 4096;
/// How often the disk is tried again while it has no room.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Regions made ahead for each thread; at 50,000 requests a second they last for more than a second.
const SPARES: usize = 4;

/// Where the journal lies and how much of the machine it may use.
#[derive(Debug, Clone)]
pub struct Settings {
    pub dir: PathBuf,
    /// Data threads; each gets a [`Counter`].
    pub threads: u32,
    /// While the disk is full, segments that no longer fit into this much memory make requests be refused.
    pub memory_bytes_max: usize,
    /// Acknowledged segments are dropped, oldest first, beyond this much disk …
    pub kept_bytes_max: u64,
    /// … and after this long.
    pub kept_for: Duration,
}

impl Settings {
    pub fn new(dir: PathBuf, threads: u32) -> Self {
        Self {
            dir,
            threads,
            memory_bytes_max: 64 * 1024 * 1024,
            kept_bytes_max: 256 * 1024 * 1024,
            kept_for: Duration::from_hours(72),
        }
    }
}

/// The node's journal: open it once, before the data threads start.
pub struct Journal {
    shared: Arc<Shared>,
}

/// What counters, the journal's own threads and the shipper share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) metrics: Metrics,
    epoch: ArcSwap<[u8; 16]>,
    pub(super) queue: Queue,
    /// Something was acknowledged.
    pub(super) settled: Notify,
    /// Sealed and not acknowledged, on disk or not yet.
    pub(super) unacknowledged: AtomicU64,
    memory_bytes: Arc<AtomicUsize>,
    /// What the names of our files in `open/` begin with.
    prefix: String,
    /// Every epoch that we drew.
    drawn: Mutex<Vec<[u8; 16]>>,
    /// Segments of other epochs that are ours to ship.
    adopted: Mutex<HashSet<Id>>,
    /// Held by who moves segments from memory to the disk.
    moving: Mutex<()>,
    /// Held for as long as anything writes here.
    lock: File,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    pub(super) epoch: [u8; 16],
    pub(super) thread: u32,
    pub(super) counter: u64,
}

impl Journal {
    /// Takes the directory for this process, seals what an earlier one left open, draws an epoch, and gives one
    /// counter for each thread. `now_ms` is since 1970.
    pub fn open(settings: Settings, now_ms: u64) -> io::Result<(Self, Vec<Counter>)> {
        let shared = Arc::new(Shared::open(settings, now_ms)?);
        let counters = shared.start()?;
        Ok((Self { shared }, counters))
    }

    /// The same beside a process that still writes here and gave us its `lock`: the directory stays shut to everyone
    /// else while either lives. What that process leaves is [adopted](Journal::adopt) when it has ended.
    pub fn open_beside(settings: Settings, lock: File) -> io::Result<(Self, Vec<Counter>)> {
        let shared = Arc::new(Shared::with_lock(settings, lock)?);
        let counters = shared.start()?;
        Ok((Self { shared }, counters))
    }

    /// Seals and queues what a process left that shared the directory with this one. Call it when it has ended.
    pub fn adopt(&self, now_ms: u64) -> io::Result<()> {
        self.shared.adopt(now_ms)
    }

    /// The lock of the directory, for a process that will go on here.
    pub fn lock(&self) -> io::Result<File> {
        self.shared.lock.try_clone()
    }

    /// Brings sealed segments to the ledger.
    pub fn shipper(&self) -> super::Shipper {
        super::Shipper::new(Arc::clone(&self.shared))
    }

    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Whether there is room to count requests.
    pub fn room(&self) -> Room {
        Room(Arc::clone(&self.shared))
    }
}

impl Shared {
    pub(super) fn open(settings: Settings, now_ms: u64) -> io::Result<Self> {
        make_directories(&settings.dir)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(settings.dir.join("lock"))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            io::Error::new(io::ErrorKind::ResourceBusy, "another process uses this usage journal")
        })?;
        let shared = Self::with_lock(settings, lock)?;
        shared.adopt(now_ms)?;
        Ok(shared)
    }

    fn with_lock(settings: Settings, lock: File) -> io::Result<Self> {
        make_directories(&settings.dir)?;
        let epoch = draw()?;
        Ok(Self {
            prefix: hex::encode(&draw()?[..8]),
            drawn: Mutex::new(vec![epoch]),
            adopted: Mutex::default(),
            epoch: ArcSwap::from_pointee(epoch),
            unacknowledged: AtomicU64::new(0),
            queue: Queue::default(),
            settled: Notify::new(),
            memory_bytes: Arc::new(AtomicUsize::new(0)),
            settings,
            metrics: Metrics::new(),
            moving: Mutex::default(),
            lock,
        })
    }

    fn adopt(&self, now_ms: u64) -> io::Result<()> {
        recover(&self.settings.dir, &self.metrics, now_ms, &self.prefix)?;
        let found = sealed(&self.settings.dir.join("sealed"))?;
        let drawn = lock(&self.drawn).clone();
        self.queue_files(found.into_iter().filter(|it| !drawn.contains(&it.id.epoch)));
        Ok(())
    }

    /// Queues segments that lie on the disk, each once.
    pub(super) fn queue_files(&self, found: impl IntoIterator<Item = Sealed>) {
        let mut adopted = lock(&self.adopted);
        let new: Vec<_> = found.into_iter().filter(|it| adopted.insert(it.id)).collect();
        self.unacknowledged.fetch_add(new.len() as u64, Ordering::AcqRel);
        self.queue.push(new);
    }

    /// Starts the journal's two threads. They end when the last counter has gone.
    fn start(self: &Arc<Self>) -> io::Result<Vec<Counter>> {
        let (taken, wanted) = mpsc::channel();
        let (finished, to_persist) = mpsc::channel();
        let mut suppliers = Vec::new();
        let mut counters = Vec::new();
        for thread in 0..self.settings.threads {
            let (supplier, spares) = mpsc::channel();
            suppliers.push(supplier);
            counters.push(Counter::new(
                Arc::clone(self),
                thread,
                spares,
                taken.clone(),
                finished.clone(),
            ));
        }
        let mut nursery = Nursery::new(self, suppliers);
        let owed = (0..self.settings.threads).flat_map(|thread| [thread; SPARES]).collect();
        // The first requests find their regions ready; with a full disk they start in memory.
        let owed = nursery.pay(owed);
        thread::Builder::new()
            .name("journal-spares".into())
            .spawn(move || nursery.run(&wanted, owed))?;
        let shared = Arc::clone(self);
        thread::Builder::new()
            .name("journal-sync".into())
            .spawn(move || shared.persist_all(&to_persist))?;
        Ok(counters)
    }

    pub(super) fn epoch(&self) -> [u8; 16] {
        **self.epoch.load()
    }

    /// Another live node has our epoch: what is started from now on gets a new one.
    pub(super) fn redraw(&self) -> io::Result<()> {
        let epoch = draw()?;
        lock(&self.drawn).push(epoch);
        self.epoch.store(Arc::new(epoch));
        self.metrics.redrawn.inc();
        Ok(())
    }

    /// A region for when the disk has none.
    pub(super) fn memory(&self) -> Region {
        Region(Kind::Memory(Memory::new(vec![0; REGION_BYTES].into(), &self.memory_bytes)))
    }

    pub(super) fn memory_is_full(&self) -> bool {
        self.memory_bytes.load(Ordering::Relaxed) > self.settings.memory_bytes_max
    }

    /// The ledger has it, or it was set aside.
    pub(super) fn settle(&self, id: Id) {
        lock(&self.adopted).remove(&id);
        let before = self.unacknowledged.fetch_sub(1, Ordering::AcqRel);
        self.metrics.unacknowledged.set(i64::try_from(before - 1).unwrap_or(i64::MAX));
        self.settled.notify_waiters();
    }

    pub(super) fn path(&self, directory: &str, id: Id) -> PathBuf {
        self.settings.dir.join(directory).join(id.file_name())
    }

    /// Sees sealed segments safely to the disk, as many with one directory sync as came meanwhile.
    fn persist_all(&self, finished: &Receiver<Finished>) {
        loop {
            let first = if self.memory_bytes.load(Ordering::Relaxed) == 0 {
                finished.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                finished.recv_timeout(LOOK_EVERY)
            };
            self.move_to_disk();
            let first = match first {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let batch: Vec<Sealed> = std::iter::once(first)
                .chain(finished.try_iter())
                .map(|segment| self.persist(segment))
                .collect();
            if let Err(error) = sync_dir(&self.settings.dir.join("sealed")) {
                tracing::error!(%error, "the usage journal's directory was not synced");
            }
            self.metrics.unacknowledged.set(
                i64::try_from(self.unacknowledged.load(Ordering::Acquire)).unwrap_or(i64::MAX),
            );
            self.queue.push(batch);
        }
    }

    fn persist(&self, Finished { region, header, bytes, records }: Finished) -> Sealed {
        let id = Id { epoch: header.epoch, thread: header.thread, counter: header.counter };
        self.metrics.sealed.inc();
        self.metrics.records.inc_by(u64::from(records));
        let path = self.path("sealed", id);
        let place = match region.0 {
            Kind::Mapped { map, file, path: open } => {
                drop(map);
                let moved = file.set_len(bytes as u64).and_then(|()| file.sync_data());
                match moved.and_then(|()| fs::rename(&open, &path)) {
                    Ok(()) => Place::File(path),
                    Err(error) => {
                        tracing::error!(%error, "a segment of the usage journal was not synced");
                        Place::File(open)
                    }
                }
            }
            Kind::Memory(memory) => match write_new(&path, &memory[..bytes]) {
                Ok(()) => Place::File(path),
                Err(error) => {
                    tracing::error!(%error, "a segment of the usage journal is only in memory");
                    self.metrics.in_memory.inc();
                    let kept = coalesce(&memory[..bytes]);
                    let kept = kept.map_or_else(|| memory[..bytes].into(), Into::into);
                    let memory = Memory::new(kept, &self.memory_bytes);
                    Place::Memory(Arc::new(memory))
                }
            },
        };
        Sealed { id, place }
    }

    /// Writes what waits in memory to the disk, oldest first, as far as it has room.
    pub(super) fn move_to_disk(&self) {
        let _one_at_a_time = lock(&self.moving);
        let mut moved = 0;
        while let Some((id, memory)) = self.queue.begin_move() {
            let path = self.path("sealed", id);
            let written = write_new(&path, &memory);
            let arrived = written.is_ok();
            self.queue.end_move(id, arrived.then_some(path));
            if !arrived {
                break; // no room yet
            }
            moved += 1;
        }
        if moved == 0 {
            return;
        }
        tracing::info!(segments = moved, "usage that was only in memory is on the disk");
        if let Err(error) = sync_dir(&self.settings.dir.join("sealed")) {
            tracing::error!(%error, "the usage journal's directory was not synced");
        }
    }
}

impl Id {
    pub(super) fn file_name(self) -> String {
        format!("{}-{}-{:020}.segment", hex::encode(self.epoch), self.thread, self.counter)
    }

    pub(super) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(".segment")?;
        let mut parts = name.split('-');
        let mut epoch = [0; 16];
        hex::decode_to_slice(parts.next()?, &mut epoch).ok()?;
        let id = Self {
            epoch,
            thread: parts.next()?.parse().ok()?,
            counter: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(id)
    }
}

/// Memory that a segment is written to: a mapped file, or plain memory while the disk is full.
pub(super) struct Region(Kind);

enum Kind {
    Mapped { map: MmapMut, file: File, path: PathBuf },
    Memory(Memory),
}

impl Region {
    fn map(path: PathBuf) -> io::Result<Self> {
        let file =
            OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).open(&path)?;
        Self::over(file, path.clone()).inspect_err(|_| {
            let _ = fs::remove_file(path);
        })
    }

    fn over(file: File, path: PathBuf) -> io::Result<Self> {
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, REGION_BYTES as u64) {
            Ok(()) => {}
            // A file system that cannot promise space gets its zeros written.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.write_all_at(&vec![0; REGION_BYTES], 0)?,
            Err(error) => return Err(error.into()),
        }
        // SAFETY: the file is new, in a directory that is ours alone by mode and lock, and nothing truncates it
        // before the map is dropped. Its blocks are allocated, so that a full disk cannot make a store fault.
        let mut map = unsafe { MmapMut::map_mut(&file)? };
        for page in map[..TOUCHED_BYTES].chunks_mut(PAGE_BYTES) {
            page[0] = 0;
        }
        Ok(Self(Kind::Mapped { map, file, path }))
    }

    pub(super) fn in_memory(&self) -> bool {
        matches!(self.0, Kind::Memory(_))
    }
}

impl Deref for Region {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kind::Mapped { map, .. } => map,
            Kind::Memory(memory) => &memory.bytes,
        }
    }
}

impl DerefMut for Region {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Kind::Mapped { map, .. } => map,
            Kind::Memory(memory) => &mut memory.bytes,
        }
    }
}

/// Makes regions ahead.
struct Nursery {
    dir: PathBuf,
    prefix: String,
    made: u64,
    /// 1 while the disk has no room.
    full: IntGauge,
    /// By thread.
    suppliers: Vec<Sender<Region>>,
}

impl Nursery {
    fn new(shared: &Shared, suppliers: Vec<Sender<Region>>) -> Self {
        let (dir, prefix) = (shared.settings.dir.join("open"), shared.prefix.clone());
        Self { dir, prefix, made: 0, full: shared.metrics.disk_full.clone(), suppliers }
    }

    /// Replaces each region that a thread took. While the disk is full, tries again each second.
    fn run(mut self, wanted: &Receiver<u32>, mut owed: Vec<u32>) {
        loop {
            let next = if owed.is_empty() {
                wanted.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                wanted.recv_timeout(LOOK_EVERY)
            };
            match next {
                Ok(thread) => owed.push(thread),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            owed = self.pay(owed);
        }
    }

    /// Gives back what it could not make.
    fn pay(&mut self, owed: Vec<u32>) -> Vec<u32> {
        let mut left = Vec::new();
        for thread in owed {
            self.made += 1;
            let name = format!("{}-{:020}.segment", self.prefix, self.made);
            match Region::map(self.dir.join(name)) {
                Ok(region) => {
                    if self.full.get() != 0 {
                        self.full.set(0);
                        tracing::info!("the usage journal has room on its disk again");
                    }
                    let _ = self.suppliers[thread as usize].send(region); // its counter may have gone
                }
                Err(error) => {
                    if self.full.get() == 0 {
                        self.full.set(1);
                        tracing::error!(
                            %error,
                            dir = %self.dir.display(),
                            "the usage journal has no room on its disk: requests are counted in memory, and lost to \
                             the bill if this process dies before the ledger has them; free space there"
                        );
                    }
                    left.push(thread);
                }
            }
        }
        left
    }
}

/// The segments of a directory, oldest first.
pub(super) fn sealed(dir: &Path) -> io::Result<VecDeque<Sealed>> {
    Ok(listed(dir)?
        .into_iter()
        .map(|file| Sealed { id: file.id, place: Place::File(file.path) })
        .collect())
}

pub(super) struct Listed {
    pub(super) id: Id,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) modified: SystemTime,
}

/// Oldest first; what has another name is none of ours.
pub(super) fn listed(dir: &Path) -> io::Result<Vec<Listed>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if let Some(id) = Id::of(&path) {
            let metadata = entry.metadata()?;
            files.push(Listed { id, path, bytes: metadata.len(), modified: metadata.modified()? });
        }
    }
    files.sort_by_key(|file| (file.modified, file.id));
    Ok(files)
}

/// Whole or not at all.
fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let write = || {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&partial)?;
        file.write_all(content)?;
        file.sync_data()?;
        fs::rename(&partial, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&partial);
    })
}

/// Whether the machine lacks something for the moment, and nothing is wrong with the file.
pub(super) fn is_passing(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn make_directories(dir: &Path) -> io::Result<()> {
    for name in ["", "open", "sealed", "kept", "quarantine"] {
        DirBuilder::new().recursive(true).mode(0o700).create(dir.join(name))?;
    }
    Ok(())
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn draw() -> io::Result<[u8; 16]> {
    let mut epoch = [0; 16];
    rand::rngs::SysRng.try_fill_bytes(&mut epoch).map_err(io::Error::other)?;
    Ok(epoch)
}

#[cfg(test)]
pub(super) mod tests;
