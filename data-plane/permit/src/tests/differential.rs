//! The model gives the script's answers, one by one, in a real Redis: `REDIS_URL`, or the one on port 6399.

use std::cell::RefCell;

use proptest::{collection::vec, prelude::*, test_runner::TestCaseError};
use redis::{Connection, Script};

use super::model::Store;
use crate::{
    Declaration, TTL_US,
    script::{CLOCK, DECLARE},
};

/// The script as it is, but with the last two arguments as the clock. Only here: what nodes send has no such place.
fn on_a_clock_of_ours(script: &str) -> Script {
    assert_eq!(script.matches(CLOCK).count(), 1, "the clock is read once");
    Script::new(&script.replace(CLOCK, "{ARGV[#ARGV - 1], ARGV[#ARGV]}"))
}

#[derive(Clone, Debug)]
enum Op {
    Declare {
        node: u8,
        number: Number,
        holds: u32,
        spare: u32,
        waiting: u32,
    },
    /// µs; the clock may go back.
    Pass(i64),
    Configure(u32),
    LoseMemory,
}

#[derive(Clone, Copy, Debug)]
enum Number {
    Next,
    Last,
    Old,
}

fn limit() -> impl Strategy<Value = u32> {
    prop_oneof![1_u32..5, 1_u32..60, Just(1_000_000)]
}

fn op() -> impl Strategy<Value = Op> {
    let number =
        prop_oneof![8 => Just(Number::Next), 2 => Just(Number::Last), 1 => Just(Number::Old)];
    let few = || prop_oneof![Just(0_u32), 0_u32..20, Just(2_000_000)];
    let declare =
        (0_u8..3, number, few(), few(), few()).prop_map(|(node, number, holds, spare, waiting)| {
            Op::Declare { node, number, holds, spare, waiting }
        });
    let pass = prop_oneof![0_i64..2000, 0_i64..15_000_000, -20_000_000_i64..0];
    prop_oneof![
        12 => declare,
        6 => pass.prop_map(Op::Pass),
        1 => limit().prop_map(Op::Configure),
        1 => Just(Op::LoseMemory),
    ]
}

fn run(redis: &mut Connection, mut limit: u32, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let key = format!("test:{{{}}}", uuid::Uuid::now_v7());
    let declare = on_a_clock_of_ours(DECLARE);
    let (mut store, mut now, mut numbers) = (Store::default(), 1_800_000_000_123_456_u64, [0; 3]);
    for op in ops {
        match op {
            Op::Declare { node, number, holds, spare, waiting } => {
                let last = &mut numbers[usize::from(node)];
                *last += u64::from(matches!(number, Number::Next));
                let number = if matches!(number, Number::Old) { *last / 2 } else { *last };
                let (name, nodes) = (format!("node{node}"), 3_u32);
                let told = Declaration::for_test(number, limit, [holds, waiting + spare, waiting]);
                let mut call = declare.key(&key);
                call.arg(limit).arg(&name).arg(number).arg(told.holds).arg(told.want);
                call.arg(told.waiting).arg(nodes).arg(TTL_US);
                call.arg(now / 1_000_000).arg(now % 1_000_000);
                let theirs: [i64; 3] = call.invoke(redis).expect("Redis");
                let ours = store.declare(now, &name, &told, (nodes, TTL_US));
                prop_assert_eq!(ours, theirs, "{:?} by {:?}", told, store);
            }
            Op::Pass(micros) => now = now.saturating_add_signed(micros),
            Op::Configure(other) => limit = other,
            Op::LoseMemory => {
                let _: i64 = redis::cmd("DEL").arg(&key).query(redis).expect("Redis");
                store = Store::default();
            }
        }
    }
    let _: i64 = redis::cmd("DEL").arg(&key).query(redis).expect("Redis");
    Ok(())
}

#[test]
fn the_model_answers_as_the_script_does() {
    let url = std::env::var("REDIS_URL");
    let url = url.unwrap_or_else(|_| "redis://127.0.0.1:6399/5".to_owned());
    let redis = redis::Client::open(url).expect("a URL").get_connection().expect("Redis");
    let redis = RefCell::new(redis);
    let mut runner = super::world::runner(300);
    let cases = (limit(), vec(op(), 1..60));
    runner.run(&cases, |(limit, ops)| run(&mut redis.borrow_mut(), limit, ops)).unwrap();
}
