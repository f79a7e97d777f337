//! The one door through which every answer leaves: ours and backends'.

mod cookies;
mod follow;
pub(crate) mod headers;
mod rate_limit;
mod render;

pub(crate) use self::{
    follow::{Followed, follow},
    render::render,
};
