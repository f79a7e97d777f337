//! The same counts in fewer slots, for segments that wait in memory because the disk has no room.

use std::collections::BTreeMap;

use proto::segment::{self, Footer, Names, Record, State, encode_names};

use super::segment::{block_count, push};

const MINUTE_MS: u64 = 60_000;

/// Names, minute, status, cache and flags: what the ledger tells apart, and what else a slot says beside its sums.
type Kind = (u32, u64, u16, u8, u8);

/// A sealed segment in which requests of one kind, of one minute, share a slot; None where that makes it no smaller. It
/// keeps its place and its sums. Only for what was never shipped: a shipped segment does not change.
pub(super) fn coalesce(content: &[u8]) -> Option<Vec<u8>> {
    let whole = segment::decode(content).ok()?;
    let sealed = whole.footer.filter(|_| whole.damaged == 0)?;
    let mut first: BTreeMap<&Names<String>, u32> = BTreeMap::new();
    let mut slots: BTreeMap<Kind, Vec<Record>> = BTreeMap::new();
    for record in &whole.records {
        let names = *first.entry(&whole.names[&record.names]).or_insert(record.names);
        let record = Record { names, ..*record };
        let same = slots.entry(kind(&record)).or_default();
        match same.last_mut() {
            Some(last) if let Some(both) = sum(last, &record) => *last = both,
            _ => same.push(record),
        }
    }

    let seed = whole.header.seed();
    let mut shorter = whole.header.encode().to_vec();
    let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
    let mut records = 0;
    for record in slots.into_values().flatten() {
        let names = *numbers.entry(record.names).or_insert_with(|| {
            let (entry, number) = (whole.names[&record.names].encode(), block_count(&shorter));
            encode_names(&entry, seed, number).for_each(|block| push(&mut shorter, &block));
            number
        });
        let block = Record { names, ..record }.encode(seed, block_count(&shorter));
        push(&mut shorter, &block);
        records += 1;
    }
    let footer = Footer { blocks: block_count(&shorter) + 1, records, ..sealed };
    push(&mut shorter, &footer.encode(seed));
    (shorter.len() < content.len()).then_some(shorter)
}

fn kind(record: &Record) -> Kind {
    let flags = [
        record.billed,
        record.test,
        record.aborted,
        record.upgraded,
        record.test_invoke,
        record.state == State::Begun,
    ];
    let flags = flags.iter().fold(0, |bits, flag| bits << 1 | u8::from(*flag));
    (record.names, record.ended_ms / MINUTE_MS, record.status, record.cache as u8, flags)
}

/// None where a sum would be more than a slot holds, or more than the ledger believes of one.
fn sum(one: &Record, other: &Record) -> Option<Record> {
    let add = |a: u64, b: u64| a.checked_add(b).filter(|sum| *sum <= segment::SUM_MAX);
    Some(Record {
        started_ms: one.started_ms.min(other.started_ms),
        ended_ms: one.ended_ms.max(other.ended_ms),
        bytes_in: add(one.bytes_in, other.bytes_in)?,
        bytes_out: add(one.bytes_out, other.bytes_out)?,
        duration_ms: add(one.duration_ms, other.duration_ms)?,
        requests: one.requests.checked_add(other.requests)?,
        ..*one
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proto::segment::{Cache, Header};

    use super::*;

    /// By what the ledger tells apart: requests, billed requests, bytes in and out, billed bytes, duration.
    type Sums = BTreeMap<(String, u64, u16, u8, bool), [u64; 6]>;

    fn sums(content: &[u8]) -> Sums {
        let segment = segment::decode(content).unwrap();
        assert_eq!(segment.damaged, 0);
        assert_eq!(segment.footer.unwrap().records as usize, segment.records.len());
        let mut sums = Sums::new();
        for record in segment.records {
            let route = segment.names[&record.names].route.clone();
            let minute = record.ended_ms / MINUTE_MS;
            let of = (route, minute, record.status, record.cache as u8, record.test_invoke);
            let (requests, billed) =
                (u64::from(record.requests), u64::from(record.billed && !record.test));
            let more = [
                requests,
                requests * billed,
                record.bytes_in,
                record.bytes_out,
                record.bytes_out * billed,
                record.duration_ms,
            ];
            let before = sums.entry(of).or_default();
            for (sum, more) in before.iter_mut().zip(more) {
                *sum += more;
            }
        }
        sums
    }

    fn written(slots: &[(u8, Record)]) -> Vec<u8> {
        let header = Header { epoch: [3; 16], thread: 1, counter: 9, created_ms: 0 };
        let seed = header.seed();
        let mut content = header.encode().to_vec();
        for (route, record) in slots {
            let route = format!("GET /{route}");
            let names =
                Names { cell: "default", tenant_id: "t", route: &*route, ..Names::default() };
            let number = block_count(&content);
            encode_names(&names.encode(), seed, number)
                .for_each(|block| push(&mut content, &block));
            let block = Record { names: number, ..*record }.encode(seed, block_count(&content));
            push(&mut content, &block);
        }
        let records = u32::try_from(slots.len()).unwrap();
        let footer =
            Footer { blocks: block_count(&content) + 1, records, sealed_ms: 7, recovered: false };
        push(&mut content, &footer.encode(seed));
        content
    }

    fn record() -> impl Strategy<Value = Record> {
        let large = || prop_oneof![4 => 0..5000u64, 1 => Just(segment::SUM_MAX - 3)];
        (
            (0..3 * MINUTE_MS, large(), large(), large()),
            prop_oneof![3 => Just(1), 1 => Just(u32::MAX)],
            prop_oneof![Just(200u16), Just(201), Just(429)],
            prop_oneof![Just(Cache::None), Just(Cache::Hit)],
            any::<[bool; 3]>(),
        )
            .prop_map(
                |((ended_ms, bytes_in, bytes_out, duration_ms), requests, status, cache, flags)| {
                    Record {
                        state: State::Done,
                        names: 0,
                        started_ms: ended_ms,
                        ended_ms,
                        bytes_in,
                        bytes_out,
                        duration_ms,
                        requests,
                        status,
                        cache,
                        billed: flags[0],
                        test: flags[1],
                        aborted: false,
                        upgraded: false,
                        test_invoke: flags[2],
                    }
                },
            )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_coalesced_segment_has_the_same_place_and_the_same_sums(
            slots in prop::collection::vec((0..4u8, record()), 0..60),
        ) {
            let content = written(&slots);
            let Some(shorter) = coalesce(&content) else {
                // As many kinds as slots, and no two had the same names.
                return Ok(());
            };
            prop_assert!(shorter.len() < content.len());
            prop_assert_eq!(Header::decode(&shorter).unwrap(), Header::decode(&content).unwrap());
            prop_assert_eq!(sums(&shorter), sums(&content));
            let largest = segment::decode(&shorter).unwrap().records.into_iter()
                .map(|record| record.bytes_in.max(record.bytes_out).max(record.duration_ms)).max();
            prop_assert!(largest.unwrap_or_default() <= segment::SUM_MAX);
        }
    }

    #[test]
    fn what_is_damaged_or_not_sealed_stays_as_it_is() {
        let record = Record {
            state: State::Done,
            names: 0,
            started_ms: 0,
            ended_ms: 1,
            bytes_in: 1,
            bytes_out: 1,
            duration_ms: 1,
            requests: 1,
            status: 200,
            cache: Cache::None,
            billed: true,
            test: false,
            aborted: false,
            upgraded: false,
            test_invoke: false,
        };
        let content = written(&[(1, record); 40]);
        assert!(coalesce(&content).unwrap().len() < content.len() / 10);
        let unsealed = &content[..content.len() - segment::BLOCK_BYTES];
        assert_eq!(coalesce(unsealed), None);
        let mut damaged = content.clone();
        damaged[segment::BLOCK_BYTES * 3 + 9] ^= 1;
        assert_eq!(coalesce(&damaged), None);
    }
}
