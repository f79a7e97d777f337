//! The data threads: each serves its share of the port with a runtime of its own.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
};

use egress::{Connector, Own};
use tokio::{sync::watch, task::LocalSet};

use crate::{
    Error, Result,
    counter::Counter,
    listener::{self, Door},
    node::{Node, Shared},
    policies::limiter::Limiter,
    tls,
};

/// The running data threads.
pub(crate) struct Threads {
    /// Where callers connect; the port is known even where 0 was asked for.
    pub(crate) address: SocketAddr,
    /// The same over TLS.
    pub(crate) tls_address: Option<SocketAddr>,
    drain: watch::Sender<bool>,
    /// Each sends once, when it ends.
    ended: tokio::sync::mpsc::UnboundedReceiver<()>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Binds the ports and starts one thread for each counter. `own` is what no tenant may reach; the ports
    /// themselves are added.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        counters: Vec<Counter>,
        own: &[SocketAddr],
    ) -> Result<Self> {
        let config = &shared.config;
        let (address, plain) = bind(config.listen, counters.len())?;
        let mut doors: Vec<Vec<Door>> =
            plain.into_iter().map(|listener| vec![Door { listener, tls: None }]).collect();
        let mut tls_address = None;
        if let Some(settings) = &config.tls {
            let acceptor = tls::acceptor(config, settings)?;
            let (address, listeners) = bind(settings.listen, counters.len())?;
            tls_address = Some(address);
            for (doors, listener) in doors.iter_mut().zip(listeners) {
                doors.push(Door { listener, tls: Some(acceptor.clone()) });
            }
        }
        let own = Own::new(own.iter().copied().chain([address]).chain(tls_address));
        let (drain, draining) = watch::channel(false);
        let (end, ended) = tokio::sync::mpsc::unbounded_channel();
        let mut handles = Vec::with_capacity(doors.len());
        for (index, (doors, counter)) in doors.into_iter().zip(counters).enumerate() {
            let (shared, own) = (shared.clone(), own.clone());
            let (draining, end) = (draining.clone(), end.clone());
            let serve = move || {
                // Sent however the thread ends, a panic included.
                let _end = OnEnd(end);
                if let Err(error) = thread(shared, own, counter, doors, draining) {
                    tracing::error!(error = %crate::chain(&error), "a data thread could not go on");
                }
            };
            let builder = std::thread::Builder::new().name(format!("data-{index}"));
            handles.push(builder.spawn(serve).map_err(Error::Thread)?);
        }
        Ok(Self { address, tls_address, drain, ended, handles })
    }

    /// Resolves when a thread ended although nobody asked it to.
    pub(crate) async fn failed(&mut self) {
        self.ended.recv().await;
    }

    /// Lets what is in progress finish, within the drain timeout, and gives back when all threads have ended and
    /// dropped their counters.
    pub(crate) async fn drain(self) {
        let _ = self.drain.send(true);
        let joined = tokio::task::spawn_blocking(move || {
            for handle in self.handles {
                let _ = handle.join(); // a panic was logged where it happened
            }
        });
        let _ = joined.await;
    }
}

/// One listening socket for each thread, and their address.
fn bind(wanted: SocketAddr, threads: usize) -> Result<(SocketAddr, Vec<TcpListener>)> {
    let failed = |source| Error::Listen { address: wanted, source };
    let listeners = listener::bind(wanted, threads).map_err(failed)?;
    let address = listeners.first().map_or(Ok(wanted), TcpListener::local_addr).map_err(failed)?;
    Ok((address, listeners))
}

struct OnEnd(tokio::sync::mpsc::UnboundedSender<()>);

impl Drop for OnEnd {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

fn thread(
    shared: Arc<Shared>,
    own: Own,
    counter: Counter,
    doors: Vec<Door>,
    draining: watch::Receiver<bool>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Thread)?;
    let local = LocalSet::new();
    let serving = local.run_until(async move {
        let connector = Connector::new(own, &[]).map_err(|error| Error::Egress(Box::new(error)))?;
        let redis_errors = shared.metrics.redis_errors.clone();
        let config = &shared.config;
        let limiter = Limiter::new(
            config.redis_url.as_deref(),
            config.limits.redis_timeout,
            config.limiter_outage,
            shared.local_limits.clone(),
            redis_errors,
        )
        .map_err(|error| Error::Setting(format!("the Redis URL is not usable: {error}")))?;
        let node = Node::new(shared, connector, limiter, counter);
        listener::run(node, doors, draining).await.map_err(Error::Thread)
    });
    runtime.block_on(serving)
}
