//! From a socket to requests: accepting, bounds, protocols, and the orderly end.

mod accept;
pub(crate) mod client_io;
mod connection;
pub(crate) mod limits;

pub(crate) use self::accept::{bind, run};
