//! The data threads: each serves its share of the port with a runtime of its own.

use std::{net::SocketAddr, sync::Arc, thread::JoinHandle};

use egress::{Connector, Own};
use tokio::{sync::watch, task::LocalSet};
use tokio_rustls::TlsAcceptor;

use crate::{
    Error, Result,
    counter::Counter,
    listener::{
        self, Door,
        sockets::{Port, Sockets},
    },
    node::{Node, Shared},
    policies::limiter::{self, Limiter},
    tls,
};

/// The running data threads.
pub(crate) struct Threads {
    /// What callers over TLS are shown.
    pub(crate) certificate: Option<Arc<tls::Shown>>,
    /// What no outbound call may reach.
    pub(crate) own: Own,
    drain: watch::Sender<bool>,
    /// Each sends once, when it ends.
    ended: tokio::sync::mpsc::UnboundedReceiver<()>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts one thread for each counter on the ports. `own` is what no tenant may reach; the ports themselves are
    /// added.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        counters: Vec<Counter>,
        own: &[SocketAddr],
        sockets: &Sockets,
    ) -> Result<Self> {
        let config = &shared.config;
        let mut doors: Vec<Vec<Door>> = counters.iter().map(|_| Vec::new()).collect();
        let mut add = |port: &Port, tls: Option<&TlsAcceptor>| {
            let sockets_by_thread = port.shares(doors.len()).map_err(Error::Thread)?;
            for (doors, share) in doors.iter_mut().zip(sockets_by_thread) {
                doors.extend(share.into_iter().map(|listener| Door {
                    listener,
                    tls: tls.cloned(),
                    stays: sockets.stay,
                }));
            }
            Ok::<_, Error>(())
        };
        add(&sockets.http, None)?;
        let mut certificate = None;
        if let Some((settings, port)) = config.tls.as_ref().zip(sockets.https.as_ref()) {
            let (acceptor, shown) = tls::acceptor(config, settings)?;
            add(port, Some(&acceptor))?;
            certificate = Some(shown);
        }
        let ports = [Some(&sockets.http), sockets.https.as_ref()];
        let ports = ports.into_iter().flatten().map(|port| port.address);
        let own = Own::new(own.iter().copied().chain(ports));
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
        Ok(Self { certificate, own, drain, ended, handles })
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
        let config = &shared.config;
        let connector = Connector::new(own, &config.backend_roots)
            .map_err(|error| Error::Egress(Box::new(error)))?;
        let settings = limiter::Settings {
            url: config.redis_url.as_deref(),
            authority: config.redis_authority.as_deref(),
            budget: config.limits.redis_timeout,
            mode: config.limiter_mode,
            outage: config.limiter_outage,
        };
        let limiter = Limiter::new(
            settings,
            shared.local_limits.clone(),
            shared.leases.clone(),
            shared.gates.clone(),
            shared.counts.uses.clone(),
            shared.metrics.limits.clone(),
        )
        .map_err(|error| Error::Setting(format!("the Redis URL is not usable: {error}")))?;
        let node = Node::new(shared, connector, limiter, counter);
        listener::run(node, doors, draining).await.map_err(Error::Thread)
    });
    runtime.block_on(serving)
}
