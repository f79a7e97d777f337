//! `java.lang.String`. Places count in UTF-16, as Java's do; half of a surrogate pair becomes a question mark.

use super::Answer;
use crate::equal::compare_text;
use crate::error::{ErrorKind, Fault};
use crate::heap::{Heap, ListKind};
use crate::pattern::{Pattern, Piece, replacement};
use crate::program::Program;
use crate::value::{Text, Value};

/// How many units of UTF-16.
fn units(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}

fn int(number: usize) -> Value<'static> {
    Value::Int(i32::try_from(number).unwrap_or(i32::MAX))
}

/// Where the unit of that number begins, in bytes; and whether that is within a character. None past the end.
fn byte_of(text: &str, unit: usize) -> Option<(usize, bool)> {
    if text.is_ascii() {
        return (unit <= text.len()).then_some((unit, false));
    }
    let mut seen = 0;
    for (at, c) in text.char_indices() {
        if seen == unit {
            return Some((at, false));
        }
        if seen + 1 == unit && c.len_utf16() == 2 {
            return Some((at, true));
        }
        seen += c.len_utf16();
    }
    (seen == unit).then_some((text.len(), false))
}

fn substring<'h>(
    heap: &mut Heap<'h>,
    text: &Text<'h>,
    from: i32,
    to: Option<i32>,
) -> Result<Value<'h>, Fault> {
    let place = |unit: i32| usize::try_from(unit).ok().and_then(|unit| byte_of(text, unit));
    let wrong = || {
        let length = units(text);
        let to = to.unwrap_or(i32::try_from(length).unwrap_or(i32::MAX));
        Fault::call(format!("begin {from}, end {to}, length {length}"))
    };
    let (start, split) = place(from).ok_or_else(wrong)?;
    let (end, split_end) = match to {
        Some(to) => place(to).ok_or_else(wrong)?,
        None => (text.len(), false),
    };
    if to.is_some_and(|to| to < from) {
        return Err(wrong());
    }
    if !split && !split_end {
        return part(heap, text, start, end);
    }
    let mut made = String::new();
    let mut rest = start;
    if split {
        made.push('?');
        rest += text[start..].chars().next().map_or(0, char::len_utf8);
    }
    if rest <= end {
        made.push_str(&text[rest..end]);
        if split_end {
            made.push('?');
        }
    }
    heap.text(made)
}

/// Bytes of a string as a string: without a copy, where they are borrowed anyway.
fn part<'h>(
    heap: &mut Heap<'h>,
    text: &Text<'h>,
    from: usize,
    to: usize,
) -> Result<Value<'h>, Fault> {
    match text {
        Text::Borrowed(text) => Ok(Value::borrowed(text.get(from..to).unwrap_or_default())),
        Text::Made(_) if from == 0 && to == text.len() => Ok(Value::Text(text.clone())),
        Text::Made(_) => heap.text(text.get(from..to).unwrap_or_default()),
    }
}

/// What an argument is where Java takes a character by its number, or a string.
fn needle<'v>(value: &'v Value<'_>, buffer: &'v mut [u8; 4]) -> Option<&'v str> {
    match value {
        Value::Text(text) => Some(text),
        Value::Int(code) => {
            let c = char::from_u32(u32::try_from(*code).ok()?)?;
            Some(c.encode_utf8(buffer))
        }
        _ => None,
    }
}

fn find(text: &str, value: &Value<'_>, from: i32, last: bool) -> Option<Value<'static>> {
    let mut buffer = [0; 4];
    let needle = needle(value, &mut buffer)?;
    let from = usize::try_from(from).unwrap_or(0);
    let found = if last {
        let limit = byte_of(text, from).map_or(text.len(), |(at, _)| at);
        let end = limit.saturating_add(needle.len()).min(text.len());
        let end = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text[..end].rfind(needle)
    } else {
        match byte_of(text, from) {
            Some((start, _)) => text[start..].find(needle).map(|at| start + at),
            None => needle.is_empty().then_some(text.len()),
        }
    };
    Some(match found {
        Some(at) => int(units(&text[..at])),
        None => Value::Int(-1),
    })
}

pub(super) fn call<'h>(
    heap: &mut Heap<'h>,
    program: &'h Program,
    text: &Text<'h>,
    name: &str,
    arguments: &[Value<'h>],
) -> Answer<'h> {
    heap.spend_bytes(text.len())?;
    let answer = match (name, arguments) {
        ("length", []) => int(units(text)),
        ("isEmpty", []) => Value::Bool(text.is_empty()),
        ("isBlank", []) => Value::Bool(text.trim().is_empty()),
        ("intern" | "strip" | "trim", []) => {
            let trimmed = match name {
                "trim" => text.trim_matches(|c: char| c <= ' '),
                "strip" => text.trim(),
                _ => text,
            };
            let from = trimmed.as_ptr().addr() - text.as_ptr().addr();
            return part(heap, text, from, from + trimmed.len()).map(Some);
        }
        ("stripLeading", []) => {
            let from = text.len() - text.trim_start().len();
            return part(heap, text, from, text.len()).map(Some);
        }
        ("stripTrailing", []) => return part(heap, text, 0, text.trim_end().len()).map(Some),
        ("charAt" | "codePointAt", [Value::Int(at)]) => {
            return character(heap, text, *at, name == "charAt").map(Some);
        }
        ("substring", [Value::Int(from)]) => return substring(heap, text, *from, None).map(Some),
        ("substring" | "subSequence", [Value::Int(from), Value::Int(to)]) => {
            return substring(heap, text, *from, Some(*to)).map(Some);
        }
        ("toLowerCase", []) => return heap.text(text.to_lowercase()).map(Some),
        ("toUpperCase", []) => return heap.text(text.to_uppercase()).map(Some),
        ("concat", [Value::Text(other)]) => {
            heap.room(text.len().saturating_add(other.len()))?;
            return heap.text([&**text, &**other].concat()).map(Some);
        }
        ("repeat", [Value::Int(times)]) => return repeat(heap, text, *times).map(Some),
        ("contains" | "endsWith" | "startsWith" | "contentEquals", [Value::Text(other)]) => {
            Value::Bool(match name {
                "contains" => text.contains(&**other),
                "endsWith" => text.ends_with(&**other),
                "startsWith" => text.starts_with(&**other),
                _ => **text == **other,
            })
        }
        ("startsWith", [Value::Text(other), Value::Int(from)]) => {
            let place = usize::try_from(*from).ok().and_then(|unit| byte_of(text, unit));
            Value::Bool(place.is_some_and(|(place, _)| text[place..].starts_with(&**other)))
        }
        ("equalsIgnoreCase", [other]) => Value::Bool(
            other.as_str().is_some_and(|other| other.to_lowercase() == text.to_lowercase()),
        ),
        ("compareTo", [Value::Text(other)]) => Value::Int(compare_text(text, other)),
        ("compareToIgnoreCase", [Value::Text(other)]) => {
            Value::Int(compare_text(&text.to_lowercase(), &other.to_lowercase()))
        }
        ("hashCode", []) => Value::Int(
            text.encode_utf16()
                .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit))),
        ),
        ("indexOf" | "lastIndexOf", _) => return Ok(index_of(text, name, arguments)),
        ("replace", [Value::Text(from), Value::Text(to)]) => {
            return replace(heap, text, from, to).map(Some);
        }
        ("toCharArray", []) => {
            heap.keep(units(text).saturating_mul(crate::heap::VALUE_BYTES))?;
            let mut chars = Vec::new();
            for (at, c) in text.char_indices() {
                chars.push(part(heap, text, at, at + c.len_utf8())?);
            }
            return heap.list_of(ListKind::Array, chars).map(Some);
        }
        ("valueOf" | "copyValueOf", [other]) => {
            let other = crate::write::to_text(heap, other)?;
            return heap.text(other).map(Some);
        }
        ("matches" | "split" | "replaceAll" | "replaceFirst", _) => {
            return by_pattern(heap, program, text, name, arguments);
        }
        ("join", [Value::Text(between), list]) => return join(heap, between, list),
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

fn index_of<'h>(text: &str, name: &str, arguments: &[Value<'h>]) -> Option<Value<'h>> {
    let last = name == "lastIndexOf";
    match arguments {
        [value] => find(text, value, if last { i32::MAX } else { 0 }, last),
        [_, Value::Int(..0)] if last => Some(Value::Int(-1)),
        [value, Value::Int(from)] => find(text, value, *from, last),
        _ => None,
    }
}

fn character<'h>(
    heap: &mut Heap<'h>,
    text: &Text<'h>,
    at: i32,
    as_text: bool,
) -> Result<Value<'h>, Fault> {
    let length = units(text);
    let out = || Fault::call(format!("Index {at} out of bounds for length {length}"));
    let unit = usize::try_from(at).ok().filter(|at| *at < length).ok_or_else(out)?;
    if as_text {
        let to = i32::try_from(unit + 1).unwrap_or(i32::MAX);
        return substring(heap, text, at, Some(to));
    }
    let place = byte_of(text, unit).map_or(0, |(place, _)| place);
    let c = text[place..].chars().next().ok_or_else(out)?;
    Ok(Value::Int(i32::try_from(u32::from(c)).unwrap_or(0)))
}

fn repeat<'h>(heap: &mut Heap<'h>, text: &str, times: i32) -> Result<Value<'h>, Fault> {
    let Ok(times) = usize::try_from(times) else {
        return Err(Fault::call(format!("count is negative: {times}")));
    };
    let bytes = text.len().saturating_mul(times);
    heap.room(bytes)?;
    heap.spend_bytes(bytes)?;
    heap.text(text.repeat(times))
}

fn join<'h>(heap: &mut Heap<'h>, between: &str, list: &Value<'h>) -> Answer<'h> {
    let Some(values) = super::elements(heap, list)? else { return Ok(None) };
    let mut joined = String::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            joined.push_str(between);
        }
        joined.push_str(&crate::write::to_text(heap, value)?);
        heap.room(joined.len())?;
    }
    heap.text(joined).map(Some)
}

fn replace<'h>(
    heap: &mut Heap<'h>,
    text: &Text<'h>,
    from: &str,
    to: &str,
) -> Result<Value<'h>, Fault> {
    let times = if from.is_empty() { text.len() + 1 } else { text.matches(from).count() };
    if times == 0 {
        return Ok(Value::Text(text.clone()));
    }
    let bytes = text.len().saturating_add(times.saturating_mul(to.len()));
    heap.room(bytes)?;
    heap.spend_bytes(bytes)?;
    heap.text(text.replace(from, to))
}

/// Whether a pattern is a string that means itself.
fn plain(pattern: &str) -> bool {
    !pattern.is_empty()
        && !pattern
            .contains(['\\', '.', '[', ']', '{', '}', '(', ')', '*', '+', '?', '^', '$', '|'])
}

fn by_pattern<'h>(
    heap: &mut Heap<'h>,
    program: &'h Program,
    text: &Text<'h>,
    name: &str,
    arguments: &[Value<'h>],
) -> Answer<'h> {
    let Some(Value::Text(java)) = arguments.first() else { return Ok(None) };
    match (name, arguments) {
        ("split", [_]) if plain(java) => {
            return split(heap, text, 0, |from| {
                text[from..].find(&**java).map(|at| (from + at, from + at + java.len()))
            })
            .map(Some);
        }
        ("replaceAll", [_, Value::Text(to)]) if plain(java) && !to.contains(['$', '\\']) => {
            return replace(heap, text, java, to).map(Some);
        }
        ("matches", [_])
        | ("split", [_, Value::Int(_)] | [_])
        | ("replaceAll" | "replaceFirst", [_, Value::Text(_)]) => {}
        _ => return Ok(None),
    }
    let made;
    let known = program.patterns.iter().find(|(known, _)| **known == **java);
    let pattern = if let Some((_, compiled)) = known {
        compiled.get_or_init(|| Pattern::compile(java)).as_ref().map_err(Clone::clone)?
    } else {
        // Compiling takes some thousand times as long as an instruction.
        heap.spend(2000 + 50 * java.len())?;
        made = Pattern::compile(java)?;
        &made
    };
    heap.spend(pattern.steps(text.len()))?;
    match (name, arguments) {
        ("matches", [_]) => Ok(Some(pattern.matches(text).into())),
        ("split", _) => {
            let limit = match arguments.get(1) {
                Some(Value::Int(limit)) => *limit,
                _ => 0,
            };
            let regex = pattern.regex();
            split(heap, text, limit, |from| {
                let found = regex.find_at(text, from)?;
                Some((found.start(), found.end()))
            })
            .map(Some)
        }
        (_, [_, Value::Text(to)]) => {
            replace_pattern(heap, text, pattern, to, name == "replaceAll").map(Some)
        }
        _ => Ok(None),
    }
}

/// `String.split`: with no limit, empty strings at the end are left out; one at the beginning only where the match
/// there was empty.
fn split<'h>(
    heap: &mut Heap<'h>,
    text: &Text<'h>,
    limit: i32,
    find: impl Fn(usize) -> Option<(usize, usize)>,
) -> Result<Value<'h>, Fault> {
    let mut parts = Vec::new();
    let (mut from, mut search) = (0, 0);
    let most = usize::try_from(limit).unwrap_or(0);
    while most == 0 || parts.len() + 1 < most {
        heap.spend(1)?;
        let Some((start, end)) = find(search) else { break };
        if end == start {
            // An empty match splits between characters, but neither before the first nor after the last.
            if start >= text.len() {
                break;
            }
            let next = text[start..].chars().next().map_or(1, char::len_utf8);
            search = start + next;
            if start == 0 {
                continue;
            }
        } else {
            search = end;
        }
        heap.room(parts.len() * crate::heap::VALUE_BYTES)?;
        parts.push(part(heap, text, from, start)?);
        from = end;
    }
    if parts.is_empty() {
        parts.push(Value::Text(text.clone()));
        return heap.list_of(ListKind::Array, parts);
    }
    parts.push(part(heap, text, from, text.len())?);
    if limit == 0 {
        while parts.last().is_some_and(|last| last.as_str() == Some("")) {
            parts.pop();
        }
    }
    heap.list_of(ListKind::Array, parts)
}

fn replace_pattern<'h>(
    heap: &mut Heap<'h>,
    text: &Text<'h>,
    pattern: &Pattern,
    to: &str,
    all: bool,
) -> Result<Value<'h>, Fault> {
    let regex = pattern.regex();
    let pieces = replacement(to, regex.captures_len())?;
    let groups = pieces.iter().any(|piece| !matches!(piece, Piece::Text(_)));
    let mut made = String::new();
    let mut from = 0;
    let room = heap.limits.memory_bytes.saturating_sub(heap.meter.used());
    let grow = |made: &mut String, more: &str| {
        if more.len() > room.saturating_sub(made.len()) {
            return Err(Fault::new(ErrorKind::Memory, "replaceAll makes too long a string"));
        }
        made.push_str(more);
        Ok(())
    };
    let mut copy =
        |heap: &mut Heap<'h>, start: usize, end: usize, found: Option<&regex::Captures<'_>>| {
            heap.spend(2)?;
            grow(&mut made, &text[from..start])?;
            for piece in &pieces {
                match piece {
                    Piece::Text(piece) => grow(&mut made, piece)?,
                    Piece::Group(group) => {
                        let found = found.and_then(|found| found.get(*group));
                        grow(&mut made, found.map_or("", |found| found.as_str()))?;
                    }
                    Piece::Named(name) => {
                        if !regex.capture_names().any(|known| known == Some(name)) {
                            return Err(Fault::call(format!("No group with name <{name}>")));
                        }
                        let found = found.and_then(|found| found.name(name));
                        grow(&mut made, found.map_or("", |found| found.as_str()))?;
                    }
                }
            }
            from = end;
            Ok(())
        };
    let most = if all { usize::MAX } else { 1 };
    let mut any = false;
    if groups {
        // Groups are found by a second pass over each match.
        heap.spend(pattern.steps(text.len()))?;
        for found in regex.captures_iter(text).take(most) {
            let Some(whole) = found.get(0) else { continue };
            any = true;
            copy(heap, whole.start(), whole.end(), Some(&found))?;
        }
    } else {
        for found in regex.find_iter(text).take(most) {
            any = true;
            copy(heap, found.start(), found.end(), None)?;
        }
    }
    if !any {
        return Ok(Value::Text(text.clone()));
    }
    grow(&mut made, &text[from..])?;
    heap.text(made)
}
