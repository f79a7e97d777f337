//! Buckets by what they belong to, as one thread finds them.

use std::{rc::Rc, sync::Arc};

use hashbrown::{HashTable, hash_table::IntoIter};
use proto::{inquiry::v1::Level, redis_keys};

use super::{
    clients::Asks,
    desk::{Counted, Held},
};

/// A bucket by what it belongs to.
#[derive(Clone, Copy)]
pub(crate) struct Name<'a> {
    pub(super) kind: Kind,
    pub(super) parts: [&'a str; PARTS],
}

#[derive(Clone, Copy, Hash, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Usage plan, key, Api, stage, route.
    KeyRoute,
    /// Usage plan, key.
    Key,
    /// Tenant, Api, stage, the throttle's name, the client's digest.
    Client,
    /// Api, stage, route.
    Route,
    /// Api, stage.
    Stage,
    Tenant,
}

const PARTS: usize = 5;

pub(crate) struct Found<T = Held> {
    hash: u64,
    kind: Kind,
    parts: [Box<str>; PARTS],
    pub(super) held: Arc<T>,
    /// Of a client's bucket: how often Redis may be asked about those of its tenant.
    pub(super) asks: Option<Rc<Asks>>,
}

/// What was found since the last turn, and in the turn before it.
pub(super) struct Generations<T = Held> {
    young: HashTable<Rc<Found<T>>>,
    old: HashTable<Rc<Found<T>>>,
}

impl Name<'_> {
    pub(super) fn redis_key(self) -> String {
        match (self.kind, self.parts) {
            (Kind::KeyRoute, [plan, key, api, stage, route]) => {
                redis_keys::route_throttle(plan, key, api, stage, route)
            }
            (Kind::Key, [plan, key, ..]) => redis_keys::key_throttle(plan, key),
            (Kind::Client, [_, api, stage, throttle, client]) => {
                redis_keys::client_throttle(api, stage, throttle, client)
            }
            (Kind::Route, [api, stage, route, ..]) => {
                redis_keys::stage_route_throttle(api, stage, route)
            }
            (Kind::Stage, [api, stage, ..]) => redis_keys::stage_throttle(api, stage),
            (Kind::Tenant, [tenant, ..]) => redis_keys::tenant_throttle(tenant),
        }
    }
}

impl Found {
    /// A bucket that belongs to nothing here.
    pub(crate) fn alone(redis_key: String) -> Rc<Self> {
        let held = Arc::new(Held::new(redis_key.into(), false));
        Rc::new(Self { hash: 0, kind: Kind::Key, parts: Default::default(), held, asks: None })
    }
}

impl<T> Found<T> {
    pub(super) fn level(&self) -> Level {
        match self.kind {
            Kind::KeyRoute => Level::KeyRoute,
            Kind::Key => Level::Key,
            Kind::Client => Level::Client,
            Kind::Route => Level::Route,
            Kind::Stage => Level::Stage,
            Kind::Tenant => Level::Tenant,
        }
    }

    pub(super) fn new(name: &Name, hash: u64, held: Arc<T>, asks: Option<Rc<Asks>>) -> Rc<Self> {
        Rc::new(Self { hash, kind: name.kind, parts: name.parts.map(Box::from), held, asks })
    }

    fn is(&self, name: &Name) -> bool {
        self.kind == name.kind && self.parts.iter().zip(name.parts).all(|(it, part)| **it == *part)
    }
}

impl<T> Default for Generations<T> {
    fn default() -> Self {
        Self { young: HashTable::new(), old: HashTable::new() }
    }
}

impl<T> Generations<T> {
    /// What was found in the turn before is of this one then.
    pub(super) fn find(&mut self, hash: u64, name: &Name) -> Option<Rc<Found<T>>> {
        if let Some(found) = self.young.find(hash, |found| found.is(name)) {
            return Some(found.clone());
        }
        let found = self.old.find_entry(hash, |found| found.is(name)).ok()?.remove().0;
        self.put(found.clone());
        Some(found)
    }

    /// The same without a call: it stays in its turn.
    pub(super) fn look(&self, hash: u64, name: &Name) -> Option<Rc<Found<T>>> {
        let of = |turn: &HashTable<Rc<Found<T>>>| turn.find(hash, |found| found.is(name)).cloned();
        of(&self.young).or_else(|| of(&self.old))
    }

    pub(super) fn put(&mut self, found: Rc<Found<T>>) {
        self.young.insert_unique(found.hash, found, |found| found.hash);
    }

    /// Found in this turn.
    pub(super) fn young(&self) -> usize {
        self.young.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<Found<T>>> {
        self.young.iter().chain(&self.old)
    }

    /// Gives what nobody asked for in the turn before.
    pub(super) fn turn(&mut self) -> IntoIter<Rc<Found<T>>> {
        let young = std::mem::take(&mut self.young);
        std::mem::replace(&mut self.old, young).into_iter()
    }
}
