//! Values as text, in the words of Java's `toString`.

use crate::error::{ErrorKind, Fault};
use crate::heap::{Heap, ListKind};
use crate::host::{Kind, Object};
use crate::number;
use crate::value::{Id, Value};

/// Lists and maps within one another that are written out.
const NESTING_MAX: u32 = 64;

/// Text that may not become longer than a limit.
pub(crate) struct Out<'o> {
    pub text: &'o mut String,
    pub bytes_max: usize,
    /// What is said of one that would be longer.
    pub excess: ErrorKind,
}

impl Out<'_> {
    pub(crate) fn push(&mut self, text: &str) -> Result<(), Fault> {
        if text.len() > self.bytes_max.saturating_sub(self.text.len()) {
            return Err(match self.excess {
                ErrorKind::Output => Fault::new(
                    ErrorKind::Output,
                    format!("the rendered text is over {} bytes", self.bytes_max),
                ),
                _ => Fault::new(
                    ErrorKind::Memory,
                    "the template's values need more memory than is allowed",
                ),
            });
        }
        self.text.push_str(text);
        Ok(())
    }
}

/// Writes any value; of a block, which is code, nothing.
pub(crate) fn write(
    heap: &mut Heap<'_>,
    value: &Value<'_>,
    out: &mut Out<'_>,
) -> Result<(), Fault> {
    put(heap, value, out, 0, false)
}

/// As a string of its own.
pub(crate) fn to_text(heap: &mut Heap<'_>, value: &Value<'_>) -> Result<String, Fault> {
    let mut text = String::new();
    let bytes_max = heap.limits.memory_bytes.saturating_sub(heap.meter.used());
    let mut out = Out { text: &mut text, bytes_max, excess: ErrorKind::Memory };
    write(heap, value, &mut out)?;
    Ok(text)
}

fn put(
    heap: &mut Heap<'_>,
    value: &Value<'_>,
    out: &mut Out<'_>,
    depth: u32,
    json: bool,
) -> Result<(), Fault> {
    if depth > NESTING_MAX {
        let message = format!("a value is nested over {NESTING_MAX} deep, or contains itself");
        return Err(Fault::new(ErrorKind::Depth, message));
    }
    match value {
        Value::Null => out.push("null"),
        Value::Bool(value) => out.push(if *value { "true" } else { "false" }),
        Value::Text(text) => {
            heap.spend_bytes(text.len())?;
            if json { quote(text, out) } else { out.push(text) }
        }
        Value::Int(value) => out.push(itoa::Buffer::new().format(*value)),
        Value::Long(_) | Value::Big(_) | Value::Double(_) => {
            let mut text = String::new();
            if let Some(number) = value.number() {
                number::write(number, &mut text);
            }
            out.push(&text)
        }
        Value::List(list) => put_list(heap, *list, out, depth, json),
        Value::Map(map) => put_map(heap, *map, out, depth, json),
        Value::Entry(entry) => {
            let Some(entry) = heap.entries.get(entry.0 as usize) else { return Ok(()) };
            let (key, value) = (entry.key.clone(), entry.value.clone());
            put(heap, &key, out, depth + 1, false)?;
            out.push("=")?;
            put(heap, &value, out, depth + 1, false)
        }
        Value::Loop(scope) => match heap.scopes.get(scope.0 as usize).and_then(|scope| scope.map) {
            Some(map) => put_map(heap, map, out, depth, json),
            None => out.push("{}"),
        },
        Value::Object(object) => put_object(heap, *object, out, depth, json),
        Value::Math => out.push("class java.lang.Math"),
        Value::Iterator(_) => out.push("java.util.Iterator"),
        Value::Block(_) => Ok(()),
    }
}

fn put_list(
    heap: &mut Heap<'_>,
    list: Id,
    out: &mut Out<'_>,
    depth: u32,
    json: bool,
) -> Result<(), Fault> {
    let kind = heap.lists.get(list.0 as usize).map(|data| data.kind);
    let json = json || kind == Some(ListKind::Json);
    out.push("[")?;
    let mut index = 0;
    while let Some(item) = heap.lists.get(list.0 as usize).and_then(|data| data.at(index)) {
        heap.spend(1)?;
        if index > 0 {
            out.push(if json { "," } else { ", " })?;
        }
        if matches!(item, Value::List(inner) if inner == list) {
            out.push("(this Collection)")?;
        } else {
            let item = heap.current(item);
            put(heap, &item, out, depth + 1, json)?;
        }
        index += 1;
    }
    out.push("]")
}

fn put_map(
    heap: &mut Heap<'_>,
    map: Id,
    out: &mut Out<'_>,
    depth: u32,
    json: bool,
) -> Result<(), Fault> {
    out.push("{")?;
    let mut index = 0;
    while let Some((key, value)) =
        heap.maps.get(map.0 as usize).and_then(|data| data.entries.entry(index)).cloned()
    {
        heap.spend(1)?;
        if index > 0 {
            out.push(if json { "," } else { ", " })?;
        }
        if json {
            let key = to_text(heap, &key)?;
            quote(&key, out)?;
        } else {
            put(heap, &key, out, depth + 1, false)?;
        }
        out.push(if json { ":" } else { "=" })?;
        if matches!(value, Value::Map(inner) if inner == map) {
            out.push("(this Map)")?;
        } else {
            let value = heap.current(value);
            put(heap, &value, out, depth + 1, json)?;
        }
        index += 1;
    }
    out.push("}")
}

fn put_object(
    heap: &mut Heap<'_>,
    object: &dyn Object,
    out: &mut Out<'_>,
    depth: u32,
    json: bool,
) -> Result<(), Fault> {
    if let Some(text) = object.text() {
        return out.push(&text);
    }
    let json = json || object.json();
    let (between, assigns) = if json { (",", ":") } else { (", ", "=") };
    match object.kind() {
        Kind::Opaque => Ok(()),
        Kind::List => {
            out.push("[")?;
            for index in 0..object.len() {
                heap.spend(1)?;
                if index > 0 {
                    out.push(between)?;
                }
                let item = object.at(index).unwrap_or_default();
                put_current(heap, &item, out, depth, json)?;
            }
            out.push("]")
        }
        Kind::Map => {
            out.push("{")?;
            for (index, (name, value)) in object.entries().enumerate() {
                heap.spend(1)?;
                if index > 0 {
                    out.push(between)?;
                }
                if json {
                    quote(&name, out)?;
                } else {
                    out.push(&name)?;
                }
                out.push(assigns)?;
                put_current(heap, &value, out, depth, json)?;
            }
            out.push("}")
        }
    }
}

/// What the host has there, or its copy that was changed.
fn put_current(
    heap: &mut Heap<'_>,
    value: &Value<'_>,
    out: &mut Out<'_>,
    depth: u32,
    json: bool,
) -> Result<(), Fault> {
    if let Value::Object(object) = value
        && let Some(copy) = heap.copy_of(*object)
    {
        return put(heap, &copy, out, depth + 1, json);
    }
    put(heap, value, out, depth + 1, json)
}

/// A string in JSON as `json-smart` writes it: slashes are escaped, too.
fn quote(text: &str, out: &mut Out<'_>) -> Result<(), Fault> {
    out.push("\"")?;
    let mut from = 0;
    for (at, c) in text.char_indices() {
        let escape = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '/' => "\\/",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2000}'..='\u{20ff}' => {
                out.push(&text[from..at])?;
                out.push(&format!("\\u{:04X}", u32::from(c)))?;
                from = at + c.len_utf8();
                continue;
            }
            _ => continue,
        };
        out.push(&text[from..at])?;
        out.push(escape)?;
        from = at + c.len_utf8();
    }
    out.push(&text[from..])?;
    out.push("\"")
}
