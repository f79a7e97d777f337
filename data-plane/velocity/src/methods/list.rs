//! `java.util.List`, arrays (which Velocity treats as lists), and sets.

use super::{Answer, elements};
use crate::equal::{self, element, equals, length};
use crate::error::Fault;
use crate::heap::{Heap, ListKind};
use crate::iterate::Iterate;
use crate::value::{Id, Value};

fn out_of_bounds(index: i32, len: usize) -> Fault {
    Fault::call(format!("Index {index} out of bounds for length {len}"))
}

fn place(index: i32, len: usize) -> Result<usize, Fault> {
    usize::try_from(index).ok().filter(|at| *at < len).ok_or_else(|| out_of_bounds(index, len))
}

fn count(len: usize) -> Value<'static> {
    Value::Int(i32::try_from(len).unwrap_or(i32::MAX))
}

/// The place of the first (or last) element that equals a value.
fn find<'h>(
    heap: &mut Heap<'h>,
    list: &Value<'h>,
    wanted: &Value<'h>,
    backwards: bool,
) -> Result<Option<usize>, Fault> {
    let len = length(heap, list);
    for step in 0..len {
        let at = if backwards { len - 1 - step } else { step };
        let one = element(heap, list, at);
        if equals(heap, wanted, &one)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

fn kind(heap: &Heap<'_>, list: &Value<'_>) -> ListKind {
    match list {
        Value::List(list) => {
            heap.lists.get(list.0 as usize).map_or(ListKind::List, |list| list.kind)
        }
        Value::Object(object) if object.json() => ListKind::Json,
        _ => ListKind::List,
    }
}

pub(super) fn call<'h>(
    heap: &mut Heap<'h>,
    list: &Value<'h>,
    name: &str,
    arguments: &[Value<'h>],
) -> Answer<'h> {
    let len = length(heap, list);
    let kind = kind(heap, list);
    let placed = kind != ListKind::Set;
    let answer = match (name, arguments) {
        ("size", []) => count(len),
        ("isEmpty", []) => Value::Bool(len == 0),
        ("get", [Value::Int(index)]) if placed => element(heap, list, place(*index, len)?),
        ("contains", [value]) => find(heap, list, value, false)?.is_some().into(),
        ("indexOf" | "lastIndexOf", [value]) if placed => {
            match find(heap, list, value, name == "lastIndexOf")? {
                Some(at) => count(at),
                None => Value::Int(-1),
            }
        }
        ("containsAll", [other]) => {
            let Some(values) = elements(heap, other)? else { return Ok(None) };
            let mut all = true;
            for value in values {
                all = all && find(heap, list, &value, false)?.is_some();
            }
            all.into()
        }
        ("subList", [Value::Int(from), Value::Int(to)]) if placed => {
            let (Ok(from), Ok(to)) = (usize::try_from(*from), usize::try_from(*to)) else {
                return Err(out_of_bounds(*from.min(to), len));
            };
            if to > len || from > to {
                return Err(Fault::call(format!("subList({from}, {to}) of a list of {len}")));
            }
            heap.spend(to - from)?;
            heap.room((to - from) * crate::heap::VALUE_BYTES)?;
            let part = (from..to).map(|at| element(heap, list, at)).collect();
            return heap.list_of(kind, part).map(Some);
        }
        ("toArray", []) => {
            heap.spend(len)?;
            heap.room(len.saturating_mul(crate::heap::VALUE_BYTES))?;
            let all = (0..len).map(|at| element(heap, list, at)).collect();
            return heap.list_of(ListKind::Array, all).map(Some);
        }
        ("iterator" | "listIterator", []) => {
            let Some(iterate) = Iterate::over(heap, list) else { return Ok(None) };
            return heap.iterator(iterate).map(Some);
        }
        ("set", [Value::Int(index), value]) if placed => {
            let at = place(*index, len)?;
            let Value::List(own) = heap.own(list)? else { return Ok(None) };
            std::mem::replace(&mut heap.items(own)?[at], value.clone())
        }
        (
            "add" | "addAll" | "remove" | "removeAll" | "retainAll" | "clear" | "sort" | "addFirst"
            | "addLast",
            _,
        ) if kind != ListKind::Array => {
            let Value::List(own) = heap.own(list)? else { return Ok(None) };
            return change(heap, own, name, arguments, placed);
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

/// What changes a list's length or order.
fn change<'h>(
    heap: &mut Heap<'h>,
    own: Id,
    name: &str,
    arguments: &[Value<'h>],
    placed: bool,
) -> Answer<'h> {
    let list = Value::List(own);
    let len = length(heap, &list);
    let answer = match (name, arguments) {
        ("add", [value]) => {
            if !placed && find(heap, &list, value, false)?.is_some() {
                return Ok(Some(false.into()));
            }
            heap.grow(own, 1)?.push(value.clone());
            Value::Bool(true)
        }
        // A method that gives nothing renders as the empty string.
        ("add", [Value::Int(index), value]) if placed => {
            let at = place(*index, len + 1)?;
            heap.spend(len / 16)?;
            heap.grow(own, 1)?.insert(at, value.clone());
            Value::borrowed("")
        }
        ("addFirst" | "addLast", [value]) if placed => {
            heap.spend(len / 16)?;
            let at = if name == "addFirst" { 0 } else { len };
            heap.grow(own, 1)?.insert(at, value.clone());
            Value::borrowed("")
        }
        ("addAll", [other]) => {
            let Some(values) = elements(heap, other)? else { return Ok(None) };
            let added = !values.is_empty();
            heap.grow(own, values.len())?.extend(values);
            Value::Bool(added)
        }
        ("addAll", [Value::Int(index), other]) if placed => {
            let at = place(*index, len + 1)?;
            let Some(values) = elements(heap, other)? else { return Ok(None) };
            let added = !values.is_empty();
            heap.spend(len / 16)?;
            heap.grow(own, values.len())?.splice(at..at, values);
            Value::Bool(added)
        }
        ("remove", [Value::Int(index)]) if placed => {
            let at = place(*index, len)?;
            heap.spend(len / 16)?;
            heap.grow(own, 0)?.remove(at)
        }
        ("remove", [value]) => {
            let found = find(heap, &list, value, false)?;
            if let Some(at) = found {
                heap.spend(len / 16)?;
                heap.grow(own, 0)?.remove(at);
            }
            found.is_some().into()
        }
        ("removeAll" | "retainAll", [other]) => {
            let mut kept = Vec::new();
            heap.room(len.saturating_mul(crate::heap::VALUE_BYTES))?;
            for at in 0..len {
                let value = element(heap, &list, at);
                let within = find(heap, other, &value, false)?.is_some();
                if within == (name == "retainAll") {
                    kept.push(value);
                }
            }
            let changed = kept.len() != len;
            *heap.grow(own, 0)? = kept;
            changed.into()
        }
        ("clear", []) => {
            heap.grow(own, 0)?.clear();
            Value::borrowed("")
        }
        // Its natural order, as with no comparator in Java.
        ("sort", [Value::Null]) if placed => {
            sort(heap, own, len)?;
            Value::borrowed("")
        }
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

/// Only elements of one class have an order.
fn sort(heap: &mut Heap<'_>, own: Id, len: usize) -> Result<(), Fault> {
    heap.spend(len.saturating_mul(8))?;
    let items = heap.items(own)?;
    let class = items.first().map_or("null", Value::class);
    let ordered =
        matches!(class, "String" | "Integer" | "Long" | "BigInteger" | "Double" | "Boolean");
    if len > 1 && (!ordered || items.iter().any(|item| item.class() != class)) {
        return Err(Fault::call("the list has elements that have no order"));
    }
    let bytes: usize = items.iter().filter_map(Value::as_str).map(str::len).sum();
    heap.spend_bytes(bytes.saturating_mul(8))?;
    heap.items(own)?.sort_by(|left, right| match (left, right) {
        (Value::Double(left), Value::Double(right)) => left.total_cmp(right),
        _ => equal::order(left, right).map_or(std::cmp::Ordering::Equal, |order| order.cmp(&0)),
    });
    Ok(())
}
