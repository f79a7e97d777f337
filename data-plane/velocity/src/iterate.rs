//! What `#foreach` and `iterator()` go through, with Java's rules for what changes meanwhile.

use std::iter::Peekable;

use crate::error::Fault;
use crate::heap::Heap;
use crate::host::{Kind, Object};
use crate::value::{Id, Text, Value};

type Entries<'h> = Peekable<Box<dyn Iterator<Item = (Text<'h>, Value<'h>)> + 'h>>;

pub(crate) enum Iterate<'h> {
    List {
        list: Id,
        next: usize,
        changes: u32,
    },
    Values {
        map: Id,
        next: usize,
        changes: u32,
    },
    Host {
        object: &'h dyn Object,
        next: usize,
    },
    HostValues {
        object: &'h dyn Object,
        entries: Box<Entries<'h>>,
        next: usize,
    },
    /// One that the template holds.
    Stored(Id),
}

impl<'h> Iterate<'h> {
    /// None where nothing can be gone through: the loop has no rounds then.
    pub(crate) fn over(heap: &Heap<'h>, value: &Value<'h>) -> Option<Self> {
        Some(match *value {
            Value::List(list) => {
                Self::List { list, next: 0, changes: heap.lists.get(list.0 as usize)?.changes }
            }
            Value::Map(map) => {
                Self::Values { map, next: 0, changes: heap.maps.get(map.0 as usize)?.changes }
            }
            Value::Loop(scope) => {
                let map = heap.scopes.get(scope.0 as usize)?.map?;
                Self::Values { map, next: 0, changes: heap.maps.get(map.0 as usize)?.changes }
            }
            Value::Iterator(iterator) => Self::Stored(iterator),
            Value::Object(object) => match object.kind() {
                Kind::List => Self::Host { object, next: 0 },
                Kind::Map => Self::HostValues {
                    object,
                    entries: Box::new(object.entries().peekable()),
                    next: 0,
                },
                Kind::Opaque => return None,
            },
            _ => return None,
        })
    }

    /// A list or map of the host's that was changed meanwhile is its copy from then on.
    fn follow(&mut self, heap: &Heap<'h>) {
        let (object, next) = match self {
            Self::Host { object, next } | Self::HostValues { object, next, .. } => (*object, *next),
            _ => return,
        };
        match heap.copy_of(object) {
            Some(Value::List(list)) => *self = Self::List { list, next, changes: 0 },
            Some(Value::Map(map)) => *self = Self::Values { map, next, changes: 0 },
            _ => {}
        }
    }

    pub(crate) fn has_next(&mut self, heap: &mut Heap<'h>) -> bool {
        self.follow(heap);
        match self {
            Self::List { list, next, .. } => {
                heap.lists.get(list.0 as usize).is_some_and(|list| list.len() != *next)
            }
            Self::Values { map, next, .. } => {
                heap.maps.get(map.0 as usize).is_some_and(|map| map.entries.len() > *next)
            }
            Self::Host { object, next } => *next < object.len(),
            Self::HostValues { entries, .. } => entries.peek().is_some(),
            Self::Stored(iterator) => stored(heap, *iterator, Iterate::has_next).unwrap_or(false),
        }
    }

    pub(crate) fn next(&mut self, heap: &mut Heap<'h>) -> Result<Value<'h>, Fault> {
        self.follow(heap);
        let changed = || Fault::call("a list or map was changed by the loop that goes through it");
        match self {
            Self::List { list, next, changes } => {
                let data = heap.lists.get(list.0 as usize).ok_or_else(changed)?;
                if data.changes != *changes {
                    return Err(changed());
                }
                let value = data.at(*next).ok_or_else(ended)?;
                *next += 1;
                Ok(value)
            }
            Self::Values { map, next, changes } => {
                let data = heap.maps.get(map.0 as usize).ok_or_else(changed)?;
                if data.changes != *changes {
                    return Err(changed());
                }
                let (_, value) = data.entries.entry(*next).ok_or_else(ended)?;
                *next += 1;
                Ok(value.clone())
            }
            Self::Host { object, next } => {
                let value = object.at(*next).ok_or_else(ended)?;
                *next += 1;
                Ok(heap.current(value))
            }
            Self::HostValues { entries, next, .. } => {
                let (_, value) = entries.next().ok_or_else(ended)?;
                *next += 1;
                Ok(heap.current(value))
            }
            Self::Stored(iterator) => {
                stored(heap, *iterator, Iterate::next).unwrap_or_else(|| Err(ended()))
            }
        }
    }
}

fn ended() -> Fault {
    Fault::call("the iterator has no more elements")
}

/// An iterator in the heap is never over another one in it: `over` gives those of lists and maps only.
fn stored<'h, T>(
    heap: &mut Heap<'h>,
    iterator: Id,
    ask: impl FnOnce(&mut Iterate<'h>, &mut Heap<'h>) -> T,
) -> Option<T> {
    let place = heap.iterators.get_mut(iterator.0 as usize)?;
    if matches!(place, Iterate::Stored(_)) {
        return None;
    }
    let mut inner = std::mem::replace(place, Iterate::Stored(iterator));
    let answer = ask(&mut inner, heap);
    heap.iterators[iterator.0 as usize] = inner;
    Some(answer)
}
