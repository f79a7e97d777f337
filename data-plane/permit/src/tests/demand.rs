//! What is allowed is also given, and asked for seldom: here messages arrive at once.

use super::world::World;
use crate::{Enter, IDLE_US, PACE_US, Permits, RENEW_US, TTL_US};

impl World {
    fn arrive(&mut self) {
        while !self.wire.is_empty() {
            let message = self.wire.remove(0);
            let node = match &message {
                super::world::Message::Answer { node, .. } => *node,
                super::world::Message::Question { .. } => usize::MAX,
            };
            if self.deliver(message).is_some_and(|credited| credited.lowered) {
                self.tell(node, Permits::tell);
            }
        }
    }

    /// Whether a call at a node is let in, once the store was asked where it has to be.
    fn enters(&mut self, node: usize) -> bool {
        let before = self.nodes[node].calls.len();
        while self.call(node) == Enter::Dry {
            // The caller tries again by itself when the answer is there.
            self.ask(node);
            self.arrive();
            if self.nodes[node].waiting == 0 {
                break;
            }
        }
        self.nodes[node].calls.len() > before
    }

    fn enter(&mut self, node: usize, calls: usize) -> usize {
        (0..calls).filter(|_| self.enters(node)).count()
    }

    fn end_all(&mut self, node: usize) {
        while !self.nodes[node].calls.is_empty() {
            self.end(node, 0);
            self.arrive();
        }
    }

    /// Time passes, in which each node looks after what it has.
    fn go_on(&mut self, micros: u64) {
        for _ in 0..micros / IDLE_US {
            self.pass(IDLE_US, false);
            for node in 0..self.nodes.len() {
                self.tell(node, Permits::tend);
                self.arrive();
            }
        }
    }
}

fn world(limit: u32, nodes: usize) -> World {
    World::new(limit, 0, &vec![0; nodes])
}

#[test]
fn a_limit_is_given_to_the_last_permit_wherever_its_callers_are() {
    for limit in [1, 2, 5, 7, 100] {
        let mut world = world(limit, 8);
        let entered: usize = (0..200).map(|call| world.enter(call % 8, 1)).sum();
        assert!(entered <= limit as usize);
        // What a node was given beside what it needed goes back, or to its own callers.
        world.go_on(2 * IDLE_US);
        let more: usize = (0..200).map(|call| world.enter(call % 8, 1)).sum();
        assert_eq!(entered + more, limit as usize, "of {limit}");
        if limit < 16 {
            assert_eq!(more, 0, "nothing of a small limit lies anywhere");
        }
    }
}

#[test]
fn a_permit_of_a_small_limit_is_there_for_another_node_as_soon_as_its_call_has_ended() {
    let mut world = world(2, 8);
    assert_eq!(world.enter(0, 2), 2);
    world.end_all(0);
    assert_eq!(world.enter(1, 2), 2);
}

#[test]
fn what_lay_free_goes_back_in_the_second_look_at_the_latest() {
    let mut world = world(100, 2);
    assert_eq!(world.enter(0, 80), 80);
    world.end_all(0);
    let kept = world.enter(1, 100);
    assert!((75..100).contains(&kept), "a part stays for the next callers: {kept}");
    world.go_on(2 * IDLE_US);
    assert_eq!(kept + world.enter(1, 100), 100);
}

#[test]
fn a_permit_that_becomes_free_where_callers_are_refused_serves_the_next_of_them_at_once() {
    let mut world = world(2, 8);
    assert_eq!((world.enter(0, 3), world.enter(1, 1)), (2, 0));
    let asked = world.nodes[0].asked();
    for _ in 0..100 {
        world.end(0, 0);
        assert_eq!((world.enter(0, 1), world.enter(0, 1)), (1, 0));
    }
    assert_eq!(world.nodes[0].asked(), asked);
    // When nobody seeks it any more it goes back.
    world.end_all(0);
    world.go_on(2 * IDLE_US);
    assert_eq!(world.enter(1, 3), 2);
}

#[test]
fn refused_floods_ask_twenty_times_a_second_at_most() {
    let mut world = world(1, 2);
    assert_eq!(world.enter(0, 1), 1);
    let before = world.nodes[1].asked();
    for _ in 0..1000 {
        assert_eq!(world.enter(1, 5), 0);
        world.pass(1000, false);
    }
    let asked = world.nodes[1].asked() - before;
    assert!((15..=1_000_000 / PACE_US).contains(&asked), "{asked} in a second");
}

#[test]
fn calls_that_come_and_go_are_let_in_mostly_without_asking() {
    let mut world = world(200, 4);
    for call in 0..4000 {
        assert_eq!(world.enter(0, 1), 1);
        if world.nodes[0].calls.len() > 20 + call % 7 {
            world.end(0, 0);
            world.end(0, 0);
            world.arrive();
        }
        world.pass(1000, false);
        if call % 100 == 0 {
            world.tell(0, Permits::tend);
            world.arrive();
        }
    }
    let asked = world.nodes[0].asked();
    assert!(asked < 400, "{asked} questions for 4000 calls");
}

#[test]
fn calls_of_any_length_count_for_as_long_as_they_go_on() {
    let mut world = world(3, 3);
    assert_eq!(world.enter(0, 5), 3);
    world.go_on(10 * TTL_US);
    assert_eq!((world.enter(1, 2), world.enter(2, 2)), (0, 0));
    let renewals = world.nodes[0].asked();
    assert!(renewals < 10 * (TTL_US / RENEW_US + 1) + 5, "{renewals} in ten times as long");
    world.end(0, 1);
    world.arrive();
    world.go_on(2 * IDLE_US);
    assert_eq!(world.enter(1, 2), 1);
}

#[test]
fn permits_of_a_node_that_is_killed_are_free_again_when_its_declaration_is_over() {
    let mut world = world(4, 2);
    assert_eq!(world.enter(0, 3), 3);
    world.crash(0);
    assert_eq!(world.enter(1, 4), 1);
    world.go_on(TTL_US + IDLE_US);
    assert_eq!(world.enter(1, 4), 3);
}

#[test]
fn what_goes_on_uncounted_counts_again_once_its_node_is_back_and_nobody_gets_more_meanwhile() {
    for lost in [false, true] {
        let mut world = world(5, 3);
        assert_eq!(world.enter(0, 5), 5);
        if lost {
            world.forget(None);
        } else {
            world.pass(TTL_US + 1, false); // it could not renew
        }
        assert_eq!(world.enter(1, 9), 5);
        world.renew(0);
        assert_eq!(world.seen_lost > 0, lost);
        assert_eq!((world.in_progress(), world.enter(2, 1)), (10, 0));
        for _ in 0..5 {
            world.end(1, 0);
            world.arrive();
            world.go_on(2 * IDLE_US);
            assert_eq!((world.enter(2, 1), world.enter(1, 1), world.enter(0, 1)), (0, 0, 0));
        }
        world.end(0, 0);
        world.arrive();
        world.go_on(2 * IDLE_US);
        assert_eq!((world.enter(2, 2), world.in_progress()), (1, 5));
    }
}

#[test]
fn a_limit_that_is_lowered_lets_nobody_in_until_enough_has_ended() {
    let mut world = world(10, 2);
    assert_eq!((world.enter(0, 4), world.enter(1, 4)), (4, 4));
    world.limit = 5;
    world.end(0, 0);
    world.arrive();
    assert_eq!(world.enter(0, 1), 0, "7 are in progress");
    world.end_all(1);
    world.go_on(2 * IDLE_US);
    assert_eq!((world.enter(1, 9), world.in_progress()), (2, 5));
    world.limit = 6;
    assert_eq!((world.enter(0, 9), world.in_progress()), (1, 6), "and one that is raised, too");
}

#[test]
fn calls_let_in_beside_the_store_are_counted_when_it_can_be_asked_again() {
    let mut world = world(6, 2);
    let beside = |world: &mut World, node: usize| {
        let entered = world.nodes[node].permits.enter_beside(3);
        world.nodes[node].calls.extend(entered.then_some(true));
        entered
    };
    assert_eq!([0; 4].map(|_| beside(&mut world, 0)), [true, true, true, false]);
    world.go_on(2 * IDLE_US);
    assert_eq!(world.enter(1, 9), 3);
    world.end_all(0);
    world.go_on(2 * IDLE_US);
    assert_eq!(world.enter(1, 9), 3);
}
