//! Permits of a concurrency limit, that many nodes hand to calls and of which there are never more than the limit: the
//! rules, without I/O and without a clock.
//!
//! A call has a permit for as long as it is in progress. [`script`] is the store's side: one Lua script, which Redis runs
//! as a whole, on its own clock. [`Permits`] is a node's side: the permits that it may hand out, in atomics that its threads
//! share. A [`Declaration`] goes from the node to the store, an [`Answer`] comes back. `tests/model.rs` says the script's
//! rules again in Rust; one test compares the two answer by answer, the others try the model and [`Permits`] together.
//!
//! # Why no more than the limit are in progress
//!
//! A node hands out permits up to its *allowance*, and says so: each declaration tells how many it **holds**, those in use
//! and those that lie free, whichever of allowance and use is more. The store keeps `held` for each node, and what it
//! answers is the node's next allowance. All times are on the store's clock unless said otherwise.
//!
//! 1. **Σ `held` ≤ limit**, where no node holds more than it was given: what a node gets beyond what it holds is no more
//!    than limit − Σ `held`, in one script.
//! 2. **A node never holds more than its `held`**, while the store counts it. A permit is taken out of the allowance before
//!    the store is told that it is not held any more, and joins the allowance after the store has counted it. A node has
//!    one question under way, and its allowance changes by nothing else; so what it holds when a declaration is applied is
//!    at most what the declaration says, and after the answer at most what the store noted. Declarations are numbered: the
//!    store applies a number once and none that is lower than the node's last, and an answer that was given up never
//!    becomes an allowance. It leaves `held` too high until the next declaration, never too low.
//! 3. **A node stops before the store does.** The store forgets a declaration [`TTL_US`] after it applied it; the node
//!    hands out nothing more after *time before sending* + TTL − 5 %, on a clock that counts suspend. That holds while the
//!    two clocks drift apart by less than 5 %. Nodes declare each [`RENEW_US`], so a node that lives and reaches the store
//!    never comes to that point, and calls may take as long as they want.
//!
//! Each call in progress uses a permit that its node holds. So while nodes renew in time, at most limit calls are in
//! progress, over all nodes, at every moment, whatever is lost, repeated or comes late between them and the store.
//!
//! What the argument does not bound:
//!
//! - A node that **could not renew** for [`TTL_US`], since it stood still or Redis was away, admits nothing by permits,
//!   but what was in progress goes on, and others get those permits. Once it is back it declares what it really uses, the
//!   store counts that even beyond the limit, and nobody gets more until enough has ended.
//! - When Redis **loses its memory**, its clock **jumps forward** beyond a declaration's rest, or it fails over to a replica
//!   that had not heard of the last declarations, others may get what nodes hold: at most limit more for each loss, until
//!   each node has declared again, and what was admitted meanwhile has ended. Nodes see it (the store does not know what it
//!   should) and count it. A jump back only makes declarations last longer: they end by the sum of the time that passed
//!   forward.
//! - A **killed** node's calls have ended with it; its permits are free again when its declaration is over.
//! - A limit that is **lowered** ends no call. A node lets nobody in by it before it has told the store of it, so no call
//!   joins those that are too many.
//!
//! # How long a caller may be refused for a permit that nobody uses
//!
//! A node is given what its waiting callers need, and beyond that at most free ÷ 2 · nodes. A permit that becomes free by
//! the end of a call stays while the node has no more free ones than that; others go back at once, unless the node had to
//! refuse a call within [`IDLE_US`]: then the next call there has it. Whatever lay free for the whole of [`IDLE_US`] goes
//! back. So a permit lies unused at most two of them, and one question to the store. A node that was told that there is
//! none does not ask again within [`PACE_US`], but a permit that becomes free on it serves its next caller.

mod permits;
pub mod script;
#[cfg(test)]
mod tests;

pub use permits::{Answer, Credited, Declaration, Enter, Permits};

/// How long the store counts what a node declared. A node stops 5 % before.
pub const TTL_US: u64 = 10_000_000;

/// A node that holds permits declares them so often.
pub const RENEW_US: u64 = TTL_US / 3;

/// What lay free for so long goes back.
pub const IDLE_US: u64 = 100_000;

/// A node that got none asks again no sooner than this: refused calls cost the store at most 20 questions a second from
/// each node.
pub const PACE_US: u64 = 50_000;
