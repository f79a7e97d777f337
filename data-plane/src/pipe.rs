//! Pipes of the kernel's, through which an answer's bytes go from a backend's socket to a caller's (`splice(2)`) without
//! being copied into this process and out again.
//!
//! One tenant's bytes must never reach another's caller: a pipe is used again only where the kernel says that it is
//! empty, else it is closed. Where no pipe is to be had, bodies are copied.

use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::OwnedFd,
    rc::Rc,
    task::{Context, Poll, ready},
};

use rustix::{
    io::{Errno, ioctl_fionread},
    pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice},
};
use tokio::{io::Interest, net::TcpStream};

/// What one takes at once: as much as the largest read of a copied body, so that a caller is as fast or as slow by either
/// way, and 32 of the kernel's pages.
const BYTES_MAX: usize = 128 * 1024;
/// What the kernel gives unasked. Beyond a user's share of pages (`pipe-user-pages-soft`) it gives less, and then it is
/// cheaper to copy.
const BYTES_MIN: usize = 64 * 1024;
/// How many wait, of two descriptors each.
const KEPT_MAX: usize = 16;

/// One thread's pipes.
pub(crate) struct Pipes {
    max: usize,
    open: Rc<Cell<usize>>,
    free: RefCell<Vec<Pipe>>,
}

/// Dropped, it is closed, with what is in it.
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    bytes_max: usize,
    /// How much is in it.
    held: u64,
    _open: Open,
}

/// Counts a pipe while it is open.
struct Open(Rc<Cell<usize>>);

impl Pipes {
    /// No more than `max` are open at once.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, open: Rc::default(), free: RefCell::default() }
    }

    /// An empty pipe; `None` where as many are used as may be, or the kernel has none.
    pub(crate) fn take(&self) -> Option<Pipe> {
        let free = self.free.borrow_mut().pop();
        free.or_else(|| {
            if self.open.get() >= self.max {
                return None;
            }
            let opened = Pipe::open(&self.open);
            opened.inspect_err(|error| tracing::debug!(%error, "no pipe; a body is copied")).ok()
        })
    }

    /// Keeps it for another, if it is empty.
    pub(crate) fn give_back(&self, pipe: Pipe) {
        let is_empty = pipe.is_empty() && ioctl_fionread(&pipe.read) == Ok(0);
        let mut free = self.free.borrow_mut();
        if is_empty && free.len() < KEPT_MAX {
            free.push(pipe);
        }
    }
}

impl Pipe {
    fn open(open: &Rc<Cell<usize>>) -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // From a pipe to itself is what the call refuses; where there is no such call, or a filter forbids it, it is
        // another error.
        match splice(&read, None, &write, None, 1, SpliceFlags::NONBLOCK) {
            Err(Errno::INVAL) => {}
            refused => {
                return Err(refused.err().map_or(io::ErrorKind::Unsupported.into(), Into::into));
            }
        }
        let bytes_max =
            fcntl_setpipe_size(&write, BYTES_MAX).or_else(|_| fcntl_getpipe_size(&write))?;
        if bytes_max < BYTES_MIN {
            return Err(io::Error::other("the user has its share of pipes' pages"));
        }
        let bytes_max = bytes_max.min(BYTES_MAX);
        open.set(open.get() + 1);
        Ok(Self { read, write, bytes_max, held: 0, _open: Open(open.clone()) })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Takes up to `left` bytes that came on a socket, 0 at its end. Only while it is empty: of a pipe that holds something
    /// the kernel does not say whether it has no room or the socket has no bytes.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        socket: &TcpStream,
        left: u64,
    ) -> Poll<io::Result<u64>> {
        debug_assert!(self.is_empty(), "it was not emptied first");
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.bytes_max);
        let filled = ready!(poll_socket(cx, socket, Interest::READABLE, || {
            splice(socket, None, &self.write, None, most, SpliceFlags::NONBLOCK)
        }))?;
        self.held = filled as u64;
        Poll::Ready(Ok(self.held))
    }

    /// Hands a socket what it takes. An error is one of the socket's: of one that the other side reset the kernel would
    /// signal SIGPIPE besides, which Rust's programs ignore.
    pub(crate) fn poll_empty(
        &mut self,
        cx: &mut Context<'_>,
        socket: &TcpStream,
    ) -> Poll<io::Result<()>> {
        let most = usize::try_from(self.held).unwrap_or(usize::MAX);
        let taken = ready!(poll_socket(cx, socket, Interest::WRITABLE, || {
            splice(&self.read, None, socket, None, most, SpliceFlags::NONBLOCK)
        }))?;
        self.held = self.held.saturating_sub(taken as u64);
        Poll::Ready(if taken == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) })
    }
}

/// Moves bytes once the socket has some, or takes some.
fn poll_socket(
    cx: &mut Context<'_>,
    socket: &TcpStream,
    interest: Interest,
    moves: impl Fn() -> rustix::io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        let is_ready = if interest.is_readable() {
            socket.poll_read_ready(cx)
        } else {
            socket.poll_write_ready(cx)
        };
        ready!(is_ready)?;
        match socket.try_io(interest, || moves().map_err(io::Error::from)) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            done => return Poll::Ready(done),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// The two ends of a connection.
    async fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (connected, accepted) = tokio::join!(connecting, listener.accept());
        (connected.unwrap(), accepted.unwrap().0)
    }

    /// A pipe with something in it.
    async fn filled(pipes: &Pipes) -> Pipe {
        let (mut from, to) = connection().await;
        from.write_all(b"hello").await.unwrap();
        let mut pipe = pipes.take().unwrap();
        assert_eq!(poll_fn(|cx| pipe.poll_fill(cx, &to, 4)).await.unwrap(), 4);
        pipe
    }

    #[tokio::test]
    async fn bytes_pass_in_order_no_more_at_once_than_a_pipe_takes_or_is_asked_for() {
        const BYTES: usize = 1_000_003;
        let pipes = Pipes::new(1);
        let ((mut from, backend), (caller, mut to)) = (connection().await, connection().await);
        let sent: Vec<u8> = (0..=250).cycle().take(BYTES).collect();
        let sending = sent.clone();
        let writing = async move {
            from.write_all(&sending).await.unwrap();
            from.write_all(b"not asked for").await.unwrap();
            from
        };
        let moving = async {
            let (mut pipe, mut left) = (pipes.take().unwrap(), BYTES as u64);
            while left > 0 {
                let bytes = poll_fn(|cx| pipe.poll_fill(cx, &backend, left)).await.unwrap();
                assert!((1..=left.min(BYTES_MAX as u64)).contains(&bytes), "{bytes} of {left}");
                left -= bytes;
                while !pipe.is_empty() {
                    poll_fn(|cx| pipe.poll_empty(cx, &caller)).await.unwrap();
                }
            }
            pipes.give_back(pipe);
        };
        let mut came = vec![0; BYTES];
        let (_from, (), read) = tokio::join!(writing, moving, to.read_exact(&mut came));
        read.unwrap();
        assert!(came == sent);
        assert_eq!((pipes.open.get(), pipes.free.borrow().len()), (1, 1));
    }

    #[tokio::test]
    async fn a_socket_that_ended_gives_nothing() {
        let (from, to) = connection().await;
        drop(from);
        let mut pipe = Pipes::new(1).take().unwrap();
        assert_eq!(poll_fn(|cx| pipe.poll_fill(cx, &to, 9)).await.unwrap(), 0);
        assert!(pipe.is_empty());
    }

    #[tokio::test]
    async fn a_pipe_that_holds_something_is_closed_and_never_used_again() {
        let pipes = Pipes::new(1);
        pipes.give_back(filled(&pipes).await);
        assert_eq!((pipes.open.get(), pipes.free.borrow().len()), (0, 0));
        // Nor where our own count is wrong.
        let mut pipe = filled(&pipes).await;
        pipe.held = 0;
        pipes.give_back(pipe);
        assert_eq!((pipes.open.get(), pipes.free.borrow().len()), (0, 0));
        pipes.give_back(pipes.take().unwrap());
        assert_eq!((pipes.open.get(), pipes.free.borrow().len()), (1, 1));
    }

    #[test]
    fn pipes_have_a_bound_and_few_wait() {
        const MAX: usize = KEPT_MAX + 4;
        let pipes = Pipes::new(MAX);
        let taken: Vec<_> = (0..MAX).map(|_| pipes.take().expect("a pipe")).collect();
        assert!(pipes.take().is_none());
        for pipe in taken {
            pipes.give_back(pipe);
        }
        assert_eq!(pipes.open.get(), KEPT_MAX);
        assert!(Pipes::new(0).take().is_none());
    }

    #[test]
    fn without_descriptors_there_is_no_pipe_and_later_there_is() {
        let (pipes, before) = (Pipes::new(1), getrlimit(Resource::Nofile));
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..before }).unwrap();
        let refused = pipes.take().is_none();
        setrlimit(Resource::Nofile, before).unwrap();
        assert!(refused && pipes.open.get() == 0);
        assert!(pipes.take().is_some());
    }
}
