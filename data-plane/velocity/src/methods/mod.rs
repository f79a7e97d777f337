//! The methods, properties and indices of Java's classes that templates use.
//!
//! A method that a class does not have, or not with so many arguments of such kinds, is no error: the reference leads
//! to nothing. One that Java's would throw an exception from ends the rendering.

mod list;
mod map;
mod math;
mod number;
mod text;

use crate::equal;
use crate::error::Fault;
use crate::heap::{Heap, ListKind};
use crate::host::Kind;
use crate::program::Program;
use crate::value::{Id, Text, Value};

/// What a method answers: None where there is no such method.
type Answer<'h> = Result<Option<Value<'h>>, Fault>;

/// `object.name(arguments)`.
pub(crate) fn call<'h>(
    heap: &mut Heap<'h>,
    program: &'h Program,
    object: &Value<'h>,
    name: &str,
    arguments: &[Value<'h>],
) -> Answer<'h> {
    if let Value::Object(host) = *object {
        if let Some(answer) = host.call(name, arguments, heap)? {
            return Ok(Some(heap.current(answer)));
        }
        if host.kind() == Kind::Opaque {
            return common(heap, object, name, arguments);
        }
    }
    let answer = match object {
        Value::Text(text) => text::call(heap, program, text, name, arguments)?,
        Value::List(_) => list::call(heap, object, name, arguments)?,
        Value::Map(_) => map::call(heap, object, name, arguments)?,
        Value::Object(host) => match host.kind() {
            Kind::List => list::call(heap, object, name, arguments)?,
            _ => map::call(heap, object, name, arguments)?,
        },
        Value::Int(_) | Value::Long(_) | Value::Big(_) | Value::Double(_) => {
            number::call(heap, object, name, arguments)?
        }
        Value::Bool(value) => boolean(*value, name, arguments),
        Value::Entry(entry) => map::entry(heap, *entry, name, arguments)?,
        Value::Iterator(iterator) => iterator_call(heap, *iterator, name, arguments)?,
        Value::Loop(scope) => scope_call(heap, *scope, name, arguments)?,
        Value::Math => math::call(name, arguments)?,
        Value::Null | Value::Block(_) => None,
    };
    match answer {
        Some(answer) => Ok(Some(answer)),
        None => common(heap, object, name, arguments),
    }
}

/// What every object has.
fn common<'h>(
    heap: &mut Heap<'h>,
    object: &Value<'h>,
    name: &str,
    arguments: &[Value<'h>],
) -> Answer<'h> {
    match (name, arguments) {
        ("toString", []) => {
            if let Value::Text(_) = object {
                return Ok(Some(object.clone()));
            }
            let text = crate::write::to_text(heap, object)?;
            heap.text(text).map(Some)
        }
        ("equals", [other]) => equal::equals(heap, object, other).map(|same| Some(same.into())),
        _ => Ok(None),
    }
}

/// `object.name`; null where it leads to nothing.
pub(crate) fn property<'h>(heap: &mut Heap<'h>, object: &Value<'h>, name: &str) -> Value<'h> {
    // `getName` and `getname` are both tried, so that the first letter's case is all one, but not for a map's keys.
    let is = |wanted: &str| {
        name.len() == wanted.len()
            && name[1..] == wanted[1..]
            && name[..1].eq_ignore_ascii_case(&wanted[..1])
    };
    match object {
        Value::Map(map) => {
            let found = heap.maps.get(map.0 as usize).and_then(|map| map.entries.get_str(name));
            let found = found.cloned().unwrap_or_default();
            heap.current(found)
        }
        Value::Object(host) => {
            let found = host.get(name);
            if found.is_none() && is("empty") && host.kind() == Kind::List {
                return Value::Bool(host.is_empty());
            }
            heap.current(found.unwrap_or_default())
        }
        Value::Text(text) if is("empty") => Value::Bool(text.is_empty()),
        Value::Text(text) if is("blank") => Value::Bool(text.trim().is_empty()),
        Value::List(_) if is("empty") => Value::Bool(equal::length(heap, object) == 0),
        Value::Entry(entry) => match heap.entries.get(entry.0 as usize) {
            Some(entry) if is("key") => entry.key.clone(),
            Some(entry) if is("value") => heap.current(entry.value.clone()),
            _ => Value::Null,
        },
        Value::Double(value) if is("naN") => Value::Bool(value.is_nan()),
        Value::Double(value) if is("infinite") => Value::Bool(value.is_infinite()),
        Value::Loop(scope) => scope_property(heap, *scope, name),
        Value::Math if name == "PI" => Value::Double(std::f64::consts::PI),
        Value::Math if name == "E" => Value::Double(std::f64::consts::E),
        _ => Value::Null,
    }
}

/// `object[index]`, which is Java's `get`; null where it leads to nothing.
pub(crate) fn index<'h>(
    heap: &mut Heap<'h>,
    object: &Value<'h>,
    index: &Value<'h>,
) -> Result<Value<'h>, Fault> {
    let index = from_end(heap, object, index)?;
    let found = match object {
        Value::List(_) => list::call(heap, object, "get", std::slice::from_ref(&index))?,
        Value::Map(_) => map::call(heap, object, "get", std::slice::from_ref(&index))?,
        Value::Object(host) => match host.kind() {
            Kind::List => list::call(heap, object, "get", std::slice::from_ref(&index))?,
            Kind::Map => map::call(heap, object, "get", std::slice::from_ref(&index))?,
            Kind::Opaque => index.as_str().and_then(|name| host.get(name)),
        },
        Value::Loop(scope) => index.as_str().map(|name| scope_property(heap, *scope, name)),
        _ => None,
    };
    Ok(heap.current(found.unwrap_or_default()))
}

/// A negative index counts from the end, of what has a size.
fn from_end<'h>(
    heap: &Heap<'h>,
    object: &Value<'h>,
    index: &Value<'h>,
) -> Result<Value<'h>, Fault> {
    let Value::Int(negative @ ..0) = *index else { return Ok(index.clone()) };
    let sized = match object {
        Value::List(_) | Value::Map(_) => true,
        Value::Object(host) => host.kind() != Kind::Opaque,
        _ => false,
    };
    if !sized {
        let class = object.class();
        return Err(Fault::call(format!("a negative index needs a size, which a {class} has not")));
    }
    let len = i32::try_from(equal::length(heap, object)).unwrap_or(i32::MAX);
    Ok(Value::Int(len + negative))
}

/// `#set($object.name = value)`. What cannot be set stays as it is.
pub(crate) fn set_property<'h>(
    heap: &mut Heap<'h>,
    object: &Value<'h>,
    name: &'h str,
    value: Value<'h>,
) -> Result<(), Fault> {
    if let Value::Object(host) = *object
        && host.set(name, &value, heap)?
    {
        return Ok(());
    }
    match heap.own(object)? {
        Value::Map(map) => {
            heap.put(map, Value::borrowed(name), value)?;
        }
        Value::Loop(scope) => {
            let map = match heap.scopes.get(scope.0 as usize).and_then(|scope| scope.map) {
                Some(map) => map,
                None => match heap.map(std::iter::empty())? {
                    Value::Map(map) => map,
                    _ => return Ok(()),
                },
            };
            if let Some(scope) = heap.scopes.get_mut(scope.0 as usize) {
                scope.map = Some(map);
            }
            heap.put(map, Value::borrowed(name), value)?;
        }
        Value::Entry(entry) if name.eq_ignore_ascii_case("value") => {
            map::set_entry(heap, entry, value)?;
        }
        _ => {}
    }
    Ok(())
}

/// `#set($object[index] = value)`: a list's `set`, or a map's `put`.
pub(crate) fn set_index<'h>(
    heap: &mut Heap<'h>,
    object: &Value<'h>,
    index: &Value<'h>,
    value: Value<'h>,
) -> Result<(), Fault> {
    let index = from_end(heap, object, index)?;
    if let (Value::Object(host), Some(name)) = (object.clone(), index.as_str())
        && host.set(name, &value, heap)?
    {
        return Ok(());
    }
    let owned = heap.own(object)?;
    match owned {
        Value::List(_) => {
            list::call(heap, &owned, "set", &[index, value])?;
        }
        Value::Map(_) => {
            map::call(heap, &owned, "put", &[index, value])?;
        }
        _ => {}
    }
    Ok(())
}

fn boolean<'h>(value: bool, name: &str, arguments: &[Value<'h>]) -> Option<Value<'h>> {
    Some(match (name, arguments) {
        ("booleanValue", []) => value.into(),
        ("hashCode", []) => Value::Int(if value { 1231 } else { 1237 }),
        ("compareTo", [other @ Value::Bool(_)]) => {
            Value::Int(equal::order(&Value::Bool(value), other)?)
        }
        ("parseBoolean" | "valueOf", [Value::Text(text)]) => {
            Value::Bool(text.eq_ignore_ascii_case("true"))
        }
        ("valueOf", [Value::Bool(other)]) => Value::Bool(*other),
        ("logicalAnd", [Value::Bool(left), Value::Bool(right)]) => Value::Bool(*left && *right),
        ("logicalOr", [Value::Bool(left), Value::Bool(right)]) => Value::Bool(*left || *right),
        ("logicalXor", [Value::Bool(left), Value::Bool(right)]) => Value::Bool(left != right),
        _ => return None,
    })
}

fn iterator_call<'h>(
    heap: &mut Heap<'h>,
    iterator: Id,
    name: &str,
    arguments: &[Value<'h>],
) -> Answer<'h> {
    let mut stored = crate::iterate::Iterate::Stored(iterator);
    match (name, arguments) {
        ("hasNext", []) => Ok(Some(stored.has_next(heap).into())),
        ("next", []) => stored.next(heap).map(Some),
        _ => Ok(None),
    }
}

fn scope_property<'h>(heap: &Heap<'h>, id: Id, name: &str) -> Value<'h> {
    let Some(scope) = heap.scopes.get(id.0 as usize) else { return Value::Null };
    match name {
        "index" | "Index" => Value::Int(scope.index),
        "count" | "Count" => Value::Int(scope.index.saturating_add(1)),
        "hasNext" | "HasNext" => Value::Bool(scope.has_next),
        "first" | "First" => Value::Bool(scope.index < 1),
        "last" | "Last" => Value::Bool(!scope.has_next),
        "parent" | "Parent" => scope.parent.map_or(Value::Null, Value::Loop),
        "topmost" | "Topmost" => Value::Loop(scope.topmost.unwrap_or(id)),
        _ => {
            let mut scope = Some(scope);
            while let Some(known) = scope {
                let map = known.map.and_then(|map| heap.maps.get(map.0 as usize));
                if let Some(value) = map.and_then(|map| map.entries.get_str(name)) {
                    return value.clone();
                }
                scope = known.parent.and_then(|parent| heap.scopes.get(parent.0 as usize));
            }
            Value::Null
        }
    }
}

fn scope_call<'h>(
    heap: &mut Heap<'h>,
    scope: Id,
    name: &str,
    arguments: &[Value<'h>],
) -> Answer<'h> {
    Ok(match (name, arguments) {
        ("hasNext" | "getHasNext", []) => Some(scope_property(heap, scope, "hasNext")),
        ("isFirst" | "getFirst", []) => Some(scope_property(heap, scope, "first")),
        ("isLast" | "getLast", []) => Some(scope_property(heap, scope, "last")),
        ("getIndex", []) => Some(scope_property(heap, scope, "index")),
        ("getCount", []) => Some(scope_property(heap, scope, "count")),
        ("getParent", []) => Some(scope_property(heap, scope, "parent")),
        ("getTopmost", []) => Some(scope_property(heap, scope, "topmost")),
        ("get", [Value::Text(name)]) => {
            let name: &str = name;
            Some(match name {
                "index" | "count" | "hasNext" | "first" | "last" | "parent" | "topmost" => {
                    Value::Null
                }
                name => scope_property(heap, scope, name),
            })
        }
        ("put", [key, value]) => {
            let Value::Text(Text::Borrowed(key)) = *key else { return Ok(None) };
            set_property(heap, &Value::Loop(scope), key, value.clone())?;
            Some(Value::Null)
        }
        _ => None,
    })
}

/// A collection's elements, to add them elsewhere: None where it is none.
fn elements<'h>(heap: &mut Heap<'h>, value: &Value<'h>) -> Result<Option<Vec<Value<'h>>>, Fault> {
    let list = match value {
        Value::List(list) => {
            heap.lists.get(list.0 as usize).is_some_and(|list| list.kind != ListKind::Array)
        }
        Value::Object(host) => host.kind() == Kind::List,
        _ => false,
    };
    if !list {
        return Ok(None);
    }
    let len = equal::length(heap, value);
    heap.spend(len)?;
    heap.room(len.saturating_mul(crate::heap::VALUE_BYTES))?;
    Ok(Some((0..len).map(|index| equal::element(heap, value, index)).collect()))
}
