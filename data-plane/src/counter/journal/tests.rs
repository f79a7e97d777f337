use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proto::segment::{self, BLOCK_BYTES, Record, State};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;
use crate::counter::{Names, Outcome, Slot};

/// A directory of its own, removed at the end.
pub(in crate::counter) struct Dir(pub(in crate::counter) PathBuf);

impl Dir {
    pub(in crate::counter) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("tollgate-journal-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What descriptors the process may open, until it is dropped. Each test has a process of its own.
pub(in crate::counter) struct Descriptors(Rlimit);

impl Descriptors {
    /// None, whatever another thread closes meanwhile.
    pub(in crate::counter) fn none() -> Self {
        Self::below(0)
    }

    fn below(end: u64) -> Self {
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(end), ..before }).unwrap();
        Self(before)
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).unwrap();
    }
}

/// A counter whose journal threads are played by the test, so that every state of the disk can be seen.
pub(in crate::counter) struct Bench {
    pub(in crate::counter) shared: Arc<Shared>,
    pub(in crate::counter) counter: Counter,
    finished: Receiver<Finished>,
    taken: Receiver<u32>,
    nursery: Nursery,
}

impl Bench {
    pub(in crate::counter) fn new(settings: Settings) -> Self {
        Self::over(Shared::open(settings, 0).unwrap())
    }

    fn over(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        let (taken, wanted) = mpsc::channel();
        let (to_persist, finished) = mpsc::channel();
        let (supplier, spares) = mpsc::channel();
        let counter = Counter::new(Arc::clone(&shared), 0, spares, taken, to_persist);
        let mut nursery = Nursery::new(&shared, vec![supplier]);
        assert!(nursery.pay(vec![0, 0]).is_empty());
        Self { shared, counter, finished, taken: wanted, nursery }
    }

    /// What the journal's threads would do now.
    pub(in crate::counter) fn settle(&mut self) {
        let batch: Vec<_> =
            self.finished.try_iter().map(|segment| self.shared.persist(segment)).collect();
        self.shared.queue.push(batch);
        self.supply();
    }

    pub(in crate::counter) fn supply(&mut self) {
        let owed = self.taken.try_iter().collect();
        assert!(self.nursery.pay(owed).is_empty());
    }

    /// The same where the disk has no room: no region is made, and what is sealed in memory stays there.
    pub(in crate::counter) fn settle_without_room(&mut self) {
        while self.counter.spares.try_recv().is_ok() {
            self.counter.taken.send(0).unwrap(); // it is made again when there is room
        }
        let _no_file = Descriptors::none();
        let batch: Vec<_> =
            self.finished.try_iter().map(|segment| self.shared.persist(segment)).collect();
        self.shared.queue.push(batch);
    }
}

pub(in crate::counter) fn names(route: &str) -> Names<'_> {
    Names { cell: "default", tenant_id: "t", api_id: "a", stage: "prod", route, ..Names::default() }
}

pub(in crate::counter) fn outcome(request: u64, now_ms: u64) -> Outcome {
    Outcome { ended_ms: now_ms, status: 200, bytes_in: request, bytes_out: 1, ..Outcome::default() }
}

/// All slots of all sealed segments, by `bytes_in`, which the tests use as the number of the request.
pub(in crate::counter) fn counted(dir: &Path) -> BTreeMap<u64, Vec<Record>> {
    let mut counted: BTreeMap<u64, Vec<Record>> = BTreeMap::new();
    for file in listed(&dir.join("sealed")).unwrap() {
        let segment = segment::decode(&fs::read(file.path).unwrap()).unwrap();
        assert!(segment.footer.is_some());
        for record in segment.records {
            counted.entry(record.bytes_in).or_default().push(record);
        }
    }
    counted
}

fn copy(from: &Path, to: &Path) {
    for directory in ["open", "sealed"] {
        fs::create_dir_all(to.join(directory)).unwrap();
        for file in fs::read_dir(from.join(directory)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), to.join(directory).join(file.file_name())).unwrap();
        }
    }
}

/// What requests do, and the journal beside them.
#[derive(Debug, Clone)]
pub(in crate::counter) enum Step {
    Begin {
        route: u8,
    },
    Update(prop::sample::Index),
    Finish(prop::sample::Index),
    Tick,
    /// The journal's threads get a turn.
    Settle,
}

/// Requests go by so many routes.
pub(in crate::counter) fn step(routes: u8) -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..routes).prop_map(|route| Step::Begin { route }),
        3 => any::<prop::sample::Index>().prop_map(Step::Update),
        3 => any::<prop::sample::Index>().prop_map(Step::Finish),
        2 => Just(Step::Tick),
        1 => Just(Step::Settle),
    ]
}

/// The requests that there were, by their numbers.
#[derive(Default)]
pub(in crate::counter) struct Requests {
    begun: u64,
    pub(in crate::counter) open: Vec<(u64, Slot)>,
    /// The journal was told what became of them, so far or in the end.
    pub(in crate::counter) told: BTreeSet<u64>,
    pub(in crate::counter) finished: Vec<u64>,
}

impl Requests {
    pub(in crate::counter) fn take(&mut self, step: &Step, bench: &mut Bench, now_ms: u64) {
        match step {
            Step::Begin { route } => {
                self.begun += 1;
                let route = format!("GET /{route}/{}", "x".repeat(usize::from(*route) * 20));
                self.open.push((self.begun, bench.counter.begin(&names(&route), now_ms).unwrap()));
            }
            Step::Update(index) if !self.open.is_empty() => {
                let (request, slot) = &self.open[index.index(self.open.len())];
                bench.counter.update(slot, &outcome(*request, now_ms));
                self.told.insert(*request);
            }
            Step::Finish(index) if !self.open.is_empty() => {
                let (request, slot) = self.open.swap_remove(index.index(self.open.len()));
                bench.counter.finish(slot, &outcome(request, now_ms));
                self.told.insert(request);
                self.finished.push(request);
            }
            Step::Update(_) | Step::Finish(_) => {}
            Step::Tick => bench.counter.tick(now_ms),
            Step::Settle => bench.settle(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Mapped pages belong to the kernel: a copy of the files is what a killed process leaves.
    #[test]
    fn killed_at_any_moment_every_finished_request_is_counted_once(
        steps in prop::collection::vec(step(40), 1..120),
    ) {
        let (dir, left) = (Dir::new(), Dir::new());
        let mut bench = Bench::new(Settings::new(dir.0.clone(), 1));
        let mut requests = Requests::default();
        for (now_ms, step) in (0u64..).zip(steps) {
            requests.take(&step, &mut bench, now_ms);
            bench.supply(); // what is only in memory may be lost
        }

        copy(&dir.0, &left.0);
        drop(Shared::open(Settings::new(left.0.clone(), 1), 1000).unwrap());

        prop_assert_eq!(fs::read_dir(left.0.join("quarantine")).unwrap().count(), 0);
        let counted = counted(&left.0);
        for request in &requests.finished {
            let records = counted.get(request);
            prop_assert_eq!(records.map(Vec::len), Some(1));
            prop_assert_eq!(records.unwrap()[0].state, State::Done);
        }
        for (request, _) in &requests.open {
            let records = counted.get(request).map_or(0, Vec::len);
            prop_assert_eq!(records, usize::from(requests.told.contains(request)));
        }
        prop_assert!(counted.len() <= requests.finished.len() + requests.open.len());
    }

    /// Whatever a crash of the machine did to the files, opening the journal works and nothing is made up.
    #[test]
    fn damaged_files_never_stop_a_start(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 1..9000usize), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (dir, left) = (Dir::new(), Dir::new());
        let mut bench = Bench::new(Settings::new(dir.0.clone(), 1));
        for request in 1..=50 {
            let slot = bench.counter.begin(&names(&format!("GET /{}", request % 7)), 0).unwrap();
            bench.counter.finish(slot, &outcome(request, 5));
        }
        copy(&dir.0, &left.0);
        let written = 80 * BLOCK_BYTES;
        for file in fs::read_dir(left.0.join("open")).unwrap() {
            let path = file.unwrap().path();
            let mut content = fs::read(&path).unwrap();
            for (at, byte, length) in &damage {
                let at = at.index(written);
                content[at..at + length].fill(*byte);
            }
            if let Some(cut) = &cut {
                content.truncate(cut.index(written));
            }
            fs::write(path, content).unwrap();
        }

        drop(Shared::open(Settings::new(left.0.clone(), 1), 1000).unwrap());

        for (request, records) in counted(&left.0) {
            prop_assert!((1..=50).contains(&request));
            prop_assert_eq!(records.len(), 1);
        }
        prop_assert_eq!(fs::read_dir(left.0.join("open")).unwrap().count(), 0);
    }
}

#[test]
fn a_damaged_segment_is_set_aside_and_its_good_slots_counted() {
    let (dir, left) = (Dir::new(), Dir::new());
    let mut bench = Bench::new(Settings::new(dir.0.clone(), 1));
    for request in 1..=3 {
        let slot = bench.counter.begin(&names("GET /"), 0).unwrap();
        bench.counter.finish(slot, &outcome(request, 5));
    }
    copy(&dir.0, &left.0);
    for file in fs::read_dir(left.0.join("open")).unwrap() {
        let path = file.unwrap().path();
        let mut content = fs::read(&path).unwrap();
        if content[0] != 0 {
            let last_slot = content.chunks(BLOCK_BYTES).rposition(|block| block[0] != 0).unwrap();
            content[last_slot * BLOCK_BYTES + 9] ^= 1;
            fs::write(path, content).unwrap();
        }
    }
    let shared = Shared::open(Settings::new(left.0.clone(), 1), 1000).unwrap();
    let counted: Vec<u64> = listed(&left.0.join("sealed"))
        .unwrap()
        .iter()
        .flat_map(|file| segment::decode(&fs::read(&file.path).unwrap()).unwrap().records)
        .map(|record| record.bytes_in)
        .collect();
    assert_eq!(counted, [1, 2]);
    assert_eq!(fs::read_dir(left.0.join("quarantine")).unwrap().count(), 1);
    assert_eq!(shared.metrics.quarantined.get(), 1);
}

#[test]
fn a_full_segment_is_followed_by_the_next() {
    let dir = Dir::new();
    let mut bench = Bench::new(Settings::new(dir.0.clone(), 1));
    let requests = 40_000;
    for request in 1..=requests {
        let slot = bench.counter.begin(&names("GET /"), 0).unwrap();
        bench.counter.finish(slot, &outcome(request, 5));
        bench.settle();
    }
    drop(bench.counter);
    let batch: Vec<_> =
        bench.finished.try_iter().map(|segment| bench.shared.persist(segment)).collect();
    assert_eq!(batch.len(), 1);
    let counters: Vec<u64> =
        listed(&dir.0.join("sealed")).unwrap().iter().map(|file| file.id.counter).collect();
    assert_eq!(counters, [1, 2, 3]);
    let counted = counted(&dir.0);
    assert_eq!(counted.len() as u64, requests);
    assert!(counted.values().all(|records| records.len() == 1));
}

#[test]
fn without_regions_requests_are_counted_in_memory_until_that_is_full() {
    let dir = Dir::new();
    let settings =
        Settings { memory_bytes_max: 2 * REGION_BYTES, ..Settings::new(dir.0.clone(), 1) };
    let mut bench = Bench::new(settings);
    let mut request = 0;
    // Nobody makes new regions and nobody takes sealed ones away.
    while let Ok(slot) = bench.counter.begin(&names("GET /"), 0) {
        request += 1;
        bench.counter.finish(slot, &outcome(request, 5));
    }
    assert!(request > 64_000, "two on disk, two in memory: {request}");
    bench.settle();
    bench.counter.tick(6);
    bench.settle();
    assert!(bench.counter.begin(&names("GET /"), 0).is_ok(), "there is room again");
    assert_eq!(counted(&dir.0).len() as u64, request);
    assert_eq!(bench.shared.memory_bytes.load(Ordering::Relaxed), 0);
}

/// Counts one request into a segment that is only in memory.
fn count_in_memory(bench: &mut Bench, request: u64) {
    while bench.counter.spares.try_recv().is_ok() {}
    let slot = bench.counter.begin(&names("GET /"), 0).unwrap();
    bench.counter.finish(slot, &outcome(request, 5));
    bench.counter.tick(6);
    let _no_file = Descriptors::none();
    let batch: Vec<_> =
        bench.finished.try_iter().map(|segment| bench.shared.persist(segment)).collect();
    assert!(batch.iter().all(|sealed| matches!(sealed.place, Place::Memory(_))));
    bench.shared.queue.push(batch);
}

#[test]
fn what_the_disk_had_no_room_for_goes_there_once_it_has_some_and_in_its_place_of_the_queue() {
    let dir = Dir::new();
    let mut bench = Bench::new(Settings::new(dir.0.clone(), 1));
    for request in 1..=3 {
        count_in_memory(&mut bench, request);
    }
    {
        let _no_file = Descriptors::none();
        bench.shared.move_to_disk();
    }
    assert_eq!((bench.shared.queue.in_memory(), counted(&dir.0).len()), (3, 0), "no room yet");

    bench.shared.move_to_disk();
    assert_eq!(counted(&dir.0).keys().collect::<Vec<_>>(), [&1, &2, &3]);
    assert_eq!(bench.shared.queue.in_memory(), 0);
    assert_eq!(bench.shared.memory_bytes.load(Ordering::Relaxed), 0);
    let shipped: Vec<_> = std::iter::from_fn(|| bench.shared.queue.pop()).collect();
    assert!(shipped.iter().all(|sealed| matches!(sealed.place, Place::File(_))));
    assert_eq!(shipped.iter().map(|sealed| sealed.id.counter).collect::<Vec<_>>(), [1, 2, 3]);
    // What is left behind now is found by the next start, each once.
    drop(bench);
    let next = Shared::open(Settings::new(dir.0.clone(), 1), 1000).unwrap();
    assert_eq!(next.unacknowledged.load(Ordering::Relaxed), 3);
    assert!(counted(&dir.0).values().all(|records| records.len() == 1));
}

#[test]
fn a_segment_on_its_way_to_the_disk_is_not_shipped_before_it_has_arrived() {
    let dir = Dir::new();
    let mut bench = Bench::new(Settings::new(dir.0.clone(), 1));
    count_in_memory(&mut bench, 1);
    let (id, memory) = bench.shared.queue.begin_move().unwrap();
    assert!(bench.shared.queue.pop().is_none());
    let path = bench.shared.path("sealed", id);
    write_new(&path, &memory).unwrap();
    bench.shared.queue.end_move(id, Some(path));
    assert!(matches!(bench.shared.queue.pop().unwrap().place, Place::File(_)));

    count_in_memory(&mut bench, 2);
    let (id, _) = bench.shared.queue.begin_move().unwrap();
    bench.shared.queue.end_move(id, None);
    assert!(matches!(bench.shared.queue.pop().unwrap().place, Place::Memory(_)), "no room again");
}

#[test]
fn a_second_process_is_refused() {
    let dir = Dir::new();
    let _first = Shared::open(Settings::new(dir.0.clone(), 1), 0).unwrap();
    let second = Shared::open(Settings::new(dir.0.clone(), 1), 0);
    assert_eq!(second.err().map(|error| error.kind()), Some(io::ErrorKind::ResourceBusy));
}

#[test]
fn a_process_that_goes_on_beside_another_takes_over_what_that_one_leaves_and_nobody_else_does() {
    let dir = Dir::new();
    let settings = || Settings::new(dir.0.clone(), 1);
    let count = |bench: &mut Bench, requests: std::ops::RangeInclusive<u64>| {
        for request in requests {
            let slot = bench.counter.begin(&names("GET /"), 0).unwrap();
            bench.counter.finish(slot, &outcome(request, 5));
        }
    };
    let mut before = Bench::new(settings());
    count(&mut before, 1..=2);
    before.counter.tick(6); // sealed, and not shipped by it
    before.settle();
    count(&mut before, 3..=4); // in an open segment

    let lock = before.shared.lock.try_clone().unwrap();
    let mut after = Bench::over(Shared::with_lock(settings(), lock).unwrap());
    assert_eq!(after.shared.unacknowledged.load(Ordering::Relaxed), 0);
    count(&mut after, 5..=6);
    after.counter.tick(6);
    after.settle();
    count(&mut after, 7..=7);
    let refused = Shared::open(settings(), 0).err().map(|error| error.kind());
    assert_eq!(refused, Some(io::ErrorKind::ResourceBusy));

    // As by kill -9: its files stay as they are.
    let Bench { shared, counter, .. } = before;
    std::mem::forget(counter);
    drop(shared);
    for _ in 0..2 {
        after.shared.adopt(1000).unwrap(); // again changes nothing
        assert_eq!(after.shared.unacknowledged.load(Ordering::Relaxed), 3);
        assert_eq!(after.shared.queue.len(), 3);
    }
    count(&mut after, 8..=8);
    after.counter.tick(7);
    after.settle();
    let counted = counted(&dir.0);
    assert_eq!(counted.keys().copied().collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
    assert!(counted.values().all(|records| records.len() == 1));
    let refused = Shared::open(settings(), 0).err().map(|error| error.kind());
    assert_eq!(refused, Some(io::ErrorKind::ResourceBusy));
}

#[test]
fn each_start_has_an_epoch_of_its_own_and_counts_from_one() {
    let dir = Dir::new();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut bench = Bench::new(Settings::new(dir.0.clone(), 1));
        let slot = bench.counter.begin(&names("GET /"), 0).unwrap();
        bench.counter.finish(slot, &outcome(1, 5));
        bench.counter.tick(6);
        bench.settle();
        ids = listed(&dir.0.join("sealed")).unwrap().iter().map(|file| file.id).collect();
    }
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0].epoch, ids[1].epoch);
    assert!(ids.iter().all(|id| id.counter == 1));
}

/// Dies without any destructor, as by kill -9, in the middle of serving.
#[test]
fn a_process_that_dies_loses_no_finished_request() {
    const DIES_IN: &str = "TOLLGATE_TEST_JOURNAL";
    if let Some(dir) = std::env::var_os(DIES_IN) {
        let (_journal, mut counters) = Journal::open(Settings::new(dir.into(), 1), 0).unwrap();
        for request in 1..=20_000 {
            let slot = counters[0].begin(&names("GET /"), 0).unwrap();
            counters[0].finish(slot, &outcome(request, 5));
            if request == 10_000 {
                counters[0].tick(6);
            }
        }
        let streaming = counters[0].begin(&names("GET /stream"), 0).unwrap();
        counters[0].update(&streaming, &outcome(30_000, 5));
        let _untold = counters[0].begin(&names("GET /new"), 0).unwrap();
        std::process::abort();
    }
    let dir = Dir::new();
    let name = std::thread::current().name().unwrap().to_owned();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name])
        .env(DIES_IN, &dir.0)
        .output()
        .unwrap();
    assert!(!output.status.success());

    let shared = Shared::open(Settings::new(dir.0.clone(), 1), 1000).unwrap();

    let counted = counted(&dir.0);
    assert_eq!(counted.len(), 20_001);
    assert!(counted.values().all(|records| records.len() == 1));
    assert_eq!(counted[&30_000][0].state, State::Begun);
    assert_eq!(shared.unacknowledged.load(Ordering::Relaxed), shared.queue.len() as u64);
}
