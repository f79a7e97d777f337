//! What is billed: every request becomes a slot in a journal on disk, and the journal's sealed segments go to
//! the ledger, each applied once.
//!
//! [`record`] (what is told of a request) → [`segment`] (its place in a segment) → [`journal`] (the files) →
//! [`recovery`] (what a crash left of them) → [`ship`] (kept until acknowledged, then for three days more). What waits in
//! memory because the disk has no room is put together in fewer slots: [`coalesce`].
//!
//! Each data thread has a [`Counter`] of its own. A request costs it one hash-table look-up and 64 bytes written
//! to mapped memory: no system call, no lock, and no allocation once its names are known. The slot is in the
//! page cache when [`Counter::finish`] returns, so call that before the last bytes of the answer go to the
//! kernel: then killing the process loses no answered request.

mod coalesce;
#[cfg(test)]
mod faults;
mod journal;
mod memory;
mod metrics;
mod queue;
mod record;
mod recovery;
mod room;
mod segment;
mod ship;

use std::sync::{
    Arc,
    atomic::Ordering,
    mpsc::{Receiver, Sender},
};

use proto::segment::{Header, Record, State};

pub use self::{
    journal::{Journal, Settings},
    metrics::Metrics,
    record::{Cache, Names, Outcome},
    room::{Room, Want},
    ship::Shipper,
};
use self::{
    journal::{Region, Shared},
    record::Known,
    segment::{Finished, Writer},
};

/// One data thread's side of the journal.
pub struct Counter {
    thread: u32,
    shared: Arc<Shared>,
    /// Regions made ahead by the journal's own thread, which is told of each one taken.
    spares: Receiver<Region>,
    taken: Sender<u32>,
    finished: Sender<Finished>,
    epoch: [u8; 16],
    /// The number of the segment last started; from 1.
    last: u64,
    writer: Option<Writer>,
    known: Known,
    open: Vec<Open>,
    free: Vec<u32>,
    /// Those of `open` that have a slot in the segment being written.
    begun: Vec<u32>,
}

/// A request in progress. Give it back to [`Counter::finish`], or it is counted only as far as
/// [`Counter::update`] told.
#[derive(Debug)]
#[must_use = "a request that is not finished is not counted"]
pub struct Slot(u32);

/// The disk and then the memory set aside for it are full: the request cannot be counted, so refuse it with 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the usage journal is full")]
pub struct Full;

#[derive(Clone, Copy)]
struct Open {
    names: u32,
    block: Option<u32>,
    started_ms: u64,
    /// As far as it was told.
    outcome: Outcome,
}

impl Counter {
    fn new(
        shared: Arc<Shared>,
        thread: u32,
        spares: Receiver<Region>,
        taken: Sender<u32>,
        finished: Sender<Finished>,
    ) -> Self {
        Self {
            thread,
            epoch: shared.epoch(),
            shared,
            spares,
            taken,
            finished,
            last: 0,
            writer: None,
            known: Known::new(),
            open: Vec::new(),
            free: Vec::new(),
            begun: Vec::new(),
        }
    }

    /// A request reached a tenant's route table at `started_ms` (since 1970). Nothing is written yet.
    pub fn begin(&mut self, names: &Names, started_ms: u64) -> Result<Slot, Full> {
        if self.writer.as_ref().is_some_and(Writer::in_memory) && self.shared.memory_is_full() {
            return Err(Full);
        }
        let outcome = Outcome { ended_ms: started_ms, ..Outcome::default() };
        let open = Open { names: self.known.hold(names), block: None, started_ms, outcome };
        if let Some(index) = self.free.pop() {
            self.open[index as usize] = open;
            return Ok(Slot(index));
        }
        self.open.push(open);
        Ok(Slot(u32::try_from(self.open.len() - 1).expect("fewer requests in progress than 2^32")))
    }

    /// For answers that take longer than a second, each second: what the outcome would be if it ended now. From
    /// then on the request is counted even if the process dies.
    pub fn update(&mut self, slot: &Slot, so_far: &Outcome) {
        let open = &mut self.open[slot.0 as usize];
        open.outcome = *so_far;
        let (names, block, record) = (open.names, open.block, open.record(State::Begun));
        if let (Some(block), Some(writer)) = (block, &mut self.writer) {
            writer.replace(block, Record { names: self.known.number(names), ..record });
        } else {
            self.open[slot.0 as usize].block = Some(self.append(names, record, so_far.ended_ms));
            self.begun.push(slot.0);
        }
    }

    /// The request is over but for the last bytes of its answer. After this call it is counted, whatever
    /// happens to the process.
    #[expect(clippy::needless_pass_by_value, reason = "a request is finished once")]
    pub fn finish(&mut self, slot: Slot, outcome: &Outcome) {
        let Slot(index) = slot;
        let open = &mut self.open[index as usize];
        open.outcome = *outcome;
        let (names, block, record) = (open.names, open.block, open.record(State::Done));
        if let (Some(block), Some(writer)) = (block, &mut self.writer) {
            writer.replace(block, Record { names: self.known.number(names), ..record });
            self.begun.retain(|begun| *begun != index);
        } else {
            self.append(names, record, outcome.ended_ms);
        }
        self.known.release(names);
        self.free.push(index);
    }

    /// Each second: seals what was counted since, so that it goes to the ledger.
    pub fn tick(&mut self, now_ms: u64) {
        if self.writer.as_ref().is_some_and(|writer| writer.done() > 0) {
            self.seal(now_ms);
        }
        self.known.sweep();
    }

    /// Writes a record, and its names before it where this segment does not have them yet.
    fn append(&mut self, names: u32, record: Record, now_ms: u64) -> u32 {
        loop {
            if self.writer.is_none() {
                self.writer = Some(self.start(now_ms));
            }
            let Some(writer) = &mut self.writer else { unreachable!("started above") };
            if let Some(block) = self.known.write(writer, names, record) {
                return block;
            }
            self.seal(now_ms);
        }
    }

    /// Hands the segment over. Requests that have a slot in it and are not over move on to the next, first given
    /// up here and then written there: killed between the two, a request that nobody got an answer to is not
    /// counted, and none is counted twice.
    fn seal(&mut self, now_ms: u64) {
        let Some(mut full) = self.writer.take() else { return };
        if !self.begun.is_empty() {
            let mut next = self.start(now_ms);
            let (known, open) = (&mut self.known, &mut self.open);
            self.begun.retain(|index| {
                let open = &mut open[*index as usize];
                if let Some(block) = open.block.take() {
                    full.give_up(block);
                }
                // Past half, the next segment would be full of moves; the rest are written at their next update.
                if next.room() > next.blocks() / 2 {
                    open.block = known.write(&mut next, open.names, open.record(State::Begun));
                }
                open.block.is_some()
            });
            self.writer = Some(next);
        }
        self.hand_over(full, now_ms);
    }

    fn hand_over(&mut self, writer: Writer, now_ms: u64) {
        self.shared.unacknowledged.fetch_add(1, Ordering::AcqRel);
        // The journal's thread lives as long as any counter; after a panic of it the file waits for the next start.
        let _ = self.finished.send(writer.seal(now_ms));
    }

    fn start(&mut self, now_ms: u64) -> Writer {
        let epoch = self.shared.epoch();
        if epoch != self.epoch {
            (self.epoch, self.last) = (epoch, 0);
        }
        self.last += 1;
        self.known.forget_numbers();
        let region = self.spares.try_recv().unwrap_or_else(|_| self.shared.memory());
        if !region.in_memory() {
            let _ = self.taken.send(self.thread);
        }
        let header = Header { epoch, thread: self.thread, counter: self.last, created_ms: now_ms };
        Writer::start(region, header)
    }
}

impl Drop for Counter {
    /// Seals what is left. A request still in progress counts with its last known bytes.
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take()
            && writer.records() > 0
        {
            let now_ms = writer.last_ms();
            self.hand_over(writer, now_ms);
        }
    }
}

impl Open {
    /// Without its names, which have another number in each segment.
    fn record(&self, state: State) -> Record {
        let outcome = &self.outcome;
        Record {
            state,
            names: 0,
            started_ms: self.started_ms,
            ended_ms: outcome.ended_ms,
            bytes_in: outcome.bytes_in,
            bytes_out: outcome.bytes_out,
            duration_ms: outcome.ended_ms.saturating_sub(self.started_ms),
            requests: 1,
            status: outcome.status,
            cache: outcome.cache,
            billed: outcome.billed,
            test: outcome.test,
            aborted: outcome.aborted,
            upgraded: outcome.upgraded,
            test_invoke: false,
        }
    }
}
