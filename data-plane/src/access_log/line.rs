//! Records as lines of JSON. Each call that is answered makes one, so none of it goes through formatting machinery.

use std::{
    io::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Entry, Value};

/// Text that grows line by line.
#[derive(Default)]
pub struct Lines {
    text: Vec<u8>,
    second: Second,
}

/// A second of Unix time as RFC 3339 writes it, without what is less than one: most lines follow another of the same second.
#[derive(Default)]
struct Second {
    at: u64,
    text: String,
}

impl Lines {
    /// Forgets what was written.
    pub fn clear(&mut self) {
        self.text.clear();
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// One JSON object and a line's end. The fields that every log line has come first.
    pub(crate) fn push(&mut self, entry: &Entry<'_>) {
        let Self { text, second } = self;
        text.extend_from_slice(b"{\"timestamp\":\"");
        second.write(entry.at, text);
        text.extend_from_slice(br#"","level":"INFO","message":"request","client.address":""#);
        // Writing to memory cannot fail.
        let _ = write!(text, "{}", entry.client);
        text.push(b'"');
        if let Some((trace, span, _)) = entry.trace {
            name(text, "trace.id");
            hexadecimal(text, &trace.to_bytes());
            name(text, "span.id");
            hexadecimal(text, &span.to_bytes());
        }
        entry.fields(|field, value| {
            name(text, field);
            match value {
                Value::Text(value) => string(text, value),
                Value::Id(id) => {
                    string(text, id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()));
                }
                Value::Count(value) => count(text, value),
                Value::Millis(value) => millis(text, value),
                Value::Flag(value) => {
                    text.extend_from_slice(if value { b"true" } else { b"false" });
                }
            }
        });
        text.extend_from_slice(b",\"target\":\"access\"}\n");
    }
}

impl Second {
    fn write(&mut self, at: SystemTime, out: &mut Vec<u8>) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.at != since.as_secs() || self.text.is_empty() {
            self.at = since.as_secs();
            self.text = DateTime::<Utc>::from(at).format("%Y-%m-%dT%H:%M:%S.").to_string();
        }
        out.extend_from_slice(self.text.as_bytes());
        decimal(out, since.subsec_micros(), 6);
        out.push(b'Z');
    }
}

fn name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Text that may hold anything; nearly always it holds nothing that JSON must escape.
fn string(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        let _ = serde_json::to_writer(out, text);
    }
}

fn hexadecimal(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len() * 2, b'0');
    // The room is as long as it must be.
    let _ = hex::encode_to_slice(bytes, &mut out[start..]);
    out.push(b'"');
}

fn count(out: &mut Vec<u8>, count: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
}

/// With three digits after the point, rounded.
fn millis(out: &mut Vec<u8>, time: Duration) {
    let micros = time.saturating_add(Duration::from_nanos(500)).as_micros();
    let (whole, rest) = (micros / 1000, micros % 1000);
    count(out, u64::try_from(whole).unwrap_or(u64::MAX));
    out.push(b'.');
    decimal(out, u32::try_from(rest).unwrap_or_default(), 3);
}

/// The last digits of a number, with zeros before it.
fn decimal(out: &mut Vec<u8>, mut number: u32, digits: usize) {
    let start = out.len();
    out.resize(start + digits, b'0');
    for place in out[start..].iter_mut().rev() {
        *place += u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use opentelemetry::trace::{SpanId, TraceFlags, TraceId};

    use super::{super::Record, *};

    fn line(record: &Record) -> (String, serde_json::Value) {
        let mut lines = Lines::default();
        lines.push(&record.entry());
        let text = String::from_utf8(lines.text).unwrap();
        assert_eq!(text.find('\n'), Some(text.len() - 1), "one line");
        let value = serde_json::from_str(&text).unwrap();
        (text, value)
    }

    #[test]
    fn a_record_is_one_line_of_json_whatever_a_caller_put_into_it() {
        let mut record = Record::test();
        record.method = Some(Method::from_bytes(b"GET'`|").unwrap());
        record.route = Some("GET /\"quoted\"\n{id}\\\u{7f}\u{2028}ä".into());
        record.trace = Some((TraceId::from(10), SpanId::from(0xab), TraceFlags::SAMPLED));
        let (_, line) = line(&record);
        assert_eq!(line["timestamp"], "1970-01-01T00:00:00.000000Z");
        assert_eq!(line["client.address"], "192.0.2.7");
        assert_eq!(line["request.id"], "018f0000-0000-7000-8000-00000000000a");
        assert_eq!(line["route"], "GET /\"quoted\"\n{id}\\\u{7f}\u{2028}ä");
        assert_eq!(line["trace.id"], "0000000000000000000000000000000a");
        assert_eq!(line["span.id"], "00000000000000ab");
        assert_eq!((&line["status"], &line["billed"]), (&400.into(), &false.into()));
        assert_eq!(line["target"], "access");
        assert!(line.get("tenant.id").is_none(), "what is not known is left out");
    }

    #[test]
    fn times_have_all_their_digits() {
        let mut record = Record::test();
        for (micros, took_ns, timestamp, duration) in [
            (1_700_000_000_000_001, 0, "2023-11-14T22:13:20.000001Z", "0.000"),
            (1_700_000_000_999_999, 1_499, "2023-11-14T22:13:20.999999Z", "0.001"),
            (1_700_000_001_050_000, 12_345_678_500, "2023-11-14T22:13:21.050000Z", "12345.679"),
            (999_999, 999_999_499, "1970-01-01T00:00:00.999999Z", "999.999"),
        ] {
            record.at = UNIX_EPOCH + Duration::from_micros(micros);
            record.outline.duration = Duration::from_nanos(took_ns);
            let (text, value) = line(&record);
            assert_eq!(value["timestamp"], timestamp);
            assert!(text.contains(&format!("\"duration_ms\":{duration},")), "{text}");
        }
    }

    #[test]
    fn a_second_is_written_anew_when_it_is_another() {
        let mut lines = Lines::default();
        for seconds in [0, 0, 1, 60, 1] {
            let mut record = Record::test();
            record.at = UNIX_EPOCH + Duration::from_secs(seconds);
            lines.push(&record.entry());
        }
        let text = String::from_utf8(lines.text).unwrap();
        let of = |line: &str| line[14..].get(..19).map(str::to_owned);
        let seconds: Vec<_> = text.lines().filter_map(of).map(|it| it[14..].to_owned()).collect();
        assert_eq!(seconds, ["00:00", "00:00", "00:01", "01:00", "00:01"]);
    }
}
