//! A way to a server that can be cut as a network is: what goes over it is lost, and neither end is told.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// A packet filter that keeps nothing: packets are lost before TCP sees them, so that senders repeat them, ever more
/// seldom.
const NOTHING: [SockFilter; 1] = [SockFilter::new(0x06, 0, 0, 0)]; // BPF_RET: 0 bytes

/// Leads from an address of its own to a server until it is dropped.
pub struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

struct Shared {
    listener: TcpListener,
    target: SocketAddr,
    cut: watch::Sender<bool>,
    ends: Mutex<Vec<Weak<TcpStream>>>,
}

impl Wire {
    /// # Panics
    /// Where no port can be had.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let cut = watch::Sender::new(false);
        let shared = Arc::new(Shared { listener, target, cut, ends: Mutex::default() });
        let accepting = tokio::spawn(accept(shared.clone())).abort_handle();
        Self { address, shared, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on every packet is lost.
    ///
    /// # Panics
    /// Where the kernel takes no filter.
    pub fn cut(&self) {
        self.shared.cut.send_replace(true);
        SockRef::from(&self.shared.listener).attach_filter(&NOTHING).expect("a filter");
        for end in self.shared.ends() {
            SockRef::from(&*end).attach_filter(&NOTHING).expect("a filter");
        }
    }

    /// Packets go through again.
    ///
    /// # Panics
    /// Where it was not cut.
    pub fn mend(&self) {
        SockRef::from(&self.shared.listener).detach_filter().expect("a filter");
        for end in self.shared.ends() {
            SockRef::from(&*end).detach_filter().expect("a filter");
        }
        self.shared.cut.send_replace(false);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    /// Those that are open.
    fn ends(&self) -> Vec<Arc<TcpStream>> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.retain(|end| end.strong_count() > 0);
        ends.iter().filter_map(Weak::upgrade).collect()
    }
}

async fn accept(shared: Arc<Shared>) {
    let mut pairs = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = pairs.join_next() => {}
            accepted = shared.listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                pairs.spawn(join(shared.clone(), stream));
            }
        }
    }
}

async fn join(shared: Arc<Shared>, caller: TcpStream) -> io::Result<()> {
    let server = TcpStream::connect(shared.target).await?;
    let ends = [caller, server].map(Arc::new);
    for end in &ends {
        end.set_nodelay(true)?;
        if *shared.cut.borrow() {
            SockRef::from(&**end).attach_filter(&NOTHING)?;
        }
    }
    let weak = ends.iter().map(Arc::downgrade);
    shared.ends.lock().unwrap_or_else(PoisonError::into_inner).extend(weak);
    let [caller, server] = &ends;
    tokio::try_join!(pump(caller, server, &shared.cut), pump(server, caller, &shared.cut))?;
    Ok(())
}

async fn pump(from: &TcpStream, to: &TcpStream, cut: &watch::Sender<bool>) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut cut = cut.subscribe();
    loop {
        from.readable().await?;
        let bytes = match from.try_read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            read => read?,
        };
        let _ = cut.wait_for(|cut| !cut).await;
        if bytes == 0 {
            return SockRef::from(to).shutdown(std::net::Shutdown::Write);
        }
        let mut rest = &buffer[..bytes];
        while !rest.is_empty() {
            to.writable().await?;
            match to.try_write(rest) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => rest = &rest[written?..],
            }
        }
    }
}
