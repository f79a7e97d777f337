//! The rules of `script.rs` once more, in Rust and in the same order, so that a test can run them on any clock.

use std::collections::BTreeMap;

use crate::{Answer, Declaration};

/// The store: one limit. Losing its memory is making a new one.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    kept: Option<Kept>,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    at: u64,
    own: u64,
    nodes: BTreeMap<String, Record>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    number: u64,
    held: u32,
    to: u64,
    may: u32,
}

impl Store {
    /// [`DECLARE`](crate::script::DECLARE) at this time of Redis' clock.
    pub(super) fn declare(
        &mut self,
        now: u64,
        node: &str,
        told: &Declaration,
        (nodes, ttl): (u32, u64),
    ) -> [i64; 3] {
        let mut kept = self.kept.take().unwrap_or_else(|| Kept { at: now, ..Kept::default() });
        let ends = kept.own + now.saturating_sub(kept.at);
        kept.nodes.retain(|_, record| record.to > ends);
        let others = kept.nodes.iter().filter(|(name, _)| *name != node);
        let others = others.map(|(_, record)| record.held).sum::<u32>();
        let record = kept.nodes.get(node).copied();
        let (may, held) = match record {
            Some(record) if told.number < record.number => (-1, record.held),
            Some(record) if told.number == record.number => (record.may.into(), record.held),
            _ => {
                let room = told.limit.saturating_sub(others);
                let free = room.saturating_sub(told.holds);
                let granted = free.min(told.waiting.max(told.want.min(free / (2 * nodes))));
                let may = told.holds.min(room) + granted;
                let (held, to) = (told.holds.max(may), ends + ttl);
                let record = Record { number: told.number, held, to, may };
                kept.nodes.insert(node.to_owned(), record);
                (may.into(), held)
            }
        };
        (kept.at, kept.own) = (now, ends);
        self.kept = Some(kept);
        let left = told.limit.saturating_sub(others).saturating_sub(held);
        [may, i64::from(record.is_some()), left.into()]
    }

    /// The same, as the node reads it.
    pub(super) fn answer(
        &mut self,
        now: u64,
        node: &str,
        told: &Declaration,
        how: (u32, u64),
    ) -> Answer {
        Answer::from_store(self.declare(now, node, told, how))
    }

    /// How many permits the node may hold, as far as the store counts it at this time.
    pub(super) fn counts(&self, now: u64, node: &str) -> u32 {
        let Some(kept) = &self.kept else { return 0 };
        let ends = kept.own + now.saturating_sub(kept.at);
        kept.nodes.get(node).filter(|record| record.to > ends).map_or(0, |record| record.held)
    }
}
