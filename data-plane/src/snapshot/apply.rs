//! One thread owns what the node holds: it applies versions in order, has them compiled, answers each source, and
//! keeps them on the disk. Several sources bring the same versions; each is applied once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use proto::config::v1::{Ack, Delta, Nack, NodeMessage, Signed, SnapshotRequest, node_message};
use tokio::sync::{Notify, mpsc};

use super::assembly::Whole;
use super::compile::Refusal;
use super::last_good::{Found, LastGood, Secret};
use super::resources::{Applied, Refused, ResourceName, Resources};
use super::signature::Verifier;
use super::stream::Metrics;

/// Makes what is held into what is served, and says what could not be.
pub type Publish = Box<dyn FnMut(&Resources, &[ResourceName]) -> Vec<Refusal> + Send>;

/// Updates that wait for the ones before them; a source that brings more waits too.
pub(super) const QUEUE_LEN_MAX: usize = 32;
/// Updates that are compiled together when they come quickly.
const BATCH_LEN_MAX: usize = 256;
/// Refusals that one source is still to be told of; there is no use in more.
const NACKS_MAX: usize = 1000;

/// After a failure of the disk no snapshot is asked for, for its sake, so long.
const DISK_REST: Duration = Duration::from_mins(1);

/// A verified update, and who brought it.
pub(super) struct Input {
    pub(super) source: Arc<Source>,
    pub(super) cell: String,
    pub(super) change: Change,
}

pub(super) enum Change {
    Delta { version: u64, delta: Delta, signed: Signed },
    Snapshot(Whole),
}

impl Change {
    fn version(&self) -> u64 {
        match self {
            Self::Delta { version, .. } => *version,
            Self::Snapshot(whole) => whole.version,
        }
    }

    /// Resources of kinds that only a newer node knows.
    fn unknown_kinds(&self) -> usize {
        let resources = match self {
            Self::Delta { delta, .. } => &delta.upserts,
            Self::Snapshot(whole) => &whole.resources,
        };
        resources.iter().filter(|resource| resource.kind.is_none()).count()
    }
}

/// One replica's stream, as far as it is to be answered. Of acks only the newest is kept, so that a replica which
/// reads slowly holds nothing up.
#[derive(Default)]
pub(super) struct Source {
    pending: Mutex<Pending>,
    pub(super) news: Notify,
}

#[derive(Default)]
struct Pending {
    acks: BTreeMap<String, u64>,
    nacks: Vec<Nack>,
    wanted: BTreeSet<String>,
    /// Cells whose snapshot was asked for and has not come.
    asked: BTreeSet<String>,
}

impl Source {
    /// What there is to say. Nacks come before the ack of their version: who reads the ack knows all of it.
    pub(super) fn take(&self) -> Vec<NodeMessage> {
        let mut pending = self.pending();
        let nacks = std::mem::take(&mut pending.nacks).into_iter().map(node_message::Kind::Nack);
        let acks = std::mem::take(&mut pending.acks);
        let acks =
            acks.into_iter().map(|(cell, version)| node_message::Kind::Ack(Ack { cell, version }));
        let wanted = std::mem::take(&mut pending.wanted).into_iter();
        let wanted =
            wanted.map(|cell| node_message::Kind::SnapshotRequest(SnapshotRequest { cell }));
        nacks.chain(acks).chain(wanted).map(|kind| NodeMessage { kind: Some(kind) }).collect()
    }

    fn acknowledge(&self, cell: &str, version: u64) {
        self.pending().acks.insert(cell.to_owned(), version);
        self.news.notify_one();
    }

    fn refuse(&self, nack: Nack) {
        let mut pending = self.pending();
        if pending.nacks.len() < NACKS_MAX {
            pending.nacks.push(nack);
        }
        drop(pending);
        self.news.notify_one();
    }

    /// Asks for the cell whole, once until it comes.
    fn ask_for(&self, cell: &str) {
        let mut pending = self.pending();
        if pending.asked.insert(cell.to_owned()) {
            pending.wanted.insert(cell.to_owned());
            drop(pending);
            self.news.notify_one();
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From where a new stream goes on: each cell's version, or 0 where a snapshot is due.
#[derive(Clone, Default)]
pub(super) struct Positions(Arc<Mutex<BTreeMap<String, u64>>>);

impl Positions {
    pub(super) fn get(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, cell: &str, version: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(cell.to_owned(), version);
    }
}

/// What the node holds, in memory and on its disk.
pub(super) struct Applier {
    resources: Resources,
    files: HashMap<String, LastGood>,
    publish: Publish,
    positions: Positions,
    metrics: Metrics,
    /// When the disk last failed.
    unkept_at: Option<Instant>,
}

impl Applier {
    /// Loads the last good config of each cell and publishes it.
    pub(super) fn load(
        directory: &Path,
        cells: &[String],
        secret: &Secret,
        verifier: &Verifier,
        publish: Publish,
        metrics: Metrics,
    ) -> Self {
        let mut resources = Resources::default();
        let mut files = HashMap::new();
        let positions = Positions::default();
        for cell in cells {
            let mut file = LastGood::new(directory, cell, secret.clone());
            let found = file.load(&mut resources, verifier);
            if found == Found::Damaged {
                metrics.damaged.inc();
            }
            positions.set(cell, if file.wants_snapshot() { 0 } else { resources.version(cell) });
            files.insert(cell.clone(), file);
        }
        let mut applier = Self { resources, files, publish, positions, metrics, unkept_at: None };
        if applier.resources.versions().next().is_some() {
            let all: Vec<_> = applier.resources.iter().map(|(name, _)| name.clone()).collect();
            for Refusal { resource, reason } in applier.publish(&all) {
                tracing::error!(%resource, reason, "a resource of the last good config does not compile");
            }
            for (cell, version) in applier.resources.versions() {
                applier.metrics.version.with_label_values(&[cell]).set(signed(version));
                tracing::info!(cell, version, "serving the last good config");
            }
        }
        applier
    }

    pub(super) fn positions(&self) -> Positions {
        self.positions.clone()
    }

    /// Until every source is gone. It blocks: a thread of its own runs it.
    pub(super) fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        while let Some(first) = inputs.blocking_recv() {
            let mut batch = vec![first];
            while batch.len() < BATCH_LEN_MAX
                && let Ok(next) = inputs.try_recv()
            {
                batch.push(next);
            }
            self.apply(batch);
        }
    }

    fn apply(&mut self, batch: Vec<Input>) {
        let mut changed = HashMap::new(); // by which cell and version
        let mut published = false;
        let mut answers = Vec::new();
        let mut to_disk = Vec::new();
        for Input { source, cell, change } in batch {
            let version = change.version();
            let unknown = change.unknown_kinds();
            match self.take(&cell, change, &source, &mut to_disk) {
                Ok(Applied::Changed(names)) => {
                    published = true;
                    changed.extend(names.into_iter().map(|name| (name, (cell.clone(), version))));
                    if unknown > 0 {
                        tracing::error!(
                            cell,
                            version,
                            unknown,
                            "resources of kinds that this node does not know"
                        );
                        let reason = "this node is too old to know this kind".to_owned();
                        source.refuse(Nack { cell: cell.clone(), version, resource: None, reason });
                    }
                    answers.push((source, cell, version));
                }
                Ok(Applied::Duplicate) => answers.push((source, cell, version)),
                Err(gap @ Refused::Gap { .. }) => {
                    tracing::warn!(reason = %gap, "asking for a snapshot");
                    self.metrics.refused.inc();
                    source.ask_for(&cell);
                }
                // Another source was quicker.
                Err(older @ Refused::Older { .. }) => tracing::debug!(reason = %older),
            }
        }
        let mut refusals = Vec::new();
        if published {
            let names: Vec<ResourceName> = changed.keys().cloned().collect();
            refusals = self.publish(&names);
        }
        for Refusal { resource, reason } in refusals {
            tracing::error!(%resource, reason, "a resource does not compile; what was served before stays");
            self.metrics.uncompiled.inc();
            self.nack(&answers, changed.get(&resource), &resource, &reason);
        }
        for (source, cell, version) in &answers {
            let held = self.resources.version(cell);
            self.metrics.version.with_label_values(&[cell]).set(signed(held));
            source.acknowledge(cell, held.max(*version));
        }
        self.keep(to_disk, &answers);
    }

    fn take(
        &mut self,
        cell: &str,
        change: Change,
        source: &Source,
        to_disk: &mut Vec<(String, ToDisk)>,
    ) -> Result<Applied, Refused> {
        match change {
            Change::Delta { version, delta, signed } => {
                let applied = self.resources.apply(cell, version, delta)?;
                if applied != Applied::Duplicate {
                    to_disk.push((cell.to_owned(), ToDisk::Delta(signed)));
                }
                Ok(applied)
            }
            Change::Snapshot(Whole { version, resources, signed }) => {
                source.pending().asked.remove(cell);
                // At its first start a node asks every replica for a snapshot; one is enough.
                let kept = self.files.get(cell).is_some_and(|file| !file.wants_snapshot());
                if kept && version == self.resources.version(cell) {
                    return Ok(Applied::Duplicate);
                }
                let applied = self.resources.replace(cell, version, resources)?;
                to_disk.push((cell.to_owned(), ToDisk::Snapshot(signed)));
                Ok(applied)
            }
        }
    }

    /// A panic while compiling is a refusal of all that was to be compiled: it must not stop the stream.
    fn publish(&mut self, names: &[ResourceName]) -> Vec<Refusal> {
        let publish = &mut self.publish;
        let resources = &self.resources;
        catch_unwind(AssertUnwindSafe(|| publish(resources, names))).unwrap_or_else(|_| {
            let refusal = |resource: &ResourceName| Refusal {
                resource: resource.clone(),
                reason: "this node failed while compiling".to_owned(),
            };
            names.iter().map(refusal).collect()
        })
    }

    /// Tells every source of the batch, under the version that brought the resource, or the cell's newest where
    /// an unchanged resource broke.
    fn nack(
        &self,
        answers: &[(Arc<Source>, String, u64)],
        brought: Option<&(String, u64)>,
        resource: &ResourceName,
        reason: &str,
    ) {
        let held = self.resources.get(resource);
        let (cell, version) = match (brought, held) {
            (Some((cell, version)), _) => (cell.clone(), *version),
            (None, Some(held)) => (held.cell.to_string(), self.resources.version(&held.cell)),
            (None, None) => return,
        };
        let mut told: Vec<*const Source> = Vec::new();
        for (source, _, _) in answers {
            if !told.contains(&Arc::as_ptr(source)) {
                told.push(Arc::as_ptr(source));
                let resource = Some(resource.clone().into());
                let (cell, reason) = (cell.clone(), reason.to_owned());
                source.refuse(Nack { cell, version, resource, reason });
            }
        }
    }

    /// After it is live: what breaks the process while it is compiled is not there at the next start.
    fn keep(&mut self, to_disk: Vec<(String, ToDisk)>, answers: &[(Arc<Source>, String, u64)]) {
        let mut by_cell: BTreeMap<String, Vec<ToDisk>> = BTreeMap::new();
        for (cell, change) in to_disk {
            by_cell.entry(cell).or_default().push(change);
        }
        for (cell, changes) in by_cell {
            let Some(file) = self.files.get_mut(&cell) else { continue };
            if let Err(error) = write(file, changes) {
                tracing::error!(cell, %error, "the config cannot be kept on the disk; it is served from memory");
                self.metrics.unkept.inc();
                self.unkept_at = Some(Instant::now());
            }
            let disk_rests = self.unkept_at.is_some_and(|at| at.elapsed() < DISK_REST);
            let wants_snapshot = file.wants_snapshot();
            let version = if wants_snapshot { 0 } else { self.resources.version(&cell) };
            self.positions.set(&cell, version);
            if wants_snapshot
                && !disk_rests
                && let Some((source, ..)) = answers.iter().find(|answer| answer.1 == cell)
            {
                source.ask_for(&cell);
            }
        }
    }
}

enum ToDisk {
    Delta(Signed),
    Snapshot(Vec<Signed>),
}

fn write(file: &mut LastGood, changes: Vec<ToDisk>) -> std::io::Result<()> {
    let mut deltas = Vec::new();
    for change in changes {
        match change {
            ToDisk::Delta(signed) => deltas.push(signed),
            ToDisk::Snapshot(chunks) => {
                deltas.clear(); // the snapshot has them
                file.begin(&chunks)?;
            }
        }
    }
    if deltas.is_empty() { Ok(()) } else { file.append(&deltas) }
}

fn signed(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
