//! Ports that no other test on this machine takes.

use rand::RngExt;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Below the range from which the kernel takes ports for outgoing connections.
const RANGE: std::ops::Range<u16> = 10_000..32_000;

/// A port that is ours while this lives; nothing listens on it yet.
pub(crate) struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// # Panics
    /// Where the temporary directory cannot be written.
    pub(crate) fn reserve() -> Self {
        let directory = std::env::temp_dir().join("tollgate-test-ports");
        std::fs::create_dir_all(&directory).expect("the temporary directory can be written");
        loop {
            let number = rand::rng().random_range(RANGE);
            let lock =
                File::create(directory.join(number.to_string())).expect("a lock file can be made");
            let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok();
            if lock.try_lock().is_ok() && free() {
                return Self { number, _lock: lock };
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}
