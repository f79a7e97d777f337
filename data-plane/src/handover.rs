//! A new process takes a running node's place: it gets the very sockets that callers knock at, so that none of them
//! is turned away, and the lock of the node's directory.
//!
//! ```text
//! running node                              new process (--take-over)
//!   listens at {dir}/handover.sock    ◀──     connects
//!   stops its config stream           ──▶     sockets and lock, by SCM_RIGHTS
//!   serves on                                 loads its configuration, accepts
//!   drains                            ◀──     "ready"
//!   ends: the connection closes       ──▶     ships what the other left unshipped
//! ```
//!
//! One of them writes the last good config at any time. If the new process dies before it is ready, the old one goes
//! on as if nothing had been asked. Both check that the other is of the same user.

use std::{
    fs::{self, File, Permissions},
    io::{self, IoSlice, IoSliceMut, Read},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixStream as Blocking},
    },
    path::Path,
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use crate::listener::sockets::{Given, Sockets};

const VERSION: u32 = 1;
const LOCK: &str = "lock";
const SOCKET: &str = "handover.sock";
/// Descriptors in one message; the kernel takes 253.
const TOGETHER_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// A running node may still wait for the end of the one before it: a drain, then the rest of its usage.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
const READY: u8 = b'R';

/// The first line: what the descriptors after it are.
#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    names: Vec<String>,
    /// Whether a supervisor holds the sockets too.
    stay: bool,
}

/// Where a running node can be asked for its place.
pub(crate) struct Door(UnixListener);

impl Door {
    /// Takes the path over from whoever had it.
    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        let (path, fresh) = (dir.join(SOCKET), dir.join(format!("{SOCKET}.new")));
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&fresh)?;
        fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
        fs::rename(fresh, path)?;
        Ok(Self(listener))
    }

    /// The next process of our user that asks.
    pub(crate) async fn knock(&self) -> Successor {
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => match stream.peer_cred() {
                    Ok(peer) if peer.uid() == rustix::process::geteuid().as_raw() => {
                        return Successor(stream);
                    }
                    _ => tracing::warn!("another user asked for this node's sockets; refused"),
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot be asked for the node's sockets");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

/// A process that wants our place.
pub(crate) struct Successor(UnixStream);

impl Successor {
    /// Gives it everything and waits until it serves. An error: it does not and will not.
    pub(crate) async fn install(&mut self, sockets: &Sockets, lock: File) -> io::Result<()> {
        let (mut names, mut descriptors): (Vec<_>, Vec<_>) =
            sockets.copies()?.into_iter().map(|(used, it)| (used.name().to_owned(), it)).unzip();
        names.push(LOCK.to_owned());
        descriptors.push(lock.into());
        let head = Head { version: VERSION, names, stay: sockets.stay };
        let mut line = serde_json::to_vec(&head)?;
        line.push(b'\n');
        self.0.write_all(&line).await?;
        for together in descriptors.chunks(TOGETHER_MAX) {
            let borrowed: Vec<_> = together.iter().map(AsFd::as_fd).collect();
            let send = || send(self.0.as_fd(), &borrowed);
            self.0.async_io(tokio::io::Interest::WRITABLE, send).await?;
        }
        match self.0.read_u8().await? {
            READY => Ok(()),
            _ => Err(io::Error::other("it said what nobody understands")),
        }
    }

    /// Lets it know of our end when that is there: the kernel closes the connection with the process.
    pub(crate) fn keep_until_the_end(self) {
        std::mem::forget(self);
    }
}

/// The process whose place is taken.
pub(crate) struct Predecessor(UnixStream);

impl Predecessor {
    /// Asks the node that runs in `dir` for its place; nothing where none runs. Blocks.
    pub(crate) fn ask(dir: &Path) -> io::Result<Option<(Self, Given, File)>> {
        let mut stream = match Blocking::connect(dir.join(SOCKET)) {
            Ok(stream) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let peer = rustix::net::sockopt::socket_peercred(&stream)?;
        if peer.uid != rustix::process::geteuid() {
            return Err(io::Error::other("another user listens there"));
        }
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let head = head(&mut stream)?;
        if head.version != VERSION {
            return Err(io::Error::other(
                "the running node is of a release that hands over otherwise",
            ));
        }
        let mut descriptors = Vec::new();
        while descriptors.len() < head.names.len() {
            descriptors.extend(receive(stream.as_fd())?);
        }
        let named = head.names.into_iter().zip(descriptors);
        let (locks, sockets): (Vec<_>, Vec<_>) = named.partition(|(name, _)| name == LOCK);
        let lock = locks.into_iter().next().ok_or_else(|| io::Error::other("no lock came"))?;
        stream.set_nonblocking(true)?;
        let predecessor = Self(UnixStream::from_std(stream)?);
        Ok(Some((predecessor, Given::new(sockets, head.stay)?, lock.1.into())))
    }

    /// From here on it takes no more callers.
    pub(crate) async fn release(&mut self) {
        // It may have died: then its place is free.
        let _ = self.0.write_u8(READY).await;
    }

    /// Until it has ended.
    pub(crate) async fn gone(&mut self) {
        let mut rest = [0; 64];
        while self.0.read(&mut rest).await.is_ok_and(|bytes| bytes > 0) {}
    }
}

/// One byte at a time: behind the line come descriptors.
fn head(stream: &mut Blocking) -> io::Result<Head> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while line.len() < HEAD_BYTES_MAX {
        stream.read_exact(&mut byte)?;
        if byte == *b"\n" {
            return Ok(serde_json::from_slice(&line)?);
        }
        line.extend(byte);
    }
    Err(io::Error::other("the running node's answer is too long"))
}

fn send(stream: BorrowedFd<'_>, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(TOGETHER_MAX))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    message.push(SendAncillaryMessage::ScmRights(descriptors));
    rustix::net::sendmsg(stream, &[IoSlice::new(b"+")], &mut message, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive(stream: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(TOGETHER_MAX))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut into = [IoSliceMut::new(&mut byte)];
    let received = rustix::net::recvmsg(stream, &mut into, &mut message, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let rights = message.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok(rights.flatten().collect())
}
