//! The ledger in forms that other systems take. Every row names its ledger row, and the same time exported again is
//! the same rows.

pub mod csv;
pub mod usage_group;
