//! Sealed segments on their way to the ledger, in their order.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::sync::Notify;

use super::{
    journal::{Id, lock},
    memory::Memory,
};

/// A segment that waits for its acknowledgement.
pub(super) struct Sealed {
    pub(super) id: Id,
    pub(super) place: Place,
}

pub(super) enum Place {
    File(PathBuf),
    Memory(Arc<Memory>),
}

#[derive(Default)]
pub(super) struct Queue {
    inside: Mutex<Inside>,
    /// Something joined it, or may be taken now.
    pub(super) queued: Notify,
}

#[derive(Default)]
struct Inside {
    /// In the order in which they are to be shipped.
    waiting: VecDeque<Sealed>,
    /// Of them, the one that is on its way from memory to the disk: it is not shipped before it has arrived, or it would
    /// lie there afterwards as one that was not.
    moving: Option<Id>,
}

impl Queue {
    pub(super) fn push(&self, segments: impl IntoIterator<Item = Sealed>) {
        self.inside().waiting.extend(segments);
        self.queued.notify_one();
    }

    /// Puts back what was taken but not acknowledged.
    pub(super) fn push_front(&self, segments: VecDeque<Sealed>) {
        let mut inside = self.inside();
        for segment in segments.into_iter().rev() {
            inside.waiting.push_front(segment);
        }
    }

    pub(super) fn pop(&self) -> Option<Sealed> {
        let inside = &mut *self.inside();
        let moving = inside.waiting.front().is_some_and(|first| Some(first.id) == inside.moving);
        if moving { None } else { inside.waiting.pop_front() }
    }

    /// Those that are only in memory.
    pub(super) fn in_memory(&self) -> usize {
        let inside = self.inside();
        inside.waiting.iter().filter(|sealed| matches!(sealed.place, Place::Memory(_))).count()
    }

    /// The first of them, to be written to the disk.
    pub(super) fn begin_move(&self) -> Option<(Id, Arc<Memory>)> {
        let inside = &mut *self.inside();
        let first = inside.waiting.iter().find_map(|sealed| match &sealed.place {
            Place::Memory(memory) => Some((sealed.id, Arc::clone(memory))),
            Place::File(_) => None,
        });
        inside.moving = first.as_ref().map(|(id, _)| *id);
        first
    }

    /// Whether it arrived or not, it may be shipped from here on.
    pub(super) fn end_move(&self, id: Id, arrived: Option<PathBuf>) {
        let inside = &mut *self.inside();
        inside.moving = None;
        let moved = inside.waiting.iter_mut().find(|sealed| sealed.id == id);
        if let Some((moved, path)) = moved.zip(arrived) {
            moved.place = Place::File(path);
        }
        self.queued.notify_one();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.inside().waiting.len()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        lock(&self.inside)
    }
}
