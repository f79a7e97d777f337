//! What is told of one request, and the names that a thread has seen.

use std::hash::{BuildHasher, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
pub use proto::segment::Cache;
use proto::segment::Record;

use super::segment::Writer;

/// Whose request it is; what is absent is empty. `route` is `GET /pets/{id}`, or `-` where none matched.
pub type Names<'a> = proto::segment::Names<&'a str>;

/// How a request ended, or stands so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts about a request")]
pub struct Outcome {
    /// When the last byte of the answer went out, or is about to; ms since 1970.
    pub ended_ms: u64,
    /// 0: cut off before a status was sent.
    pub status: u16,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub cache: Cache,
    /// It passed admission, and what went wrong after that, if anything, was not our own making.
    pub billed: bool,
    /// Made with a test key, which is never billed.
    pub test: bool,
    /// The caller or the backend went away before the end.
    pub aborted: bool,
    /// It became a WebSocket or another tunnel.
    pub upgraded: bool,
}

/// Seconds without a request after which names are forgotten.
const FORGET_AFTER_TICKS: u64 = 60;

/// The names that this thread has seen lately, so that a request finds its own without allocating. They outlive
/// segments; in each they get a number when they are first needed.
pub(super) struct Known {
    table: HashTable<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    hasher: RandomState,
    /// Of the segment that `number`s belong to.
    generation: u64,
    tick: u64,
    /// Where the next sweep goes on.
    hand: usize,
}

struct Entry {
    /// As `proto::segment::Names::encode` gives it; empty: this place is free.
    bytes: Vec<u8>,
    hash: u64,
    /// Requests in progress with these names.
    held: u32,
    used: u64,
    number: u32,
    generation: u64,
}

impl Known {
    pub(super) fn new() -> Self {
        Self {
            table: HashTable::new(),
            entries: Vec::new(),
            free: Vec::new(),
            hasher: RandomState::default(),
            generation: 1,
            tick: 0,
            hand: 0,
        }
    }

    /// Finds names and keeps them until `release`.
    pub(super) fn hold(&mut self, names: &Names) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        for name in names.each() {
            hasher.write(name.as_bytes());
            hasher.write_u8(0xff); // in no UTF-8: "ab", "c" is not "a", "bc"
        }
        let hash = hasher.finish();
        let found =
            self.table.find(hash, |index| names.is(&self.entries[*index as usize].bytes)).copied();
        let index = found.unwrap_or_else(|| self.learn(names, hash));
        let entry = &mut self.entries[index as usize];
        entry.held += 1;
        entry.used = self.tick;
        index
    }

    #[cold]
    fn learn(&mut self, names: &Names, hash: u64) -> u32 {
        let entry = Entry {
            bytes: names.encode(),
            hash,
            held: 0,
            used: self.tick,
            number: 0,
            generation: 0,
        };
        let index = if let Some(index) = self.free.pop() {
            self.entries[index as usize] = entry;
            index
        } else {
            self.entries.push(entry);
            u32::try_from(self.entries.len() - 1).expect("fewer names than 2^32")
        };
        let entries = &self.entries;
        self.table.insert_unique(hash, index, |index| entries[*index as usize].hash);
        index
    }

    pub(super) fn release(&mut self, index: u32) {
        self.entries[index as usize].held -= 1;
    }

    /// A new segment has no names yet.
    pub(super) fn forget_numbers(&mut self) {
        self.generation += 1;
    }

    /// Of names that are in the present segment.
    pub(super) fn number(&self, index: u32) -> u32 {
        let entry = &self.entries[index as usize];
        debug_assert_eq!(entry.generation, self.generation);
        entry.number
    }

    /// Writes `record`, and before it its names where the segment does not have them yet. None: there is no room.
    pub(super) fn write(&mut self, writer: &mut Writer, names: u32, record: Record) -> Option<u32> {
        let entry = &mut self.entries[names as usize];
        if entry.generation != self.generation {
            entry.number = writer.names(&entry.bytes)?;
            entry.generation = self.generation;
        }
        writer.append(Record { names: entry.number, ..record })
    }

    /// Each second: forgets names that nobody used for a minute, a part of them at a time.
    pub(super) fn sweep(&mut self) {
        self.tick += 1;
        for _ in 0..(self.entries.len() / 30).max(256).min(self.entries.len()) {
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &mut self.entries[self.hand];
            if entry.bytes.is_empty()
                || entry.held > 0
                || self.tick - entry.used < FORGET_AFTER_TICKS
            {
                continue;
            }
            entry.bytes = Vec::new();
            let index = u32::try_from(self.hand).expect("fewer names than 2^32");
            if let Ok(place) = self.table.find_entry(entry.hash, |other| *other == index) {
                place.remove();
            }
            self.free.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_found_again() {
        let mut known = Known::new();
        let first = Names { api_id: "ab", stage: "c", ..Names::default() };
        let second = Names { api_id: "a", stage: "bc", ..Names::default() };
        let index = known.hold(&first);
        assert_ne!(known.hold(&second), index);
        assert_eq!(known.hold(&first), index);
    }

    #[test]
    fn names_unused_for_a_minute_are_forgotten_unless_held() {
        let mut known = Known::new();
        let (idle, held) = (
            Names { route: "idle", ..Names::default() },
            Names { route: "held", ..Names::default() },
        );
        let index = known.hold(&idle);
        known.release(index);
        let held_index = known.hold(&held);
        for _ in 0..FORGET_AFTER_TICKS - 1 {
            known.sweep();
        }
        assert_eq!(known.table.len(), 2);
        known.sweep();
        assert_eq!(known.table.len(), 1);
        assert_eq!(known.hold(&held), held_index);
        assert_eq!(
            known.hold(&Names { route: "new", ..Names::default() }),
            index,
            "the place is used again"
        );
    }
}
