//! A segment while one thread writes it.

use proto::segment::{
    BLOCK_BYTES, Block, Footer, Header, Record, Seed, State, encode_names, encode_void,
    names_blocks,
};

use super::journal::Region;

/// Appends to a region. The last block is kept free for the footer.
pub(super) struct Writer {
    region: Region,
    header: Header,
    seed: Seed,
    /// The index of the next free block.
    next: u32,
    records: u32,
    done: u32,
    last_ms: u64,
}

/// A sealed segment on its way to the disk.
pub(super) struct Finished {
    pub(super) region: Region,
    pub(super) header: Header,
    /// How much of the region it takes.
    pub(super) bytes: usize,
    /// Slots that count.
    pub(super) records: u32,
}

impl Writer {
    pub(super) fn start(region: Region, header: Header) -> Self {
        let seed = header.seed();
        let mut writer =
            Self { region, header, seed, next: 1, records: 0, done: 0, last_ms: header.created_ms };
        writer.put(0, &header.encode());
        writer
    }

    pub(super) fn in_memory(&self) -> bool {
        self.region.in_memory()
    }

    pub(super) fn blocks(&self) -> u32 {
        u32::try_from(self.region.len() / BLOCK_BYTES).expect("a region is small")
    }

    /// Blocks that are free, without the footer's.
    pub(super) fn room(&self) -> u32 {
        self.blocks() - 1 - self.next
    }

    /// Slots that count.
    pub(super) fn records(&self) -> u32 {
        self.records
    }

    /// Of them, those that are over.
    pub(super) fn done(&self) -> u32 {
        self.done
    }

    /// The latest time that it was told of.
    pub(super) fn last_ms(&self) -> u64 {
        self.last_ms
    }

    /// None unless they and one record have room.
    pub(super) fn names(&mut self, entry: &[u8]) -> Option<u32> {
        if self.room() < names_blocks(entry) + 1 {
            return None;
        }
        let number = self.next;
        for block in encode_names(entry, self.seed, number) {
            self.put(self.next, &block);
            self.next += 1;
        }
        Some(number)
    }

    pub(super) fn append(&mut self, record: Record) -> Option<u32> {
        if self.room() == 0 {
            return None;
        }
        let index = self.next;
        self.put(index, &record.encode(self.seed, index));
        self.next += 1;
        self.records += 1;
        self.done += u32::from(record.state == State::Done);
        self.last_ms = record.ended_ms;
        Some(index)
    }

    /// Writes over a begun slot.
    pub(super) fn replace(&mut self, index: u32, record: Record) {
        self.put(index, &record.encode(self.seed, index));
        self.done += u32::from(record.state == State::Done);
        self.last_ms = record.ended_ms;
    }

    /// Takes a begun slot back: it does not count here.
    pub(super) fn give_up(&mut self, index: u32) {
        self.put(index, &encode_void(self.seed, index));
        self.records -= 1;
    }

    pub(super) fn seal(mut self, now_ms: u64) -> Finished {
        let blocks = self.next + 1;
        let footer = Footer { blocks, records: self.records, sealed_ms: now_ms, recovered: false };
        self.put(self.next, &footer.encode(self.seed));
        let bytes = blocks as usize * BLOCK_BYTES;
        Finished { region: self.region, header: self.header, bytes, records: self.records }
    }

    fn put(&mut self, index: u32, block: &Block) {
        let at = index as usize * BLOCK_BYTES;
        self.region[at..at + BLOCK_BYTES].copy_from_slice(block);
    }
}

/// Blocks of a segment that is put together in memory.
pub(super) fn block_count(content: &[u8]) -> u32 {
    u32::try_from(content.len() / BLOCK_BYTES).expect("a segment is small")
}

pub(super) fn push(content: &mut Vec<u8>, block: &Block) {
    content.extend_from_slice(block);
}
