//! Which target of a VPC link a call goes to, by what this node knows of them: atomics that its threads share, and no lock.
//! Calls without a link never come here.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use egress::Target;
use http::{HeaderMap, header::COOKIE};

use crate::{
    exchange::Exchange,
    node::Node,
    snapshot::{
        served::VpcLink,
        vpc_link::{Algorithm, HashKey, LinkTarget, TARGETS_MAX},
    },
};

/// How many targets one call is taken to at most.
const TRIED_MAX: u32 = 4;
/// The golden ratio in 64 bits: its multiples fall between each other, so that parts of a whole are hit evenly from the first.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What this node knows of a target. It outlives changes of its link.
pub(crate) struct Standing {
    began: Instant,
    in_flight: AtomicU32,
    /// Calls that failed, one after another.
    consecutive: AtomicU32,
    /// Milliseconds since `began`; no calls before that.
    ejected_until: AtomicU64,
    /// What the checks found last.
    unhealthy: AtomicBool,
    /// Checks in a row: above 0 those that went well, below it those that failed. Written by the one task that checks.
    streak: AtomicI32,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            in_flight: AtomicU32::new(0),
            consecutive: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            unhealthy: AtomicBool::new(false),
            streak: AtomicI32::new(0),
        }
    }
}

impl Standing {
    pub(crate) fn is_unhealthy(&self) -> bool {
        self.unhealthy.load(Relaxed)
    }

    pub(crate) fn is_ejected(&self) -> bool {
        let until = self.ejected_until.load(Relaxed);
        until != 0 && until > self.now()
    }

    fn is_available(&self) -> bool {
        !self.is_unhealthy() && !self.is_ejected()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Nobody asks any more.
    pub(super) fn unchecked(&self) {
        if self.is_unhealthy() {
            self.unhealthy.store(false, Relaxed);
        }
    }

    /// Takes a check's result in; true where it changed what is thought of the target.
    pub(super) fn checked(&self, well: bool, healthy_after: u32, unhealthy_after: u32) -> bool {
        let before = self.streak.load(Relaxed);
        let streak = if well { before.max(0).saturating_add(1) } else { before.min(0) - 1 };
        self.streak.store(streak.max(-1_000_000), Relaxed);
        let enough = if well { healthy_after } else { unhealthy_after };
        let changes = streak.unsigned_abs() >= enough && self.is_unhealthy() == well;
        if changes {
            self.unhealthy.store(!well, Relaxed);
        }
        changes
    }
}

/// A target while a call is with it.
pub(crate) struct Pick {
    link: Arc<VpcLink>,
    at: usize,
    /// Those that the call was with, this one among them: a bit for each.
    tried: u128,
    began: Instant,
    /// A call that is dropped after so long failed, whatever it was dropped for.
    patience: Option<Duration>,
    judged: Cell<bool>,
}

/// What a call's target is chosen by, as long as it has tries.
pub(super) struct Choice {
    link: Arc<VpcLink>,
    key: Option<u64>,
    patience: Option<Duration>,
}

impl Choice {
    pub(super) fn new(
        link: Arc<VpcLink>,
        exchange: &Exchange,
        fields: &HeaderMap,
        patience: Option<Duration>,
    ) -> Self {
        let key = match &link.algorithm {
            Algorithm::ConsistentHash(key) => key_of(key, exchange, fields),
            Algorithm::RoundRobin | Algorithm::LeastConnections => None,
        };
        Self { link, key, patience }
    }

    /// One that the call was not with yet, else `None`. `before`: the last one.
    pub(super) fn pick(&self, before: Option<&Pick>) -> Option<Pick> {
        let tried = before.map_or(0, |before| before.tried);
        if tried.count_ones() >= TRIED_MAX {
            return None;
        }
        let at = self.link.choose(self.key, tried)?;
        self.link.targets[at].standing.in_flight.fetch_add(1, Relaxed);
        Some(Pick {
            link: self.link.clone(),
            at,
            tried: tried | (1 << at),
            began: Instant::now(),
            patience: self.patience,
            judged: Cell::new(false),
        })
    }
}

impl Pick {
    pub(super) fn target(&self) -> &Target {
        &self.link.targets[self.at].target
    }

    /// Takes in how the call went with it.
    pub(super) fn judge(&self, node: &Node, failed: bool) {
        self.judged.set(true);
        if self.link.judge(self.at, failed) {
            node.shared.metrics.backends.targets_ejected.inc();
            tracing::debug!("a target of a VPC link is left for a while");
        }
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.link.targets[self.at].standing.in_flight.fetch_sub(1, Relaxed);
        let waited = self.patience.is_some_and(|limit| self.began.elapsed() >= limit);
        if waited && !self.judged.get() {
            self.link.judge(self.at, true);
        }
    }
}

impl VpcLink {
    /// Among those that take calls and are not in `tried`; where none does, among all that have a weight: a wrong opinion of
    /// all must not end all calls, as it does not with AWS's load balancers.
    fn choose(&self, key: Option<u64>, tried: u128) -> Option<usize> {
        let mut all = 0_u128;
        let mut available = 0_u128;
        for (at, target) in self.targets.iter().enumerate().take(TARGETS_MAX) {
            if target.weight > 0 {
                all |= 1 << at;
                if target.standing.is_available() {
                    available |= 1 << at;
                }
            }
        }
        let among = if available == 0 { all } else { available };
        let among = among & !tried;
        if among == 0 {
            return None;
        }
        Some(match (&self.algorithm, key) {
            (Algorithm::ConsistentHash(_), Some(key)) => self.by_key(key, among),
            (Algorithm::LeastConnections, _) => self.least(among),
            (Algorithm::RoundRobin | Algorithm::ConsistentHash(_), _) => self.in_turn(among),
        })
    }

    fn among(&self, among: u128) -> impl Iterator<Item = (usize, &LinkTarget)> {
        self.targets.iter().enumerate().filter(move |(at, _)| (among >> at) & 1 == 1)
    }

    /// Strictly one after the other where their weights are the same, else as evenly as weights allow.
    fn in_turn(&self, among: u128) -> usize {
        let turn = self.turn.fetch_add(1, Relaxed);
        let weights = || self.among(among).map(|(_, target)| u64::from(target.weight));
        let (total, first) = (weights().sum::<u64>(), weights().next().unwrap_or(1));
        let mut point = if weights().all(|weight| weight == first) {
            turn % u64::from(among.count_ones()) * first
        } else {
            let scaled = u128::from(turn.wrapping_mul(GOLDEN)) * u128::from(total);
            u64::try_from(scaled >> 64).unwrap_or_default()
        };
        for (at, target) in self.among(among) {
            match point.checked_sub(u64::from(target.weight)) {
                Some(left) => point = left,
                None => return at,
            }
        }
        among.trailing_zeros() as usize
    }

    /// The fewest calls for its weight; of those that are equal the one whose turn it is.
    fn least(&self, among: u128) -> usize {
        let count = u64::from(among.count_ones());
        let start = self.turn.fetch_add(1, Relaxed) % count;
        let burden = |target: &LinkTarget| {
            u64::from(target.standing.in_flight.load(Relaxed) + 1) * 1_000_000
                / u64::from(target.weight)
        };
        let place = |order: usize| (order as u64 + count - start) % count;
        let best = self
            .among(among)
            .enumerate()
            .min_by_key(|(order, (_, target))| (burden(target), place(*order)));
        best.map_or(0, |(_, (at, _))| at)
    }

    /// Weighted rendezvous: a target that goes takes only its own keys with it, and one that comes takes no more than its
    /// share. By integers, so that each node of a fleet finds the same.
    fn by_key(&self, key: u64, among: u128) -> usize {
        let score = |target: &LinkTarget| {
            let drawn = mix(key ^ target.seed) | 1;
            // -log2 of a number drawn evenly between 0 and 1, over the weight: least with the probability of its share.
            cost(drawn) / u64::from(target.weight)
        };
        self.among(among).min_by_key(|(_, target)| score(target)).map_or(0, |(at, _)| at)
    }

    /// Counts how a call to a target ended; true where that ejected it.
    fn judge(&self, at: usize, failed: bool) -> bool {
        let standing = &self.targets[at].standing;
        if !failed {
            // Mostly it is 0 already, and threads share the line that it is in.
            if standing.consecutive.load(Relaxed) != 0 {
                standing.consecutive.store(0, Relaxed);
            }
            return false;
        }
        let in_a_row = standing.consecutive.fetch_add(1, Relaxed).saturating_add(1);
        let Some(ejection) = self.ejection else { return false };
        if in_a_row < ejection.consecutive_failures || standing.is_ejected() {
            return false;
        }
        let gone = self.targets.iter().filter(|target| target.standing.is_ejected()).count();
        let may_go = (self.targets.len() * ejection.max_percent as usize / 100)
            .max(1)
            .min(self.targets.len() - 1);
        if gone >= may_go {
            return false;
        }
        standing.ejected_until.store(standing.now() + ejection.eject_ms, Relaxed);
        true
    }
}

fn key_of(key: &HashKey, exchange: &Exchange, fields: &HeaderMap) -> Option<u64> {
    match key {
        HashKey::SourceIp => Some(hash(exchange.client().to_string().as_bytes())),
        HashKey::Header(name) => fields.get(name).map(|value| hash(value.as_bytes())),
        HashKey::Cookie(name) => {
            let cookies = fields.get_all(COOKIE).into_iter();
            let mut pairs = cookies.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
            pairs.find_map(|pair| {
                let (of, value) = pair.trim_ascii().split_at_checked(name.len())?;
                let value = value.strip_prefix(b"=")?;
                (of == name.as_bytes()).then(|| hash(value))
            })
        }
    }
}

/// FNV-1a, then mixed: the same on every node and in every release.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    mix(hash)
}

/// `splitmix64`'s last steps.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// `-log2(x / 2^64)` in parts of 2^40, for x above 0, by squaring: 24 bits behind the point.
fn cost(x: u64) -> u64 {
    let whole = u64::from(x.leading_zeros()); // of 2^-whole
    let mut mantissa = u128::from(x << whole); // 1 to 2, as 2^63 to 2^64
    let mut log = 0_u64; // log2 of it
    for bit in (0..24).rev() {
        mantissa = (mantissa * mantissa) >> 63;
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            log |= 1 << bit;
        }
    }
    // 2^64 / x is 2^(whole + 1) / mantissa.
    ((whole + 1) << 40) - (log << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_the_logarithm_of_its_part() {
        for x in [1, 2, 3, 1 << 20, 1 << 63, (1 << 63) + (1 << 62), u64::MAX] {
            #[expect(clippy::cast_precision_loss, reason = "24 bits are compared")]
            let (found, expected) = (cost(x) as f64 / 2_f64.powi(40), 64.0 - (x as f64).log2());
            assert!((found - expected).abs() < 1e-6, "{x}: {found} for {expected}");
        }
    }

    #[test]
    fn checks_in_a_row_change_what_is_thought_of_a_target() {
        let standing = Standing::default();
        let said = [true, false, false, true, false, false, false, true, false, true, true, true];
        let told = said.map(|well| {
            standing.checked(well, 2, 3);
            standing.is_unhealthy()
        });
        let unhealthy = [6, 7, 8, 9];
        assert_eq!(told, std::array::from_fn(|at| unhealthy.contains(&at)));
    }
}
