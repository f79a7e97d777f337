//! The frame around deflate that RFC 1952 has: members one after another, each with a head and a check of its bytes.

use flate2::{Crc, Decompress};

use super::decode::{Malformed, Step, inflate};

/// A reader of members. What follows the last one, and is none, is malformed.
pub(super) struct Gzip {
    at: At,
    /// Of the member's head.
    flags: u8,
    inflate: Decompress,
    /// Of the head until that is over, then of what it holds.
    check: Crc,
}

/// Where in a member the next byte stands, with how many of the part's came.
enum At {
    Fixed(u8),
    ExtraLength(u8, u16),
    Extra(u16),
    Name,
    Comment,
    HeadCheck(u8, u16),
    Data,
    Trailer(u8, [u8; 8]),
}

const FIXED_BYTES: u8 = 10;
const HAS_HEAD_CHECK: u8 = 2;
const HAS_EXTRA: u8 = 4;
const HAS_NAME: u8 = 8;
const HAS_COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

impl Gzip {
    pub(super) fn new() -> Self {
        let inflate = Decompress::new(false);
        Self { at: At::Fixed(0), flags: 0, inflate, check: Crc::new() }
    }

    /// One part of a member, or one buffer full of what it holds.
    pub(super) fn step(
        &mut self,
        input: &[u8],
        ended: bool,
        out: &mut [u8],
    ) -> Result<Step, Malformed> {
        if matches!(self.at, At::Data) {
            let (step, is_over) = inflate(&mut self.inflate, input, ended, out)?;
            self.check.update(&out[..step.wrote]);
            if is_over {
                self.at = At::Trailer(0, [0; 8]);
            }
            return Ok(step);
        }
        let mut read = 0;
        for byte in input {
            read += 1;
            self.frame(*byte)?;
            // A member's end ends the step too: many that are empty take no longer than others.
            if matches!(self.at, At::Data | At::Fixed(0)) {
                break;
            }
        }
        let done = ended && read == input.len();
        if done && !matches!(self.at, At::Fixed(0)) {
            // What the head promises did not come.
            return Err(Malformed);
        }
        Ok(Step { read, wrote: 0, done })
    }

    /// A byte that is not compressed.
    fn frame(&mut self, byte: u8) -> Result<(), Malformed> {
        if !matches!(self.at, At::HeadCheck(..) | At::Trailer(..)) {
            self.check.update(&[byte]);
        }
        match &mut self.at {
            At::Fixed(came) => {
                let is_right = match came {
                    0 => byte == 0x1f,
                    1 => byte == 0x8b,
                    2 => byte == 8,
                    3 => {
                        self.flags = byte;
                        byte & RESERVED == 0
                    }
                    _ => true, // a time and whose it is: nobody's business
                };
                if !is_right {
                    return Err(Malformed);
                }
                *came += 1;
                if *came == FIXED_BYTES {
                    self.after_fixed();
                }
            }
            At::ExtraLength(0, length) => {
                *length = byte.into();
                self.at = At::ExtraLength(1, *length);
            }
            At::ExtraLength(_, length) => match *length | u16::from(byte) << 8 {
                0 => self.after_extra(),
                length => self.at = At::Extra(length),
            },
            At::Extra(1) => self.after_extra(),
            At::Extra(left) => *left -= 1,
            At::Name if byte == 0 => self.after_name(),
            At::Comment if byte == 0 => self.after_comment(),
            At::Name | At::Comment => {}
            At::HeadCheck(0, low) => {
                *low = byte.into();
                self.at = At::HeadCheck(1, *low);
            }
            At::HeadCheck(_, low) => {
                let told = *low | u16::from(byte) << 8;
                if u32::from(told) != self.check.sum() & 0xffff {
                    return Err(Malformed);
                }
                self.begin_data();
            }
            At::Trailer(came, bytes) => {
                bytes[usize::from(*came)] = byte;
                *came += 1;
                if *came == 8 {
                    let told = u64::from_le_bytes(*bytes);
                    let found = u64::from(self.check.sum()) | u64::from(self.check.amount()) << 32;
                    if told != found {
                        return Err(Malformed);
                    }
                    self.check.reset();
                    self.inflate.reset(false);
                    self.at = At::Fixed(0);
                }
            }
            At::Data => return Err(Malformed), // never: these bytes are inflate's
        }
        Ok(())
    }

    fn after_fixed(&mut self) {
        if self.flags & HAS_EXTRA == 0 {
            return self.after_extra();
        }
        self.at = At::ExtraLength(0, 0);
    }

    fn after_extra(&mut self) {
        if self.flags & HAS_NAME == 0 {
            return self.after_name();
        }
        self.at = At::Name;
    }

    fn after_name(&mut self) {
        if self.flags & HAS_COMMENT == 0 {
            return self.after_comment();
        }
        self.at = At::Comment;
    }

    fn after_comment(&mut self) {
        if self.flags & HAS_HEAD_CHECK == 0 {
            return self.begin_data();
        }
        self.at = At::HeadCheck(0, 0);
    }

    fn begin_data(&mut self) {
        self.check.reset();
        self.at = At::Data;
    }
}
