//! Tollgate's own listeners and stores: never reached on a tenant's behalf, in any spelling.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The sockets that are ours. One that is bound to this host guards its port on every address of this host;
/// one elsewhere (a managed database) guards just that address and port.
#[derive(Clone, Debug, Default)]
pub struct Own {
    sockets: Vec<SocketAddr>,
}

impl Own {
    pub fn new(sockets: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { sockets: sockets.into_iter().collect() }
    }

    /// Whether a connection to `address` would reach one of ours.
    pub fn holds(&self, address: SocketAddr) -> bool {
        let mut same_port =
            self.sockets.iter().filter(|own| own.port() == address.port()).peekable();
        if same_port.peek().is_none() {
            return false; // the common case asks the kernel nothing
        }
        let ip = embedded(address.ip());
        let here = is_this_host(ip);
        same_port.any(|own| {
            let own = embedded(own.ip());
            own == ip || (here && is_this_host(own))
        })
    }
}

/// The IPv4 address inside an IPv6 form that carries one, else the address itself.
fn embedded(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => ip,
        [0, 0, 0, 0, 0 | 0xffff, 0, high, low]
        | [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, _, _, _, _, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        [0x2001, 0, _, _, _, _, high, low] => v4(!high, !low), // Teredo stores it inverted
        _ => ip,
    }
}

/// Whether the kernel would deliver to this host: loopback, unspecified, or an address of an interface.
fn is_this_host(ip: IpAddr) -> bool {
    if ip.is_loopback() || ip.is_unspecified() {
        return true;
    }
    if matches!(ip, IpAddr::V4(v4) if v4.octets()[0] == 0) {
        return true;
    }
    // Connecting a datagram socket sends nothing; it makes the kernel choose the source address, and the
    // source of a way to oneself is oneself. So addresses that come later are known too.
    let any = if ip.is_ipv4() {
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
    } else {
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
    };
    let Ok(socket) = UdpSocket::bind(any) else {
        return true; // without a descriptor it cannot be asked; in doubt it is ours
    };
    let source = socket.connect((ip, 9)).and_then(|()| socket.local_addr());
    source.is_ok_and(|source| source.ip() == ip)
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::*;

    fn own(sockets: &[&str]) -> Own {
        Own::new(sockets.iter().map(|socket| socket.parse().unwrap()))
    }

    #[test]
    fn a_listener_of_this_host_is_refused_in_every_spelling_of_this_host() {
        let own = own(&["127.0.0.1:8080", "0.0.0.0:9080", "[::1]:5432"]);
        for port in [8080, 9080, 5432] {
            for ip in [
                "127.0.0.1",
                "127.0.0.2",
                "127.255.255.254",
                "0.0.0.0",
                "0.1.2.3",
                "::",
                "::1",
                "::ffff:127.0.0.1",
                "::ffff:0.0.0.0",
                "::127.0.0.1",
                "::ffff:0:127.0.0.1",
                "64:ff9b::7f00:1",
                "64:ff9b:1::7f00:1",
                "2002:7f00:1::",
                "2001:0:0:0:0:0:80ff:fffe",
            ] {
                let address = SocketAddr::new(ip.parse().unwrap(), port);
                assert!(own.holds(address), "{address}");
            }
        }
    }

    #[test]
    fn a_listener_on_all_interfaces_is_refused_on_each_of_them() {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        if socket.connect("192.0.2.1:9").is_err() {
            return; // a machine without any route has no interface to try
        }
        let interface = socket.local_addr().unwrap().ip();
        assert!(own(&["0.0.0.0:9080"]).holds(SocketAddr::new(interface, 9080)));
        assert!(own(&["127.0.0.1:9080"]).holds(SocketAddr::new(interface, 9080)));
    }

    #[test]
    fn while_the_kernel_cannot_be_asked_nobody_is_let_through_to_our_ports() {
        let own = own(&["0.0.0.0:9080"]);
        let address = "192.0.2.1:9080".parse().unwrap();
        assert!(!own.holds(address));
        // Each test has a process of its own.
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..before }).unwrap();
        let holds = own.holds(address);
        setrlimit(Resource::Nofile, before).unwrap();
        assert!(holds);
    }

    #[test]
    fn another_port_or_another_host_is_not_ours() {
        let own = own(&["127.0.0.1:8080", "10.1.2.3:5432"]);
        for address in ["127.0.0.1:8081", "192.0.2.7:8080", "10.1.2.4:5432", "[2001:db8::1]:8080"] {
            assert!(!own.holds(address.parse().unwrap()), "{address}");
        }
        for address in ["10.1.2.3:5432", "[::ffff:10.1.2.3]:5432", "[2002:a01:203::]:5432"] {
            assert!(own.holds(address.parse().unwrap()), "{address}");
        }
    }
}
