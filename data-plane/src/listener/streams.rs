//! Follows the frames of an HTTP/2 connection (RFC 9113 §4.1) and counts its requests: hyper refuses a malformed
//! one by itself and never tells. It also sees what hyper lets pass: frames that bring nothing (§10.5), and heads that
//! never end.

use std::time::{Duration, Instant};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const FRAME_HEAD_BYTES: usize = 9;
/// Frames that bring nothing beyond those that what is exchanged may need; half of them are forgotten so often.
const IDLE_FRAMES_MAX: u64 = 10_000;
const IDLE_FRAMES_HALVED_EVERY: Duration = Duration::from_secs(15);
/// For one frame of a request or an answer: window updates for the stream and the connection, with room.
const IDLE_FRAMES_FOR_ONE: u64 = 4;

/// The requests of one connection.
pub(crate) struct Streams {
    inbound: Frames,
    outbound: Frames,
    /// The highest stream that the caller opened.
    newest: u32,
    /// The highest of those that are all accounted for.
    settled: u32,
    /// A head whose end has not come, and since when; also what comes before the first frame.
    head_since: Option<Instant>,
    in_head: bool,
    /// Frames that brought nothing, less those that had a reason.
    idle_frames: u64,
    halved: Instant,
    /// Since when no stream is open.
    idle_since: Instant,
    opened: u64,
    accounted: u64,
    /// What went out on streams above `settled`: heads of answers, and resets.
    answered: u64,
    reset: u64,
    /// Streams whose answers have not left whole, and when something last did.
    unfinished: Vec<(u32, Instant)>,
}

/// Requests that ended before they were any.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Missed {
    /// Answered 431.
    pub(crate) answered: u64,
    pub(crate) reset: u64,
}

impl Streams {
    /// `preface`: the bytes that come before the caller's first frame.
    pub(crate) fn new(preface: usize) -> Self {
        Self {
            inbound: Frames { skip: preface, ..Frames::default() },
            outbound: Frames::default(),
            newest: 0,
            settled: 0,
            head_since: Some(Instant::now()),
            in_head: false,
            idle_frames: 0,
            halved: Instant::now(),
            idle_since: Instant::now(),
            opened: 0,
            accounted: 0,
            answered: 0,
            reset: 0,
            unfinished: Vec::new(),
        }
    }

    /// The caller sent these.
    pub(crate) fn came(&mut self, bytes: &[u8]) {
        let Self { inbound, newest, head_since, in_head, idle_frames, opened, unfinished, .. } =
            self;
        inbound.follow(bytes, |Frame { kind, flags, stream, bytes }| {
            // A head on a stream that is known is a trailer; even numbers are not a caller's.
            if kind == HEADERS && stream > *newest && stream % 2 == 1 {
                *newest = stream;
                *in_head = true;
                unfinished.push((stream, Instant::now()));
            }
            if kind == RST_STREAM {
                unfinished.retain(|it| it.0 != stream);
            }
            if *in_head && matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0 {
                *in_head = false;
                *opened += 1;
                if let Some(it) = unfinished.last_mut().filter(|it| it.0 == stream) {
                    it.1 = Instant::now(); // only now can an answer be due
                }
            }
            let head_goes_on = matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS == 0;
            *head_since = head_goes_on.then(|| head_since.unwrap_or_else(Instant::now));
            let brings = match kind {
                DATA => bytes > 0 || flags & END_STREAM != 0,
                HEADERS => true,
                _ => false,
            };
            if brings {
                *idle_frames = idle_frames.saturating_sub(IDLE_FRAMES_FOR_ONE);
            } else {
                *idle_frames += 1;
            }
        });
        if !self.unfinished.is_empty() {
            self.idle_since = Instant::now();
        }
    }

    /// We sent these.
    pub(crate) fn went(&mut self, bytes: &[u8]) {
        let Self { outbound, settled, idle_frames, answered, reset, unfinished, .. } = self;
        let open = !unfinished.is_empty();
        outbound.follow(bytes, |Frame { kind, flags, stream, .. }| {
            if matches!(kind, DATA | HEADERS) {
                *idle_frames = idle_frames.saturating_sub(IDLE_FRAMES_FOR_ONE);
            }
            if kind == RST_STREAM || matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                unfinished.retain(|it| it.0 != stream);
            } else if kind == DATA
                && let Some(it) = unfinished.iter_mut().find(|it| it.0 == stream)
            {
                it.1 = Instant::now();
            }
            if stream > *settled {
                *answered += u64::from(kind == HEADERS);
                *reset += u64::from(kind == RST_STREAM);
            }
        });
        if open {
            self.idle_since = Instant::now();
        }
    }

    /// Since when something is on its way that has to be whole within the header timeout.
    pub(super) fn head_since(&self) -> Option<Instant> {
        self.head_since
    }

    /// Whether more came that brings nothing than anyone needs.
    pub(super) fn is_flooded(&self) -> bool {
        self.idle_frames > IDLE_FRAMES_MAX
    }

    /// How long no stream has been open. Half of a flood is forgotten, so that pings of a day are none.
    pub(super) fn look(&mut self) -> Duration {
        while self.halved.elapsed() >= IDLE_FRAMES_HALVED_EVERY {
            self.halve();
        }
        if self.unfinished.is_empty() { self.idle_since.elapsed() } else { Duration::ZERO }
    }

    fn halve(&mut self) {
        self.idle_frames /= 2;
        self.halved += IDLE_FRAMES_HALVED_EVERY;
    }

    /// How many have sent nothing for so long.
    pub(super) fn stuck(&self, timeout: Duration) -> usize {
        // A head that is on its way has a clock of its own.
        let asked = |stream| !self.in_head || stream != self.newest;
        self.unfinished.iter().filter(|it| asked(it.0) && it.1.elapsed() > timeout).count()
    }

    /// One reached the service.
    pub(super) fn served(&mut self) {
        self.accounted += 1;
    }

    /// Whoever is here and was not served will not be: what came was all looked at.
    pub(super) fn settle(&mut self) -> Missed {
        let missing = self.opened.saturating_sub(self.accounted);
        let answered = self.answered.min(missing);
        let reset = self.reset.min(missing - answered);
        self.accounted += answered + reset;
        if self.opened == self.accounted {
            (self.settled, self.answered, self.reset) = (self.newest, 0, 0);
        }
        Missed { answered, reset }
    }

    /// The connection is over: what is left was never answered.
    pub(crate) fn end(&mut self) -> Missed {
        let mut missed = self.settle();
        missed.reset += self.opened.saturating_sub(self.accounted) + u64::from(self.in_head);
        missed
    }
}

/// What a frame's head says.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    /// Of the payload that follows.
    bytes: usize,
}

/// One direction.
#[derive(Default)]
struct Frames {
    head: [u8; FRAME_HEAD_BYTES],
    /// Bytes of `head` that are here.
    have: usize,
    /// Bytes until the next frame.
    skip: usize,
}

impl Frames {
    fn follow(&mut self, mut bytes: &[u8], mut frame: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let more = (FRAME_HEAD_BYTES - self.have).min(bytes.len());
            self.head[self.have..self.have + more].copy_from_slice(&bytes[..more]);
            self.have += more;
            bytes = &bytes[more..];
            if self.have == FRAME_HEAD_BYTES {
                let [a, b, c, kind, flags, stream @ ..] = self.head;
                self.have = 0;
                self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
                frame(Frame { kind, flags, stream, bytes: self.skip });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        [head, vec![HEADERS; payload]].concat()
    }

    #[test]
    fn a_stream_that_was_refused_is_missed_once_however_its_bytes_came() {
        let wire = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 0, 18),
            frame(HEADERS, END_HEADERS, 1, 30),
            frame(HEADERS, 0, 3, 300), // goes on in the next
            frame(CONTINUATION, END_HEADERS, 3, 9),
            frame(0, 0, 1, 70_000),
            frame(HEADERS, END_HEADERS, 1, 4), // trailers
            frame(HEADERS, END_HEADERS, 5, 30),
        ]
        .concat();
        for step in [1, 7, 9, 24, wire.len()] {
            let mut streams = Streams::new(24);
            for bytes in wire.chunks(step) {
                streams.came(bytes);
            }
            streams.served();
            streams.served();
            streams.went(&frame(HEADERS, 5, 3, 10));
            assert_eq!(streams.settle(), Missed { answered: 1, reset: 0 }, "{step}");
            streams.went(&frame(HEADERS, 4, 1, 10));
            streams.went(&frame(RST_STREAM, 0, 1, 4));
            assert_eq!(streams.settle(), Missed::default());
            assert_eq!(streams.end(), Missed::default());
        }
    }

    #[test]
    fn an_answer_is_stuck_until_its_end_has_left() {
        let mut streams = Streams::new(0);
        for stream in [1, 3, 5, 7] {
            streams.came(&frame(HEADERS, END_HEADERS | END_STREAM, stream, 8));
        }
        let stuck = |streams: &Streams| streams.stuck(Duration::ZERO);
        assert_eq!(stuck(&streams), 4);
        streams.went(&frame(HEADERS, END_HEADERS, 1, 8));
        streams.went(&frame(DATA, 0, 1, 100));
        assert_eq!(stuck(&streams), 4);
        assert_eq!(streams.stuck(Duration::from_mins(1)), 0);
        streams.went(&frame(DATA, END_STREAM, 1, 0));
        assert_eq!(stuck(&streams), 3);
        streams.went(&frame(RST_STREAM, 0, 3, 4));
        streams.came(&frame(RST_STREAM, 0, 5, 4));
        streams.went(&frame(HEADERS, END_HEADERS | END_STREAM, 7, 8));
        assert_eq!(stuck(&streams), 0);
    }

    #[test]
    fn a_head_that_is_on_its_way_is_no_answer_that_is_stuck() {
        let mut streams = Streams::new(0);
        streams.came(&frame(HEADERS, END_STREAM, 1, 8));
        assert_eq!(streams.stuck(Duration::ZERO), 0);
        streams.came(&frame(CONTINUATION, END_HEADERS, 1, 8));
        assert_eq!(streams.stuck(Duration::ZERO), 1);
        streams.came(&frame(HEADERS, 0, 3, 8));
        assert_eq!(streams.stuck(Duration::ZERO), 1);
    }

    #[test]
    fn frames_that_bring_nothing_are_a_flood_unless_something_is_exchanged() {
        let (ping, window_update) = (6, 8);
        let many = |kind, times: u64| frame(kind, 0, 0, 8).repeat(usize::try_from(times).unwrap());
        let mut streams = Streams::new(0);
        streams.came(&many(ping, IDLE_FRAMES_MAX));
        assert!(!streams.is_flooded());
        streams.came(&many(ping, 1));
        assert!(streams.is_flooded());
        streams.look();
        assert!(streams.is_flooded(), "whoever looks often forgets nothing the sooner");
        streams.halve();
        streams.came(&many(ping, IDLE_FRAMES_MAX / 2));
        assert!(!streams.is_flooded(), "half was forgotten");

        let mut streams = Streams::new(0);
        streams.came(&frame(HEADERS, END_HEADERS | END_STREAM, 1, 8));
        for _ in 0..IDLE_FRAMES_MAX {
            streams.went(&frame(DATA, 0, 1, 100));
            streams.came(&many(window_update, 2));
        }
        assert!(!streams.is_flooded(), "an answer needs its window opened");
        streams.came(&frame(DATA, 0, 1, 0).repeat(10_001));
        assert!(streams.is_flooded(), "empty pieces of a body bring nothing");
    }

    #[test]
    fn a_head_is_clocked_from_its_first_byte_to_its_last() {
        let mut streams = Streams::new(24);
        assert!(streams.head_since().is_some(), "the preface too");
        streams.came(&[0; 24]);
        assert!(streams.head_since().is_some());
        streams.came(&frame(4, 0, 0, 0));
        assert_eq!(streams.head_since(), None);
        streams.came(&frame(HEADERS, 0, 1, 8));
        let began = streams.head_since().unwrap();
        streams.came(&frame(CONTINUATION, 0, 1, 8));
        assert_eq!(streams.head_since(), Some(began));
        streams.came(&frame(CONTINUATION, END_HEADERS, 1, 8));
        assert_eq!(streams.head_since(), None);
        assert_eq!(streams.look(), Duration::ZERO, "its stream is open");
        streams.came(&frame(RST_STREAM, 0, 1, 4));
        assert!(streams.look() > Duration::ZERO);
    }

    #[test]
    fn what_nobody_answered_is_known_when_the_connection_ends() {
        let mut streams = Streams::new(0);
        streams.came(&frame(HEADERS, END_HEADERS, 1, 8));
        streams.came(&frame(HEADERS, 0, 3, 8));
        assert_eq!(streams.settle(), Missed::default(), "it may still be looked at");
        assert_eq!(streams.end(), Missed { answered: 0, reset: 2 });
    }
}
