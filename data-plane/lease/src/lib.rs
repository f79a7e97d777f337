//! Token buckets that many nodes spend from and that are exceeded by none: the rules, without I/O and without a clock.
//!
//! [`Bucket`] is what was configured. [`script`] is the store's side: one Lua script for each operation, which Redis
//! runs as a whole, on its own clock. [`Lease`] is a node's side: tokens taken in advance, in atomics that its threads
//! share. An [`Ask`] goes from the node to the store, an [`Answer`] comes back. `tests/model.rs` says the script's rules
//! again in Rust; one test compares the two answer by answer, the others try the model and [`Lease`] together.
//!
//! # Why no window sees more than rate · T + burst
//!
//! The store keeps `tokens` and, for each node, `out`: how many of those that it handed to the node may still be
//! unspent. All times are on the store's clock unless said otherwise.
//!
//! 1. **`tokens` + Σ `out` ≤ burst** after each operation. The refill stops at burst − Σ `out`; a grant and a return
//!    move tokens between the two sides; a report only lowers `out`.
//! 2. **A node never holds more than its `out`**, while the store counts it. Grants are credited once: a node has one
//!    question under way, asks are numbered, the store applies a number once and none that is lower than its last, and
//!    an answer that was given up is never credited. What a report calls unspent is read in one atomic step after
//!    the start of the question, so tokens spent later only make `out` too high. It counts those whose calls may yet be
//!    refused, as long as they may: such a call puts its token back, unless what the node held was replaced meanwhile.
//! 3. **A node stops before the store does.** The store forgets a lease [`TTL_US`] after it applied the ask; the node
//!    stops at *time before sending* + TTL − 5 %, on a clock that counts suspend. That holds while the two clocks drift
//!    apart by less than 5 %. Then what is left is nobody's: it is not put back, the bucket refills in its place.
//! 4. A return was taken out of the lease before it was sent and stays part of `out` until the store applies it, which
//!    it does only while it counts the lease.
//! 5. A report also says how long ago its node ran dry, so that a bucket as small as one token refills from that moment
//!    and not from the report. The node says 1 % less than its clock; a message that took its time makes the moment
//!    later on the store's side, never earlier.
//!
//! Let Φ be `tokens` + what all nodes hold + returns under way. By 1 to 4, Φ ≤ burst at all times. Only the refill
//! raises Φ, and never by more than rate times the time it is for, which by 1, 2 and 5 is time in which Φ had that room.
//! An admission lowers Φ by one. So in a window from a to b: admitted = Φ(a) − Φ(b) + refill ≤ burst + rate · (b − a).
//! The moment of an admission lies between the clock reading that the lease was found valid by and the token's taking.
//! That it is counted as held for a while after it, until nothing else refuses the call, only delays the refill: a token
//! that is put back in the window was held at its begin, or taken in it by a call that was not admitted.
//!
//! What the argument does not bound: when Redis **loses its memory**, the bucket is full again while nodes still hold
//! leases; each loss adds at most one burst, and so does each **jump forward of Redis' clock** beyond a lease's rest. A
//! node sees both (its live lease is not known any more) and counts them. A jump back only stops the refill: the store
//! adds up the time that passed forward and lets leases end by that sum.
//!
//! # Calls that were let through beside the store
//!
//! While the store cannot be asked, a node may let calls through by a share of the bucket that it keeps itself: rate and
//! burst ÷ nodes, beginning with its part of what the store said to have left. It tells the store of them before it asks
//! again ([`script::SETTLE`]), which lowers `tokens`, below nothing if need be, and so lowers Φ: they are paid for by what
//! would be admitted after them. Where nobody could ask for a while, the store's bucket refilled beside the shares; then
//! a node tells at most what its share lacks of being full. Nodes come back one after the other, and the first may take
//! what the last has not told of yet: at most a burst, which is made up for at once.

mod lease;
pub mod script;
#[cfg(test)]
mod tests;

pub use lease::{Answer, Ask, Credited, Lease, Take, Token};

/// How long the store counts what it handed out. A node stops 5 % before.
pub const TTL_US: u64 = 1_000_000;

/// A node asks for what it needs in so long.
pub const DEMAND_US: u64 = 100_000;

/// A node asks an empty bucket no more often than this, or than a quarter of the bucket runs in, where that is less: a
/// bucket of less than 0.2 s would else be full between two questions and lose what it could have given.
pub const PACE_MAX_US: u64 = 50_000;

/// What stands unspent for so long, beyond what is needed in [`DEMAND_US`], goes back.
pub const IDLE_US: u64 = 200_000;

/// A token bucket, as configured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Tokens a second in the long run.
    pub rate: f64,
    /// Tokens at once.
    pub burst: u32,
}

impl Bucket {
    /// How long a node waits between two questions about this bucket while it has too little for it.
    fn pace_us(self) -> u64 {
        let quarter = f64::from(self.burst) / self.rate * 250_000.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a saturating cast is meant"
        )]
        let quarter = quarter as u64;
        quarter.clamp(1000, PACE_MAX_US)
    }

    /// So many tokens in a bucket say that it is not short any more. While all nodes want more than there is and keep
    /// the pace, a grant of tokens ÷ 2 · nodes leaves it at what runs in in two paces. With what is out beside it, it must
    /// stay below the burst, or the refill stops.
    fn plenty(self) -> u32 {
        #[expect(clippy::cast_precision_loss, reason = "at most 50,000")]
        let paces = self.rate * 4.0 * self.pace_us() as f64 / 1e6;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a saturating cast is meant"
        )]
        let paces = paces.ceil() as u32;
        paces.min(self.burst / 2).max(1)
    }
}
