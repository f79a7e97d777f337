//! So many notes of all tenants together. A tenant's newest are in the place of its own oldest once it has its part of
//! them, so that no tenant's flood drives out another's.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::{Finished, Note};

pub(super) struct Ring {
    max: usize,
    /// Made as they are needed, and then written over.
    notes: Vec<Note>,
    tenants: Vec<Tenant>,
    by_id: HashMap<Box<str>, usize>,
    /// Where one that has more than its part was last found.
    looked_at: usize,
    /// Of tenants that have none any more.
    forgotten_ms: u64,
}

struct Tenant {
    id: Box<str>,
    /// Where its notes are, the oldest first.
    at: VecDeque<usize>,
    /// When the last of those ended that were written over.
    forgotten_ms: u64,
}

impl Ring {
    /// It remembers from this moment on.
    pub(super) fn new(max: usize, since_ms: u64) -> Self {
        Self {
            max,
            // Never moved: memory that no note has come to lie in yet is not used.
            notes: Vec::with_capacity(max),
            tenants: Vec::new(),
            by_id: HashMap::new(),
            looked_at: 0,
            forgotten_ms: since_ms,
        }
    }

    pub(super) fn put(&mut self, tenant: &str, finished: Finished<'_>) {
        let at = self.place(tenant);
        self.notes[at].write(finished);
    }

    pub(super) fn find(&self, tenant: &str, is: impl Fn(&Note) -> bool) -> Option<&Note> {
        let tenant = &self.tenants[*self.by_id.get(tenant)?];
        tenant.at.iter().rev().map(|at| &self.notes[*at]).find(|note| is(note))
    }

    /// Every request of the tenant that ended later is here.
    pub(super) fn since_ms(&self, tenant: &str) -> u64 {
        self.by_id.get(tenant).map_or(self.forgotten_ms, |index| self.tenants[*index].forgotten_ms)
    }

    /// A note of the tenant's, to be written over.
    fn place(&mut self, tenant: &str) -> usize {
        let known = self.by_id.get(tenant).copied();
        let is_full = self.notes.len() == self.max;
        if let Some(index) = known
            && is_full
            && self.tenants[index].at.len() >= self.part(self.tenants.len())
        {
            let at = self.take_oldest(index);
            self.tenants[index].at.push_back(at);
            return at;
        }
        let at = if is_full {
            let count = self.tenants.len() + usize::from(known.is_none());
            let from = self.with_more_than(self.part(count));
            self.take_oldest(from)
        } else {
            self.notes.push(Note::default());
            self.notes.len() - 1
        };
        let index = known.unwrap_or_else(|| self.add(tenant));
        self.tenants[index].at.push_back(at);
        self.drop_empty();
        at
    }

    /// Of so many tenants.
    fn part(&self, tenants: usize) -> usize {
        (self.max / tenants).max(1)
    }

    fn take_oldest(&mut self, from: usize) -> usize {
        let tenant = &mut self.tenants[from];
        let at = tenant.at.pop_front().expect("it has one");
        tenant.forgotten_ms = tenant.forgotten_ms.max(self.notes[at].ended_ms);
        at
    }

    /// A tenant with more notes than its part. Where none has more, as there are more tenants than notes, the next.
    fn with_more_than(&mut self, part: usize) -> usize {
        let count = self.tenants.len();
        let mut order = (0..count).map(|step| (self.looked_at + step) % count);
        let more = order.find(|index| self.tenants[*index].at.len() > part);
        self.looked_at = more.unwrap_or((self.looked_at + 1) % count);
        self.looked_at
    }

    fn add(&mut self, tenant: &str) -> usize {
        let index = self.tenants.len();
        let id: Box<str> = tenant.into();
        self.by_id.insert(id.clone(), index);
        self.tenants.push(Tenant { id, at: VecDeque::new(), forgotten_ms: self.forgotten_ms });
        index
    }

    /// Forgets the tenant that a note was taken from, if it was the last.
    fn drop_empty(&mut self) {
        let index = self.looked_at;
        if self.tenants.get(index).is_none_or(|tenant| !tenant.at.is_empty()) {
            return;
        }
        let gone = self.tenants.swap_remove(index);
        self.by_id.remove(&gone.id);
        self.forgotten_ms = self.forgotten_ms.max(gone.forgotten_ms);
        if let Some(moved) = self.tenants.get(index) {
            self.by_id.insert(moved.id.clone(), index);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::explain::tests::ended;

    const MAX: usize = 12;

    fn put(ring: &mut Ring, tenant: &str, at_ms: u64) {
        ring.put(tenant, ended(Uuid::from_u64_pair(at_ms, 0), at_ms));
    }

    fn held(ring: &Ring, tenant: &str) -> Vec<u64> {
        let Some(index) = ring.by_id.get(tenant) else { return Vec::new() };
        ring.tenants[*index].at.iter().map(|at| ring.notes[*at].ended_ms).collect()
    }

    #[test]
    fn a_tenant_alone_has_all_of_it_and_its_newest_take_the_place_of_its_oldest() {
        let mut ring = Ring::new(MAX, 5);
        assert_eq!(ring.since_ms("acme"), 5);
        for at in 100..130 {
            put(&mut ring, "acme", at);
        }
        assert_eq!(held(&ring, "acme"), (118..130).collect::<Vec<_>>());
        assert_eq!((ring.since_ms("acme"), ring.since_ms("other")), (117, 5));
        assert_eq!(ring.notes.len(), MAX, "no more is ever held");
    }

    #[test]
    fn a_flood_drives_out_its_own_and_nobody_elses() {
        let mut ring = Ring::new(MAX, 0);
        for at in 0..100 {
            put(&mut ring, "flood", at);
        }
        for at in 100..104 {
            put(&mut ring, "quiet", at);
            put(&mut ring, "silent", at);
        }
        for at in 200..1000 {
            put(&mut ring, "flood", at);
        }
        assert_eq!(held(&ring, "quiet"), [100, 101, 102, 103]);
        assert_eq!(held(&ring, "silent"), [100, 101, 102, 103]);
        assert_eq!(held(&ring, "flood"), [996, 997, 998, 999]);
        assert_eq!((ring.since_ms("quiet"), ring.since_ms("flood")), (0, 995));
    }

    #[test]
    fn among_more_tenants_than_notes_the_newest_are_held_and_those_without_any_are_forgotten() {
        let mut ring = Ring::new(MAX, 0);
        for at in 1..=100 {
            put(&mut ring, &at.to_string(), at);
        }
        assert_eq!((ring.tenants.len(), ring.by_id.len()), (MAX, MAX));
        assert_eq!(held(&ring, "100"), [100]);
        for (index, tenant) in ring.tenants.iter().enumerate() {
            assert_eq!((ring.by_id[&tenant.id], tenant.at.len()), (index, 1));
        }
        let gone = (1..=100).find(|at| held(&ring, &at.to_string()).is_empty()).unwrap();
        assert!(ring.since_ms(&gone.to_string()) >= gone, "it is known to be forgotten");
    }
}
