//! What started this process and watches it: systemd, or whatever speaks its protocols. Sockets that it opened for us
//! (`sd_listen_fds(3)`), and what it wants to know of us (`sd_notify(3)`).
#![expect(unsafe_code, reason = "takes over descriptors that the environment names by number")]

use std::{
    io,
    os::{
        fd::{FromRawFd, OwnedFd, RawFd},
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::io::FdFlags;

/// Where the descriptors begin.
const FIRST: RawFd = 3;

/// Sockets that were opened for this process, by the names that their units give them (`FileDescriptorName=`). The
/// first call gets them, later ones nothing.
pub(crate) fn sockets() -> io::Result<Vec<(String, OwnedFd)>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let variable = |name| std::env::var(name).unwrap_or_default();
    let meant_for_us = variable("LISTEN_PID").parse() == Ok(std::process::id());
    if !meant_for_us || TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let (count, names) = (variable("LISTEN_FDS"), variable("LISTEN_FDNAMES"));
    named(&count, &names)?
        .into_iter()
        .zip(FIRST..)
        .map(|(name, number)| {
            if !Path::new(&format!("/proc/self/fd/{number}")).exists() {
                return Err(io::Error::other(format!(
                    "LISTEN_FDS names {number}, which is closed"
                )));
            }
            // SAFETY: it is open, the environment gives it to this process, and it is taken once.
            let socket = unsafe { OwnedFd::from_raw_fd(number) };
            rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
            Ok((name, socket))
        })
        .collect()
}

/// The descriptors' names, as many as there are.
fn named(count: &str, names: &str) -> io::Result<Vec<String>> {
    let count: usize =
        count.parse().map_err(|_| io::Error::other(format!("LISTEN_FDS is no number: {count}")))?;
    let names: Vec<_> = names.split(':').map(str::to_owned).collect();
    if names.len() != count {
        return Err(io::Error::other(format!(
            "LISTEN_FDS gives {count} sockets and LISTEN_FDNAMES {} names; set FileDescriptorName= in each unit",
            names.len()
        )));
    }
    Ok(names)
}

/// Tells the supervisor how this process stands, where it wants to know: `READY=1`, `STOPPING=1`.
pub(crate) fn tell(state: &str) {
    let Some(at) = std::env::var("NOTIFY_SOCKET").ok().filter(|at| !at.is_empty()) else { return };
    let told = match at.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&at),
    }
    .and_then(|at| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &at));
    if let Err(error) = told {
        tracing::warn!(%error, state, "the supervisor was not told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_socket_of_a_supervisor_has_a_name() {
        assert_eq!(named("2", "http:https").unwrap(), ["http", "https"]);
        for (count, names) in [("2", "http"), ("", "http"), ("1", "http:https"), ("-1", "")] {
            assert!(named(count, names).is_err(), "{count} {names}");
        }
    }
}
