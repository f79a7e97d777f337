//! The words that stories use: a [`World`] of real processes, its [`Tenant`]s, the [`Origin`]s behind their
//! APIs, and the [`Client`]s that call from outside.
//!
//! A world has a database, a Redis, ports and a directory of its own, so stories run side by side. When it is
//! dropped, by a panic too, nothing of it is left: its processes also die with the test that made them.

mod balancer;
pub mod client;
pub mod clock;
pub mod collector;
mod copies;
pub mod detour;
pub mod disk;
mod footprint;
pub mod kept;
pub mod load;
pub mod lost_usage;
pub mod mail_server;
pub mod origin;
mod ports;
pub mod process;
pub mod redis_cluster;
pub mod redis_tls;
pub mod socket;
mod standby;
pub mod stores;
pub mod tenant;
pub mod wire;
pub mod world;

pub use balancer::Balancer;
pub use client::{Answer, Call, Client};
pub use detour::Detour;
pub use load::Load;
pub use mail_server::MailServer;
pub use origin::Origin;
pub use redis_cluster::RedisCluster;
pub use redis_tls::RedisOverTls;
pub use tenant::{Api, Tenant};
pub use wire::Wire;
pub use world::World;

use std::time::Duration;

/// How long anything that happens by itself may take before a story fails.
pub const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Asks again and again until there is an answer; `what` names it where there never is one.
pub async fn eventually<T>(what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, what, probe).await
}

/// How long a campaign goes on: seconds, or minutes where `tests/run --long` set `TESTS_LONG`.
pub fn campaign() -> Duration {
    at_length(Duration::from_secs(10), Duration::from_mins(4))
}

/// The size of a campaign: `long` where `tests/run --long` set `TESTS_LONG`.
pub fn at_length<T>(short: T, long: T) -> T {
    if std::env::var_os("TESTS_LONG").is_some() { long } else { short }
}

/// [`eventually`] with a patience of its own.
pub async fn within<T>(
    patience: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Option<T>,
) -> T {
    let until = tokio::time::Instant::now() + patience;
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < until, "{what} did not happen within {patience:?}");
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}
