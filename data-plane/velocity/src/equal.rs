//! Equality and order, as Java and Velocity have them.

use std::cmp::Ordering;

use crate::error::{ErrorKind, Fault};
use crate::heap::{Heap, ListKind};
use crate::host::Kind;
use crate::map::same_key;
use crate::number;
use crate::value::Value;
use crate::write::to_text;

const NESTING_MAX: u32 = 64;

/// `==`: numbers by value, things of one class by `equals`, all else by their text.
pub(crate) fn loosely<'h>(
    heap: &mut Heap<'h>,
    left: &Value<'h>,
    right: &Value<'h>,
) -> Result<bool, Fault> {
    if let (Some(left), Some(right)) = (left.number(), right.number()) {
        return Ok(number::compare(left, right) == Ordering::Equal);
    }
    match (left, right) {
        (Value::Null, Value::Null) => return Ok(true),
        (Value::Null, _) | (_, Value::Null) => return Ok(false),
        (Value::Text(left), Value::Text(right)) => {
            heap.spend_bytes(left.len().min(right.len()))?;
            return Ok(**left == **right);
        }
        (Value::Bool(left), Value::Bool(right)) => return Ok(left == right),
        _ => {}
    }
    if class(heap, left) == class(heap, right) {
        return equals(heap, left, right);
    }
    let (left, right) = (to_text(heap, left)?, to_text(heap, right)?);
    Ok(left == right)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    List,
    Array,
    Set,
    Map,
    Other(&'static str),
}

fn class(heap: &Heap<'_>, value: &Value<'_>) -> Class {
    match value {
        Value::List(list) => match heap.lists.get(list.0 as usize).map(|list| list.kind) {
            Some(ListKind::Set) => Class::Set,
            Some(ListKind::Array) => Class::Array,
            _ => Class::List,
        },
        Value::Map(_) => Class::Map,
        Value::Object(object) => match object.kind() {
            Kind::List => Class::List,
            Kind::Map => Class::Map,
            Kind::Opaque => Class::Other("object"),
        },
        other => Class::Other(other.class()),
    }
}

/// Java's `equals`: of one class, and element by element.
pub(crate) fn equals<'h>(
    heap: &mut Heap<'h>,
    left: &Value<'h>,
    right: &Value<'h>,
) -> Result<bool, Fault> {
    deep(heap, left, right, 0)
}

fn deep<'h>(
    heap: &mut Heap<'h>,
    left: &Value<'h>,
    right: &Value<'h>,
    depth: u32,
) -> Result<bool, Fault> {
    heap.spend(1)?;
    if same_key(left, right) {
        return Ok(true);
    }
    if depth > NESTING_MAX {
        let message = format!("a value is nested over {NESTING_MAX} deep, or contains itself");
        return Err(Fault::new(ErrorKind::Depth, message));
    }
    let (left, right) = (heap.current(left.clone()), heap.current(right.clone()));
    match (class(heap, &left), class(heap, &right)) {
        (Class::List, Class::List) => {
            let len = length(heap, &left);
            if len != length(heap, &right) {
                return Ok(false);
            }
            for index in 0..len {
                let (one, other) = (element(heap, &left, index), element(heap, &right, index));
                if !deep(heap, &one, &other, depth + 1)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Class::Set, Class::Set) => {
            let len = length(heap, &left);
            if len != length(heap, &right) {
                return Ok(false);
            }
            for index in 0..len {
                let one = element(heap, &left, index);
                let mut found = false;
                for other in 0..len {
                    let other = element(heap, &right, other);
                    found = found || deep(heap, &one, &other, depth + 1)?;
                }
                if !found {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Class::Map, Class::Map) => {
            if length(heap, &left) != length(heap, &right) {
                return Ok(false);
            }
            for (key, one) in entries(heap, &left)? {
                let Some(other) = lookup(heap, &right, &key) else { return Ok(false) };
                if !deep(heap, &one, &other, depth + 1)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Class::Other("Map.Entry"), Class::Other("Map.Entry")) => {
            let parts = |value: &Value<'h>| match value {
                Value::Entry(entry) => heap.entries.get(entry.0 as usize),
                _ => None,
            };
            let (Some(one), Some(other)) = (parts(&left), parts(&right)) else { return Ok(false) };
            let (one, other) =
                ((one.key.clone(), one.value.clone()), (other.key.clone(), other.value.clone()));
            Ok(deep(heap, &one.0, &other.0, depth + 1)? && deep(heap, &one.1, &other.1, depth + 1)?)
        }
        _ => Ok(false),
    }
}

/// How many elements or entries a list or map has.
pub(crate) fn length(heap: &Heap<'_>, value: &Value<'_>) -> usize {
    match value {
        Value::List(list) => heap.lists.get(list.0 as usize).map_or(0, crate::heap::List::len),
        Value::Map(map) => heap.maps.get(map.0 as usize).map_or(0, |map| map.entries.len()),
        Value::Object(object) => object.len(),
        _ => 0,
    }
}

/// An element of a list; null where there is none.
pub(crate) fn element<'h>(heap: &Heap<'h>, value: &Value<'h>, index: usize) -> Value<'h> {
    let found = match value {
        Value::List(list) => heap.lists.get(list.0 as usize).and_then(|list| list.at(index)),
        Value::Object(object) => object.at(index),
        _ => None,
    };
    heap.current(found.unwrap_or_default())
}

/// The entry of a map, null too; None where there is none.
pub(crate) fn lookup<'h>(heap: &Heap<'h>, value: &Value<'h>, key: &Value<'h>) -> Option<Value<'h>> {
    let found = match value {
        Value::Map(map) => heap.maps.get(map.0 as usize)?.entries.get(key).cloned(),
        Value::Object(object) => object.get(key.as_str()?),
        _ => None,
    };
    found.map(|found| heap.current(found))
}

/// All entries of a map.
pub(crate) fn entries<'h>(
    heap: &mut Heap<'h>,
    value: &Value<'h>,
) -> Result<Vec<(Value<'h>, Value<'h>)>, Fault> {
    let len = length(heap, value);
    heap.spend(len)?;
    heap.room(len.saturating_mul(2 * crate::heap::VALUE_BYTES))?;
    Ok(match value {
        Value::Map(map) => match heap.maps.get(map.0 as usize) {
            Some(map) => map.entries.iter().cloned().collect(),
            None => Vec::new(),
        },
        Value::Object(object) => {
            object.entries().map(|(name, value)| (Value::Text(name), value)).collect()
        }
        _ => Vec::new(),
    })
}

/// Java's `compareTo`. None where the two have no order.
pub(crate) fn order(left: &Value<'_>, right: &Value<'_>) -> Option<i32> {
    let sign = |ordering: Ordering| match ordering {
        Ordering::Less => -1,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    };
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => Some(compare_text(left, right)),
        (Value::Bool(left), Value::Bool(right)) => Some(sign(left.cmp(right))),
        _ if left.class() == right.class() => {
            Some(sign(number::compare(left.number()?, right.number()?)))
        }
        _ => None,
    }
}

/// The difference of the first units that differ, or of the lengths, in UTF-16.
pub(crate) fn compare_text(left: &str, right: &str) -> i32 {
    let (mut one, mut other) = (left.encode_utf16(), right.encode_utf16());
    loop {
        match (one.next(), other.next()) {
            (Some(left), Some(right)) if left == right => {}
            (Some(left), Some(right)) => return i32::from(left) - i32::from(right),
            (None, None) => return 0,
            (Some(_), None) => return i32::try_from(one.count() + 1).unwrap_or(i32::MAX),
            (None, Some(_)) => return -i32::try_from(other.count() + 1).unwrap_or(i32::MAX),
        }
    }
}
