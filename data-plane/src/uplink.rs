//! What binds a node to its control plane: configuration comes in; usage, what is watched, what is asked and what is
//! counted beside usage go out.

use std::{
    mem,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use proto::config::v1::Heartbeat;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::{
    Error, Result,
    counter::Shipper,
    inquiry,
    node::Shared,
    reconciliation,
    snapshot::stream::{self, ConfigStream},
    tail,
};

/// The config stream, and what goes beside it, while they run.
pub(crate) struct Uplink {
    stream: JoinHandle<std::result::Result<(), BoxError>>,
    streaming: bool,
    stop: CancellationToken,
    shipping: JoinHandle<()>,
    tailing: JoinHandle<()>,
    attending: JoinHandle<()>,
    reporting: JoinHandle<()>,
}

/// The uplink of a node that serves: where it cannot be had again at once, it is asked for again and again.
pub(crate) enum Line<'a> {
    Up(Uplink),
    /// Nothing is shipped and no change comes meanwhile; both wait where they are.
    Coming {
        uplink: Pin<Box<dyn Future<Output = Uplink> + 'a>>,
        /// It is to come without its stream.
        stopped: bool,
    },
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const AGAIN_FIRST: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(5);

impl Uplink {
    /// Publishes the last good config, if there is one, before it gives back; then goes on by itself.
    pub(crate) async fn start(
        shared: &Arc<Shared>,
        shipper: &Arc<Shipper>,
        metrics: stream::Metrics,
    ) -> Result<Self> {
        let settings = stream::Settings::of(&shared.config).map_err(config_error)?;
        let publish = stream::publish_to(shared.clone());
        // It reads and compiles what the disk holds.
        let open = move || ConfigStream::open(settings, publish, metrics);
        let opened = tokio::task::spawn_blocking(open).await.map_err(config_error)?;
        let opened = opened.map_err(config_error)?;
        let stop = CancellationToken::new();
        let shipping = tokio::spawn(ship(shipper.clone(), opened.channels()));
        let tailing = tokio::spawn(tail::follow(shared.tails.clone(), opened.channels()));
        let attending = tokio::spawn(inquiry::attend(shared.inquiries.clone(), opened.channels()));
        let reporting = tokio::spawn(reconciliation::run(shared.counts.clone(), opened.channels()));
        let running = opened.run(health(shared, shipper), stop.clone());
        let stream = tokio::spawn(async { running.await.map_err(Into::into) });
        Ok(Self { stream, streaming: true, stop, shipping, tailing, attending, reporting })
    }

    /// Resolves with why no configuration will come any more, if that happens.
    pub(crate) async fn broken(&mut self) -> BoxError {
        while self.streaming {
            let ended = (&mut self.stream).await;
            self.streaming = false;
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(error) => return error.into(),
            }
        }
        std::future::pending().await
    }

    /// Ends the stream, so that nothing more is written of what is served. Usage is shipped on.
    pub(crate) async fn stop_stream(&mut self) {
        self.stop.cancel();
        if mem::take(&mut self.streaming)
            && tokio::time::timeout(crate::SHIP_TIMEOUT, &mut self.stream).await.is_err()
        {
            self.stream.abort();
        }
    }

    /// What was on its way to the ledger waits again when this gives back.
    pub(crate) async fn end(mut self) {
        self.shipping.abort();
        self.tailing.abort();
        self.attending.abort();
        self.reporting.abort();
        self.stop_stream().await;
        let _ = self.shipping.await; // aborted
    }
}

impl<'a> Line<'a> {
    /// In the place of one that has ended.
    pub(crate) fn again(
        shared: &'a Arc<Shared>,
        shipper: &'a Arc<Shipper>,
        metrics: &'a stream::Metrics,
    ) -> Self {
        let uplink = Box::pin(async move {
            let mut wait = AGAIN_FIRST;
            loop {
                match Uplink::start(shared, shipper, metrics.clone()).await {
                    Ok(uplink) => return uplink,
                    Err(error) => {
                        let error = crate::chain(&error);
                        tracing::error!(
                            %error,
                            "nothing binds this node to its control plane; it serves on and tries again"
                        );
                    }
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(AGAIN_MAX);
            }
        });
        Self::Coming { uplink, stopped: false }
    }

    /// Resolves with why no configuration will come any more, if that happens. The uplink comes while this is polled.
    pub(crate) async fn broken(&mut self) -> BoxError {
        if let Self::Coming { uplink, stopped } = self {
            let (uplink, stopped) = (uplink.await, *stopped);
            *self = Self::Up(uplink);
            if stopped {
                self.stop_stream().await;
            }
        }
        match self {
            Self::Up(uplink) => uplink.broken().await,
            Self::Coming { .. } => std::future::pending().await, // it has just come
        }
    }

    /// For as long as something takes; an uplink that has to come does meanwhile, for usage leaves by it.
    pub(crate) async fn during(&mut self, work: impl Future<Output = ()>) {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                () = work.as_mut() => return,
                _ = self.broken() => {}
            }
        }
    }

    /// As [`Uplink::stop_stream`]; one that comes later comes without.
    pub(crate) async fn stop_stream(&mut self) {
        match self {
            Self::Up(uplink) => uplink.stop_stream().await,
            Self::Coming { stopped, .. } => *stopped = true,
        }
    }

    pub(crate) async fn end(self) {
        if let Self::Up(uplink) = self {
            uplink.end().await;
        }
    }
}

fn config_error(error: impl Into<BoxError>) -> Error {
    Error::Config(error.into())
}

fn health(shared: &Arc<Shared>, shipper: &Arc<Shipper>) -> stream::Health {
    let (shared, shipper) = (shared.clone(), shipper.clone());
    Arc::new(move || Heartbeat {
        unshipped_segments: shipper.unacknowledged(),
        requests_in_flight: u64::try_from(shared.metrics.in_flight.get()).unwrap_or(0),
    })
}

/// Ships over whatever channels there are; a node that has not joined yet has none.
async fn ship(shipper: Arc<Shipper>, mut channels: watch::Receiver<Arc<[Channel]>>) {
    loop {
        let now = channels.borrow_and_update().clone();
        tokio::select! {
            () = shipper.run(&now), if !now.is_empty() => {}
            changed = channels.changed() => if changed.is_err() {
                // No new channels will come; these still lead to the ledger.
                return shipper.run(&now).await;
            },
        }
    }
}
