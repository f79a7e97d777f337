//! Usage to money: segments of nodes' journals become sums by minute, these become sums by hour, and a month's
//! hours at the operator's price become a bill. An hour that cannot change any more is sealed: its rows are the leaves of
//! a Merkle tree whose root is signed, and so is the day's. What else counts calls is held against the ledger.

pub mod export;
pub mod intake;
pub mod merkle;
pub mod price;
pub mod quota_use;
pub mod reconciliation;
pub mod rollup;
pub mod row;
pub mod seal;
pub mod statement;
