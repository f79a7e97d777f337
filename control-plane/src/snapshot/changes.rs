//! The outbox as versions: what each node lacks, signed, in order.
//!
//! A change's transaction writes the outbox and notifies. One task per replica reads what is new, signs it once,
//! and keeps the last of it at hand for all streams. A stream that is behind that reads the outbox itself; where
//! the outbox no longer reaches back, or the node asks, it gets a snapshot.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use chrono::TimeDelta;
use prost::Message;
use proto::config::v1::{Delta, Resource, Signed, SnapshotChunk, Update, update};
use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Job, Tx, outbox_context};
use crate::error::{Error, Result};
use crate::ids::NodeId;
use crate::store;
use crate::store::cell::Position;

/// Notifications can be lost with their connection; this often the database is asked anyway.
const POLL: Duration = Duration::from_secs(5);
const PRUNE: Duration = Duration::from_mins(10);
/// A node that was away for longer than this takes a snapshot.
const OUTBOX_KEPT: TimeDelta = TimeDelta::hours(24);
const REFUSALS_KEPT: TimeDelta = TimeDelta::days(30);
/// For so long it is told how quickly a deployment went live.
const ACKNOWLEDGEMENTS_KEPT: TimeDelta = TimeDelta::days(7);
/// What is kept at hand of each cell.
const RECENT_UPDATES_MAX: usize = 1024;
const RECENT_BYTES_MAX: usize = 32 << 20;
/// Outbox rows read at once, by each stream that is behind. Their tenants make them as large as they may be.
const PAGE: i64 = 8;
/// Resources of a chunk together, unless one alone has more.
const CHUNK_BYTES_MAX: usize = 1 << 20;
/// The furthest that a cell's version is moved on to pass a node's, after the database was restored.
const JUMP_MAX: u64 = 1 << 40;
/// How far beyond that node's it moves at least: past every other node's too, so that none goes on from a version of
/// before as if nothing had happened.
const JUMP: u64 = 1000;
/// How much further it may move, drawn anew each time: a backup that is restored twice must not lead to the same
/// versions twice, or a node that was away for the second time would take its changes for those of the first.
const JUMP_DRAWN: u64 = 1_000_000;

/// Every cell's stream, in this replica. Cheap to clone.
#[derive(Clone)]
pub struct Changes(Arc<Inner>);

struct Inner {
    app: App,
    signer: Ed25519KeyPair,
    signing_key: Vec<u8>,
    cells: RwLock<HashMap<String, Arc<Cell>>>,
    revoked: watch::Sender<Arc<HashSet<NodeId>>>,
    /// Of the database as it was last looked at.
    line: watch::Sender<Option<String>>,
}

/// One cell's stream.
pub struct Cell {
    pub name: String,
    head: watch::Sender<u64>,
    recent: Mutex<Recent>,
    /// The snapshot that is being sent, if any: nodes that come at once share it.
    shared: tokio::sync::Mutex<Weak<Snapshot>>,
}

/// The newest updates, without gaps.
#[derive(Default)]
struct Recent {
    updates: VecDeque<(u64, Arc<Signed>)>,
    bytes: usize,
}

/// All of a cell at one version.
pub struct Snapshot {
    pub version: u64,
    pub chunks: Vec<Signed>,
}

/// How a node goes on from its version.
pub enum Next {
    /// The versions that follow it, without gaps; none where it has them all.
    Updates(Vec<(u64, Arc<Signed>)>),
    /// The outbox does not reach back to it.
    Gap,
}

impl Changes {
    /// Reads where every cell is. Nothing moves before [`Changes::run`].
    pub async fn open(app: &App) -> Result<Self> {
        let mut tx = app.system(Job::Startup).await?;
        let key = store::installation_key::get_or_make(
            &mut tx,
            &app.master,
            "config_signing",
            store::installation_key::ed25519,
        )
        .await?;
        tx.commit().await?;
        let signer = Ed25519KeyPair::from_pkcs8(&key.private)
            .map_err(|cause| Error::corrupt("config signing key", cause))?;
        let changes = Self(Arc::new(Inner {
            app: app.clone(),
            signer,
            signing_key: key.public,
            cells: RwLock::default(),
            revoked: watch::Sender::default(),
            line: watch::Sender::default(),
        }));
        changes.refresh().await?;
        Ok(changes)
    }

    /// The public half of the key that signs every update.
    pub fn signing_key(&self) -> &[u8] {
        &self.0.signing_key
    }

    /// The nodes that may no longer call; known here within moments of the revocation.
    pub fn revoked(&self) -> watch::Receiver<Arc<HashSet<NodeId>>> {
        self.0.revoked.subscribe()
    }

    pub fn cell(&self, name: &str) -> Option<Arc<Cell>> {
        self.0.cells.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Follows the database until `shutdown`. Failures are logged and tried again.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut listener = None;
        let mut prune = tokio::time::interval(PRUNE);
        loop {
            if listener.is_none() {
                listener = self.listen().await.inspect_err(lost).ok();
            }
            if let Err(error) = self.refresh().await {
                tracing::error!(error = ?error, "the outbox could not be read");
            }
            tokio::select! {
                gone = notified(&mut listener) => if gone { listener = None },
                () = tokio::time::sleep(POLL) => {}
                _ = prune.tick() => self.prune().await.unwrap_or_else(|error| {
                    tracing::warn!(error = ?error, "old outbox rows could not be deleted");
                }),
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// What follows `version`, from what is at hand or from the outbox.
    pub async fn after(&self, cell: &Cell, version: u64) -> Result<Next> {
        if version >= cell.head() {
            return Ok(Next::Updates(Vec::new()));
        }
        if let Some(updates) = cell.recent().after(version) {
            return Ok(Next::Updates(updates));
        }
        let mut tx = self.0.app.system(Job::Publisher).await?;
        let rows = store::cell::outbox_after(&mut tx, &cell.name, version, PAGE).await?;
        tx.commit().await?;
        let mut updates = Vec::new();
        for (expected, (version, message)) in (version + 1..).zip(rows) {
            if version != expected {
                break;
            }
            let Some(signed) = self.open_and_sign(&cell.name, version, &message) else { break };
            updates.push((version, Arc::new(signed)));
        }
        Ok(if updates.is_empty() { Next::Gap } else { Next::Updates(updates) })
    }

    /// All of the cell, from one transaction. Nodes that ask while one is being sent get the same, as long as
    /// what follows it is still at hand.
    pub async fn snapshot(&self, cell: &Cell) -> Result<Arc<Snapshot>> {
        let mut shared = cell.shared.lock().await;
        if let Some(snapshot) = shared.upgrade()
            && (snapshot.version >= cell.head() || cell.recent().after(snapshot.version).is_some())
        {
            return Ok(snapshot);
        }
        let mut tx = self.0.app.system(Job::Publisher).await?;
        store::cell::read_as_of_one_moment(&mut tx).await?;
        let version = store::cell::version(&mut tx, &cell.name).await?;
        let resources = super::compile::load_cell(&mut tx, &self.0.app.master, &cell.name).await?;
        tx.commit().await?;
        let chunks = self.sign_chunks(&cell.name, version, resources);
        let snapshot = Arc::new(Snapshot { version, chunks });
        *shared = Arc::downgrade(&snapshot);
        Ok(snapshot)
    }

    /// For a node that is further than its cell: the database was restored from a time before.
    pub async fn pass(&self, cell: &Cell, version: u64) -> Result<()> {
        if version.saturating_sub(cell.head()) > JUMP_MAX {
            return Err(Error::bad_request("version", "no cell was ever there"));
        }
        self.move_past(&cell.name, version, None).await?;
        self.refresh().await
    }

    /// Told of when the database is not where it was: then it may lack what it had acknowledged.
    pub fn line(&self) -> watch::Receiver<Option<String>> {
        self.0.line.subscribe()
    }

    /// Versions never go back, so a cell whose database did moves on past whatever was handed out, with a gap, which
    /// gives every node a snapshot. `line`: of the database that the cell is in from now on. Nothing is done where
    /// another replica has done it.
    async fn move_past(&self, cell: &str, version: u64, line: Option<&str>) -> Result<()> {
        let mut tx = self.0.app.system(Job::Publisher).await?;
        let held = store::cell::lock(&mut tx, cell).await?;
        let done = match line {
            Some(_) => held.line.as_deref() == line,
            None => held.version >= version,
        };
        if done {
            return Ok(());
        }
        if let Some(line) = line {
            store::cell::set_line(&mut tx, cell, line).await?;
        }
        let known = line.is_none() || held.line.is_some();
        if known {
            let held = held.version;
            tracing::error!(
                cell,
                version,
                held,
                "the database is not where it was: it was restored, or another server took over; every node takes a snapshot"
            );
            let drawn = u64::from_le_bytes(self.0.app.rng.bytes()) % JUMP_DRAWN;
            let fresh = version.max(held) + JUMP + drawn;
            store::cell::set_version(&mut tx, cell, fresh).await?;
            let kind = Some(update::Kind::Delta(Delta::default()));
            let update = Update { cell: cell.to_owned(), version: fresh, kind }.encode_to_vec();
            let message = self.0.app.master.wrap(&outbox_context(cell, fresh), &update);
            store::cell::write_outbox(&mut tx, cell, fresh, &message).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    async fn refresh(&self) -> Result<()> {
        for Position { cell: name, version, line } in self.look().await? {
            let cell = self.cell(&name);
            let head = cell.as_ref().map_or(0, |cell| cell.head());
            if let Some(now) = line {
                self.move_past(&name, version.max(head), Some(&now)).await?;
            } else if head > version {
                self.move_past(&name, head, None).await?;
            }
            if let Some(cell) = cell {
                self.catch_up(&cell).await?;
                continue;
            }
            let mut tx = self.0.app.system(Job::Publisher).await?;
            let version = store::cell::version(&mut tx, &name).await?;
            let cell = Arc::new(Cell::new(name.clone(), version));
            let mut cells = self.0.cells.write().unwrap_or_else(PoisonError::into_inner);
            cells.insert(name, cell);
        }
        Ok(())
    }

    /// Where every cell is, and whose certificates were revoked. A cell's line is told only where it is not the one
    /// that the cell was in, and then it is the new one.
    async fn look(&self) -> Result<Vec<Position>> {
        let mut tx = self.0.app.system(Job::Publisher).await?;
        let line = store::cell::line(&mut tx).await?;
        drop(tx);
        let mut tx = self.0.app.system(Job::Publisher).await?;
        let mut cells = store::cell::positions(&mut tx).await?;
        let revoked = store::node::revoked(&mut tx, self.0.app.clock.now()).await?;
        tx.commit().await?;

        for cell in &mut cells {
            let other = line.as_ref().filter(|line| cell.line.as_ref() != Some(line));
            cell.line = other.cloned();
        }
        self.0.line.send_if_modified(|known| {
            let moved = known.is_some() && line.is_some() && *known != line;
            if line.is_some() {
                *known = line;
            }
            moved
        });
        let revoked: HashSet<_> = revoked.into_iter().collect();
        self.0.revoked.send_if_modified(|known| {
            let news = **known != revoked;
            if news {
                *known = Arc::new(revoked);
            }
            news
        });
        Ok(cells)
    }

    async fn catch_up(&self, cell: &Cell) -> Result<()> {
        loop {
            let mut tx = self.0.app.system(Job::Publisher).await?;
            let rows = store::cell::outbox_after(&mut tx, &cell.name, cell.head(), PAGE).await?;
            tx.commit().await?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            let last = *last;
            for (version, message) in rows {
                // What does not open leaves a gap: nodes get a snapshot instead.
                if let Some(signed) = self.open_and_sign(&cell.name, version, &message) {
                    cell.recent().push(version, Arc::new(signed));
                }
            }
            cell.head.send_replace(last);
        }
    }

    fn open_and_sign(&self, cell: &str, version: u64, message: &[u8]) -> Option<Signed> {
        match self.0.app.master.unwrap(&outbox_context(cell, version), message) {
            Ok(update) => Some(self.sign(update.to_vec())),
            Err(error) => {
                tracing::error!(cell, version, error = ?error, "an outbox row does not open");
                None
            }
        }
    }

    fn sign(&self, update: Vec<u8>) -> Signed {
        let signature = self.0.signer.sign(&update).as_ref().to_vec();
        Signed { update, signature }
    }

    fn sign_chunks(&self, cell: &str, version: u64, resources: Vec<Resource>) -> Vec<Signed> {
        let chunks = chunks(resources);
        let last = chunks.len() - 1; // there is one at least
        let chunk = |(index, resources)| {
            let index_number = u32::try_from(index).unwrap_or(u32::MAX);
            let chunk = SnapshotChunk { index: index_number, last: index == last, resources };
            let kind = Some(update::Kind::Snapshot(chunk));
            self.sign(Update { cell: cell.to_owned(), version, kind }.encode_to_vec())
        };
        chunks.into_iter().enumerate().map(chunk).collect()
    }

    async fn listen(&self) -> Result<PgListener> {
        let mut listener = PgListener::connect_with(self.0.app.system_pool()).await?;
        listener.listen_all(["config", "node"]).await?;
        Ok(listener)
    }

    async fn prune(&self) -> Result<()> {
        let now = self.0.app.clock.now();
        let mut tx: Tx = self.0.app.system(Job::Publisher).await?;
        store::cell::prune_outbox(&mut tx, now - OUTBOX_KEPT).await?;
        store::node::prune(&mut tx, now, now - REFUSALS_KEPT, now - ACKNOWLEDGEMENTS_KEPT).await?;
        tx.commit().await?;
        Ok(())
    }
}

impl Cell {
    fn new(name: String, version: u64) -> Self {
        Self {
            name,
            head: watch::Sender::new(version),
            recent: Mutex::default(),
            shared: tokio::sync::Mutex::default(),
        }
    }

    /// The newest version that this replica knows.
    pub fn head(&self) -> u64 {
        *self.head.borrow()
    }

    /// Wakes up when the head moves.
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn push(&mut self, version: u64, signed: Arc<Signed>) {
        if self.updates.back().is_some_and(|(last, _)| last + 1 != version) {
            *self = Self::default();
        }
        self.bytes += signed.update.len();
        self.updates.push_back((version, signed));
        while self.updates.len() > RECENT_UPDATES_MAX || self.bytes > RECENT_BYTES_MAX {
            let Some((_, oldest)) = self.updates.pop_front() else { return };
            self.bytes -= oldest.update.len();
        }
    }

    /// What follows `version`, if that is here without a gap.
    fn after(&self, version: u64) -> Option<Vec<(u64, Arc<Signed>)>> {
        let first = self.updates.front()?.0;
        let skip = usize::try_from((version + 1).checked_sub(first)?).ok()?;
        (skip < self.updates.len()).then(|| self.updates.iter().skip(skip).cloned().collect())
    }
}

/// Resources in the order given, at most [`CHUNK_BYTES_MAX`] together. An empty cell is one empty chunk.
fn chunks(resources: Vec<Resource>) -> Vec<Vec<Resource>> {
    let mut chunks = vec![Vec::new()];
    let mut bytes = 0;
    for resource in resources {
        let length = resource.encoded_len();
        if bytes + length > CHUNK_BYTES_MAX && bytes > 0 {
            chunks.push(Vec::new());
            bytes = 0;
        }
        bytes += length;
        if let Some(chunk) = chunks.last_mut() {
            chunk.push(resource);
        }
    }
    chunks
}

/// Waits for any notification. True where the connection that would bring it is gone.
async fn notified(listener: &mut Option<PgListener>) -> bool {
    let Some(listener) = listener else { return std::future::pending().await };
    match listener.try_recv().await {
        Ok(Some(_)) => {
            while listener.next_buffered().is_some() {} // one reading answers all that came at once
            false
        }
        Ok(None) => false,
        Err(error) => {
            lost(&error.into());
            true
        }
    }
}

fn lost(error: &Error) {
    tracing::warn!(error = ?error, "no notifications from the database; asking it every {POLL:?} instead");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stream_reads_at_once_fits_into_memory_however_large_its_tenants_made_it() {
        let rows = usize::try_from(PAGE).unwrap();
        assert!(rows * proto::config::UPDATE_BYTES_MAX <= 128 << 20);
    }
}
