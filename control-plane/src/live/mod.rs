//! What a replica keeps for those who watch: their sockets, and one question to PostgreSQL for all of them.
//!
//! Replicas do not talk to one another. What changes anywhere shows in PostgreSQL, and is asked for only while
//! somebody watches. Requests are in no database: each node sends them to the replicas where they are
//! watched, and answers those where they are asked for.

mod inquiries;
mod poller;
mod sockets;
mod tails;

pub use inquiries::{Asking, Attendance, Inquiries};
pub use poller::Poller;
pub use sockets::{Place, Sockets};
pub use tails::{Shown, Tails, Watching};

use std::sync::Arc;
use std::time::Duration;

use crate::domain::convergence::Convergence;
use crate::domain::usage_tick::Minutes;
use crate::ids::{DeploymentId, TenantId};

/// How often nodes' answers to a deployment are looked for, while somebody waits for them.
const CONVERGENCE_EVERY: Duration = Duration::from_millis(250);
/// How often fresh sums of usage are looked for, while somebody watches them. Nodes ship each second.
const USAGE_EVERY: Duration = Duration::from_secs(1);

/// One for the whole replica.
pub struct Live {
    pub sockets: Sockets,
    pub tails: Arc<Tails>,
    pub inquiries: Arc<Inquiries>,
    pub(crate) convergence: Poller<(TenantId, DeploymentId), Convergence>,
    pub(crate) usage: Poller<TenantId, Minutes>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            sockets: Sockets::default(),
            tails: Arc::default(),
            inquiries: Arc::default(),
            convergence: Poller::new("convergence", CONVERGENCE_EVERY),
            usage: Poller::new("usage", USAGE_EVERY),
        }
    }
}
