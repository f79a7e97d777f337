//! The access log: one record for each request, to every sink that is named, and never a wait for one of them.
//!
//! A data thread puts a record into each sink's queue and goes on. Each sink has a thread of its own, which looks into
//! its queue by itself, so that putting one in wakes nobody. A sink that is slow, stuck or full loses records, and
//! `tollgate_access_log_dropped_total` says how many. What the first sink has and has not is counted by tenant and hour.

mod line;
mod record;
mod sinks;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

pub(crate) use self::record::Outline;
pub use self::{
    line::Lines,
    record::{Record, Value},
    sinks::{File, Stdout},
};
use crate::{
    node::{ms, now_ms},
    reconciliation::LogCounts,
};

/// Records that wait for one sink; about half a kilobyte each.
const QUEUE_LEN_MAX: usize = 16 * 1024;
/// Records that a sink is given at once.
const BATCH_LEN_MAX: usize = 1024;
/// How long a queue is left alone where hardly anything comes.
const PAUSE_MAX: Duration = Duration::from_millis(20);
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// Records that a pause is to bring. A sink's thread runs on the core of a data thread, whose calls wait as long as a batch
/// takes: these take a fifth of a millisecond, where the thousand that a flood makes in 20 ms took three.
const BATCH_LEN: u32 = 64;

/// Where records go. Called from a thread of its own: it may wait.
pub trait Sink: Send {
    /// Its name in settings and metrics.
    fn name(&self) -> &'static str;

    /// Writes them all, in order. Gives back how many were lost.
    fn write(&mut self, records: &[Arc<Record>]) -> u64;

    /// Nothing more comes.
    fn end(&mut self) {}
}

/// All sinks of a node. Without one, nothing is recorded.
#[derive(Clone, Default)]
pub struct AccessLog {
    lanes: Arc<[Lane]>,
    dropped: Option<IntCounterVec>,
    /// Of the first lane.
    counts: Option<Arc<LogCounts>>,
}

/// One sink's queue.
struct Lane {
    queue: SyncSender<Arc<Record>>,
    dropped: IntCounter,
    ending: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl AccessLog {
    /// Starts a thread for each sink.
    ///
    /// # Errors
    /// Where a thread cannot be had.
    pub fn start(sinks: Vec<Box<dyn Sink>>) -> crate::Result<Self> {
        let dropped = IntCounterVec::new(
            Opts::new(
                "tollgate_access_log_dropped_total",
                "Records of requests that a sink of the access log lost or had no room for",
            ),
            &["sink"],
        )?;
        let counts = (!sinks.is_empty()).then(Arc::<LogCounts>::default);
        let lanes = sinks.into_iter().enumerate().map(|(index, sink)| {
            Lane::start(sink, &dropped, counts.clone().filter(|_| index == 0))
        });
        Ok(Self { lanes: lanes.collect::<crate::Result<_>>()?, dropped: Some(dropped), counts })
    }

    pub(crate) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        self.dropped.as_ref().map_or(Ok(()), |dropped| registry.register(Box::new(dropped.clone())))
    }

    /// Whether anybody wants records.
    pub(crate) fn is_on(&self) -> bool {
        !self.lanes.is_empty()
    }

    /// What its first sink has and has not, where there is one. What the sink had no room for, whoever writes adds.
    pub(crate) fn counts(&self) -> Option<Arc<LogCounts>> {
        self.counts.clone()
    }

    /// Never waits. Whether the first sink had room for it.
    pub(crate) fn write(&self, record: Record) -> bool {
        let record = Arc::new(record);
        let mut had_room = true;
        for (index, lane) in self.lanes.iter().enumerate() {
            if lane.queue.try_send(record.clone()).is_err() {
                lane.dropped.inc();
                had_room &= index > 0;
            }
        }
        had_room
    }

    /// Waits until what was written so far is out, at most so long. Nothing is recorded after it.
    pub fn end(&self, within: Duration) {
        for lane in &*self.lanes {
            lane.ending.store(true, Ordering::Release);
            lane.thread.thread().unpark();
        }
        let until = Instant::now() + within;
        while !self.lanes.iter().all(|lane| lane.thread.is_finished()) && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Lane {
    fn start(
        sink: Box<dyn Sink>,
        dropped: &IntCounterVec,
        counts: Option<Arc<LogCounts>>,
    ) -> crate::Result<Self> {
        let (queue, records) = sync_channel(QUEUE_LEN_MAX);
        let dropped = dropped.with_label_values(&[sink.name()]);
        let ending = Arc::new(AtomicBool::new(false));
        let (lost, end) = (dropped.clone(), ending.clone());
        let thread = thread::Builder::new().name(format!("access-{}", sink.name()));
        let thread = thread.spawn(move || empty(sink, &records, &lost, counts.as_deref(), &end));
        Ok(Self { queue, dropped, ending, thread: thread.map_err(crate::Error::Thread)? })
    }
}

/// A sink's thread.
fn empty(
    mut sink: Box<dyn Sink>,
    records: &Receiver<Arc<Record>>,
    dropped: &IntCounter,
    counts: Option<&LogCounts>,
    ending: &AtomicBool,
) {
    let mut batch = Vec::with_capacity(BATCH_LEN_MAX);
    let mut pause = PAUSE_MAX;
    loop {
        let last = ending.load(Ordering::Acquire); // before the look: what came earlier is seen
        let looked_ms = now_ms();
        batch.extend(records.try_iter().take(BATCH_LEN_MAX));
        let failed = if batch.is_empty() { 0 } else { sink.write(&batch) };
        dropped.inc_by(failed);
        if let Some(counts) = counts {
            let ended = batch.iter().map(|record| (record.tenant_id(), ms(record.at())));
            // A full batch may have left some behind.
            let through_ms = (batch.len() < BATCH_LEN_MAX).then_some(looked_ms);
            counts.count(ended, failed, through_ms);
        }
        if last && batch.is_empty() {
            return sink.end();
        }
        // A full one has left some behind.
        if !last && batch.len() < BATCH_LEN_MAX {
            pause = pause_after(pause, batch.len());
            thread::park_timeout(pause);
        }
        batch.clear();
    }
}

/// How long to pause where the last pause brought so many.
fn pause_after(pause: Duration, brought: usize) -> Duration {
    let brought = u32::try_from(brought).unwrap_or(u32::MAX).max(1);
    (pause * BATCH_LEN / brought).clamp(PAUSE_MIN, PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Writes only when it is let.
    struct Stuck(mpsc::Receiver<()>, mpsc::Sender<usize>);

    impl Sink for Stuck {
        fn name(&self) -> &'static str {
            "stuck"
        }

        fn write(&mut self, records: &[Arc<Record>]) -> u64 {
            let _ = self.0.recv();
            let _ = self.1.send(records.len());
            0
        }
    }

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
        for per_second in [4_000, 10_000, 40_000, 60_000] {
            let (pause, brought) = paused(per_second);
            assert!((56..=72).contains(&brought), "{brought} in {pause:?}");
        }
    }

    #[test]
    fn a_sink_that_is_stuck_costs_records_and_no_time() {
        let ((open, door), (tell, told)) = (mpsc::channel(), mpsc::channel());
        let log = AccessLog::start(vec![Box::new(Stuck(door, tell))]).unwrap();
        let sent = QUEUE_LEN_MAX * 2;
        for _ in 0..sent {
            log.write(Record::test());
        }
        let dropped = log.dropped.as_ref().unwrap().with_label_values(&["stuck"]);
        let lost = usize::try_from(dropped.get()).unwrap();
        assert!(lost >= QUEUE_LEN_MAX - BATCH_LEN_MAX, "{lost} were dropped");
        drop(open);
        log.end(Duration::from_secs(20));
        assert_eq!(told.try_iter().sum::<usize>() + lost, sent, "what was not dropped is written");
    }
}
