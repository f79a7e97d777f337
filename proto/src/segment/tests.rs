use proptest::prelude::*;

use super::*;

fn names() -> impl Strategy<Value = Names<String>> {
    let name = || prop_oneof![Just(String::new()), "[a-z0-9]{10}", "\\PC{0,80}"];
    (name(), name(), name(), name(), name(), name(), name(), name()).prop_map(
        |(cell, tenant_id, consumer_id, api_id, stage, route, api_key_id, usage_plan_id)| Names {
            cell,
            tenant_id,
            consumer_id,
            api_id,
            stage,
            route,
            api_key_id,
            usage_plan_id,
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    (
        any::<(u64, u64, u64, u64, u64, u32, u16)>(),
        prop_oneof![Just(Cache::None), Just(Cache::Miss), Just(Cache::Hit)],
        any::<(bool, bool, bool, bool, bool, bool)>(),
    )
        .prop_map(|(numbers, cache, flags)| Record {
            state: if flags.5 { State::Begun } else { State::Done },
            names: 0,
            started_ms: numbers.0,
            ended_ms: numbers.1,
            bytes_in: numbers.2,
            bytes_out: numbers.3,
            duration_ms: numbers.4,
            requests: numbers.5,
            status: numbers.6,
            cache,
            billed: flags.0,
            test: flags.1,
            aborted: flags.2,
            upgraded: flags.3,
            test_invoke: flags.4,
        })
}

/// A sealed segment in which every record has names of its own, and what reading it should give.
fn written(header: Header, entries: &[(Names<String>, Record)]) -> (Vec<u8>, Segment) {
    let seed = header.seed();
    let mut content = header.encode().to_vec();
    let mut segment = Segment {
        header,
        footer: None,
        names: BTreeMap::new(),
        records: Vec::new(),
        begun: Vec::new(),
        damaged: 0,
        blocks: 0,
    };
    let index = |content: &Vec<u8>| u32::try_from(content.len() / BLOCK_BYTES).unwrap();
    for (names, record) in entries {
        let number = index(&content);
        let entry = names.encode();
        assert!(names.is(&entry));
        content.extend(encode_names(&entry, seed, number).flatten());
        assert_eq!(index(&content), number + names_blocks(&entry));
        let record = Record { names: number, ..*record };
        if record.state == State::Begun {
            segment.begun.push(index(&content));
        }
        content.extend(record.encode(seed, index(&content)));
        content.extend(encode_void(seed, index(&content)));
        segment.names.insert(number, names.clone());
        segment.records.push(record);
    }
    let footer = Footer {
        blocks: index(&content) + 1,
        records: u32::try_from(entries.len()).unwrap(),
        sealed_ms: 5,
        recovered: false,
    };
    content.extend(footer.encode(seed));
    segment.footer = Some(footer);
    segment.blocks = footer.blocks;
    (content, segment)
}

fn header() -> impl Strategy<Value = Header> {
    any::<([u8; 16], u32, u64, u64)>().prop_map(|(epoch, thread, counter, created_ms)| Header {
        epoch,
        thread,
        counter,
        created_ms,
    })
}

fn entries() -> impl Strategy<Value = Vec<(Names<String>, Record)>> {
    prop::collection::vec((names(), record()), 0..12)
}

/// Whatever was read is something that was written, or is reported as damage.
fn is_part_of(read: &Segment, whole: &Segment) {
    assert_eq!(read.header, whole.header);
    assert!(read.footer.is_none() || read.footer == whole.footer);
    for (number, names) in &read.names {
        assert_eq!(whole.names.get(number), Some(names));
    }
    let mut rest = whole.records.iter();
    for record in &read.records {
        assert!(rest.any(|written| written == record), "{record:?} was never written");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(header in header(), entries in entries()) {
        let (content, segment) = written(header, &entries);
        prop_assert_eq!(decode(&content), Ok(segment));
    }

    #[test]
    fn any_flipped_bit_is_noticed_and_costs_little(
        header in header(), entries in entries(), at in any::<prop::sample::Index>(), bit in 0..8u8,
    ) {
        let (mut content, whole) = written(header, &entries);
        let at = at.index(content.len());
        content[at] ^= 1 << bit;
        match decode(&content) {
            Err(_) => prop_assert!(at < BLOCK_BYTES),
            Ok(read) => {
                is_part_of(&read, &whole);
                prop_assert!(read.damaged >= 1 || read.footer.is_none());
                prop_assert!(read.records.len() + 1 >= whole.records.len());
            }
        }
    }

    #[test]
    fn a_truncated_segment_gives_what_came_before(
        header in header(), entries in entries(), at in any::<prop::sample::Index>(),
    ) {
        let (content, whole) = written(header, &entries);
        match decode(&content[..at.index(content.len())]) {
            Err(error) => prop_assert_eq!(error, Error::NoHeader),
            Ok(read) => {
                is_part_of(&read, &whole);
                prop_assert_eq!(read.footer, None);
            }
        }
    }

    /// After a machine's crash any page may be the old one, which is all zeros.
    #[test]
    fn blocks_that_never_reached_the_disk_are_missed(
        header in header(), entries in entries(), lost in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
    ) {
        let (mut content, whole) = written(header, &entries);
        let blocks = content.len() / BLOCK_BYTES;
        for index in lost {
            let at = index.index(blocks) * BLOCK_BYTES;
            content[at..at + BLOCK_BYTES].fill(0);
        }
        if let Ok(read) = decode(&content) {
            is_part_of(&read, &whole);
            prop_assert!(read.damaged >= 1 || read.footer.is_none());
        }
    }

    #[test]
    fn a_block_at_another_place_is_damage(
        header in header(), entries in entries(), from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(),
    ) {
        let (mut content, whole) = written(header, &entries);
        let blocks = content.len() / BLOCK_BYTES;
        let (from, to) = (from.index(blocks) * BLOCK_BYTES, to.index(blocks) * BLOCK_BYTES);
        prop_assume!(from != to);
        content.copy_within(from..from + BLOCK_BYTES, to);
        if let Ok(read) = decode(&content) {
            is_part_of(&read, &whole);
            prop_assert!(read.damaged >= 1 || read.footer.is_none());
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        header in header(), noise in prop::collection::vec(any::<u8>(), 0..2000), headed in any::<bool>(),
    ) {
        let mut content = if headed { header.encode().to_vec() } else { Vec::new() };
        content.extend(noise);
        let _ = decode(&content);
    }

    /// With valid CRCs, so that the fields themselves are hostile.
    #[test]
    fn no_well_formed_blocks_make_the_reader_panic(
        header in header(), blocks in prop::collection::vec((0..7u8, any::<[u8; 32]>(), any::<[u8; 27]>()), 0..40),
    ) {
        let mut content = header.encode().to_vec();
        for (index, (kind, first, second)) in (1u32..).zip(blocks) {
            let mut block = [0; BLOCK_BYTES];
            block[0] = kind;
            block[1..33].copy_from_slice(&first);
            block[33..60].copy_from_slice(&second);
            if kind == NAMES && first[0] & 1 == 0 {
                // Plausible enough to get past the first checks.
                block[2..4].fill(0);
                block[4..8].copy_from_slice(&index.to_le_bytes());
                block[8..12].copy_from_slice(&u32::from(first[9]).to_le_bytes());
            }
            content.extend(header.seed().close(index, block));
        }
        let _ = decode(&content);
    }
}

#[test]
fn a_segment_of_another_release_is_named() {
    let mut block = Header { epoch: [1; 16], thread: 0, counter: 1, created_ms: 0 }.encode();
    block[8] = 2;
    let crc = crc32fast::hash(&block[..CRC_AT]);
    block[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(decode(&block), Err(Error::Version(2)));
}

#[test]
fn a_name_too_long_is_cut_between_characters() {
    let names = Names { route: "é".repeat(NAME_BYTES_MAX), ..Names::default() };
    let entry = names.encode();
    assert!(names.is(&entry));
    let read = Names::decode(&entry).unwrap();
    assert_eq!(read.route.len(), NAME_BYTES_MAX);
}

#[test]
fn a_segment_over_the_limit_is_not_read() {
    assert_eq!(decode(&vec![0; CONTENT_BYTES_MAX + 1]), Err(Error::TooLong));
}
