//! The listening sockets of a node: opened by it, by its supervisor, or by the process whose place it takes.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    str::FromStr,
};

use socket2::SockRef;

use super::accept;
use crate::{Config, Error, Result};

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Http,
    Https,
    Admin,
}

impl Use {
    /// In systemd's units, and between processes.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Use {
    type Err = io::Error;

    fn from_str(name: &str) -> io::Result<Self> {
        [Self::Http, Self::Https, Self::Admin].into_iter().find(|it| it.name() == name).ok_or_else(
            || io::Error::other(format!("a socket is named {name}, not http, https or admin")),
        )
    }
}

/// Sockets that listened before this process began.
#[derive(Default)]
pub(crate) struct Given {
    sockets: Vec<(Use, TcpListener)>,
    /// Whether they stay open when this process ends, because its supervisor holds them too.
    pub(crate) stay: bool,
}

impl Given {
    pub(crate) fn new(sockets: Vec<(String, OwnedFd)>, stay: bool) -> io::Result<Self> {
        let listening = |(name, socket): (String, OwnedFd)| {
            let (used, listener) = (name.parse()?, TcpListener::from(socket));
            if !SockRef::from(&listener).is_listener()? {
                return Err(io::Error::other(format!("the socket {name} does not listen")));
            }
            listener.set_nonblocking(true)?;
            Ok((used, listener))
        };
        let sockets = sockets.into_iter().map(listening).collect::<io::Result<_>>()?;
        Ok(Self { sockets, stay })
    }
}

/// One port, by one socket or by several among which the kernel spreads the callers.
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    /// At least one.
    sockets: Vec<TcpListener>,
}

/// Every port of a node. The data threads listen on copies of these descriptors; a port is closed when all are.
pub(crate) struct Sockets {
    pub(crate) http: Port,
    pub(crate) https: Option<Port>,
    pub(crate) admin: Port,
    /// Whether they stay open when this process ends.
    pub(crate) stay: bool,
}

impl Sockets {
    /// Takes what is given and opens the rest, a socket for each data thread.
    pub(crate) fn open(config: &Config, given: Given) -> Result<Self> {
        let Given { mut sockets, stay } = given;
        let mut open = |used: Use, wanted: SocketAddr, threads: usize| {
            // A supervisor's units say where to listen. From a process before us we take what our settings still want.
            let fits = |listener: &TcpListener| {
                stay || listener.local_addr().is_ok_and(|at| at == wanted || wanted.port() == 0)
            };
            let ours = |(it, listener): &mut (Use, TcpListener)| *it == used && fits(listener);
            let mut listeners: Vec<_> = sockets.extract_if(.., ours).map(|it| it.1).collect();
            let failed = |source| Error::Listen { address: wanted, source };
            if listeners.is_empty() {
                listeners = accept::bind(wanted, threads).map_err(failed)?;
            }
            let first = listeners.first().map_or(Ok(wanted), TcpListener::local_addr);
            Ok::<_, Error>(Port { address: first.map_err(failed)?, sockets: listeners })
        };
        let http = open(Use::Http, config.listen, config.threads)?;
        let tls = config.tls.as_ref();
        let https = tls.map(|tls| open(Use::Https, tls.listen, config.threads)).transpose()?;
        let admin = open(Use::Admin, config.admin_listen, 1)?;
        Ok(Self { http, https, admin, stay })
    }

    /// Copies of all descriptors.
    pub(crate) fn copies(&self) -> io::Result<Vec<(Use, OwnedFd)>> {
        let ports = [
            (Use::Http, Some(&self.http)),
            (Use::Https, self.https.as_ref()),
            (Use::Admin, Some(&self.admin)),
        ];
        let sockets = ports.into_iter().flat_map(|(used, port)| {
            port.into_iter().flat_map(|it| &it.sockets).map(move |socket| (used, socket))
        });
        sockets.map(|(used, socket)| Ok((used, socket.try_clone()?.into()))).collect()
    }
}

impl Port {
    /// The port's only socket.
    pub(crate) fn one(&self) -> io::Result<TcpListener> {
        self.sockets[0].try_clone()
    }

    /// What each of so many threads listens on: every socket is some thread's, and every thread has one.
    pub(crate) fn shares(&self, threads: usize) -> io::Result<Vec<Vec<TcpListener>>> {
        let threads = threads.max(1);
        let mut shares: Vec<_> = (0..threads).map(|_| Vec::new()).collect();
        for turn in 0..threads.max(self.sockets.len()) {
            let socket = self.sockets[turn % self.sockets.len()].try_clone()?;
            shares[turn % threads].push(socket);
        }
        Ok(shares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let mut config = Config::new("unused".into());
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.admin_listen = config.listen;
        config.threads = 3;
        config
    }

    #[test]
    fn what_a_process_gives_listens_on_and_what_the_settings_moved_is_opened_anew() {
        let first = Sockets::open(&config(), Given::default()).unwrap();
        let copies = |sockets: &Sockets| {
            let named = |(used, socket): (Use, OwnedFd)| (used.name().to_owned(), socket);
            Given::new(sockets.copies().unwrap().into_iter().map(named).collect(), false).unwrap()
        };
        let mut same = config();
        (same.listen, same.admin_listen) = (first.http.address, first.admin.address);
        let second = Sockets::open(&same, copies(&first)).unwrap();
        drop(first);
        assert_eq!(second.http.address, same.listen);
        for (threads, most) in [(1, 3), (2, 2), (3, 1), (5, 1)] {
            let shares = second.http.shares(threads).unwrap();
            assert_eq!(shares.len(), threads);
            assert!(shares.iter().all(|share| (1..=most).contains(&share.len())));
        }

        let mut moved = config();
        moved.listen = SocketAddr::from(([127, 0, 0, 2], 0));
        moved.admin_listen = SocketAddr::from(([127, 0, 0, 3], second.http.address.port()));
        let third = Sockets::open(&moved, copies(&second)).unwrap();
        assert_eq!(third.admin.address, moved.admin_listen);
    }

    #[test]
    fn what_has_no_use_or_does_not_listen_is_refused() {
        let listener = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        assert!(Given::new(vec![("http".into(), listener())], true).is_ok());
        assert!(Given::new(vec![("smtp".into(), listener())], true).is_err());
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(Given::new(vec![("http".into(), file.into())], true).is_err());
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(Given::new(vec![("http".into(), udp.into())], true).is_err());
    }
}
