//! The listeners, checked before anything is started.

use crate::cli::UpArgs;
use anyhow::{Result, bail};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

/// One address that a child of `up` will listen on, and the setting that moves it.
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    setting: &'static str,
}

pub(super) fn all(args: &UpArgs) -> Vec<Listener> {
    let mut all = vec![
        Listener { address: args.control_plane.http_listen, setting: "TOLLGATE_HTTP_LISTEN" },
        Listener { address: args.control_plane.admin_listen, setting: "TOLLGATE_ADMIN_LISTEN" },
        Listener { address: args.control_plane.grpc_listen, setting: "TOLLGATE_GRPC_LISTEN" },
        Listener { address: args.data_plane.node_listen, setting: "TOLLGATE_NODE_LISTEN" },
        Listener {
            address: args.data_plane.node_admin_listen,
            setting: "TOLLGATE_NODE_ADMIN_LISTEN",
        },
    ];
    if let Some(address) = args.data_plane.node_tls_listen.0 {
        all.push(Listener { address, setting: "TOLLGATE_NODE_TLS_LISTEN" });
    }
    all
}

/// Binds all at once, so that two settings with one port are found too, and lets go of them.
pub(super) fn check(args: &UpArgs) -> Result<()> {
    let mut bound = Vec::new();
    for Listener { address, setting } in all(args) {
        match TcpListener::bind(address) {
            Ok(listener) => bound.push(listener),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                bail!(
                    "port {} is in use ({address}); free it, or choose another with {setting}",
                    address.port()
                )
            }
            Err(error) => {
                bail!("cannot listen on {address}: {error}; choose another with {setting}")
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn args(listen: &str) -> UpArgs {
        let free = [
            "--admin-listen",
            "--grpc-listen",
            "--node-listen",
            "--node-admin-listen",
            "--node-tls-listen",
        ];
        let mut words = vec!["tollgate", "up", "--http-listen", listen];
        words.extend(free.iter().flat_map(|flag| [*flag, "127.0.0.1:0"]));
        match Cli::parse_from(words).command {
            Command::Up(args) => args,
            other => panic!("{other:?} is not `up`"),
        }
    }

    #[test]
    fn a_port_in_use_is_named_with_its_setting() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = check(&args(&address.to_string())).unwrap_err().to_string();
        assert!(error.contains(&format!("port {} is in use", address.port())), "{error}");
        assert!(error.contains("TOLLGATE_HTTP_LISTEN"), "{error}");
    }

    #[test]
    fn free_ports_are_let_go_again() {
        check(&args("127.0.0.1:0")).unwrap();
    }
}
