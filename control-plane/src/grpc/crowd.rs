//! Peers of whom nobody knows yet whether they are nodes: so many in all, so many from one neighbourhood. For one more
//! the oldest is given up: whoever means it has shown a certificate long before its turn comes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

pub(super) struct Crowd {
    all_max: usize,
    of_one_max: usize,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    next: u64,
    /// In the order in which they came.
    all: BTreeMap<u64, Member>,
    /// Those of each neighbourhood.
    by_one: HashMap<String, BTreeSet<u64>>,
}

struct Member {
    who: Option<String>,
    given_up: CancellationToken,
}

/// One peer's place among them; its drop makes room.
pub(super) struct Place {
    crowd: Arc<Crowd>,
    number: u64,
    /// Another got the place.
    pub(super) given_up: CancellationToken,
}

impl Crowd {
    pub(super) fn new(all_max: usize, of_one_max: usize) -> Arc<Self> {
        Arc::new(Self { all_max, of_one_max, inside: Mutex::default() })
    }

    /// `who`: the neighbourhood; none for a proxy, behind which many are.
    pub(super) fn enter(self: &Arc<Self>, who: Option<String>) -> Place {
        let given_up = CancellationToken::new();
        let mut inside = self.inside();
        let of_one = who.as_ref().and_then(|who| inside.by_one.get(who));
        let oldest_of_one = of_one
            .filter(|numbers| numbers.len() >= self.of_one_max)
            .and_then(|numbers| numbers.first().copied());
        let is_full = inside.all.len() >= self.all_max;
        let oldest = is_full.then(|| inside.all.keys().next().copied()).flatten();
        if let Some(gone) = oldest_of_one.or(oldest).and_then(|number| inside.remove(number)) {
            gone.given_up.cancel();
        }
        let number = inside.next;
        inside.next += 1;
        if let Some(who) = &who {
            inside.by_one.entry(who.clone()).or_default().insert(number);
        }
        inside.all.insert(number, Member { who, given_up: given_up.clone() });
        Place { crowd: self.clone(), number, given_up }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn remove(&mut self, number: u64) -> Option<Member> {
        let member = self.all.remove(&number)?;
        if let Some(who) = &member.who
            && let Some(numbers) = self.by_one.get_mut(who)
        {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_one.remove(who);
            }
        }
        Some(member)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.inside().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given_up(places: &[Place]) -> Vec<bool> {
        places.iter().map(|place| place.given_up.is_cancelled()).collect()
    }

    #[test]
    fn one_neighbourhood_beyond_its_share_loses_its_own_oldest() {
        let crowd = Crowd::new(10, 2);
        let who = |name: &str| Some(name.to_owned());
        let other = crowd.enter(who("b"));
        let places: Vec<_> = (0..4).map(|_| crowd.enter(who("a"))).collect();
        assert_eq!(given_up(&places), [true, true, false, false]);
        assert!(!other.given_up.is_cancelled());
    }

    #[test]
    fn a_proxy_has_no_share_and_where_all_is_full_the_oldest_goes() {
        let crowd = Crowd::new(3, 1);
        let places: Vec<_> = (0..5).map(|_| crowd.enter(None)).collect();
        assert_eq!(given_up(&places), [true, true, false, false, false]);
        let next = crowd.enter(Some("a".to_owned()));
        assert_eq!(given_up(&places), [true, true, true, false, false]);
        assert!(!next.given_up.is_cancelled());
    }

    #[test]
    fn who_leaves_makes_room_and_leaves_nothing_behind() {
        let crowd = Crowd::new(2, 2);
        let places: Vec<_> = (0..5).map(|_| crowd.enter(Some("a".to_owned()))).collect();
        drop(places);
        let inside = crowd.inside();
        assert!(inside.all.is_empty() && inside.by_one.is_empty());
    }
}
