//! A map that keeps the order of its entries, as Java's `LinkedHashMap`.

use std::hash::{BuildHasher, Hasher, RandomState};

use hashbrown::HashTable;

use crate::value::{Text, Value};

/// Up to this many entries are looked through one by one.
const PLAIN_MAX: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct OrderedMap<'h> {
    entries: Vec<(Value<'h>, Value<'h>)>,
    index: Option<Index>,
}

#[derive(Debug)]
struct Index {
    /// Keys come from strangers, so it is keyed by a random number.
    random: RandomState,
    table: HashTable<u32>,
}

/// Whether two keys are one: by kind and value; lists and maps only as themselves.
pub(crate) fn same_key(left: &Value<'_>, right: &Value<'_>) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) | (Value::Math, Value::Math) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(left), Value::Int(right)) => left == right,
        (Value::Long(left), Value::Long(right)) => left == right,
        (Value::Big(left), Value::Big(right)) => left == right,
        (Value::Double(left), Value::Double(right)) => left.to_bits() == right.to_bits(),
        (Value::Text(left), Value::Text(right)) => **left == **right,
        (Value::List(left), Value::List(right))
        | (Value::Map(left), Value::Map(right))
        | (Value::Entry(left), Value::Entry(right))
        | (Value::Iterator(left), Value::Iterator(right))
        | (Value::Block(left), Value::Block(right))
        | (Value::Loop(left), Value::Loop(right)) => left == right,
        (Value::Object(left), Value::Object(right)) => std::ptr::addr_eq(*left, *right),
        _ => false,
    }
}

fn hash(random: &RandomState, key: &Value<'_>) -> u64 {
    let mut hasher = random.build_hasher();
    match key {
        Value::Text(text) => hasher.write(text.as_bytes()),
        Value::Bool(value) => hasher.write_u8(u8::from(*value)),
        Value::Int(value) => hasher.write_i32(*value),
        Value::Long(value) => hasher.write_i64(*value),
        Value::Big(value) => hasher.write_i128(**value),
        Value::Double(value) => hasher.write_u64(value.to_bits()),
        Value::List(id)
        | Value::Map(id)
        | Value::Entry(id)
        | Value::Iterator(id)
        | Value::Block(id)
        | Value::Loop(id) => hasher.write_u32(id.0),
        Value::Object(object) => {
            hasher.write_usize(std::ptr::from_ref(*object).cast::<()>().addr());
        }
        Value::Null | Value::Math => {}
    }
    hasher.finish()
}

impl<'h> OrderedMap<'h> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn entry(&self, index: usize) -> Option<&(Value<'h>, Value<'h>)> {
        self.entries.get(index)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Value<'h>, Value<'h>)> {
        self.entries.iter()
    }

    fn find(&self, key: &Value<'_>) -> Option<usize> {
        match &self.index {
            None => self.entries.iter().position(|(known, _)| same_key(known, key)),
            Some(index) => index
                .table
                .find(hash(&index.random, key), |at| same_key(&self.entries[*at as usize].0, key))
                .map(|at| *at as usize),
        }
    }

    pub(crate) fn get(&self, key: &Value<'_>) -> Option<&Value<'h>> {
        self.find(key).map(|at| &self.entries[at].1)
    }

    pub(crate) fn get_str(&self, key: &str) -> Option<&Value<'h>> {
        self.get(&Value::Text(Text::Borrowed(key)))
    }

    /// Gives what was there. A key that is there keeps its place.
    pub(crate) fn insert(&mut self, key: Value<'h>, value: Value<'h>) -> Option<Value<'h>> {
        if let Some(at) = self.find(&key) {
            return Some(std::mem::replace(&mut self.entries[at].1, value));
        }
        self.entries.push((key, value));
        let at = self.entries.len() - 1;
        if self.index.is_some() {
            self.note(at);
        } else if self.entries.len() > PLAIN_MAX {
            self.rebuild();
        }
        None
    }

    fn note(&mut self, at: usize) {
        let Some(Index { random, table }) = &mut self.index else { return };
        let entries = &self.entries;
        let value = u32::try_from(at).unwrap_or(u32::MAX);
        table.insert_unique(hash(random, &entries[at].0), value, |at| {
            hash(random, &entries[*at as usize].0)
        });
    }

    fn rebuild(&mut self) {
        let table = HashTable::with_capacity(self.entries.len());
        self.index = Some(Index { random: RandomState::new(), table });
        for at in 0..self.entries.len() {
            self.note(at);
        }
    }

    /// Takes as long as the map has entries.
    pub(crate) fn remove(&mut self, key: &Value<'_>) -> Option<Value<'h>> {
        let at = self.find(key)?;
        let (_, value) = self.entries.remove(at);
        if self.index.is_some() {
            if self.entries.len() > PLAIN_MAX { self.rebuild() } else { self.index = None }
        }
        Some(value)
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.index = None;
    }
}
