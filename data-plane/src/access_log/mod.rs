//! The access log: one record for each request, to every sink that is named, and never a wait for one of them.
//!
//! A data thread makes a line of a request while what it says is at hand, and puts it into a buffer of its own; records go
//! into a queue, for the sinks that take those. Each sink has a thread, which looks into the buffers by itself, so that
//! putting one in wakes nobody. A sink that is slow, stuck or full loses records, and `tollgate_access_log_dropped_total`
//! says how many. What the first sink has and has not is counted by tenant and hour.

mod batch;
mod entry;
mod lane;
mod line;
mod record;
mod sinks;

use std::{
    cell::RefCell,
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

pub(crate) use self::entry::{Entry, Outline};
use self::{
    batch::Slot,
    lane::{Drained, Lane, Threads},
};
pub use self::{
    entry::Value,
    line::Lines,
    record::Record,
    sinks::{File, Stdout},
};
use crate::reconciliation::LogCounts;

/// Records that wait for one sink; about half a kilobyte each.
const QUEUE_LEN_MAX: usize = 16 * 1024;

/// Where the log goes. Called from a thread of its own: it may wait.
pub enum Sink {
    Lines(Box<dyn LineSink>),
    Records(Box<dyn RecordSink>),
}

/// Takes lines of JSON.
pub trait LineSink: Send {
    /// Its name in settings and metrics.
    fn name(&self) -> &'static str;

    /// Writes whole lines, in order; all of them or none. Whether it did.
    fn write(&mut self, lines: &[u8]) -> bool;
}

/// Takes requests one by one.
pub trait RecordSink: Send {
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

/// A data thread's way to all sinks.
pub(crate) struct Writer {
    ways: Vec<Way>,
    line: RefCell<Lines>,
    /// Whether anybody takes lines.
    lines: bool,
}

/// To one of them.
struct Way {
    out: Out,
    dropped: IntCounter,
}

enum Out {
    Lines(Arc<Slot>),
    Records(SyncSender<Arc<Record>>),
}

impl AccessLog {
    /// Starts a thread for each sink.
    ///
    /// # Errors
    /// Where a thread cannot be had.
    pub fn start(sinks: Vec<Sink>) -> crate::Result<Self> {
        let dropped = IntCounterVec::new(
            Opts::new(
                "tollgate_access_log_dropped_total",
                "Records of requests that a sink of the access log lost or had no room for",
            ),
            &["sink"],
        )?;
        let counts = (!sinks.is_empty()).then(Arc::<LogCounts>::default);
        let lanes = sinks.into_iter().enumerate().map(|(index, sink)| {
            let counts = counts.clone().filter(|_| index == 0);
            let dropped = |name| dropped.with_label_values(&[name]);
            match sink {
                Sink::Lines(sink) => {
                    let (name, threads) = (sink.name(), Threads::default());
                    let drained = Drained::lines(sink, threads.clone());
                    Lane::start(name, lane::In::Lines(threads), drained, dropped(name), counts)
                }
                Sink::Records(sink) => {
                    let (queue, records) = sync_channel(QUEUE_LEN_MAX);
                    let name = sink.name();
                    let drained = Drained::records(sink, records);
                    Lane::start(name, lane::In::Records(queue), drained, dropped(name), counts)
                }
            }
        });
        Ok(Self { lanes: lanes.collect::<crate::Result<_>>()?, dropped: Some(dropped), counts })
    }

    pub(crate) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        self.dropped.as_ref().map_or(Ok(()), |dropped| registry.register(Box::new(dropped.clone())))
    }

    /// What its first sink has and has not, where there is one. What the sink had no room for, whoever writes adds.
    pub(crate) fn counts(&self) -> Option<Arc<LogCounts>> {
        self.counts.clone()
    }

    /// One for each data thread.
    pub(crate) fn writer(&self) -> Writer {
        let ways: Vec<_> = self.lanes.iter().map(Lane::way).collect();
        let lines = ways.iter().any(|way| matches!(way.out, Out::Lines(_)));
        Writer { ways, line: RefCell::default(), lines }
    }

    /// Waits until what was written so far is out, at most so long. Nothing is recorded after it.
    pub fn end(&self, within: Duration) {
        for lane in &*self.lanes {
            lane.end();
        }
        let until = Instant::now() + within;
        while !self.lanes.iter().all(Lane::is_ended) && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Writer {
    /// Whether anybody wants records.
    pub(crate) fn is_on(&self) -> bool {
        !self.ways.is_empty()
    }

    /// Never waits for a sink. Whether the first had room for it.
    pub(crate) fn write(&self, entry: &Entry<'_>) -> bool {
        let mut line = self.line.borrow_mut();
        if self.lines {
            line.clear();
            line.push(entry);
        }
        let mut had_room = true;
        for (index, way) in self.ways.iter().enumerate() {
            let took = match &way.out {
                Out::Lines(slot) => batch::push(slot, line.as_bytes(), entry),
                Out::Records(queue) => queue.try_send(Arc::new(entry.to_record())).is_ok(),
            };
            if !took {
                way.dropped.inc();
                had_room &= index > 0;
            }
        }
        had_room
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Writes only when it is let.
    struct Stuck(mpsc::Receiver<()>, mpsc::Sender<usize>);

    impl LineSink for Stuck {
        fn name(&self) -> &'static str {
            "stuck"
        }

        fn write(&mut self, lines: &[u8]) -> bool {
            let _ = self.0.recv();
            let _ = self.1.send(lines.split(|byte| *byte == b'\n').count() - 1);
            true
        }
    }

    impl RecordSink for Stuck {
        fn name(&self) -> &'static str {
            "stuck"
        }

        fn write(&mut self, records: &[Arc<Record>]) -> u64 {
            let _ = self.0.recv();
            let _ = self.1.send(records.len());
            0
        }
    }

    /// What is dropped of so many that are written while the sink is stuck; all else must come out in the end.
    fn dropped(sink: impl FnOnce(Stuck) -> Sink, sent: usize) -> usize {
        let ((open, door), (tell, told)) = (mpsc::channel(), mpsc::channel());
        let log = AccessLog::start(vec![sink(Stuck(door, tell))]).unwrap();
        let writer = log.writer();
        let refused = (0..sent).filter(|_| !writer.write(&Record::test().entry())).count();
        let dropped = log.dropped.as_ref().unwrap().with_label_values(&["stuck"]);
        let lost = usize::try_from(dropped.get()).unwrap();
        assert_eq!(refused, lost);
        drop(open);
        log.end(Duration::from_secs(20));
        assert_eq!(told.try_iter().sum::<usize>() + lost, sent, "what was not dropped is written");
        lost
    }

    #[test]
    fn a_sink_that_is_stuck_costs_records_and_no_time() {
        let sent = QUEUE_LEN_MAX * 2;
        let lost = dropped(|stuck| Sink::Records(Box::new(stuck)), sent);
        assert!(lost >= QUEUE_LEN_MAX - lane::BATCH_LEN_MAX, "{lost} were dropped");

        let mut line = Lines::default();
        line.push(&Record::test().entry());
        let room = batch::BYTES_MAX / line.as_bytes().len();
        let lost = dropped(|stuck| Sink::Lines(Box::new(stuck)), room * 3);
        assert!((room..=room * 2).contains(&lost), "{lost} were dropped, for {room} there is room");
    }

    #[test]
    fn lines_of_all_threads_come_out_whole() {
        struct Memory(mpsc::Sender<Vec<u8>>);
        impl LineSink for Memory {
            fn name(&self) -> &'static str {
                "memory"
            }

            fn write(&mut self, lines: &[u8]) -> bool {
                self.0.send(lines.to_vec()).is_ok()
            }
        }
        let (tell, told) = mpsc::channel();
        let log = AccessLog::start(vec![Sink::Lines(Box::new(Memory(tell)))]).unwrap();
        let (threads, each) = (4, 5_000);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let writer = log.writer();
                    for _ in 0..each {
                        assert!(writer.write(&Record::test().entry()));
                    }
                });
            }
        });
        log.end(Duration::from_secs(20));
        let text = String::from_utf8(told.try_iter().flatten().collect()).unwrap();
        let whole = |line: &&str| serde_json::from_str::<serde_json::Value>(line).is_ok();
        assert_eq!(text.lines().filter(whole).count(), threads * each);
        assert_eq!(text.lines().count(), threads * each);
    }
}
