//! `java.util.Map`, in the order of `LinkedHashMap`, and its entries.

use super::Answer;
use crate::equal::{entries, equals, length, lookup};
use crate::error::Fault;
use crate::heap::{Heap, ListKind};
use crate::value::{Id, Value};

pub(super) fn call<'h>(
    heap: &mut Heap<'h>,
    map: &Value<'h>,
    name: &str,
    arguments: &[Value<'h>],
) -> Answer<'h> {
    let answer = match (name, arguments) {
        ("get", [key]) => lookup(heap, map, key).unwrap_or_default(),
        ("getOrDefault", [key, other]) => lookup(heap, map, key).unwrap_or_else(|| other.clone()),
        ("containsKey", [key]) => lookup(heap, map, key).is_some().into(),
        ("containsValue", [value]) => {
            let mut found = false;
            for (_, one) in entries(heap, map)? {
                found = found || equals(heap, value, &one)?;
            }
            found.into()
        }
        ("size", []) => Value::Int(i32::try_from(length(heap, map)).unwrap_or(i32::MAX)),
        ("isEmpty", []) => Value::Bool(length(heap, map) == 0),
        ("keySet", []) => {
            let keys = entries(heap, map)?.into_iter().map(|(key, _)| key).collect();
            return heap.list_of(ListKind::Set, keys).map(Some);
        }
        ("values", []) => {
            let values = entries(heap, map)?.into_iter().map(|(_, value)| value).collect();
            return heap.list_of(ListKind::Set, values).map(Some);
        }
        ("entrySet", []) => {
            let mut set = Vec::new();
            for (key, value) in entries(heap, map)? {
                // Setting an entry's value changes the map that it came from.
                let own = match map {
                    Value::Map(own) => Some(*own),
                    _ => None,
                };
                set.push(heap.entry(key, value, own)?);
            }
            return heap.list_of(ListKind::Set, set).map(Some);
        }
        ("put" | "replace", [key, value]) => {
            if name == "replace" && lookup(heap, map, key).is_none() {
                return Ok(Some(Value::Null));
            }
            return put(heap, map, key, value);
        }
        ("putIfAbsent", [key, value]) => match lookup(heap, map, key) {
            Some(known) if !known.is_null() => known,
            _ => return put(heap, map, key, value),
        },
        ("putAll", [other @ (Value::Map(_) | Value::Object(_))]) => {
            for (key, value) in entries(heap, other)? {
                put(heap, map, &key, &value)?;
            }
            Value::borrowed("")
        }
        ("remove", [key]) => {
            let Value::Map(own) = heap.own(map)? else { return Ok(None) };
            heap.spend(length(heap, &Value::Map(own)) / 4)?;
            let Some(data) = heap.maps.get_mut(own.0 as usize) else { return Ok(None) };
            let removed = data.entries.remove(key);
            if removed.is_some() {
                data.changes = data.changes.wrapping_add(1);
            }
            removed.unwrap_or_default()
        }
        ("clear", []) => {
            let Value::Map(own) = heap.own(map)? else { return Ok(None) };
            if let Some(data) = heap.maps.get_mut(own.0 as usize) {
                data.entries.clear();
                data.changes = data.changes.wrapping_add(1);
            }
            Value::borrowed("")
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

fn put<'h>(heap: &mut Heap<'h>, map: &Value<'h>, key: &Value<'h>, value: &Value<'h>) -> Answer<'h> {
    if let (Value::Object(host), Some(name)) = (map.clone(), key.as_str()) {
        let before = host.get(name).unwrap_or_default();
        if host.set(name, value, heap)? {
            return Ok(Some(before));
        }
    }
    let Value::Map(own) = heap.own(map)? else { return Ok(None) };
    heap.put(own, key.clone(), value.clone()).map(Some)
}

pub(super) fn entry<'h>(
    heap: &mut Heap<'h>,
    entry: Id,
    name: &str,
    arguments: &[Value<'h>],
) -> Answer<'h> {
    let Some(known) = heap.entries.get(entry.0 as usize) else { return Ok(None) };
    Ok(match (name, arguments) {
        ("getKey", []) => Some(known.key.clone()),
        ("getValue", []) => Some(heap.current(known.value.clone())),
        ("setValue", [value]) => Some(set_entry(heap, entry, value.clone())?),
        _ => None,
    })
}

/// Sets an entry's value, in its map as well; gives what was there.
pub(super) fn set_entry<'h>(
    heap: &mut Heap<'h>,
    entry: Id,
    value: Value<'h>,
) -> Result<Value<'h>, Fault> {
    let Some(known) = heap.entries.get_mut(entry.0 as usize) else { return Ok(Value::Null) };
    let old = std::mem::replace(&mut known.value, value.clone());
    let (key, map) = (known.key.clone(), known.map);
    if let Some(map) = map {
        heap.put(map, key, value)?;
    }
    Ok(old)
}
