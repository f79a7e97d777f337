//! From a socket to requests: accepting, bounds, protocols, and the orderly end.

mod accept;
pub(crate) mod body;
pub(crate) mod client_io;
mod connection;
mod http1;
pub(crate) mod limits;
mod pace;
pub mod proxy_protocol;
pub(crate) mod shares;
pub(crate) mod sockets;
mod splice;
pub(crate) mod streams;
pub(crate) mod turns;
mod unserved;

pub(crate) use self::{
    accept::{Door, run},
    connection::Peer,
};
