//! A sink and its thread.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use prometheus::IntCounter;

use super::{
    LineSink, Out, Record, RecordSink, Way,
    batch::{Batch, Slot},
};
use crate::{
    node::{ms, now_ms},
    reconciliation::LogCounts,
};

/// Records that a sink is given at once.
pub(super) const BATCH_LEN_MAX: usize = 1024;
/// How long a sink leaves its buffers alone where hardly anything comes.
const PAUSE_MAX: Duration = Duration::from_millis(20);
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Requests that a pause is to bring. A sink's thread runs on the core of a data thread, whose calls wait as long as a batch
/// takes: so many lines are written in a twentieth of a millisecond, so many records in half of one.
const BATCH_LEN: u32 = 128;

/// The data threads' buffers.
pub(super) type Threads = Arc<Mutex<Vec<Arc<Slot>>>>;

pub(super) struct Lane {
    to: In,
    dropped: IntCounter,
    ending: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

/// What a data thread writes to.
pub(super) enum In {
    Lines(Threads),
    Records(SyncSender<Arc<Record>>),
}

/// What a sink's thread reads from, and the sink.
pub(super) enum Drained {
    Lines { sink: Box<dyn LineSink>, threads: Threads, batch: Batch },
    Records { sink: Box<dyn RecordSink>, queue: Receiver<Arc<Record>>, batch: Vec<Arc<Record>> },
}

/// What one look brought.
struct Look {
    requests: usize,
    lost: u64,
    /// Nothing was left behind.
    all: bool,
}

impl Lane {
    pub(super) fn start(
        name: &'static str,
        to: In,
        drained: Drained,
        dropped: IntCounter,
        counts: Option<Arc<LogCounts>>,
    ) -> crate::Result<Self> {
        let ending = Arc::new(AtomicBool::new(false));
        let (lost, end) = (dropped.clone(), ending.clone());
        let thread = thread::Builder::new().name(format!("access-{name}"));
        let thread = thread.spawn(move || empty(drained, &lost, counts.as_deref(), &end));
        Ok(Self { to, dropped, ending, thread: thread.map_err(crate::Error::Thread)? })
    }

    /// For one more data thread.
    pub(super) fn way(&self) -> Way {
        let out = match &self.to {
            In::Records(queue) => Out::Records(queue.clone()),
            In::Lines(threads) => {
                let slot = Arc::<Slot>::default();
                threads.lock().unwrap_or_else(PoisonError::into_inner).push(slot.clone());
                Out::Lines(slot)
            }
        };
        Way { out, dropped: self.dropped.clone() }
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.thread.thread().unpark();
    }

    pub(super) fn is_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

/// A sink's thread.
fn empty(
    mut drained: Drained,
    dropped: &IntCounter,
    counts: Option<&LogCounts>,
    ending: &AtomicBool,
) {
    let mut pause = PAUSE_MAX;
    loop {
        let last = ending.load(Ordering::Acquire); // before the look: what came earlier is seen
        let looked_ms = now_ms();
        let look = drained.look(counts);
        dropped.inc_by(look.lost);
        if let Some(counts) = counts.filter(|_| look.all) {
            counts.seen_through(looked_ms);
        }
        if last && look.requests == 0 {
            return drained.end();
        }
        if !last && look.all {
            pause = pause_after(pause, look.requests);
            thread::park_timeout(pause);
        }
    }
}

impl Drained {
    pub(super) fn lines(sink: Box<dyn LineSink>, threads: Threads) -> Self {
        Self::Lines { sink, threads, batch: Batch::default() }
    }

    pub(super) fn records(sink: Box<dyn RecordSink>, queue: Receiver<Arc<Record>>) -> Self {
        Self::Records { sink, queue, batch: Vec::with_capacity(BATCH_LEN_MAX) }
    }

    /// Writes what there is.
    fn look(&mut self, counts: Option<&LogCounts>) -> Look {
        let mut look = Look { requests: 0, lost: 0, all: true };
        match self {
            Self::Lines { sink, threads, batch } => {
                let slots = threads.lock().unwrap_or_else(PoisonError::into_inner).clone();
                for slot in slots {
                    slot.swap(batch);
                    if batch.lines == 0 {
                        continue;
                    }
                    let written = if sink.write(&batch.text) { batch.lines } else { 0 };
                    look.requests += usize::try_from(batch.lines).unwrap_or(usize::MAX);
                    look.lost += batch.lines - written;
                    if let Some(counts) = counts {
                        let ended = batch.ended.iter();
                        let ended = ended.map(|it| (Some(&it.tenant_id), it.at_ms, it.requests));
                        counts.count(ended, written);
                    }
                }
            }
            Self::Records { sink, queue, batch } => {
                batch.clear();
                batch.extend(queue.try_iter().take(BATCH_LEN_MAX));
                look.requests = batch.len();
                look.all = batch.len() < BATCH_LEN_MAX; // a full one may have left some behind
                if !batch.is_empty() {
                    look.lost = sink.write(batch);
                }
                let written = u64::try_from(batch.len()).unwrap_or(u64::MAX) - look.lost;
                if let Some(counts) = counts {
                    let ended = batch.iter().map(|record| (record.tenant_id(), ms(record.at()), 1));
                    counts.count(ended, written);
                }
            }
        }
        look
    }

    fn end(self) {
        if let Self::Records { mut sink, .. } = self {
            sink.end();
        }
    }
}

/// How long to pause where the last pause brought so many.
fn pause_after(pause: Duration, brought: usize) -> Duration {
    let brought = u32::try_from(brought).unwrap_or(u32::MAX).max(1);
    (pause * BATCH_LEN / brought).clamp(PAUSE_MIN, PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_as_short_in_a_flood_as_otherwise() {
        let paused = |per_second: u128| {
            let brought = |pause: Duration| {
                usize::try_from(pause.as_micros() * per_second / 1_000_000).unwrap()
            };
            let next = |pause: &Duration| Some(pause_after(*pause, brought(*pause)));
            let pause = std::iter::successors(Some(PAUSE_MAX), next).nth(4).unwrap();
            (pause, brought(pause))
        };
        assert_eq!(paused(0), (PAUSE_MAX, 0));
        assert_eq!(paused(1_000), (PAUSE_MAX, 20));
        assert_eq!(paused(1_000_000), (PAUSE_MIN, 1_000));
        for per_second in [8_000, 10_000, 40_000, 60_000, 100_000] {
            let (pause, brought) = paused(per_second);
            assert!((112..=144).contains(&brought), "{brought} in {pause:?}");
        }
    }
}
