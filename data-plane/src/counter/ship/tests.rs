use std::{collections::BTreeSet, sync::Mutex};

use proto::usage::v1::{
    OpenEpochResponse,
    usage_intake_server::{UsageIntake, UsageIntakeServer},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, transport::Server};

use super::*;
use crate::counter::{
    Counter, Journal, Outcome as Ended, Settings,
    journal::tests::{Descriptors, Dir, names},
};

/// A ledger that remembers what it got and answers as it is told.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    opened: usize,
    applied: BTreeSet<(Vec<u8>, u32, u64)>,
    received: usize,
    redraws: usize,
    high_water: Vec<HighWater>,
    /// The answer to each of the next segments; then they are applied.
    answers: VecDeque<Answer>,
}

#[derive(Clone, Copy)]
enum Answer {
    Say(Outcome),
    /// Apply it and break the stream before the answer.
    Break,
    /// Never answer.
    Hang,
}

#[tonic::async_trait]
impl UsageIntake for Ledger {
    async fn open_epoch(
        &self,
        _: Request<OpenEpochRequest>,
    ) -> Result<Response<OpenEpochResponse>, Status> {
        let mut state = self.0.lock().unwrap();
        state.opened += 1;
        let redraw = state.redraws > 0;
        state.redraws = state.redraws.saturating_sub(1);
        Ok(Response::new(OpenEpochResponse { redraw, high_water: state.high_water.clone() }))
    }

    type ShipStream = ReceiverStream<Result<SegmentAck, Status>>;

    async fn ship(
        &self,
        request: Request<Streaming<Segment>>,
    ) -> Result<Response<Self::ShipStream>, Status> {
        let (ledger, mut segments) = (self.clone(), request.into_inner());
        let (acks, out) = mpsc::channel(64);
        tokio::spawn(async move {
            while let Ok(Some(segment)) = segments.message().await {
                assert_eq!(segment.sha256, Sha256::digest(&segment.content).to_vec());
                let place = (segment.epoch.clone(), segment.thread, segment.counter);
                let answer = {
                    let mut state = ledger.0.lock().unwrap();
                    state.received += 1;
                    state.answers.pop_front().unwrap_or(Answer::Say(Outcome::Applied))
                };
                if matches!(answer, Answer::Say(Outcome::Applied) | Answer::Break) {
                    ledger.0.lock().unwrap().applied.insert(place);
                }
                let outcome = match answer {
                    Answer::Say(outcome) => outcome.into(),
                    Answer::Break => return,
                    Answer::Hang => continue,
                };
                let ack = SegmentAck {
                    epoch: segment.epoch,
                    thread: segment.thread,
                    counter: segment.counter,
                    outcome,
                    reason: String::new(),
                };
                let _ = acks.send(Ok(ack)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(out)))
    }
}

impl Ledger {
    fn answers(&self, answers: &[Answer]) {
        self.0.lock().unwrap().answers.extend(answers);
    }

    fn applied(&self) -> usize {
        self.0.lock().unwrap().applied.len()
    }

    async fn serve(&self) -> Channel {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = UsageIntakeServer::new(self.clone());
        let incoming = TcpListenerStream::new(listener);
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy()
    }
}

/// Seals one segment for each number.
fn seal(counter: &mut Counter, segments: u64) {
    for _ in 0..segments {
        let slot = counter.begin(&names("GET /"), 0).unwrap();
        counter.finish(slot, &Ended { ended_ms: 5, status: 200, ..Ended::default() });
        counter.tick(6);
    }
}

struct World {
    dir: Dir,
    ledger: Ledger,
    channel: Channel,
    shipper: Arc<Shipper>,
    counter: Counter,
    running: JoinHandle<()>,
}

impl World {
    async fn new(ledger: Ledger) -> Self {
        let dir = Dir::new();
        let (journal, mut counters) = Journal::open(Settings::new(dir.0.clone(), 1), 0).unwrap();
        let shipper = Arc::new(journal.shipper());
        let channel = ledger.serve().await;
        let running = ship(&shipper, &channel);
        Self { dir, ledger, channel, shipper, counter: counters.pop().unwrap(), running }
    }

    async fn drained(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        assert!(self.shipper.drain(deadline).await, "{} left", self.shipper.unacknowledged());
    }

    fn files(&self, directory: &str) -> usize {
        listed(&self.dir.0.join(directory)).unwrap().len()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn ship(shipper: &Arc<Shipper>, channel: &Channel) -> JoinHandle<()> {
    let (shipper, channels) = (Arc::clone(shipper), [channel.clone()]);
    tokio::spawn(async move { shipper.run(&channels).await })
}

#[tokio::test]
async fn a_drain_ends_when_all_is_acknowledged() {
    let mut world = World::new(Ledger::default()).await;
    seal(&mut world.counter, 40);
    world.drained().await;
    assert_eq!(world.ledger.applied(), 40);
    assert_eq!((world.files("sealed"), world.files("kept")), (0, 40));
}

#[tokio::test]
async fn what_was_not_answered_is_sent_again() {
    let mut world = World::new(Ledger::default()).await;
    world.ledger.answers(&[
        Answer::Say(Outcome::Applied),
        Answer::Break,
        Answer::Say(Outcome::Retry),
        Answer::Say(Outcome::Duplicate),
    ]);
    seal(&mut world.counter, 5);
    world.drained().await;
    // The one that was answered as a duplicate had been applied before the stream broke.
    assert_eq!(world.ledger.applied(), 5);
    assert_eq!(world.files("kept"), 5);
}

#[tokio::test]
async fn what_the_ledger_will_not_take_is_set_aside() {
    let mut world = World::new(Ledger::default()).await;
    world.ledger.answers(&[Answer::Say(Outcome::Quarantined)]);
    seal(&mut world.counter, 2);
    world.drained().await;
    assert_eq!((world.files("quarantine"), world.files("kept")), (1, 1));
}

#[tokio::test]
async fn what_cannot_be_read_for_want_of_descriptors_is_sent_once_there_are_some() {
    let mut world = World::new(Ledger::default()).await;
    seal(&mut world.counter, 1);
    world.drained().await;
    let quarantined = world.shipper.shared.metrics.quarantined.clone();
    let opened = || world.ledger.0.lock().unwrap().opened;
    let before = opened();
    {
        let _without = Descriptors::none();
        seal(&mut world.counter, 1);
        while opened() == before && quarantined.get() == 0 {
            tokio::task::yield_now().await;
        }
    }
    world.drained().await;
    assert_eq!(quarantined.get(), 0);
    assert_eq!((world.ledger.applied(), world.files("kept")), (2, 2));
}

#[tokio::test]
async fn shipping_stopped_in_the_middle_goes_on_where_it_was() {
    let mut world = World::new(Ledger::default()).await;
    world.ledger.answers(&[Answer::Hang; 3]);
    let (received, mut all) = watch::channel(0);
    seal(&mut world.counter, 3);
    let ledger = world.ledger.clone();
    tokio::spawn(async move {
        while ledger.0.lock().unwrap().received < 3 {
            tokio::task::yield_now().await;
        }
        received.send_replace(3);
    });
    all.wait_for(|count| *count == 3).await.unwrap();

    world.running.abort();
    let _ = (&mut world.running).await;
    world.running = ship(&world.shipper, &world.channel);

    world.drained().await;
    assert_eq!(world.ledger.applied(), 3);
    assert_eq!(world.files("kept"), 3);
}

#[tokio::test]
async fn a_node_whose_epoch_is_taken_draws_another() {
    let ledger = Ledger::default();
    ledger.0.lock().unwrap().redraws = 1;
    let mut world = World::new(ledger).await;
    let first = world.shipper.shared.epoch();
    seal(&mut world.counter, 1);
    world.drained().await;
    seal(&mut world.counter, 1);
    world.drained().await;
    assert_ne!(world.shipper.shared.epoch(), first);
    let applied = world.ledger.0.lock().unwrap().applied.clone();
    assert!(
        applied
            .iter()
            .any(|(epoch, _, counter)| *epoch == world.shipper.shared.epoch() && *counter == 1)
    );
}

#[tokio::test]
async fn a_restored_ledger_is_refilled_from_its_high_water_mark() {
    let mut world = World::new(Ledger::default()).await;
    seal(&mut world.counter, 5);
    world.drained().await;
    let epoch = world.shipper.shared.epoch().to_vec();
    {
        let mut state = world.ledger.0.lock().unwrap();
        state.applied.retain(|(_, _, counter)| *counter <= 2);
        state.high_water = vec![HighWater { epoch, thread: 0, counter: 2 }];
        state.received = 0;
        state.answers = [Answer::Break].into(); // it went away, and comes back older
    }
    seal(&mut world.counter, 1);
    world.drained().await;

    assert_eq!(world.ledger.applied(), 6);
    assert_eq!(world.files("kept"), 6);
}

#[tokio::test]
async fn kept_segments_are_bounded_in_age_and_size() {
    let mut world = World::new(Ledger::default()).await;
    seal(&mut world.counter, 4);
    world.drained().await;
    let (kept, now) = (world.dir.0.join("kept"), SystemTime::now());
    let hour = Duration::from_hours(1);

    assert_eq!(prune(&kept, now, hour, u64::MAX).unwrap().len(), 0);
    assert_eq!(prune(&kept, now, hour, 2 * 4096).unwrap().len(), 2, "the oldest beyond the size");
    let left: Vec<u64> = listed(&kept).unwrap().iter().map(|file| file.id.counter).collect();
    assert_eq!(left, [3, 4]);
    assert_eq!(prune(&kept, now + 2 * hour, hour, u64::MAX).unwrap().len(), 2, "too old");
}
