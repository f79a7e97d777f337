//! `application/vnd.amazon.eventstream` as Lambda's `InvokeWithResponseStream` answers: messages of fields and a payload, under
//! CRCs. What is in a chunk goes on before its CRC has come, so that none is held; one that does not fit breaks the answer
//! off, whose end a caller believes only after the last message.

use bytes::{Buf, Bytes};
use crc32fast::Hasher;
use serde::{Deserialize, de::IgnoredAny};

/// AWS's bounds on a message, and on its fields.
const MESSAGE_BYTES_MAX: usize = 24 << 20;
const FIELDS_BYTES_MAX: usize = 128 << 10;
/// Of what is told at the end: what went wrong, in the function's words, and the end of its log.
const COMPLETE_BYTES_MAX: usize = 1 << 20;
/// Two lengths and their CRC.
const PRELUDE_BYTES: usize = 12;
const CRC_BYTES: usize = 4;

/// What comes of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Of what the function answers.
    Chunk(Bytes),
    /// It answered all.
    Complete,
}

/// Why a stream ends before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the function failed")]
    Function,
    #[error("Lambda's event stream {0}")]
    Malformed(&'static str),
    #[error("Lambda's event stream broke off")]
    BrokeOff,
}

/// Reads one stream, in whatever pieces it comes.
pub(crate) struct Events {
    part: Part,
    kind: Kind,
    /// Of the message as far as it came.
    crc: Hasher,
    /// What came of a part that is read whole.
    held: Vec<u8>,
    /// The payload of the last message.
    told: Vec<u8>,
    complete: bool,
}

/// What of a message comes next.
#[derive(Clone, Copy)]
enum Part {
    Prelude,
    Fields { bytes: usize, payload_bytes: usize },
    Payload { left: usize },
    Crc,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Chunk,
    Complete,
    /// The stream ends by it.
    Exception,
    /// A later version's.
    Other,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            part: Part::Prelude,
            kind: Kind::Other,
            crc: Hasher::new(),
            held: Vec::new(),
            told: Vec::new(),
            complete: false,
        }
    }
}

impl Events {
    /// What comes next of `input`, which loses what was read; `None`: more is needed.
    pub(crate) fn next(&mut self, input: &mut Bytes) -> Result<Option<Event>, Failure> {
        loop {
            match self.part {
                Part::Prelude => {
                    if self.complete && input.has_remaining() {
                        return Err(Failure::Malformed("goes on behind its end"));
                    }
                    if !self.fill(input, PRELUDE_BYTES) {
                        return Ok(None);
                    }
                    self.part = self.prelude()?;
                }
                Part::Fields { bytes, payload_bytes } => {
                    if !self.fill(input, bytes) {
                        return Ok(None);
                    }
                    self.crc.update(&self.held);
                    self.kind = kind(&self.held)?;
                    self.held.clear();
                    if self.kind == Kind::Complete && payload_bytes > COMPLETE_BYTES_MAX {
                        return Err(Failure::Malformed("says too much at its end"));
                    }
                    self.part = Part::Payload { left: payload_bytes };
                }
                Part::Payload { left: 0 } => self.part = Part::Crc,
                Part::Payload { left } => {
                    if !input.has_remaining() {
                        return Ok(None);
                    }
                    let piece = input.split_to(left.min(input.len()));
                    self.crc.update(&piece);
                    self.part = Part::Payload { left: left - piece.len() };
                    match self.kind {
                        Kind::Chunk => return Ok(Some(Event::Chunk(piece))),
                        Kind::Complete => self.told.extend_from_slice(&piece),
                        Kind::Exception | Kind::Other => {}
                    }
                }
                Part::Crc => {
                    if !self.fill(input, CRC_BYTES) {
                        return Ok(None);
                    }
                    let crc = std::mem::take(&mut self.crc).finalize();
                    if number(&self.held, 0) != Some(crc) {
                        return Err(Failure::Malformed("fails a message's CRC"));
                    }
                    self.held.clear();
                    self.part = Part::Prelude;
                    match self.kind {
                        Kind::Chunk | Kind::Other => {}
                        Kind::Exception => return Err(Failure::Function),
                        Kind::Complete => {
                            self.complete = true;
                            return completed(&self.told).map(|()| Some(Event::Complete));
                        }
                    }
                }
            }
        }
    }

    /// Whether the stream may end here.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether so many bytes are held, with what there is of `input`.
    fn fill(&mut self, input: &mut Bytes, bytes: usize) -> bool {
        let piece = input.split_to(bytes.saturating_sub(self.held.len()).min(input.len()));
        self.held.extend_from_slice(&piece);
        self.held.len() >= bytes
    }
}

impl Events {
    fn prelude(&mut self) -> Result<Part, Failure> {
        let (lengths, _) = self.held.split_at(PRELUDE_BYTES - CRC_BYTES);
        if number(&self.held, lengths.len()) != Some(crc32fast::hash(lengths)) {
            return Err(Failure::Malformed("fails a message's first CRC"));
        }
        let length = |at| number(&self.held, at).and_then(|length| usize::try_from(length).ok());
        let (total, fields) = length(0).zip(length(4)).unwrap_or_default();
        if total > MESSAGE_BYTES_MAX || fields > FIELDS_BYTES_MAX {
            return Err(Failure::Malformed("has a message that is too long"));
        }
        let payload = total.checked_sub(PRELUDE_BYTES + CRC_BYTES + fields);
        let payload_bytes =
            payload.ok_or(Failure::Malformed("has a message that is shorter than its parts"))?;
        self.crc.update(&self.held);
        self.held.clear();
        Ok(Part::Fields { bytes: fields, payload_bytes })
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// What a message is, by its fields.
fn kind(mut fields: &[u8]) -> Result<Kind, Failure> {
    let (mut message, mut event) = (None, None);
    while !fields.is_empty() {
        let field = Field::first(&mut fields);
        let field = field.ok_or(Failure::Malformed("has a message whose fields are cut short"))?;
        match field.name {
            b":message-type" => message = field.text,
            b":event-type" => event = field.text,
            _ => {}
        }
    }
    match (message, event) {
        (Some(b"event"), Some(b"PayloadChunk")) => Ok(Kind::Chunk),
        (Some(b"event"), Some(b"InvokeComplete")) => Ok(Kind::Complete),
        (Some(b"event"), Some(_)) => Ok(Kind::Other),
        (Some(b"exception" | b"error"), _) => Ok(Kind::Exception),
        _ => Err(Failure::Malformed("has a message of no type")),
    }
}

struct Field<'a> {
    name: &'a [u8],
    /// Its value, where that is a text.
    text: Option<&'a [u8]>,
}

impl<'a> Field<'a> {
    /// Takes the first of `fields`.
    fn first(fields: &mut &'a [u8]) -> Option<Self> {
        let (length, rest) = fields.split_first()?;
        let (name, rest) = rest.split_at_checked((*length).into())?;
        let (value_type, rest) = rest.split_first()?;
        let bytes = match value_type {
            0 | 1 => 0,
            2 => 1,
            3 => 2,
            4 => 4,
            5 | 8 => 8,
            9 => 16,
            6 | 7 => 2 + usize::from(u16::from_be_bytes(*rest.first_chunk()?)),
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(bytes)?;
        *fields = rest;
        let text = value.get(2..).filter(|_| *value_type == 7);
        Some(Self { name, text })
    }
}

/// What is told at the end: whether it is the function's answer, or half of one.
fn completed(told: &[u8]) -> Result<(), Failure> {
    #[derive(Deserialize)]
    struct Told {
        #[serde(rename = "ErrorCode")]
        error_code: Option<IgnoredAny>,
    }
    if told.is_empty() {
        return Ok(());
    }
    let told: Told = serde_json::from_slice(told)
        .map_err(|_| Failure::Malformed("says at its end what is no JSON"))?;
    if told.error_code.is_some() { Err(Failure::Function) } else { Ok(()) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A message, with fields that are texts.
    pub(crate) fn message(fields: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
        let mut told = Vec::new();
        for (name, value) in fields {
            told.push(u8::try_from(name.len()).unwrap());
            told.extend_from_slice(name.as_bytes());
            told.push(7);
            told.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
            told.extend_from_slice(value.as_bytes());
        }
        raw(&told, payload)
    }

    fn raw(fields: &[u8], payload: &[u8]) -> Vec<u8> {
        let total = PRELUDE_BYTES + fields.len() + payload.len() + CRC_BYTES;
        let mut bytes = u32::try_from(total).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(&u32::try_from(fields.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        bytes.extend_from_slice(fields);
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    pub(crate) fn chunk(payload: &[u8]) -> Vec<u8> {
        let fields = [
            (":event-type", "PayloadChunk"),
            (":content-type", "application/octet-stream"),
            (":message-type", "event"),
        ];
        message(&fields, payload)
    }

    pub(crate) fn complete(told: &str) -> Vec<u8> {
        message(&[(":message-type", "event"), (":event-type", "InvokeComplete")], told.as_bytes())
    }

    /// All chunks of these bytes, which come in such pieces, and how they end.
    fn read(bytes: &[u8], piece: usize) -> (Vec<u8>, Result<bool, Failure>) {
        let (mut events, mut chunks) = (Events::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            let mut input = Bytes::copy_from_slice(piece);
            loop {
                match events.next(&mut input) {
                    Ok(Some(Event::Chunk(bytes))) => chunks.extend_from_slice(&bytes),
                    Ok(Some(Event::Complete)) => {}
                    Ok(None) => break,
                    Err(why) => return (chunks, Err(why)),
                }
            }
        }
        (chunks, Ok(events.is_complete()))
    }

    #[test]
    fn chunks_come_in_their_order_however_they_are_cut() {
        let later = message(&[(":message-type", "event"), (":event-type", "Later")], b"?");
        let all = [chunk(b"hello "), later, chunk(b""), chunk(b"world"), complete("{}")].concat();
        for piece in 1..=all.len() {
            assert_eq!(read(&all, piece), (b"hello world".to_vec(), Ok(true)), "{piece}");
        }
        let half = [chunk(b"hello "), chunk(b"world")].concat();
        assert_eq!(read(&half, 7), (b"hello world".to_vec(), Ok(false)), "it did not end");
    }

    #[test]
    fn a_stream_that_is_none_is_told_why() {
        let flipped = |at: usize| {
            let mut bytes = chunk(b"hello");
            let at = if at == 0 { bytes.len() - 1 } else { at };
            bytes[at] ^= 1;
            bytes
        };
        let mut long = u32::MAX.to_be_bytes().to_vec();
        long.extend_from_slice(&[0; 4]);
        long.extend_from_slice(&crc32fast::hash(&long).to_be_bytes());
        let mut short = 15_u32.to_be_bytes().to_vec();
        short.extend_from_slice(&[0; 4]);
        short.extend_from_slice(&crc32fast::hash(&short).to_be_bytes());
        for (bytes, why) in [
            (flipped(1), "fails a message's first CRC"),
            (flipped(0), "fails a message's CRC"),
            (long, "has a message that is too long"),
            (short, "has a message that is shorter than its parts"),
            (raw(b"\x03abc", b""), "has a message whose fields are cut short"),
            (raw(b"\x01a\x0a", b""), "has a message whose fields are cut short"),
            (raw(b"", b""), "has a message of no type"),
            (complete("hello"), "says at its end what is no JSON"),
            ([complete(""), chunk(b"")].concat(), "goes on behind its end"),
        ] {
            assert_eq!(read(&bytes, 5).1, Err(Failure::Malformed(why)));
        }
    }

    #[test]
    fn every_type_of_field_is_read_over() {
        let mut fields = Vec::new();
        for (kind, value) in [
            (0_u8, &b""[..]),
            (1, b""),
            (2, b"1"),
            (3, b"12"),
            (4, b"1234"),
            (5, b"12345678"),
            (6, b"\0\x03abc"),
            (8, b"12345678"),
            (9, b"1234567890123456"),
        ] {
            fields.extend_from_slice(&[1, b'f', kind]);
            fields.extend_from_slice(value);
        }
        fields.extend_from_slice(b"\x0d:message-type\x07\0\x05event");
        fields.extend_from_slice(b"\x0b:event-type\x07\0\x0cPayloadChunk");
        assert_eq!(read(&raw(&fields, b"hello"), 3), (b"hello".to_vec(), Ok(false)));
    }

    #[test]
    fn a_function_that_fails_is_told_at_the_end_or_by_an_exception() {
        let failed = complete(r#"{"ErrorCode":"Unhandled","ErrorDetails":"{}","LogResult":null}"#);
        let whole = [chunk(b"half"), failed].concat();
        assert_eq!(read(&whole, 9), (b"half".to_vec(), Err(Failure::Function)));
        let fields = [(":message-type", "exception"), (":exception-type", "ServiceException")];
        assert_eq!(read(&message(&fields, b"{}"), 9).1, Err(Failure::Function));
        assert_eq!(read(&complete(r#"{"ErrorCode":null}"#), 9).1, Ok(true));
    }
}
