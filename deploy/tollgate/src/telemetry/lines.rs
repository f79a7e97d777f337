//! Log lines on standard output, written by a thread of their own: a reader that stops reading costs lines, never
//! the time of whoever has something to say.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait to be written.
const QUEUE_LEN_MAX: usize = 8 * 1024;

#[derive(Clone)]
pub(super) struct Lines {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

/// One line, which is sent when it is dropped.
pub(super) struct Line<'a> {
    lines: &'a Lines,
    text: Vec<u8>,
}

enum Message {
    Line(Vec<u8>),
    End,
}

/// The thread that writes.
pub(super) struct Writer {
    queue: SyncSender<Message>,
    thread: JoinHandle<()>,
}

impl Lines {
    pub(super) fn start() -> io::Result<(Self, Writer)> {
        let (queue, messages) = sync_channel(QUEUE_LEN_MAX);
        let lost = Arc::<AtomicU64>::default();
        let told = lost.clone();
        let thread = std::thread::Builder::new().name("log".to_owned());
        let thread = thread.spawn(move || write(&messages, &told, io::stdout))?;
        Ok((Self { queue: queue.clone(), lost }, Writer { queue, thread }))
    }
}

fn write<W: Write>(messages: &Receiver<Message>, lost: &AtomicU64, out: impl Fn() -> W) {
    while let Ok(Message::Line(line)) = messages.recv() {
        let _ = out().write_all(&line); // there is nowhere else to tell of it
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(
                out(),
                r#"{{"level":"WARN","message":"standard output was not read in time","lines_lost":{lost}}}"#
            );
        }
    }
}

impl Writer {
    /// Waits until everything said so far is written, at most so long.
    pub(super) fn end(self, within: Duration) {
        let until = Instant::now() + within;
        while self.queue.try_send(Message::End).is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, text: Vec::new() }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let text = std::mem::take(&mut self.text);
        if !text.is_empty() && self.lines.queue.try_send(Message::Line(text)).is_err() {
            self.lines.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Out<'a>(&'a std::sync::Mutex<Vec<u8>>);
    impl Write for Out<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_nobody_reads_are_counted_and_nobody_waits_for_them() {
        let (queue, messages) = sync_channel(2);
        let lines = Lines { queue, lost: Arc::default() };
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            lines.make_writer().write_all(line.as_bytes()).unwrap();
        }
        let lost = lines.lost.clone();
        drop(lines);
        let written = std::sync::Mutex::new(Vec::new());
        write(&messages, &lost, || Out(&written));
        let text = String::from_utf8(written.into_inner().unwrap()).unwrap();
        assert!(text.starts_with("one\n{") && text.ends_with("two\n"), "{text}");
        assert!(text.contains("\"lines_lost\":2"), "{text}");
    }
}
