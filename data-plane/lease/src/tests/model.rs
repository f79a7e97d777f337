//! The rules of `script.rs` once more, in Rust and in the same order, so that a test can run them on any clock.

use std::collections::BTreeMap;

use crate::{Answer, Ask, Bucket};

/// The store: one bucket. Losing its memory is making a new one.
#[derive(Clone, Debug, Default)]
pub(super) struct Store {
    kept: Option<Kept>,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    tokens: f64,
    at: u64,
    own: u64,
    out: u64,
    /// When the first of the leases ends, or earlier; 0: there was none.
    first: u64,
    leases: BTreeMap<String, Record>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    number: u64,
    mine: u64,
    to: u64,
    granted: u64,
    held: u64,
}

impl Kept {
    fn refill(&mut self, to: u64, bucket: Bucket, held: u64) {
        if to > self.own {
            self.tokens += float(to - self.own) * bucket.rate / 1e6;
            self.own = to;
        }
        self.tokens = self.tokens.min((f64::from(bucket.burst) - float(held)).max(0.0));
    }
}

impl Store {
    fn look(&mut self, now: u64, bucket: Bucket) -> (Kept, u64) {
        let mut kept = self.kept.take().unwrap_or_else(|| Kept {
            tokens: f64::from(bucket.burst),
            at: now,
            ..Kept::default()
        });
        let ends = kept.own + now.saturating_sub(kept.at);
        if kept.first > 0 && kept.first <= ends {
            let leases = std::mem::take(&mut kept.leases);
            let (ended, going): (Vec<_>, Vec<_>) =
                leases.into_iter().partition(|(_, lease)| lease.to <= ends);
            kept.leases = going.into_iter().collect();
            kept.first = kept.leases.values().map(|lease| lease.to).min().unwrap_or(0);
            let mut ended: Vec<_> = ended.into_iter().map(|(_, lease)| lease).collect();
            ended.sort_by_key(|lease| lease.to);
            for lease in ended {
                kept.refill(lease.to, bucket, kept.out);
                kept.out -= lease.mine;
            }
        }
        kept.at = now;
        (kept, ends)
    }

    /// [`EXCHANGE`](crate::script::EXCHANGE) at this time of Redis' clock.
    pub(super) fn exchange(
        &mut self,
        now: u64,
        bucket: Bucket,
        node: &str,
        (ask, nodes, ttl): (&Ask, u64, u64),
    ) -> [i64; 6] {
        let (mut kept, ends) = self.look(now, bucket);
        let record = kept.leases.get(node).copied();
        let mine;
        let (granted, held) = match record {
            Some(record) if ask.number <= record.number => {
                kept.refill(ends, bucket, kept.out);
                mine = record.mine;
                let repeated = (signed(record.granted), record.held);
                if ask.number < record.number { (-1, 0) } else { repeated }
            }
            _ => {
                let before = record.map_or(0, |record| record.mine);
                let held = u64::from(ask.unspent).min(before);
                let returned = u64::from(ask.back).min(before - held);
                let occupied = kept.out - before + held + returned;
                kept.refill(ends - ask.dry_us.min(ends - kept.own), bucket, kept.out);
                kept.refill(ends, bucket, occupied);
                kept.tokens += float(returned);
                kept.out = occupied - returned;
                let mut granted = 0;
                if ask.want > 0 && kept.tokens >= 1.0 {
                    let share = whole((kept.tokens + float(held)) / float(2 * nodes));
                    let share = share.saturating_sub(held).min(u64::from(ask.want));
                    granted = share.max(u64::from(ask.waiting)).max(u64::from(held == 0));
                    granted = granted.min(whole(kept.tokens));
                    kept.tokens -= float(granted);
                }
                mine = held + granted;
                kept.out += granted;
                let record = Record { number: ask.number, mine, to: ends + ttl, granted, held };
                if kept.first == 0 || record.to < kept.first {
                    kept.first = record.to;
                }
                kept.leases.insert(node.to_owned(), record);
                (signed(granted), held)
            }
        };
        let mut next = if kept.tokens >= 1.0 {
            0.0
        } else if bucket.rate > 0.0 {
            ((1.0 - kept.tokens) * 1e6 / bucket.rate).ceil().min(4e15)
        } else {
            -1.0
        };
        let burst = f64::from(bucket.burst);
        if next > 0.0 && burst - float(kept.out - mine) < 1.0 {
            next = next.max(float(kept.first) - float(kept.own));
        }
        let stop = if bucket.rate > 0.0 {
            let room = (burst - float(kept.out) - kept.tokens).max(0.0);
            (room * 1e6 / bucket.rate).floor().min(4e15)
        } else {
            -1.0
        };
        let left = rounded(kept.tokens.floor());
        self.kept = Some(kept);
        let known = i64::from(record.is_some());
        [granted, signed(held), known, left, rounded(next), rounded(stop)]
    }

    /// [`TAKE`](crate::script::TAKE): whether there was a token, and how many are left.
    pub(super) fn take(&mut self, now: u64, bucket: Bucket) -> [i64; 2] {
        let (mut kept, ends) = self.look(now, bucket);
        kept.refill(ends, bucket, kept.out);
        let taken = kept.tokens >= 1.0;
        kept.tokens -= f64::from(u8::from(taken));
        let left = rounded(kept.tokens.floor().max(0.0));
        self.kept = Some(kept);
        [i64::from(taken), left]
    }

    /// [`SETTLE`](crate::script::SETTLE).
    pub(super) fn settle(&mut self, now: u64, bucket: Bucket, made: u32) {
        let (mut kept, ends) = self.look(now, bucket);
        kept.refill(ends, bucket, kept.out);
        let least = kept.tokens.min(-f64::from(bucket.burst));
        kept.tokens = least.max(kept.tokens - f64::from(made));
        self.kept = Some(kept);
    }

    /// [`GIVE_BACK`](crate::script::GIVE_BACK).
    pub(super) fn give_back(&mut self, bucket: Bucket) {
        if let Some(kept) = &mut self.kept {
            let room = (f64::from(bucket.burst) - float(kept.out)).max(0.0);
            kept.tokens = (kept.tokens + 1.0).min(room);
        }
    }

    /// The same, as the node reads it.
    pub(super) fn answer(
        &mut self,
        now: u64,
        bucket: Bucket,
        node: &str,
        ask: (&Ask, u64, u64),
    ) -> Answer {
        Answer::from_store(self.exchange(now, bucket, node, ask))
    }

    /// Tokens here and with nodes, as the store counts them.
    pub(super) fn sum(&self) -> f64 {
        self.kept.as_ref().map_or(0.0, |kept| kept.tokens + float(kept.out))
    }
}

#[expect(clippy::cast_precision_loss, reason = "all figures are below 2^53, as the script's are")]
fn float(value: u64) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, below 2^53"
)]
fn whole(value: f64) -> u64 {
    value.floor() as u64
}

#[expect(clippy::cast_possible_truncation, reason = "below 2^53")]
fn rounded(value: f64) -> i64 {
    value as i64
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).expect("below 2^53")
}
