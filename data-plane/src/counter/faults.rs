//! The journal on a machine that dies: what of it the disk has is older here and newer there, in any order, torn, cut
//! short or flipped, and for a while it had no room.
//!
//! A file's pages reach the disk when the kernel likes, each by itself, and all of them when the file is synced. The
//! model keeps what the disk holds of each file, sector by sector, beside what the page cache holds.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proto::segment::{BLOCK_BYTES, State};

use super::Settings;
use super::journal::tests::{
    Bench, Descriptors, Dir, Requests, Step, counted, names, outcome, step,
};
use super::journal::{Shared, is_passing};
use super::metrics::Metrics;
use super::recovery::{header_of, recover_by};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// No segment of these tests is longer.
const SEGMENT_BYTES_MAX: u64 = 256 * 1024;

#[derive(Debug, Clone)]
enum Act {
    Step(Step),
    /// The journal's threads get a turn while the disk has no room.
    SettleWithoutRoom,
    /// Some sectors of the open files reach the disk: the bits say which, over and over.
    Flush(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        19 => step(12).prop_map(Act::Step),
        1 => Just(Act::SettleWithoutRoom),
        4 => any::<u64>().prop_map(Act::Flush),
    ]
}

/// What the crash does beside losing what was not written.
#[derive(Debug, Clone)]
enum Harm {
    None,
    /// Bits of a byte are another way round.
    Flip(prop::sample::Index, u8),
    /// A sector was being written: its first bytes are new.
    Tear(prop::sample::Index),
    /// The file system lost the file's end.
    Cut(prop::sample::Index),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        3 => Just(Harm::None),
        1 => (any::<prop::sample::Index>(), 1..=255u8).prop_map(|(at, bits)| Harm::Flip(at, bits)),
        1 => any::<prop::sample::Index>().prop_map(Harm::Tear),
        1 => any::<prop::sample::Index>().prop_map(Harm::Cut),
    ]
}

/// Files by their names, without the zeros after what was written.
type Files = BTreeMap<String, Vec<u8>>;

fn files(directory: &Path) -> Files {
    let read = |entry: fs::DirEntry| {
        let mut content = Vec::new();
        File::open(entry.path())
            .unwrap()
            .take(SEGMENT_BYTES_MAX)
            .read_to_end(&mut content)
            .unwrap();
        let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        assert!((end as u64) < SEGMENT_BYTES_MAX);
        content.truncate(end.next_multiple_of(SECTOR_BYTES));
        (entry.file_name().into_string().unwrap(), content)
    };
    fs::read_dir(directory).unwrap().map(|entry| read(entry.unwrap())).collect()
}

fn flush(disk: &mut Files, dir: &Path, bits: u64) {
    let cache = files(&dir.join("open"));
    // Those that are gone from here are sealed: synced, and on the disk for good.
    disk.retain(|name, _| cache.contains_key(name));
    for (file, (name, content)) in cache.into_iter().enumerate() {
        let held = disk.entry(name).or_default();
        for (sector, bytes) in content.chunks(SECTOR_BYTES).enumerate() {
            // Each file has bits of its own.
            if bits >> ((sector + file * 13) % 64) & 1 == 1 {
                write(held, sector * SECTOR_BYTES, bytes);
            }
        }
    }
}

fn write(held: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if held.len() < at + bytes.len() {
        held.resize(at + bytes.len(), 0);
    }
    held[at..at + bytes.len()].copy_from_slice(bytes);
}

/// What lies in `left` is what the next start finds.
fn lay_out(left: &Path, disk: &Files, sealed: &Files) {
    for (directory, files) in [("open", disk), ("sealed", sealed)] {
        fs::create_dir_all(left.join(directory)).unwrap();
        for (name, content) in files {
            fs::write(left.join(directory).join(name), content).unwrap();
        }
    }
}

/// The last file that is longer than nothing suffers it.
fn suffer(disk: &mut Files, cache: &Files, harm: &Harm) {
    let Some((name, held)) = disk.iter_mut().rfind(|(_, held)| !held.is_empty()) else { return };
    match harm {
        Harm::None => {}
        Harm::Flip(at, bits) => {
            let at = at.index(held.len());
            held[at] ^= bits;
        }
        Harm::Tear(at) => {
            let Some(new) = cache.get(name).filter(|new| !new.is_empty()) else { return };
            let end = at.index(new.len());
            let sector = end - end % SECTOR_BYTES;
            write(held, sector, &new[sector..end]);
        }
        Harm::Cut(at) => held.truncate(at.index(held.len())),
    }
}

/// Whether a block was never written although a later one was.
fn has_hole(content: &[u8]) -> bool {
    let empty = |block: &[u8]| block.iter().all(|byte| *byte == 0);
    let blocks: Vec<_> = content.chunks(BLOCK_BYTES).collect();
    let last = blocks.iter().rposition(|block| !empty(block)).unwrap_or_default();
    blocks[..last].iter().any(|block| empty(block))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_machine_that_dies_loses_only_what_was_not_synced_and_counts_nothing_twice(
        acts in prop::collection::vec(act(), 1..60),
        written in any::<u64>(),
        harm in harm(),
    ) {
        let (dir, left) = (Dir::new(), Dir::new());
        let mut bench = Bench::new(Settings::new(dir.0.clone(), 1));
        let (mut requests, mut disk) = (Requests::default(), Files::new());
        for (now_ms, act) in (0u64..).zip(acts) {
            match act {
                Act::Step(step) => requests.take(&step, &mut bench, now_ms),
                Act::SettleWithoutRoom => bench.settle_without_room(),
                Act::Flush(bits) => flush(&mut disk, &dir.0, bits),
            }
        }
        flush(&mut disk, &dir.0, written);
        suffer(&mut disk, &files(&dir.0.join("open")), &harm);
        let (sealed, synced) = (files(&dir.0.join("sealed")), counted(&dir.0));
        lay_out(&left.0, &disk, &sealed);

        let next = Shared::open(Settings::new(left.0.clone(), 1), 1000).unwrap();

        let recovered = counted(&left.0);
        for (request, records) in &recovered {
            prop_assert!(requests.told.contains(request), "{} was never told", request);
            prop_assert_eq!(records.len(), 1, "{} is counted more than once", request);
        }
        for (request, records) in &synced {
            prop_assert_eq!(recovered.get(request), Some(records), "{} was on the disk", request);
        }
        let holes = disk.values().filter(|content| has_hole(content)).count();
        let reported = fs::read_dir(left.0.join("quarantine")).unwrap().count();
        prop_assert!(reported >= holes, "{} of {} files with holes were reported", reported, holes);
        prop_assert_eq!(next.metrics.quarantined.get(), reported as u64);
        prop_assert_eq!(fs::read_dir(left.0.join("open")).unwrap().count(), 0);

        // What is recovered is recovered: a second start finds the same.
        drop(next);
        drop(Shared::open(Settings::new(left.0.clone(), 1), 2000).unwrap());
        prop_assert_eq!(counted(&left.0), recovered);
    }
}

/// What a machine leaves that died when the next segment, which took a stream along, had reached the disk, and the
/// segment before had not.
fn left_with_a_stream_in_two() -> Dir {
    let (dir, left) = (Dir::new(), Dir::new());
    let mut bench = Bench::new(Settings::new(dir.0.clone(), 1));
    let streaming = bench.counter.begin(&names("GET /stream"), 0).unwrap();
    bench.counter.update(&streaming, &outcome(1, 1));
    let short = bench.counter.begin(&names("GET /"), 1).unwrap();
    bench.counter.finish(short, &outcome(2, 1));
    let mut disk = Files::new();
    flush(&mut disk, &dir.0, u64::MAX);
    let before = disk.clone().into_iter().filter(|(_, content)| !content.is_empty());
    bench.counter.tick(2); // the next segment takes the stream along
    flush(&mut disk, &dir.0, u64::MAX);
    disk.extend(before); // and the older sectors of this one were never written again
    lay_out(&left.0, &disk, &Files::new());
    left
}

/// The next start counts each once.
fn is_counted_once(left: &Dir) {
    drop(Shared::open(Settings::new(left.0.clone(), 1), 1000).unwrap());
    let counted = counted(&left.0);
    assert_eq!(counted.keys().copied().collect::<Vec<_>>(), [1, 2]);
    assert_eq!((counted[&1].len(), counted[&1][0].state), (1, State::Begun));
}

#[test]
fn what_moved_on_to_a_segment_that_reached_the_disk_first_is_counted_once() {
    is_counted_once(&left_with_a_stream_in_two());
}

fn open_files(left: &Dir) -> BTreeSet<PathBuf> {
    fs::read_dir(left.0.join("open")).unwrap().map(|file| file.unwrap().path()).collect()
}

#[test]
fn nothing_is_recovered_while_the_newest_segment_cannot_be_looked_at() {
    let left = left_with_a_stream_in_two();
    let before = open_files(&left);
    let newest = before.iter().rfind(|path| header_of(path).unwrap().is_some()).unwrap();
    let looks = |path: &Path| {
        let _no_file = (path == newest).then(Descriptors::none);
        header_of(path)
    };

    recover_by(looks, &left.0, &Metrics::new(), 1000, "ours").unwrap();

    assert_eq!(open_files(&left), before);
    is_counted_once(&left);
}

#[test]
fn what_cannot_be_opened_for_want_of_descriptors_is_recovered_when_there_are_some() {
    let left = left_with_a_stream_in_two();
    let before = open_files(&left);
    let no_file = RefCell::new(None);
    let looks = |path: &Path| {
        let header = header_of(path);
        if Some(path) == before.last().map(PathBuf::as_path) {
            no_file.replace(Some(Descriptors::none()));
        }
        header
    };
    let metrics = Metrics::new();

    let refused = recover_by(looks, &left.0, &metrics, 1000, "ours").unwrap_err();

    assert!(is_passing(&refused), "{refused}");
    drop(no_file);
    assert_eq!((open_files(&left), metrics.quarantined.get()), (before, 0));
    is_counted_once(&left);
}

#[test]
fn memory_that_stands_in_for_a_full_disk_lasts_for_kinds_of_requests_not_for_requests() {
    let dir = Dir::new();
    let region = 1024 * 1024;
    let settings = Settings { memory_bytes_max: 2 * region, ..Settings::new(dir.0.clone(), 1) };
    let mut bench = Bench::new(settings);
    bench.settle_without_room();
    let mut request = 0;
    for second in 1..=60u64 {
        for _ in 0..2000 {
            request += 1;
            let route = format!("GET /{}", request % 10);
            let slot = bench.counter.begin(&names(&route), second * 1000).unwrap();
            bench
                .counter
                .finish(slot, &super::Outcome { ended_ms: second * 1000, ..outcome(1, 0) });
        }
        bench.counter.tick(second * 1000);
        bench.settle_without_room();
    }
    assert_eq!(bench.shared.queue.in_memory(), 60);

    bench.shared.move_to_disk();
    let records: Vec<_> = counted(&dir.0).into_values().flatten().collect();
    let requests: u64 = records.iter().map(|record| u64::from(record.requests)).sum();
    let bytes: u64 = records.iter().map(|record| record.bytes_in).sum();
    assert_eq!((requests, bytes), (120_000, 120_000));
}
