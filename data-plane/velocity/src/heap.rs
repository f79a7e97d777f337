//! Where a rendering keeps what it made: lists, maps, and what goes with them. Nothing is freed before the rendering
//! ends except strings, and everything is counted.

use std::collections::HashMap;
use std::rc::Rc;

use crate::error::{ErrorKind, Fault};
use crate::frame::Frame;
use crate::host::{Kind, Object};
use crate::iterate::Iterate;
use crate::map::OrderedMap;
use crate::options::Limits;
use crate::value::{Id, Made, Meter, TEXT_OVERHEAD, Text, Value};

/// Bytes that an element of a list is counted for.
pub(crate) const VALUE_BYTES: usize = size_of::<Value<'static>>();
const LIST_BYTES: usize = 96;

/// What a list is in Java.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListKind {
    List,
    /// An array, such as `split` gives: it cannot grow.
    Array,
    /// A set or another collection without places, such as `keySet()` gives.
    Set,
    /// A list that prints as JSON.
    Json,
}

#[derive(Debug)]
pub(crate) enum Items<'h> {
    Values(Vec<Value<'h>>),
    /// `[from..to]`, not spelled out before it is changed.
    Range {
        from: i32,
        down: bool,
        len: usize,
    },
}

#[derive(Debug)]
pub(crate) struct List<'h> {
    pub kind: ListKind,
    pub items: Items<'h>,
    /// How often its length changed: a loop over it looks.
    pub changes: u32,
}

#[derive(Debug)]
pub(crate) struct MapData<'h> {
    pub entries: OrderedMap<'h>,
    pub changes: u32,
}

#[derive(Debug)]
pub(crate) struct Entry<'h> {
    pub key: Value<'h>,
    pub value: Value<'h>,
    /// The map that it came from, for `setValue`.
    pub map: Option<Id>,
}

/// A `#define`d block: what it captured, and how often it is being rendered.
pub(crate) struct Block<'h> {
    pub code: u32,
    pub frame: Option<Rc<Frame<'h>>>,
    pub depth: u32,
    pub depth_max: u32,
}

/// A running or ended `#foreach`.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    pub index: i32,
    pub has_next: bool,
    pub parent: Option<Id>,
    pub topmost: Option<Id>,
    /// What `#set($foreach.name = …)` keeps.
    pub map: Option<Id>,
}

/// The values of a rendering, and what it may still use.
pub struct Heap<'h> {
    pub(crate) meter: Rc<Meter>,
    pub(crate) lists: Vec<List<'h>>,
    pub(crate) maps: Vec<MapData<'h>>,
    pub(crate) entries: Vec<Entry<'h>>,
    pub(crate) iterators: Vec<Iterate<'h>>,
    pub(crate) blocks: Vec<Block<'h>>,
    pub(crate) scopes: Vec<Scope>,
    /// Lists and maps of the host that were changed, with their copies.
    pub(crate) copies: HashMap<*const (), Value<'h>>,
    pub(crate) limits: Limits,
    /// Steps that were taken beyond one for each instruction.
    pub(crate) spent: u64,
    /// Steps that are left in all.
    pub(crate) left: u64,
}

fn id(len: usize) -> Id {
    // Memory is bounded far below this.
    Id(u32::try_from(len).unwrap_or(u32::MAX))
}

impl<'h> Heap<'h> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            meter: Rc::default(),
            lists: Vec::new(),
            maps: Vec::new(),
            entries: Vec::new(),
            iterators: Vec::new(),
            blocks: Vec::new(),
            scopes: Vec::new(),
            copies: HashMap::new(),
            limits,
            spent: 0,
            left: limits.steps,
        }
    }

    /// Bytes that values hold now.
    pub fn used_bytes(&self) -> usize {
        self.meter.used()
    }

    /// Takes steps for work that is more than one instruction's. Refuses before the work is done where they would
    /// exceed what is left.
    pub fn spend(&mut self, steps: usize) -> Result<(), Fault> {
        self.spent = self.spent.saturating_add(steps as u64);
        if self.spent > self.left {
            return Err(steps_used_up(self.limits.steps));
        }
        Ok(())
    }

    /// Steps for looking through so many bytes.
    pub fn spend_bytes(&mut self, bytes: usize) -> Result<(), Fault> {
        self.spend(bytes / 64)
    }

    pub(crate) fn room(&self, bytes: usize) -> Result<(), Fault> {
        let most = self.limits.memory_bytes;
        if bytes > most || self.meter.used() > most - bytes {
            return Err(Fault::new(
                ErrorKind::Memory,
                format!("the template's values need over {most} bytes"),
            ));
        }
        Ok(())
    }

    /// Counts bytes that stay until the rendering ends.
    pub fn keep(&mut self, bytes: usize) -> Result<(), Fault> {
        self.room(bytes)?;
        self.meter.add(bytes);
        Ok(())
    }

    /// A string that was made.
    pub fn text(&mut self, text: impl Into<Box<str>>) -> Result<Value<'h>, Fault> {
        let text = text.into();
        self.room(text.len() + TEXT_OVERHEAD)?;
        self.spend_bytes(text.len())?;
        Ok(Value::Text(Text::Made(Rc::new(Made::new(text, &self.meter)))))
    }

    /// A list of Java's, of these elements.
    pub fn list(&mut self, values: Vec<Value<'h>>) -> Result<Value<'h>, Fault> {
        self.list_of(ListKind::List, values)
    }

    /// A list that prints as JSON, as the arrays do that Java's `json-smart` reads.
    pub fn json_list(&mut self, values: Vec<Value<'h>>) -> Result<Value<'h>, Fault> {
        self.list_of(ListKind::Json, values)
    }

    pub(crate) fn list_of(
        &mut self,
        kind: ListKind,
        values: Vec<Value<'h>>,
    ) -> Result<Value<'h>, Fault> {
        self.keep(LIST_BYTES + values.capacity() * VALUE_BYTES)?;
        self.spend(values.len() / 4)?;
        Ok(self.push_list(kind, Items::Values(values)))
    }

    fn push_list(&mut self, kind: ListKind, items: Items<'h>) -> Value<'h> {
        self.lists.push(List { kind, items, changes: 0 });
        Value::List(id(self.lists.len() - 1))
    }

    /// `[from..to]`, either way.
    pub(crate) fn range(&mut self, from: i32, to: i32) -> Result<Value<'h>, Fault> {
        self.keep(LIST_BYTES)?;
        let len = usize::try_from(from.abs_diff(to)).unwrap_or(usize::MAX).saturating_add(1);
        let items = Items::Range { from, down: from >= to, len };
        Ok(self.push_list(ListKind::List, items))
    }

    /// A map in the order of these entries; of equal keys the last value counts.
    pub fn map(
        &mut self,
        entries: impl IntoIterator<Item = (Value<'h>, Value<'h>)>,
    ) -> Result<Value<'h>, Fault> {
        self.keep(LIST_BYTES)?;
        self.maps.push(MapData { entries: OrderedMap::default(), changes: 0 });
        let map = id(self.maps.len() - 1);
        for (key, value) in entries {
            self.put(map, key, value)?;
        }
        Ok(Value::Map(map))
    }

    /// Puts into a map of this heap; gives what was there.
    pub(crate) fn put(
        &mut self,
        map: Id,
        key: Value<'h>,
        value: Value<'h>,
    ) -> Result<Value<'h>, Fault> {
        self.room(3 * VALUE_BYTES)?;
        let Some(data) = self.maps.get_mut(map.0 as usize) else { return Ok(Value::Null) };
        let before = data.entries.len();
        let old = data.entries.insert(key, value);
        if data.entries.len() > before {
            data.changes = data.changes.wrapping_add(1);
            self.meter.add(3 * VALUE_BYTES);
        }
        Ok(old.unwrap_or_default())
    }

    pub(crate) fn entry(
        &mut self,
        key: Value<'h>,
        value: Value<'h>,
        map: Option<Id>,
    ) -> Result<Value<'h>, Fault> {
        self.keep(size_of::<Entry<'_>>())?;
        self.entries.push(Entry { key, value, map });
        Ok(Value::Entry(id(self.entries.len() - 1)))
    }

    pub(crate) fn iterator(&mut self, iterate: Iterate<'h>) -> Result<Value<'h>, Fault> {
        self.keep(128)?;
        self.iterators.push(iterate);
        Ok(Value::Iterator(id(self.iterators.len() - 1)))
    }

    pub(crate) fn block(&mut self, block: Block<'h>) -> Result<Value<'h>, Fault> {
        self.keep(64)?;
        self.blocks.push(block);
        Ok(Value::Block(id(self.blocks.len() - 1)))
    }

    pub(crate) fn scope(&mut self, scope: Scope) -> Result<Id, Fault> {
        self.keep(size_of::<Scope>())?;
        self.scopes.push(scope);
        Ok(id(self.scopes.len() - 1))
    }

    /// What a value of the host is now: itself, or the copy that was changed.
    pub(crate) fn current(&self, value: Value<'h>) -> Value<'h> {
        let Value::Object(object) = value else { return value };
        self.copy_of(object).unwrap_or(value)
    }

    pub(crate) fn copy_of(&self, object: &dyn Object) -> Option<Value<'h>> {
        if self.copies.is_empty() {
            return None;
        }
        let address = std::ptr::from_ref(object).cast::<()>();
        self.copies.get(&address).cloned()
    }

    /// A list or map that may be changed: one of the host's is copied, one level of it.
    pub(crate) fn own(&mut self, value: &Value<'h>) -> Result<Value<'h>, Fault> {
        let Value::Object(object) = *value else { return Ok(value.clone()) };
        if let Some(copy) = self.copy_of(object) {
            return Ok(copy);
        }
        let copy = match object.kind() {
            Kind::Opaque => return Ok(value.clone()),
            Kind::List => {
                let kind = if object.json() { ListKind::Json } else { ListKind::List };
                self.room(object.len() * VALUE_BYTES)?;
                let items = (0..object.len()).map(|index| object.at(index).unwrap_or_default());
                let items = items.collect();
                self.list_of(kind, items)?
            }
            Kind::Map => {
                self.spend(object.len())?;
                let entries = object.entries().map(|(name, value)| (Value::Text(name), value));
                let copy = self.map(entries)?;
                if let Value::Map(map) = &copy {
                    self.maps[map.0 as usize].changes = 0; // a loop over it counts from here
                }
                copy
            }
        };
        self.keep(2 * VALUE_BYTES)?;
        self.copies.insert(std::ptr::from_ref(object).cast(), copy.clone());
        Ok(copy)
    }

    /// A list's elements to change, spelled out if they were not.
    pub(crate) fn items(&mut self, list: Id) -> Result<&mut Vec<Value<'h>>, Fault> {
        let index = list.0 as usize;
        if let Some(List { items: Items::Range { len, .. }, .. }) = self.lists.get(index) {
            let len = *len;
            self.keep(len.saturating_mul(VALUE_BYTES))?;
            self.spend(len)?;
            let values = (0..len).map(|at| self.lists[index].at(at).unwrap_or_default()).collect();
            self.lists[index].items = Items::Values(values);
        }
        match self.lists.get_mut(index).map(|list| &mut list.items) {
            Some(Items::Values(values)) => Ok(values),
            _ => Err(Fault::call("the list is gone")),
        }
    }

    /// Makes room for so many more elements.
    pub(crate) fn grow(&mut self, list: Id, more: usize) -> Result<&mut Vec<Value<'h>>, Fault> {
        let (len, capacity) = {
            let items = self.items(list)?;
            (items.len(), items.capacity())
        };
        if len + more > capacity {
            let wanted = (len + more).max(capacity * 2);
            self.keep((wanted - capacity) * VALUE_BYTES)?;
            self.spend(len / 16)?;
            self.items(list)?.reserve_exact(wanted - len);
        }
        if let Some(list) = self.lists.get_mut(list.0 as usize) {
            list.changes = list.changes.wrapping_add(1);
        }
        self.items(list)
    }
}

pub(crate) fn steps_used_up(most: u64) -> Fault {
    Fault::new(ErrorKind::Steps, format!("the template takes over {most} steps"))
}

impl<'h> List<'h> {
    pub(crate) fn len(&self) -> usize {
        match &self.items {
            Items::Values(values) => values.len(),
            Items::Range { len, .. } => *len,
        }
    }

    pub(crate) fn at(&self, index: usize) -> Option<Value<'h>> {
        match &self.items {
            Items::Values(values) => values.get(index).cloned(),
            Items::Range { from, down, len } => (index < *len).then(|| {
                let step = i32::try_from(index).unwrap_or(i32::MAX);
                Value::Int(if *down { from.wrapping_sub(step) } else { from.wrapping_add(step) })
            }),
        }
    }
}
