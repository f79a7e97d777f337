//! The bytes of a journal segment: what one data thread of a node counted in about a second.
//!
//! A segment is a row of blocks of 64 bytes, so that no block crosses a disk sector. Block 0 is the header,
//! then come names and slots in the order in which they were needed, and the footer seals it. All numbers
//! are little-endian; reserved bytes are zero when written and ignored when read. A block of zeros is one
//! that was never written.
//!
//! Header, block 0:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `TOLLGATE` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 2 | block size, 64 |
//! | 12 | 4 | thread |
//! | 16 | 16 | epoch: random, one for each start of a node |
//! | 32 | 8 | counter: from 1, in order, per epoch and thread |
//! | 40 | 8 | created, ms since 1970 |
//! | 48 | 12 | reserved |
//! | 60 | 4 | CRC-32 of bytes 0 to 59 |
//!
//! Every other block ends with a CRC-32 too, started from the header's CRC plus the block's index: a block
//! that comes from another segment, or lies at another place, is as wrong as one with a flipped bit.
//!
//! Slot (kind 1 `begun`, 2 `done`), one per request; kind 3 is a slot given up, which counts nothing:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | kind |
//! | 1 | 1 | flags: 1 billed, 2 test, 4 aborted, 8 upgraded, 16 test-invoke |
//! | 2 | 2 | status; 0: cut off before a status was sent |
//! | 4 | 4 | names: the index of the block where they begin |
//! | 8 | 8 | started, ms since 1970 |
//! | 16 | 8 | last byte, ms since 1970 |
//! | 24 | 8 | bytes in |
//! | 32 | 8 | bytes out |
//! | 40 | 8 | duration in ms; over several requests, the sum |
//! | 48 | 4 | requests; 1, or more where a node under pressure put several of one kind together |
//! | 52 | 1 | cache: 0 not cached, 1 miss, 2 hit |
//! | 53 | 7 | reserved |
//! | 60 | 4 | CRC-32 |
//!
//! Part of names (kind 4). The parts of one entry lie side by side; put together they are eight times a
//! length (2 bytes) and that many bytes of UTF-8: cell, tenant, consumer, api, stage, route, api key,
//! usage plan. Absent is empty. The cell is a name like the others, since a node may serve several.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | kind |
//! | 1 | 1 | reserved |
//! | 2 | 2 | part, from 0 |
//! | 4 | 4 | number: the index of the block where the entry begins |
//! | 8 | 4 | length of the whole entry in bytes |
//! | 12 | 48 | bytes |
//! | 60 | 4 | CRC-32 |
//!
//! Footer (kind 5), the last block. With it the segment is sealed and never changes again:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | kind |
//! | 1 | 1 | flags: 1 sealed by recovery, not by the thread that wrote it |
//! | 2 | 2 | reserved |
//! | 4 | 4 | blocks, header and footer too |
//! | 8 | 4 | slots that count |
//! | 12 | 8 | sealed, ms since 1970 |
//! | 20 | 40 | reserved |
//! | 60 | 4 | CRC-32 |

use std::collections::BTreeMap;

pub const BLOCK_BYTES: usize = 64;
/// A longer segment is refused unread.
pub const CONTENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A longer name is cut here when it is written.
pub const NAME_BYTES_MAX: usize = 4096;
/// The most bytes or milliseconds that one slot may claim: 4 PiB, or 142,000 years. The ledger believes no more.
pub const SUM_MAX: u64 = 1 << 52;

const MAGIC: [u8; 8] = *b"TOLLGATE";
const VERSION: u16 = 1;
const CRC_AT: usize = 60;
const PART_AT: usize = 12;
const PART_BYTES: usize = CRC_AT - PART_AT;
const NAMES_COUNT: usize = 8;
const NAMES_BYTES_MAX: usize = NAMES_COUNT * (2 + NAME_BYTES_MAX);

const BEGUN: u8 = 1;
const DONE: u8 = 2;
const VOID: u8 = 3;
const NAMES: u8 = 4;
const FOOTER: u8 = 5;

const BILLED: u8 = 1;
const TEST: u8 = 2;
const ABORTED: u8 = 4;
const UPGRADED: u8 = 8;
const TEST_INVOKE: u8 = 16;
const RECOVERED: u8 = 1;

pub type Block = [u8; BLOCK_BYTES];

/// Which segment this is. Node, epoch, thread and counter together name it for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub epoch: [u8; 16],
    pub thread: u32,
    /// From 1, without gaps, per epoch and thread.
    pub counter: u64,
    pub created_ms: u64,
}

/// What the CRCs of a segment's blocks start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(u32);

/// Who called what; what is absent is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Names<S> {
    pub cell: S,
    pub tenant_id: S,
    pub consumer_id: S,
    pub api_id: S,
    pub stage: S,
    /// `GET /pets/{id}`; `-` where none matched.
    pub route: S,
    pub api_key_id: S,
    pub usage_plan_id: S,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The answer was still being sent: these are its last known bytes.
    Begun,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cache {
    #[default]
    None,
    Miss,
    Hit,
}

/// One slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts about a request")]
pub struct Record {
    pub state: State,
    /// The index of the block where its names begin.
    pub names: u32,
    pub started_ms: u64,
    /// When the last byte went out.
    pub ended_ms: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub duration_ms: u64,
    pub requests: u32,
    /// 0: cut off before a status was sent.
    pub status: u16,
    pub cache: Cache,
    pub billed: bool,
    /// Made with a test key.
    pub test: bool,
    /// The caller or the backend went away before the end.
    pub aborted: bool,
    pub upgraded: bool,
    /// Made by test-invoke, not by a caller.
    pub test_invoke: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footer {
    /// All blocks of the segment, header and footer too.
    pub blocks: u32,
    /// Slots that count.
    pub records: u32,
    pub sealed_ms: u64,
    /// Sealed after a crash, by the next start.
    pub recovered: bool,
}

/// What could be read of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub header: Header,
    /// None: never sealed.
    pub footer: Option<Footer>,
    /// By the index of their first block.
    pub names: BTreeMap<u32, Names<String>>,
    /// Each has its names in `names`.
    pub records: Vec<Record>,
    /// The blocks of those slots that are begun and not done, wherever their names are.
    pub begun: Vec<u32>,
    /// Blocks lost: torn, flipped, missing in the middle, or slots whose names are lost.
    pub damaged: u32,
    /// Blocks up to the last one that holds anything.
    pub blocks: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    TooLong,
    NoHeader,
    /// Written by another release.
    Version(u16),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong => write!(f, "longer than {CONTENT_BYTES_MAX} bytes"),
            Self::NoHeader => f.write_str("no intact header"),
            Self::Version(version) => write!(f, "format version {version} is not known"),
        }
    }
}

impl std::error::Error for Error {}

impl Header {
    pub fn encode(&self) -> Block {
        let mut block = [0; BLOCK_BYTES];
        block[..8].copy_from_slice(&MAGIC);
        block[8..10].copy_from_slice(&VERSION.to_le_bytes());
        block[10..12].copy_from_slice(&64u16.to_le_bytes());
        block[12..16].copy_from_slice(&self.thread.to_le_bytes());
        block[16..32].copy_from_slice(&self.epoch);
        block[32..40].copy_from_slice(&self.counter.to_le_bytes());
        block[40..48].copy_from_slice(&self.created_ms.to_le_bytes());
        let crc = crc32fast::hash(&block[..CRC_AT]);
        block[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        block
    }

    pub fn decode(content: &[u8]) -> Result<Self, Error> {
        let block: &Block = content.first_chunk().ok_or(Error::NoHeader)?;
        if block[..8] != MAGIC || u32_at(block, CRC_AT) != crc32fast::hash(&block[..CRC_AT]) {
            return Err(Error::NoHeader);
        }
        let version = u16_at(block, 8);
        if version != VERSION || u16_at(block, 10) != 64 {
            return Err(Error::Version(version));
        }
        Ok(Self {
            epoch: bytes_at(block, 16),
            thread: u32_at(block, 12),
            counter: u64_at(block, 32),
            created_ms: u64_at(block, 40),
        })
    }

    pub fn seed(&self) -> Seed {
        Seed(u32_at(&self.encode(), CRC_AT))
    }
}

impl Seed {
    /// Writes the CRC of a block that lies at `index`.
    fn close(self, index: u32, mut block: Block) -> Block {
        let crc = self.crc(index, &block);
        block[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        block
    }

    fn holds(self, index: u32, block: &Block) -> bool {
        u32_at(block, CRC_AT) == self.crc(index, block)
    }

    fn crc(self, index: u32, block: &Block) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0.wrapping_add(index));
        hasher.update(&block[..CRC_AT]);
        hasher.finalize()
    }
}

impl<S: AsRef<str>> Names<S> {
    /// In the order in which a segment holds them.
    pub fn each(&self) -> [&str; NAMES_COUNT] {
        [
            self.cell.as_ref(),
            self.tenant_id.as_ref(),
            self.consumer_id.as_ref(),
            self.api_id.as_ref(),
            self.stage.as_ref(),
            self.route.as_ref(),
            self.api_key_id.as_ref(),
            self.usage_plan_id.as_ref(),
        ]
    }

    /// The entry before it is cut into blocks.
    pub fn encode(&self) -> Vec<u8> {
        let mut entry = Vec::with_capacity(self.each().iter().map(|name| name.len() + 2).sum());
        for name in self.each() {
            let name = clip(name);
            let length = u16::try_from(name.len()).expect("clipped to less");
            entry.extend_from_slice(&length.to_le_bytes());
            entry.extend_from_slice(name.as_bytes());
        }
        entry
    }

    /// Whether `entry` is what `encode` would give.
    pub fn is(&self, entry: &[u8]) -> bool {
        let mut rest = entry;
        for name in self.each() {
            let name = clip(name);
            let Some((length, after)) = rest.split_first_chunk() else { return false };
            if usize::from(u16::from_le_bytes(*length)) != name.len()
                || !after.starts_with(name.as_bytes())
            {
                return false;
            }
            rest = &after[name.len()..];
        }
        rest.is_empty()
    }
}

impl Names<String> {
    fn decode(entry: &[u8]) -> Option<Self> {
        let mut rest = entry;
        let mut next = || {
            let (length, after) = rest.split_first_chunk()?;
            let (name, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            rest = after;
            String::from_utf8(name.to_vec()).ok()
        };
        let names = Self {
            cell: next()?,
            tenant_id: next()?,
            consumer_id: next()?,
            api_id: next()?,
            stage: next()?,
            route: next()?,
            api_key_id: next()?,
            usage_plan_id: next()?,
        };
        rest.is_empty().then_some(names)
    }
}

fn clip(name: &str) -> &str {
    if name.len() <= NAME_BYTES_MAX {
        name
    } else {
        &name[..name.floor_char_boundary(NAME_BYTES_MAX)]
    }
}

/// How many blocks an entry of names takes.
pub fn names_blocks(entry: &[u8]) -> u32 {
    u32::try_from(entry.len().div_ceil(PART_BYTES)).expect("an entry is short")
}

/// The blocks of an entry that begins at `index`, which is also its number.
pub fn encode_names(entry: &[u8], seed: Seed, index: u32) -> impl Iterator<Item = Block> {
    let length = u32::try_from(entry.len()).expect("an entry is short");
    (0u16..).zip(entry.chunks(PART_BYTES)).map(move |(part, bytes)| {
        let mut block = [0; BLOCK_BYTES];
        block[0] = NAMES;
        block[2..4].copy_from_slice(&part.to_le_bytes());
        block[4..8].copy_from_slice(&index.to_le_bytes());
        block[8..12].copy_from_slice(&length.to_le_bytes());
        block[PART_AT..PART_AT + bytes.len()].copy_from_slice(bytes);
        seed.close(index + u32::from(part), block)
    })
}

impl Record {
    pub fn encode(&self, seed: Seed, index: u32) -> Block {
        let mut block = [0; BLOCK_BYTES];
        block[0] = match self.state {
            State::Begun => BEGUN,
            State::Done => DONE,
        };
        block[1] = [
            (self.billed, BILLED),
            (self.test, TEST),
            (self.aborted, ABORTED),
            (self.upgraded, UPGRADED),
            (self.test_invoke, TEST_INVOKE),
        ]
        .iter()
        .fold(0, |flags, (set, flag)| if *set { flags | flag } else { flags });
        block[2..4].copy_from_slice(&self.status.to_le_bytes());
        block[4..8].copy_from_slice(&self.names.to_le_bytes());
        block[8..16].copy_from_slice(&self.started_ms.to_le_bytes());
        block[16..24].copy_from_slice(&self.ended_ms.to_le_bytes());
        block[24..32].copy_from_slice(&self.bytes_in.to_le_bytes());
        block[32..40].copy_from_slice(&self.bytes_out.to_le_bytes());
        block[40..48].copy_from_slice(&self.duration_ms.to_le_bytes());
        block[48..52].copy_from_slice(&self.requests.to_le_bytes());
        block[52] = match self.cache {
            Cache::None => 0,
            Cache::Miss => 1,
            Cache::Hit => 2,
        };
        seed.close(index, block)
    }

    fn decode(block: &Block) -> Option<Self> {
        Some(Self {
            state: if block[0] == BEGUN { State::Begun } else { State::Done },
            names: u32_at(block, 4),
            started_ms: u64_at(block, 8),
            ended_ms: u64_at(block, 16),
            bytes_in: u64_at(block, 24),
            bytes_out: u64_at(block, 32),
            duration_ms: u64_at(block, 40),
            requests: u32_at(block, 48),
            status: u16_at(block, 2),
            cache: match block[52] {
                0 => Cache::None,
                1 => Cache::Miss,
                2 => Cache::Hit,
                _ => return None,
            },
            billed: block[1] & BILLED != 0,
            test: block[1] & TEST != 0,
            aborted: block[1] & ABORTED != 0,
            upgraded: block[1] & UPGRADED != 0,
            test_invoke: block[1] & TEST_INVOKE != 0,
        })
    }
}

/// A slot given up: its request is counted elsewhere.
pub fn encode_void(seed: Seed, index: u32) -> Block {
    let mut block = [0; BLOCK_BYTES];
    block[0] = VOID;
    seed.close(index, block)
}

impl Footer {
    /// The footer lies at the last index.
    pub fn encode(&self, seed: Seed) -> Block {
        let mut block = [0; BLOCK_BYTES];
        block[0] = FOOTER;
        block[1] = u8::from(self.recovered) * RECOVERED;
        block[4..8].copy_from_slice(&self.blocks.to_le_bytes());
        block[8..12].copy_from_slice(&self.records.to_le_bytes());
        block[12..20].copy_from_slice(&self.sealed_ms.to_le_bytes());
        seed.close(self.blocks - 1, block)
    }

    fn decode(block: &Block) -> Self {
        Self {
            blocks: u32_at(block, 4),
            records: u32_at(block, 8),
            sealed_ms: u64_at(block, 12),
            recovered: block[1] & RECOVERED != 0,
        }
    }
}

/// Reads whatever is intact. Fails only where nothing can be: without a header no other block can be checked.
pub fn decode(content: &[u8]) -> Result<Segment, Error> {
    if content.len() > CONTENT_BYTES_MAX {
        return Err(Error::TooLong);
    }
    let header = Header::decode(content)?;
    let seed = header.seed();
    let mut segment = Segment {
        header,
        footer: None,
        names: BTreeMap::new(),
        records: Vec::new(),
        begun: Vec::new(),
        damaged: 0,
        blocks: 1,
    };
    let mut entry = Entry::default();

    for (index, bytes) in (0u32..).zip(content.chunks(BLOCK_BYTES)).skip(1) {
        if bytes.iter().all(|byte| *byte == 0) {
            continue;
        }
        // Blocks are written in order, so an empty one before this one was lost.
        segment.damaged += index - segment.blocks;
        segment.blocks = index + 1;
        let Some(block) = bytes.first_chunk().filter(|block| seed.holds(index, block)) else {
            segment.damaged += 1;
            continue;
        };
        // Nothing follows the footer.
        let understood = segment.footer.is_none()
            && match block[0] {
                BEGUN | DONE => {
                    if block[0] == BEGUN {
                        segment.begun.push(index);
                    }
                    Record::decode(block).map(|record| segment.records.push(record)).is_some()
                }
                NAMES => match entry.take(index, block) {
                    Part::More => true,
                    Part::Last(number, names) => segment.names.insert(number, names).is_none(),
                    Part::Stray => false,
                },
                FOOTER => {
                    let footer = Footer::decode(block);
                    segment.footer = Some(footer);
                    footer.blocks == index + 1
                }
                kind => kind == VOID,
            };
        segment.damaged += u32::from(!understood);
    }

    let before = segment.records.len();
    segment.records.retain(|record| segment.names.contains_key(&record.names));
    segment.damaged += u32::try_from(before - segment.records.len()).expect("fewer than blocks");
    Ok(segment)
}

/// Puts the parts of one entry of names together.
#[derive(Default)]
struct Entry {
    number: u32,
    next: u32,
    bytes: Vec<u8>,
}

enum Part {
    More,
    Last(u32, Names<String>),
    /// Does not follow what was there before.
    Stray,
}

impl Entry {
    fn take(&mut self, index: u32, block: &Block) -> Part {
        let (part, number) = (u32::from(u16_at(block, 2)), u32_at(block, 4));
        let length = u32_at(block, 8) as usize;
        if part == 0 {
            *self = Self { number: index, next: index, bytes: Vec::new() };
        }
        let fits = number == self.number && index == self.next && index - number == part;
        if !fits || length > NAMES_BYTES_MAX || length <= self.bytes.len() {
            return Part::Stray;
        }
        let take = PART_BYTES.min(length - self.bytes.len());
        self.bytes.extend_from_slice(&block[PART_AT..PART_AT + take]);
        self.next = index + 1;
        if self.bytes.len() < length {
            return Part::More;
        }
        match Names::decode(&self.bytes) {
            Some(names) => Part::Last(number, names),
            None => Part::Stray,
        }
    }
}

fn bytes_at<const N: usize>(block: &Block, at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&block[at..at + N]);
    bytes
}

fn u16_at(block: &Block, at: usize) -> u16 {
    u16::from_le_bytes(bytes_at(block, at))
}

fn u32_at(block: &Block, at: usize) -> u32 {
    u32::from_le_bytes(bytes_at(block, at))
}

fn u64_at(block: &Block, at: usize) -> u64 {
    u64::from_le_bytes(bytes_at(block, at))
}

#[cfg(test)]
mod tests;
