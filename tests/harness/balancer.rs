//! `HAProxy` in front of a world's nodes, as an operator would run it.

use std::fmt::Write as _;
use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::World;
use crate::eventually;
use crate::ports::Port;
use crate::process::{Process, command, in_path};

/// Takes calls on a port of its own until it is dropped.
pub struct Balancer {
    port: Port,
    _process: Process,
}

impl Balancer {
    /// Sends calls to so many of the world's nodes in turn. A connection that a node refuses goes to another one; a node
    /// whose `/readyz` does not say yes gets none.
    ///
    /// # Panics
    /// Where `haproxy` does not start.
    pub async fn start(world: &World, nodes: usize) -> Self {
        let port = Port::reserve();
        let mut config = format!(
            "defaults\n mode http\n timeout connect 1s\n timeout client 30s\n timeout server 30s\n \
             retries 3\n option redispatch 1\n retry-on conn-failure\n\
             frontend callers\n bind {}\n default_backend nodes\n\
             backend nodes\n balance roundrobin\n option httpchk GET /readyz\n",
            port.address(),
        );
        for node in 0..nodes {
            let (address, admin) =
                (world.endpoint_address_at(node), world.node_admin_address_at(node));
            writeln!(
                config,
                " server node{node} {address} check port {} inter 100ms",
                admin.port()
            )
            .expect("a string takes all");
        }
        let file = world.directory().join("haproxy.cfg");
        std::fs::write(&file, config).expect("the world's directory can be written");
        // Debian's place for it is on root's PATH alone.
        let program = in_path("haproxy").unwrap_or_else(|| "/usr/sbin/haproxy".into());
        let mut haproxy = command(&program, None);
        haproxy.arg("-db").arg("-f").arg(&file);
        let mut process = Process::start("haproxy", haproxy, world.directory());
        eventually("haproxy's port", async || {
            process.check();
            TcpStream::connect(port.address()).await.ok()
        })
        .await;
        Self { port, _process: process }
    }

    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }
}
