//! The model gives the script's answers, one by one, in a real Redis: `REDIS_URL`, or the one on port 6399.

use std::cell::RefCell;

use proptest::{collection::vec, prelude::*, test_runner::TestCaseError};
use redis::{Connection, Script};

use super::model::Store;
use crate::{
    Ask, Bucket,
    script::{CLOCK, EXCHANGE, GIVE_BACK, SETTLE, TAKE},
};

/// The script as it is, but with the last two arguments as the clock. Only here: what nodes send has no such place.
fn on_a_clock_of_ours(script: &str) -> Script {
    assert_eq!(script.matches(CLOCK).count(), 1, "the clock is read once");
    Script::new(&script.replace(CLOCK, "{ARGV[#ARGV - 1], ARGV[#ARGV]}"))
}

#[derive(Clone, Debug)]
enum Op {
    Exchange {
        node: u8,
        number: Number,
        unspent: u32,
        back: u32,
        want: u32,
        waiting: u32,
        dry: u64,
    },
    Take,
    Settle(u32),
    GiveBack,
    /// µs; the clock may go back.
    Pass(i64),
    Configure(Bucket),
    LoseMemory,
}

#[derive(Clone, Copy, Debug)]
enum Number {
    Next,
    Last,
    Old,
}

fn bucket() -> impl Strategy<Value = Bucket> {
    let rate = prop_oneof![Just(0.0), 0.001..5.0, 5.0..5000.0, Just(1e-300), Just(1e12)];
    let burst = prop_oneof![0_u32..4, 1_u32..50, Just(100_000)];
    (rate, burst).prop_map(|(rate, burst)| Bucket { rate, burst })
}

fn op() -> impl Strategy<Value = Op> {
    let number =
        prop_oneof![8 => Just(Number::Next), 2 => Just(Number::Last), 1 => Just(Number::Old)];
    let few = || prop_oneof![Just(0_u32), 0_u32..20, Just(100_000)];
    let dry = prop_oneof![Just(0_u64), 0_u64..2_000_000];
    let exchange = (0_u8..3, number, few(), few(), few(), few(), dry).prop_map(
        |(node, number, unspent, back, want, waiting, dry)| Op::Exchange {
            node,
            number,
            unspent,
            back,
            want,
            waiting,
            dry,
        },
    );
    let pass = prop_oneof![0_i64..2000, 0_i64..1_500_000, Just(3_600_000_000), -2_000_000_i64..0];
    prop_oneof![
        12 => exchange,
        2 => Just(Op::Take),
        1 => prop_oneof![1_u32..30, Just(200_000)].prop_map(Op::Settle),
        1 => Just(Op::GiveBack),
        8 => pass.prop_map(Op::Pass),
        1 => bucket().prop_map(Op::Configure),
        1 => Just(Op::LoseMemory),
    ]
}

fn run(redis: &mut Connection, mut bucket: Bucket, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let key = format!("test:{{{}}}", uuid::Uuid::now_v7());
    let (exchange, take) = (on_a_clock_of_ours(EXCHANGE), on_a_clock_of_ours(TAKE));
    let settle = on_a_clock_of_ours(SETTLE);
    let (mut store, mut now, mut numbers) = (Store::default(), 1_800_000_000_123_456_u64, [0; 3]);
    let ttl = 1_000_000_u64;
    for op in ops {
        let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
        match op {
            Op::Exchange { node, number, unspent, back, want, waiting, dry } => {
                let last = &mut numbers[usize::from(node)];
                *last += u64::from(matches!(number, Number::Next));
                let number = if matches!(number, Number::Old) { *last / 2 } else { *last };
                let (name, nodes) = (format!("node{node}"), 3_u64);
                let mut call = exchange.key(&key);
                call.arg(bucket.rate).arg(bucket.burst).arg(&name).arg(number).arg(unspent);
                call.arg(back).arg(want).arg(waiting).arg(nodes).arg(dry).arg(ttl);
                let theirs: [i64; 6] = call.arg(seconds).arg(micros).invoke(redis).expect("Redis");
                let ask = Ask::for_test(number, (unspent, back), (want, waiting), dry);
                let ours = store.exchange(now, bucket, &name, (&ask, nodes, ttl));
                prop_assert_eq!(ours, theirs, "{:?} {:?} by {:?}", bucket, ask, store);
            }
            Op::Take => {
                let mut call = take.key(&key);
                call.arg(bucket.rate).arg(bucket.burst).arg(seconds).arg(micros);
                let [taken, left, _, _]: [i64; 4] = call.invoke(redis).expect("Redis");
                prop_assert_eq!(store.take(now, bucket), [taken, left]);
            }
            Op::Settle(made) => {
                let mut call = settle.key(&key);
                call.arg(bucket.rate).arg(bucket.burst).arg(made).arg(seconds).arg(micros);
                let _: i64 = call.invoke(redis).expect("Redis");
                store.settle(now, bucket, made);
            }
            Op::GiveBack => {
                let _: i64 = Script::new(GIVE_BACK)
                    .key(&key)
                    .arg(bucket.burst)
                    .invoke(redis)
                    .expect("Redis");
                store.give_back(bucket);
            }
            Op::Pass(micros) => now = now.saturating_add_signed(micros),
            Op::Configure(other) => bucket = other,
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
    let cases = (bucket(), vec(op(), 1..60));
    runner.run(&cases, |(bucket, ops)| run(&mut redis.borrow_mut(), bucket, ops)).unwrap();
}
