//! Whatever happens in whatever order: no window sees more than rate · T + burst.

use proptest::{collection::vec, prelude::*, test_runner::TestCaseError};

use super::world::{World, runner};
use crate::{Bucket, Lease, Take};

#[derive(Clone, Debug)]
enum Op {
    Calls {
        node: usize,
        calls: u32,
    },
    Pass(u64),
    /// A message arrives: the first, or any other.
    Arrive(usize),
    /// It arrives, and will again.
    Repeat(usize),
    Lose(usize),
    /// A node sends the same question again.
    Resend(usize),
    GiveUp(usize),
    /// A call that has its token is refused by something else, or is not.
    Decide {
        node: usize,
        token: usize,
        refused: bool,
    },
    DecideAll(usize),
    Background(usize),
    Report(usize),
    ReturnIdle(usize),
    Crash(usize),
    /// Redis' clock, in µs.
    JumpBack(u64),
    JumpForward(u64),
    Forget,
}

fn op(faults: bool) -> impl Strategy<Value = Op> {
    let node = || 0_usize..3;
    let place = || prop_oneof![3 => Just(0_usize), 1 => 0_usize..20];
    let pass = prop_oneof![0_u64..1000, 0_u64..200_000, 900_000_u64..1_100_000, 0_u64..3_000_000];
    let calls = prop_oneof![1_u32..4, 1_u32..40];
    prop_oneof![
        10 => (node(), calls).prop_map(|(node, calls)| Op::Calls { node, calls }),
        8 => pass.prop_map(Op::Pass),
        16 => place().prop_map(Op::Arrive),
        2 => place().prop_map(Op::Repeat),
        1 => place().prop_map(Op::Lose),
        1 => node().prop_map(Op::Resend),
        1 => node().prop_map(Op::GiveUp),
        5 => (node(), 0_usize..9, any::<bool>())
            .prop_map(|(node, token, refused)| Op::Decide { node, token, refused }),
        5 => node().prop_map(Op::DecideAll),
        3 => node().prop_map(Op::Background),
        3 => node().prop_map(Op::Report),
        3 => node().prop_map(Op::ReturnIdle),
        1 => node().prop_map(Op::Crash),
        1 => (0_u64..4_000_000).prop_map(Op::JumpBack),
        1 => (0_u64..4_000_000)
            .prop_map(move |micros| if faults { Op::JumpForward(micros) } else { Op::Pass(micros) }),
        1 => Just(if faults { Op::Forget } else { Op::Arrive(0) }),
    ]
}

fn case(faults: bool) -> impl Strategy<Value = (Bucket, i64, [i64; 3], Vec<Op>)> {
    let rate = prop_oneof![Just(0.0), 0.1..20.0, 20.0..1000.0];
    let burst = prop_oneof![1_u32..4, 1_u32..40];
    let bucket = (rate, burst).prop_map(|(rate, burst)| Bucket { rate, burst });
    let drift = || -4000_i64..4000;
    (bucket, drift(), [drift(), drift(), drift()], vec(op(faults), 1..150))
}

fn run(world: &mut World, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let burst = f64::from(world.bucket.burst);
    for op in ops {
        match op {
            Op::Calls { node, calls } => {
                for _ in 0..calls {
                    if world.call(node) == Take::Dry {
                        let waiting = world.nodes[node].waiting;
                        world.ask(node, |lease, now, number| lease.ask(now, number, waiting));
                    }
                }
            }
            Op::Pass(micros) => world.time += micros,
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
            Op::Decide { node, token, refused } => world.decide(node, token, refused),
            Op::DecideAll(node) => world.decide_all(node),
            Op::Background(node) => {
                world.ask(node, |lease, now, number| lease.ask(now, number, 0));
            }
            Op::Report(node) => world.ask(node, Lease::report),
            Op::ReturnIdle(node) => world.ask(node, Lease::return_idle),
            Op::Crash(node) => world.crash(node),
            Op::JumpBack(micros) => world.redis.start -= micros,
            Op::JumpForward(micros) => {
                world.redis.start += micros;
                world.faults += 1;
            }
            Op::Forget => world.forget(),
            Op::Arrive(_) | Op::Repeat(_) | Op::Lose(_) => {}
        }
        prop_assert!(world.store.sum() <= burst, "{} of {burst} in the store", world.store.sum());
    }
    let excess = world.excess();
    prop_assert!(excess < 1e-6, "{excess} beyond rate · T + burst");
    Ok(())
}

fn check(faults: bool, cases: u32) {
    let (mut admitted, mut lost) = (0, 0);
    let sums = std::cell::RefCell::new((&mut admitted, &mut lost));
    let outcome = runner(cases).run(&case(faults), |(bucket, redis, nodes, ops)| {
        let mut world = World::new(bucket, redis, &nodes);
        run(&mut world, ops)?;
        let (admitted, lost) = &mut *sums.borrow_mut();
        **admitted += world.count();
        **lost += world.seen_lost;
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    println!("{admitted} calls admitted in {cases} histories, {lost} losses seen");
    assert!(admitted > usize::try_from(cases).expect("few"), "hardly anything was admitted");
}

#[test]
fn no_interleaving_admits_more_than_the_rate_and_the_burst() {
    check(false, 3_000);
}

#[test]
fn each_loss_of_redis_memory_or_jump_of_its_clock_adds_at_most_one_burst() {
    check(true, 3_000);
}
