//! Usage to money: segments of nodes' journals become sums by minute, these become sums by hour, and a month's
//! hours at the operator's price become a bill.

pub mod export;
pub mod intake;
pub mod price;
pub mod rollup;
