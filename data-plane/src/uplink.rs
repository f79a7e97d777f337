//! What binds a node to its control plane: configuration comes in, usage and what is watched go out.

use std::sync::Arc;

use proto::config::v1::Heartbeat;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::{
    Error, Result,
    counter::Shipper,
    node::Shared,
    snapshot::stream::{self, ConfigStream},
    tail,
};

/// The stream, the shipping and the tailing, while they run.
pub(crate) struct Uplink {
    stream: JoinHandle<std::result::Result<(), BoxError>>,
    streaming: bool,
    stop: CancellationToken,
    shipping: JoinHandle<()>,
    tailing: JoinHandle<()>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

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
        let running = opened.run(health(shared, shipper), stop.clone());
        let stream = tokio::spawn(async { running.await.map_err(Into::into) });
        Ok(Self { stream, streaming: true, stop, shipping, tailing })
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
        if std::mem::take(&mut self.streaming)
            && tokio::time::timeout(crate::SHIP_TIMEOUT, &mut self.stream).await.is_err()
        {
            self.stream.abort();
        }
    }

    pub(crate) async fn end(mut self) {
        self.shipping.abort();
        self.tailing.abort();
        self.stop_stream().await;
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
