//! Whatever happens in whatever order: no more calls are in progress than the limit says.

use std::cell::RefCell;

use proptest::{collection::vec, prelude::*, test_runner::TestCaseError};

use super::world::{World, runner};
use crate::{Enter, Permits};

#[derive(Clone, Debug)]
enum Op {
    Calls {
        node: usize,
        calls: u32,
    },
    /// One of a node's calls ends.
    End {
        node: usize,
        call: usize,
    },
    EndAll(usize),
    Pass(u64),
    /// A message arrives: the first, or any other.
    Arrive(usize),
    /// It arrives, and will again.
    Repeat(usize),
    Lose(usize),
    /// A node sends the same question again.
    Resend(usize),
    GiveUp(usize),
    Tend(usize),
    Settle(usize),
    GiveBack(usize),
    Crash(usize),
    /// Redis' clock, in µs.
    JumpBack(u64),
    JumpForward(u64),
    Forget,
}

/// What may happen beside calls, messages and what becomes of them.
#[derive(Clone, Copy, PartialEq)]
enum Faults {
    /// Nodes renew in time.
    None,
    /// They may come too late.
    Late,
    /// They may, and Redis may lose its memory or jump forward.
    Loss,
}

fn op(faults: Faults) -> impl Strategy<Value = Op> {
    let node = || 0_usize..3;
    let place = || prop_oneof![2 => Just(0_usize), 2 => 0_usize..20];
    let pass = prop_oneof![0_u64..1000, 0_u64..200_000, 0_u64..200_000, 0_u64..12_000_000];
    let calls = prop_oneof![3 => 1_u32..4, 1 => 1_u32..30];
    prop_oneof![
        12 => (node(), calls).prop_map(|(node, calls)| Op::Calls { node, calls }),
        6 => (node(), 0_usize..40).prop_map(|(node, call)| Op::End { node, call }),
        1 => node().prop_map(Op::EndAll),
        6 => pass.prop_map(Op::Pass),
        16 => place().prop_map(Op::Arrive),
        2 => place().prop_map(Op::Repeat),
        1 => place().prop_map(Op::Lose),
        1 => node().prop_map(Op::Resend),
        4 => node().prop_map(Op::GiveUp),
        4 => node().prop_map(Op::Tend),
        2 => node().prop_map(Op::Settle),
        1 => node().prop_map(Op::GiveBack),
        1 => node().prop_map(Op::Crash),
        1 => (0_u64..20_000_000).prop_map(Op::JumpBack),
        1 => (0_u64..20_000_000).prop_map(move |micros| {
            if faults == Faults::Loss { Op::JumpForward(micros) } else { Op::Pass(micros / 10) }
        }),
        1 => Just(if faults == Faults::Loss { Op::Forget } else { Op::Arrive(0) }),
    ]
}

fn case(faults: Faults) -> impl Strategy<Value = (u32, i64, [i64; 3], Vec<Op>)> {
    let limit = prop_oneof![1_u32..4, 1_u32..20];
    let drift = || -4000_i64..4000;
    (limit, drift(), [drift(), drift(), drift()], vec(op(faults), 1..150))
}

fn run(world: &mut World, faults: Faults, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let limit = world.limit as usize;
    let mut losses = 0;
    for op in ops {
        match op {
            Op::Calls { node, calls } => {
                for _ in 0..calls {
                    if world.call(node) == Enter::Dry {
                        world.ask(node);
                    }
                }
            }
            Op::End { node, call } => world.end(node, call),
            Op::EndAll(node) => {
                while !world.nodes[node].calls.is_empty() {
                    world.end(node, 0);
                }
            }
            Op::Pass(micros) => world.pass(micros, faults == Faults::None),
            Op::Arrive(any) | Op::Repeat(any) | Op::Lose(any) if !world.wire.is_empty() => {
                let any = any % world.wire.len();
                let message = match op {
                    Op::Repeat(_) => world.wire[any].clone(),
                    _ => world.wire.remove(any),
                };
                if !matches!(op, Op::Lose(_)) {
                    world.deliver(message);
                }
            }
            Op::Resend(node) => world.send(node),
            Op::GiveUp(node) => world.give_up(node),
            Op::Tend(node) => world.tell(node, Permits::tend),
            Op::Settle(node) => world.tell(node, Permits::settle),
            Op::GiveBack(node) => world.tell(node, Permits::give_back),
            Op::Crash(node) => world.crash(node),
            Op::JumpBack(micros) => world.redis.start -= micros,
            Op::JumpForward(micros) => {
                world.forget(Some(micros));
                losses += 1;
            }
            Op::Forget => {
                world.forget(None);
                losses += 1;
            }
            Op::Arrive(_) | Op::Repeat(_) | Op::Lose(_) => {}
        }
        let (all, counted) = (world.in_progress(), world.counted());
        if faults == Faults::None {
            prop_assert!(all <= limit, "{all} in progress of {limit}");
        }
        prop_assert!(counted <= limit * (1 + losses), "{counted} counted of {limit}");
    }
    Ok(())
}

fn check(faults: Faults, cases: u32) {
    let sums = RefCell::new((0, 0, 0));
    let outcome = runner(cases).run(&case(faults), |(limit, redis, nodes, ops)| {
        let mut world = World::new(limit, redis, &nodes);
        run(&mut world, faults, ops)?;
        let (admitted, refused, lost) = &mut *sums.borrow_mut();
        *admitted += world.admitted;
        *refused += world.refused;
        *lost += world.seen_lost;
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let (admitted, refused, lost) = *sums.borrow();
    println!(
        "{admitted} calls admitted and {refused} refused in {cases} histories, {lost} losses seen"
    );
    let cases = usize::try_from(cases).expect("few");
    assert!(admitted > cases && refused > cases, "hardly anything was admitted, or refused");
    match faults {
        Faults::None => assert_eq!(lost, 0, "nothing was lost"),
        Faults::Late => {} // what is under way for so long that the store forgets looks like one
        Faults::Loss => assert!(lost > 0, "losses are seen"),
    }
}

#[test]
fn no_interleaving_has_more_calls_in_progress_than_the_limit_while_nodes_renew_in_time() {
    check(Faults::None, 1_500);
}

#[test]
fn calls_of_a_node_that_renews_too_late_are_the_only_ones_beyond_the_limit() {
    check(Faults::Late, 1_500);
}

#[test]
fn each_loss_of_redis_memory_or_jump_of_its_clock_adds_at_most_the_limit() {
    check(Faults::Loss, 1_500);
}
