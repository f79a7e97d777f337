//! The one door through which every answer leaves: ours and backends'.

pub(crate) mod compress;
pub(crate) mod cookies;
mod follow;
mod forwarded;
pub(crate) mod headers;
pub(crate) mod rate_limit;
mod render;
pub(crate) mod restyle;

pub(crate) use self::{
    compress::{Compressed, compress},
    follow::{Followed, follow},
    render::render,
};
