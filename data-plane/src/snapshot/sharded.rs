//! A map whose copies share what did not change.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash},
    sync::Arc,
};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

const SHARDS: usize = 256;

type Shard<K, V> = HashMap<K, V, FixedState>;

/// A hash map in 256 parts. A copy costs 256 counts; a change to a copy copies one part, so that one key
/// among a million is replaced in well under a millisecond, off the request threads.
pub(crate) struct Sharded<K, V> {
    shards: Vec<Arc<Shard<K, V>>>,
}

impl<K, V> Clone for Sharded<K, V> {
    fn clone(&self) -> Self {
        Self { shards: self.shards.clone() }
    }
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        let empty = Arc::new(Shard::with_hasher(FixedState::default()));
        Self { shards: vec![empty; SHARDS] }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Sharded<K, V> {
    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.shards[shard(key)].get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        Arc::make_mut(&mut self.shards[shard(&key)]).insert(key, value)
    }

    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let shard = &mut self.shards[shard(key)];
        // What is not there must not cost a copy.
        if shard.contains_key(key) { Arc::make_mut(shard).remove(key) } else { None }
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(|shard| shard.values())
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }
}

fn shard<Q: Hash + ?Sized>(key: &Q) -> usize {
    // Another seed than the maps' own, or every shard's map would use a 256th of its buckets' hash bits.
    let hash = FixedState::with_seed(7).hash_one(key);
    usize::try_from(hash % SHARDS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_changes_alone_and_shares_the_rest() {
        let mut first = Sharded::default();
        for key in 0..1000 {
            first.insert(key, key);
        }
        let mut second = first.clone();
        second.insert(1, -1);
        second.remove(&2);
        assert_eq!((first.get(&1), first.get(&2)), (Some(&1), Some(&2)));
        assert_eq!((second.get(&1), second.get(&2)), (Some(&-1), None));
        assert_eq!((first.len(), second.len()), (1000, 999));
        let same = first.shards.iter().zip(&second.shards).filter(|(a, b)| Arc::ptr_eq(a, b));
        assert!(same.count() >= SHARDS - 2);
    }
}
