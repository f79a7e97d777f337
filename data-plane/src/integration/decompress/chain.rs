//! All codings of a body, undone one after the other, within what a body may unpack to.

use bytes::{Buf, Bytes};

use super::decode::{Decoder, Malformed};
use crate::response::compress::Coding;

/// So much is read of what came at once, before others have their turn.
const READ_BYTES_MAX: usize = 8 << 10;
/// So much comes out at once at most: inflate takes 0.1 ms for it.
const PIECE_BYTES_MAX: usize = 32 << 10;
/// A body may unpack to so many times what came of it …
const RATIO_MAX: u64 = 100;
/// … and to this in any case: short texts that repeat themselves do.
const UNPACKED_BYTES_FREE: u64 = 1 << 20;

/// Why a body is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is larger than its Api takes, as it came or unpacked.
    TooLarge,
    /// It unpacks to more than [`RATIO_MAX`] times its size.
    Bomb,
    /// It is not of the coding that it is said to be of.
    Malformed,
    /// As much memory is held for such bodies as may be.
    Full,
}

/// What one step of all codings gave.
#[derive(Debug)]
pub(super) enum Pulled {
    /// What came out; empty where it was only read.
    Piece(Bytes),
    /// More input is needed.
    Hungry,
    /// All came out.
    Done,
}

pub(super) struct Chain {
    /// The one that was applied last first.
    stages: Vec<Stage>,
    buffer: Box<[u8]>,
    came: u64,
    bytes_max: u64,
}

struct Stage {
    decoder: Decoder,
    input: Bytes,
    /// Nothing comes after that.
    ended: bool,
    wrote: u64,
}

impl Chain {
    /// Of a body with these codings, in the order in which they were applied. `bytes_max`: of what comes out.
    pub(super) fn new(codings: impl DoubleEndedIterator<Item = Coding>, bytes_max: u64) -> Self {
        let stage = |coding| Stage {
            decoder: Decoder::new(coding),
            input: Bytes::new(),
            ended: false,
            wrote: 0,
        };
        Self {
            stages: codings.rev().map(stage).collect(),
            buffer: vec![0; PIECE_BYTES_MAX].into(),
            came: 0,
            bytes_max,
        }
    }

    /// What all of them hold in memory now.
    pub(super) fn held_bytes(&self) -> usize {
        let held = self.stages.iter().map(|stage| stage.decoder.held_bytes() + PIECE_BYTES_MAX);
        held.sum::<usize>() + PIECE_BYTES_MAX
    }

    /// Gives it the next bytes of the body; only while it is hungry.
    pub(super) fn feed(&mut self, input: Bytes) {
        self.came += input.len() as u64;
        if let Some(first) = self.stages.first_mut() {
            first.input = input;
        }
    }

    /// Nothing comes after what it was fed.
    pub(super) fn end(&mut self) {
        if let Some(first) = self.stages.first_mut() {
            first.ended = true;
        }
    }

    /// One step, and how many bytes of work that was.
    pub(super) fn pull(&mut self) -> Result<(Pulled, usize), Fault> {
        let mut work = 0;
        let last = self.stages.len().saturating_sub(1);
        let pulled = self.pull_at(last, &mut work)?;
        Ok((pulled, work))
    }

    fn pull_at(&mut self, at: usize, work: &mut usize) -> Result<Pulled, Fault> {
        loop {
            let Some(stage) = self.stages.get_mut(at) else { return Ok(Pulled::Done) };
            let input = &stage.input[..stage.input.len().min(READ_BYTES_MAX)];
            let ended = stage.ended && input.len() == stage.input.len();
            let step = stage
                .decoder
                .step(input, ended, &mut self.buffer)
                .map_err(|Malformed| Fault::Malformed)?;
            stage.input.advance(step.read);
            stage.wrote += step.wrote as u64;
            // What comes out costs a quarter of what goes in.
            *work += step.read.max(step.wrote / 4);
            if stage.wrote > self.bytes_max {
                return Err(Fault::TooLarge);
            }
            if stage.wrote > UNPACKED_BYTES_FREE.max(self.came.saturating_mul(RATIO_MAX)) {
                return Err(Fault::Bomb);
            }
            if step.wrote > 0 || step.read > 0 && !step.done {
                return Ok(Pulled::Piece(Bytes::copy_from_slice(&self.buffer[..step.wrote])));
            }
            if step.done {
                return Ok(Pulled::Done);
            }
            if !stage.input.is_empty() || stage.ended {
                return Err(Fault::Malformed); // a decoder that takes nothing and gives nothing
            }
            let Some(before) = at.checked_sub(1) else { return Ok(Pulled::Hungry) };
            match self.pull_at(before, work)? {
                Pulled::Piece(bytes) if bytes.is_empty() => return Ok(Pulled::Piece(bytes)),
                Pulled::Piece(bytes) => self.stages[at].input = bytes,
                Pulled::Done => self.stages[at].ended = true,
                Pulled::Hungry => return Ok(Pulled::Hungry),
            }
        }
    }
}

/// What a body unpacks to that comes in pieces of so many bytes, as far as it is right, and what is wrong with it.
pub(super) fn unpack(
    codings: impl DoubleEndedIterator<Item = Coding>,
    bytes: &[u8],
    piece: usize,
    bytes_max: u64,
) -> (Vec<u8>, Option<Fault>) {
    let mut chain = Chain::new(codings, bytes_max);
    let (mut pieces, mut unpacked) = (bytes.chunks(piece.max(1)), Vec::new());
    loop {
        match chain.pull() {
            Err(fault) => return (unpacked, Some(fault)),
            Ok((Pulled::Done, _)) => return (unpacked, None),
            Ok((Pulled::Piece(bytes), _)) => unpacked.extend_from_slice(&bytes),
            Ok((Pulled::Hungry, _)) => match pieces.next() {
                Some(piece) => chain.feed(Bytes::copy_from_slice(piece)),
                None => chain.end(),
            },
        }
    }
}
