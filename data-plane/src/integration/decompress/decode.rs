//! The codings, undone: whatever comes in pieces leaves in pieces of a bounded size, by nothing that waits.

use brotli::{BrotliDecompressStream, BrotliResult, BrotliState, enc::StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

use super::gzip::Gzip;
use crate::response::compress::Coding;

/// RFC 9659: nobody sends a window above 8 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Inflate's window of 32 KiB, and its tables.
const INFLATE_BYTES: usize = 64 << 10;
/// Brotli's tables, beside its window.
const BROTLI_BYTES: usize = 512 << 10;

/// One coding of one body.
pub(super) enum Decoder {
    Gzip(Box<Gzip>),
    Deflate(Deflate),
    Brotli(Box<Brotli>),
    Zstd(Zstd),
}

/// What became of some input.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// So much of it is no longer needed.
    pub(super) read: usize,
    /// So much came out. Nothing read and nothing written: more input is needed.
    pub(super) wrote: usize,
    /// All came, and all came out.
    pub(super) done: bool,
}

/// The bytes are not of the coding that they are said to be of, or end before their time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Decoder {
    pub(super) fn new(coding: Coding) -> Self {
        match coding {
            Coding::Gzip => Self::Gzip(Box::new(Gzip::new())),
            Coding::Deflate => Self::Deflate(Deflate::Unknown(None)),
            Coding::Brotli => Self::Brotli(Box::new(Brotli::new())),
            Coding::Zstd => Self::Zstd(Zstd::new()),
        }
    }

    /// Decodes what there is into `out`, which has room. `ended`: nothing comes after `input`. A body without a single
    /// byte is whole in every coding.
    pub(super) fn step(
        &mut self,
        input: &[u8],
        ended: bool,
        out: &mut [u8],
    ) -> Result<Step, Malformed> {
        match self {
            Self::Gzip(gzip) => gzip.step(input, ended, out),
            Self::Deflate(deflate) => deflate.step(input, ended, out),
            Self::Brotli(brotli) => brotli.step(input, ended, out),
            Self::Zstd(zstd) => zstd.step(input, ended, out),
        }
    }

    /// What it holds in memory now.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            Self::Gzip(_) | Self::Deflate(_) => INFLATE_BYTES,
            Self::Brotli(brotli) => BROTLI_BYTES + (1_usize << brotli.window_log),
            Self::Zstd(zstd) => zstd.context.sizeof(),
        }
    }
}

/// A step of inflate, and whether its stream is over.
pub(super) fn inflate(
    inflate: &mut Decompress,
    input: &[u8],
    ended: bool,
    out: &mut [u8],
) -> Result<(Step, bool), Malformed> {
    let before = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, out, FlushDecompress::None).map_err(|_| Malformed)?;
    // Both are within the slices.
    let moved = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
    let step = Step {
        read: moved(inflate.total_in(), before.0),
        wrote: moved(inflate.total_out(), before.1),
        done: false,
    };
    let is_over = status == Status::StreamEnd;
    if !is_over && ended && step.wrote == 0 && step.read == input.len() {
        return Err(Malformed); // there is more of it that did not come
    }
    Ok((step, is_over))
}

/// `deflate` is zlib's format (RFC 9110 §8.4.1.2). Some send bare deflate instead, which every browser reads too.
pub(super) enum Deflate {
    /// Which of them the first two bytes tell; the first that came.
    Unknown(Option<u8>),
    Known(Box<Decompress>),
    Over,
}

impl Deflate {
    fn step(&mut self, input: &[u8], ended: bool, out: &mut [u8]) -> Result<Step, Malformed> {
        match self {
            Self::Unknown(first) => match (*first, input) {
                (None, []) => Ok(Step { done: ended, ..Step::default() }),
                (Some(_), []) if ended => Err(Malformed),
                (Some(_), []) => Ok(Step::default()),
                (None, [byte, ..]) => {
                    *first = Some(*byte);
                    Ok(Step { read: 1, ..Step::default() })
                }
                (Some(first), [second, ..]) => self.begin([first, *second], out),
            },
            Self::Known(decompress) => {
                let (mut step, is_over) = inflate(decompress, input, ended, out)?;
                if is_over {
                    step.done = ended && step.read == input.len();
                    *self = Self::Over;
                }
                Ok(step)
            }
            Self::Over if input.is_empty() => Ok(Step { done: ended, ..Step::default() }),
            Self::Over => Err(Malformed),
        }
    }

    /// Reads the second byte, and decodes both.
    fn begin(&mut self, bytes: [u8; 2], out: &mut [u8]) -> Result<Step, Malformed> {
        let mut decompress = Box::new(Decompress::new(is_zlib(bytes)));
        let (mut came, mut wrote) = (0, 0);
        while came < bytes.len() {
            let (step, is_over) =
                inflate(&mut decompress, &bytes[came..], false, &mut out[wrote..])?;
            came += step.read;
            wrote += step.wrote;
            if is_over {
                *self = Self::Over;
                // One byte of the two would be none of its.
                return if came == bytes.len() {
                    Ok(Step { read: 1, wrote, done: false })
                } else {
                    Err(Malformed)
                };
            }
            if step.read == 0 {
                return Err(Malformed); // two bytes always fit
            }
        }
        *self = Self::Known(decompress);
        Ok(Step { read: 1, wrote, done: false })
    }
}

/// RFC 1950 §2.2. Bare deflate would begin so with a stored block whose padding is no zeros: nobody writes that.
fn is_zlib([method, flags]: [u8; 2]) -> bool {
    method & 0x0f == 8
        && method >> 4 <= 7
        && (u16::from(method) << 8 | u16::from(flags)).is_multiple_of(31)
}

pub(super) struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    /// 0: nothing came yet.
    window_log: u32,
    is_over: bool,
}

impl Brotli {
    fn new() -> Self {
        // Windows above RFC 7932's are refused.
        let state = BrotliState::new_strict(
            StandardAlloc::default(),
            StandardAlloc::default(),
            StandardAlloc::default(),
        );
        Self { state, window_log: 0, is_over: false }
    }

    fn step(&mut self, input: &[u8], ended: bool, out: &mut [u8]) -> Result<Step, Malformed> {
        if self.is_over || self.window_log == 0 && input.is_empty() {
            let garbage = !input.is_empty();
            return if garbage {
                Err(Malformed)
            } else {
                Ok(Step { done: ended, ..Step::default() })
            };
        }
        if self.window_log == 0 {
            self.window_log = window_log(input[0]);
        }
        let (mut unread, mut read, mut room, mut wrote) = (input.len(), 0, out.len(), 0);
        let result = BrotliDecompressStream(
            &mut unread,
            &mut read,
            input,
            &mut room,
            &mut wrote,
            out,
            &mut 0,
            &mut self.state,
        );
        match result {
            BrotliResult::ResultFailure => return Err(Malformed),
            BrotliResult::ResultSuccess => self.is_over = true,
            BrotliResult::NeedsMoreInput if ended && read == input.len() && wrote == 0 => {
                return Err(Malformed);
            }
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        Ok(Step { read, wrote, done: self.is_over && ended && read == input.len() })
    }
}

/// The window's size by a stream's first byte (RFC 7932 §9.1).
fn window_log(byte: u8) -> u32 {
    let bits = |shift: u8| u32::from(byte >> shift & 7);
    match (byte & 1, bits(1), bits(4)) {
        (0, ..) => 16,
        (_, 0, 0) => 17,
        (_, 0, few) => 8 + few,
        (_, many, _) => 17 + many,
    }
}

pub(super) struct Zstd {
    context: DCtx<'static>,
    /// A frame is begun, and not over.
    in_frame: bool,
}

impl Zstd {
    fn new() -> Self {
        let mut context = DCtx::create();
        // It knows this parameter, and bounds windows to 128 MiB by itself.
        let set = context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX));
        debug_assert!(set.is_ok());
        Self { context, in_frame: false }
    }

    fn step(&mut self, input: &[u8], ended: bool, out: &mut [u8]) -> Result<Step, Malformed> {
        if input.is_empty() && !self.in_frame {
            return Ok(Step { done: ended, ..Step::default() });
        }
        let mut from = InBuffer::around(input);
        let mut to = OutBuffer::around(out);
        let hint = self.context.decompress_stream(&mut to, &mut from).map_err(|_| Malformed)?;
        let (read, wrote) = (from.pos(), to.pos());
        self.in_frame = hint != 0;
        let all_read = ended && read == input.len();
        if all_read && wrote == 0 && self.in_frame {
            return Err(Malformed);
        }
        Ok(Step { read, wrote, done: all_read && !self.in_frame })
    }
}
