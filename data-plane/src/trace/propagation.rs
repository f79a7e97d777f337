//! The fields in which a trace goes from process to process, in each way that `OTEL_PROPAGATORS` can name.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::{SpanId, TraceFlags, TraceId};

/// How a trace is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagator {
    /// `traceparent` and `tracestate` (W3C Trace Context).
    TraceContext,
    /// `b3`, Zipkin's one field.
    B3,
    /// `X-B3-…`, Zipkin's several.
    B3Multi,
    /// `X-Amzn-Trace-Id` (AWS X-Ray).
    XRay,
}

/// Where a caller's trace stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Parent {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) flags: TraceFlags,
    /// Whether the caller has decided if the trace is kept. `traceparent` always says so.
    pub(super) decided: bool,
}

impl Parent {
    /// Whether the trace is kept, where the caller has decided it.
    pub(crate) fn kept(&self) -> Option<bool> {
        self.decided.then(|| self.flags.is_sampled())
    }
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const B3: HeaderName = HeaderName::from_static("b3");
const B3_TRACE: HeaderName = HeaderName::from_static("x-b3-traceid");
const B3_SPAN: HeaderName = HeaderName::from_static("x-b3-spanid");
const B3_PARENT: HeaderName = HeaderName::from_static("x-b3-parentspanid");
const B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");
const XRAY: HeaderName = HeaderName::from_static("x-amzn-trace-id");
/// `{version}-{trace id}-{parent id}-{flags}` of version 00.
const TRACEPARENT_BYTES: usize = 55;
/// The flags that have a meaning: sampled, and random trace id (Trace Context level 2).
const FLAGS: u8 = 0b11;

impl Propagator {
    /// The caller's parent, if there is exactly one and it can be used. A `traceparent` that cannot goes, and its
    /// `tracestate` with it.
    pub(super) fn take(self, headers: &mut HeaderMap) -> Option<Parent> {
        match self {
            Self::TraceContext => {
                let parent = only(headers, &TRACEPARENT).and_then(|text| parse(text.as_bytes()));
                if parent.is_none() {
                    headers.remove(TRACEPARENT);
                    headers.remove(TRACESTATE);
                }
                parent
            }
            Self::B3 => b3(only(headers, &B3)?),
            Self::B3Multi => {
                let debug = only(headers, &B3_FLAGS) == Some("1");
                let sampled = if debug { Some("d") } else { only(headers, &B3_SAMPLED) };
                zipkin(only(headers, &B3_TRACE)?, only(headers, &B3_SPAN)?, sampled)
            }
            Self::XRay => xray(only(headers, &XRAY)?),
        }
    }

    /// Tells the backend of its parent.
    pub(super) fn give(self, parent: &Parent, headers: &mut HeaderMap) {
        let Parent { trace, span, flags, decided } = *parent;
        let sampled = decided.then_some(if flags.is_sampled() { "1" } else { "0" });
        let mut insert = |name: HeaderName, text: String| {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        };
        match self {
            Self::TraceContext => {
                headers.insert(TRACEPARENT, traceparent(trace, span, flags));
            }
            Self::B3 => {
                let sampled = sampled.map(|it| format!("-{it}")).unwrap_or_default();
                insert(B3, format!("{trace}-{span}{sampled}"));
            }
            Self::B3Multi => {
                insert(B3_TRACE, trace.to_string());
                insert(B3_SPAN, span.to_string());
                if let Some(sampled) = sampled {
                    insert(B3_SAMPLED, sampled.to_owned());
                    headers.remove(B3_FLAGS);
                }
                headers.remove(B3_PARENT); // it was the caller's parent, not ours
            }
            Self::XRay => {
                let trace = trace.to_string();
                let (time, unique) = trace.split_at(8);
                let sampled = sampled.unwrap_or("?");
                insert(XRAY, format!("Root=1-{time}-{unique};Parent={span};Sampled={sampled}"));
            }
        }
    }
}

/// Of each call, so not by formatting.
fn traceparent(trace: TraceId, span: SpanId, flags: TraceFlags) -> HeaderValue {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    let parts: [(&[u8], _); 3] = [
        (&trace.to_bytes(), 3..35),
        (&span.to_bytes(), 36..52),
        (&[flags.to_u8() & FLAGS], 53..55),
    ];
    for (bytes, place) in parts {
        // Each has two digits for every byte.
        let _ = hex::encode_to_slice(bytes, &mut text[place]);
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
}

/// The field's text, where it comes once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let only = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(only)
}

/// Reads a `traceparent` (Trace Context §3.2): lower-case hexadecimal, no id all zero, not version ff. A version
/// after 00 may go on after its flags.
fn parse(value: &[u8]) -> Option<Parent> {
    let (known, rest) = value.split_at_checked(TRACEPARENT_BYTES)?;
    let [version @ .., b'-'] = &known[..3] else { return None };
    let ([trace @ .., b'-'], [span @ .., b'-']) = (&known[3..36], &known[36..53]) else {
        return None;
    };
    let goes_on = match hex(version)? {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    let flags = u8::try_from(hex(&known[53..])?).ok()?;
    let parent = parent(trace, span, TraceFlags::new(flags & FLAGS), true)?;
    goes_on.then_some(parent)
}

/// `{trace id}-{span id}`, then `-{sampled}`, then `-{parent id}`, both of which may be missing. A lone `0` names no
/// trace.
fn b3(text: &str) -> Option<Parent> {
    let mut parts = text.split('-');
    let (trace, span, sampled) = (parts.next()?, parts.next()?, parts.next());
    zipkin(trace, span, sampled)
}

fn zipkin(trace: &str, span: &str, sampled: Option<&str>) -> Option<Parent> {
    if !matches!(trace.len(), 16 | 32) || span.len() != 16 {
        return None;
    }
    let (flags, decided) = match sampled {
        None => (TraceFlags::default(), false),
        Some("1" | "d" | "true") => (TraceFlags::SAMPLED, true),
        Some("0" | "false") => (TraceFlags::default(), true),
        Some(_) => return None,
    };
    parent(trace.as_bytes(), span.as_bytes(), flags, decided)
}

/// `Root=1-{8 digits of time}-{24 digits};Parent={span id};Sampled={0, 1 or ?}`, in any order, and fields beside these.
fn xray(text: &str) -> Option<Parent> {
    let fields = text.split(';').filter_map(|field| field.trim().split_once('='));
    let (mut root, mut span, mut sampled) = (None, None, None);
    for (name, value) in fields {
        match name {
            "Root" => root = Some(value),
            "Parent" => span = Some(value),
            "Sampled" => sampled = Some(value),
            _ => {}
        }
    }
    let (time, unique) = root?.strip_prefix("1-")?.split_once('-')?;
    if time.len() != 8 || unique.len() != 24 {
        return None;
    }
    zipkin(&[time, unique].concat(), span?, sampled.filter(|it| *it != "?"))
}

fn parent(trace: &[u8], span: &[u8], flags: TraceFlags, decided: bool) -> Option<Parent> {
    let (trace, span) = (hex(trace)?, u64::try_from(hex(span)?).ok()?);
    let (trace, span) = (TraceId::from(trace), SpanId::from(span));
    let known = trace != TraceId::INVALID && span != SpanId::INVALID;
    known.then_some(Parent { trace, span, flags, decided })
}

fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn a_traceparent_is_taken_strictly() {
        let taken = |text: &str| parse(text.as_bytes()).is_some();
        let good = format!("00-{TRACE}-{SPAN}-01");
        let parsed = parse(good.as_bytes()).unwrap();
        assert_eq!(
            (parsed.trace.to_string(), parsed.span.to_string()),
            (TRACE.into(), SPAN.into())
        );
        assert_eq!(parsed.flags, TraceFlags::SAMPLED);
        assert_eq!(parse(format!("00-{TRACE}-{SPAN}-ff").as_bytes()).unwrap().flags.to_u8(), FLAGS);

        assert!(taken(&format!("01-{TRACE}-{SPAN}-00")));
        assert!(taken(&format!("cc-{TRACE}-{SPAN}-00-what-comes")));
        for refused in [
            String::new(),
            format!("{good}-more"),
            format!("{good} "),
            good[..54].to_owned(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("01-{TRACE}-{SPAN}-00more"),
            format!("0x-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("00_{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}_{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}_01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
        ] {
            assert!(!taken(&refused), "{refused}");
        }
    }

    #[test]
    fn a_b3_or_x_ray_field_is_taken_strictly() {
        let short = &TRACE[..16];
        let decision = |parent: Option<Parent>| {
            parent.map(|it| it.decided.then_some(it.flags == TraceFlags::SAMPLED))
        };
        for (text, taken) in [
            (format!("{TRACE}-{SPAN}-1"), Some(Some(true))),
            (format!("{TRACE}-{SPAN}-d-{SPAN}"), Some(Some(true))),
            (format!("{TRACE}-{SPAN}-0"), Some(Some(false))),
            (format!("{short}-{SPAN}"), Some(None)),
            ("0".to_owned(), None),
            (format!("{TRACE}-{SPAN}-x"), None),
            (format!("{TRACE}-{}", &SPAN[1..]), None),
            (format!("{}-{SPAN}-1", "0".repeat(32)), None),
        ] {
            assert_eq!(decision(b3(&text)), taken, "{text}");
        }
        assert_eq!(
            b3(&format!("{short}-{SPAN}")).unwrap().trace.to_string(),
            format!("{short:0>32}")
        );
        let root = "Root=1-5759e988-bd862e3fe1be46a994272793";
        for (text, taken) in [
            (format!("{root};Parent={SPAN};Sampled=1"), Some(Some(true))),
            (format!("Self=1-a; {root}; Sampled=0; Parent={SPAN}"), Some(Some(false))),
            (format!("{root};Parent={SPAN};Sampled=?"), Some(None)),
            (format!("{root};Parent={SPAN}"), Some(None)),
            (root.to_owned(), None),
            (format!("Parent={SPAN};Sampled=1"), None),
            (format!("Root=2-5759e988-bd862e3fe1be46a994272793;Parent={SPAN}"), None),
            (format!("Root=1-5759e988bd86-2e3fe1be46a994272793;Parent={SPAN}"), None),
        ] {
            assert_eq!(decision(xray(&text)), taken, "{text}");
        }
    }

    #[test]
    fn what_is_given_can_be_taken() {
        let ways =
            [Propagator::TraceContext, Propagator::B3, Propagator::B3Multi, Propagator::XRay];
        for (sampled, decided) in [(true, true), (false, true), (false, false)] {
            for way in ways {
                let flags = TraceFlags::default().with_sampled(sampled);
                let (trace, span) = (TraceId::from(7 << 100), SpanId::from(9));
                // A `traceparent` cannot leave the decision open.
                let decided = decided || way == Propagator::TraceContext;
                let parent = Parent { trace, span, flags, decided };
                let mut headers = HeaderMap::new();
                way.give(&parent, &mut headers);
                assert_eq!(way.take(&mut headers), Some(parent), "{way:?} {headers:?}");
            }
        }
    }

    #[test]
    fn two_parents_are_none() {
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            let value = HeaderValue::try_from(format!("00-{TRACE}-{SPAN}-01")).unwrap();
            headers.append(TRACEPARENT, value);
        }
        headers.insert(TRACESTATE, HeaderValue::from_static("a=b"));
        assert_eq!(Propagator::TraceContext.take(&mut headers), None);
        assert!(headers.is_empty());
    }
}
