//! Bad input on the config stream, both ways: what is cut, repeated, reordered and forged.
//!
//! A node believes no order and no content that the control plane did not sign, whoever ends its TLS; a replica
//! believes of a node only what that node's own certificate lets it say.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use control_plane::access::authority::Authority;
use futures_util::{Stream, StreamExt, stream};
use prost::Message;
use proto::config::v1::config_stream_client::ConfigStreamClient;
use proto::config::v1::config_stream_server::{ConfigStream as Server, ConfigStreamServer};
use proto::config::v1::node_message::Kind;
use proto::config::v1::{
    Ack, CellPosition, Certificate, JoinRequest, Nack, NodeMessage, RenewCertificateRequest,
    Signed, SnapshotRequest, Subscribe, Update, update,
};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status, Streaming};

use super::*;

/// A replica with a certificate of this installation and without its signing key: it sends what the test says.
struct Liar {
    address: String,
    streams: mpsc::UnboundedReceiver<Deceived>,
    _tasks: JoinSet<()>,
}

/// A stream of a node to the liar.
struct Deceived {
    /// From where the node goes on.
    held: u64,
    out: mpsc::Sender<Result<Signed, Status>>,
    said: mpsc::UnboundedReceiver<NodeMessage>,
}

struct Lies(mpsc::UnboundedSender<Deceived>);

#[tonic::async_trait]
impl Server for Lies {
    async fn join(&self, _: Request<JoinRequest>) -> Result<Response<Certificate>, Status> {
        Err(Status::permission_denied("nobody joins here"))
    }

    async fn renew_certificate(
        &self,
        _: Request<RenewCertificateRequest>,
    ) -> Result<Response<Certificate>, Status> {
        Err(Status::permission_denied("nobody is renewed here"))
    }

    type SubscribeStream = Pin<Box<dyn Stream<Item = Result<Signed, Status>> + Send>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<NodeMessage>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|first| first.kind);
        let Some(Kind::Subscribe(Subscribe { cells, .. })) = first else {
            return Err(Status::invalid_argument("not a node"));
        };
        let (out, mut updates) = mpsc::channel(16);
        let (tell, said) = mpsc::unbounded_channel();
        let _ = self.0.send(Deceived { held: cells[0].version, out, said });
        tokio::spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                if tell.send(message).is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(stream::poll_fn(move |context| updates.poll_recv(context)))))
    }
}

impl Liar {
    async fn start(replica: &Replica) -> Self {
        let authority = Authority::open(&replica.app).await.unwrap();
        let shown = authority.server_certificate(Vec::new(), replica.app.clock.clone()).unwrap();
        let mut tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(shown));
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));

        let (caught, streams) = mpsc::unbounded_channel();
        let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behind = plain.local_addr().unwrap();
        let server = tonic::transport::Server::builder()
            .add_service(ConfigStreamServer::new(Lies(caught)))
            .serve_with_incoming(TcpIncoming::from(plain));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { server.await.unwrap() });
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                    let mut plain = TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut tls, &mut plain).await;
                });
            }
        });
        Self { address, streams, _tasks: tasks }
    }

    /// The node's next stream.
    async fn stream(&mut self) -> Deceived {
        patient("the node comes", self.streams.recv()).await.expect("the liar listens")
    }
}

impl Deceived {
    async fn send(&self, update: &Signed) {
        self.out.send(Ok(update.clone())).await.expect("the node listens");
    }

    /// Until the node asks for the cell whole.
    async fn until_wanted(&mut self) {
        loop {
            let said = patient("the node wants a snapshot", self.said.recv()).await;
            match said.expect("the stream goes on").kind {
                Some(Kind::SnapshotRequest(SnapshotRequest { cell })) => {
                    return assert_eq!(cell, "default");
                }
                Some(Kind::Ack(_) | Kind::Heartbeat(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Until the node has ended the stream.
    async fn until_ended(&mut self) {
        let ended = async { while self.said.recv().await.is_some() {} };
        patient("the node ends the stream", ended).await;
    }
}

async fn patient<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event).await.unwrap_or_else(|_| panic!("{what}: it did not"))
}

/// What the real replica sent: version 0 whole, each version after it, and the newest whole.
struct Recorded {
    first: Signed,
    deltas: Vec<Signed>,
    last: Signed,
}

impl Recorded {
    fn delta(&self, version: usize) -> &Signed {
        &self.deltas[version - 1]
    }
}

async fn record(replica: &Replica, changes: usize) -> Recorded {
    let home = Home::new();
    let channel = identity(replica, &home).await;
    let mut updates = follow(&channel, 0).await;
    let first = updates.message().await.unwrap().unwrap();
    let mut deltas = Vec::new();
    for _ in 0..changes {
        replica.change().await;
        deltas.push(updates.message().await.unwrap().unwrap());
    }
    let last = follow(&channel, 0).await.message().await.unwrap().unwrap();
    Recorded { first, deltas, last }
}

/// The way of a node that has joined to its replica, for calls that no real node makes.
async fn identity(replica: &Replica, home: &Home) -> Channel {
    let mut node = node(home, &[replica], Some(&replica.token().await)).unwrap();
    let ready = node.channels.wait_for(|channels| !channels.is_empty());
    let channel = patient("the node joins", ready).await.unwrap()[0].clone();
    node.end().await;
    channel
}

fn subscribe(version: u64) -> Kind {
    let cells = vec![CellPosition { cell: "default".to_owned(), version }];
    Kind::Subscribe(Subscribe { cells, software_version: "test".to_owned() })
}

async fn follow(channel: &Channel, version: u64) -> Streaming<Signed> {
    let first = NodeMessage { kind: Some(subscribe(version)) };
    let messages = stream::iter([first]).chain(stream::pending());
    ConfigStreamClient::new(channel.clone()).subscribe(messages).await.unwrap().into_inner()
}

/// A node that has joined, then talks to a liar alone, and what it might be told.
async fn deceived(home: &Home, replica: &Replica, changes: usize) -> (Node, Liar, Recorded) {
    let mut before = node(home, &[replica], Some(&replica.token().await)).unwrap();
    before.at(0).await;
    before.end().await;
    let recorded = record(replica, changes).await;
    let liar = Box::pin(Liar::start(replica)).await;
    let node = node_at(home, vec![liar.address.clone()], None).unwrap();
    (node, liar, recorded)
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_applies_no_gap_and_nothing_older_and_asks_for_a_snapshot(db: PgPool) {
    let home = Home::new();
    let replica = replica(&db, &home).await;
    let (mut node, mut liar, recorded) = Box::pin(deceived(&home, &replica, 7)).await;
    let mut stream = liar.stream().await;
    assert_eq!(stream.held, 0);

    stream.send(recorded.delta(1)).await;
    node.at(1).await;
    stream.send(recorded.delta(1)).await; // again
    stream.send(recorded.delta(3)).await; // a gap
    stream.until_wanted().await;
    stream.send(&recorded.first).await; // a snapshot, of long ago
    stream.send(recorded.delta(4)).await;
    stream.until_wanted().await;
    assert_eq!(node.served.borrow().version, Some(1));
    stream.send(recorded.delta(2)).await; // what was left out
    node.at(2).await;
    stream.send(&recorded.last).await;
    assert_eq!(node.at(7).await.tenants, 7);
    for late in [&recorded.first, recorded.delta(2), recorded.delta(7), &recorded.last] {
        stream.send(late).await;
    }
    stream.send(&replayed_then_next(&replica).await).await;

    assert_eq!(node.at(8).await.tenants, 8);
    assert_eq!(*node.history.lock().unwrap(), [0, 1, 2, 7, 8]);
    assert_eq!(node.metric("tollgate_config_updates_refused_total"), 2, "the two gaps");
    node.end().await;
    replica.end().await;
}

/// One more version than were recorded.
async fn replayed_then_next(replica: &Replica) -> Signed {
    let home = Home::new();
    let channel = identity(replica, &home).await;
    let mut updates = follow(&channel, 7).await;
    replica.change().await;
    updates.message().await.unwrap().unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_forged_message_ends_the_stream_and_the_node_goes_on_from_where_it_was(db: PgPool) {
    let home = Home::new();
    let replica = replica(&db, &home).await;
    let (mut node, mut liar, recorded) = Box::pin(deceived(&home, &replica, 3)).await;
    let mut stream = liar.stream().await;
    // A node that was started again wants a second file.
    stream.send(&recorded.first).await;
    stream.send(recorded.delta(1)).await;
    node.at(1).await;
    // What it held is on its disk when it answers the next.
    stream.send(recorded.delta(3)).await;
    stream.until_wanted().await;

    let good = recorded.delta(2);
    let mut flipped = good.clone();
    let middle = flipped.update.len() / 2;
    flipped.update[middle] ^= 1;
    let mut cut = good.clone();
    cut.update.pop();
    let swapped = Signed { signature: recorded.delta(3).signature.clone(), ..good.clone() };
    // The version that the node wants next, with another version's content under its signature.
    let mut update = Update::decode(recorded.delta(3).update.as_slice()).unwrap();
    update.version = 2;
    let renamed = Signed { update: update.encode_to_vec(), ..recorded.delta(3).clone() };
    update.kind = Some(update::Kind::Delta(proto::config::v1::Delta::default()));
    let own = Signed { update: update.encode_to_vec(), signature: vec![7; 64] };
    let forged = [flipped, cut, swapped, renamed, own, Signed::default()];
    let count = forged.len() as u64;
    for forged in forged {
        stream.send(&forged).await;
        stream.until_ended().await;
        stream = liar.stream().await;
        assert_eq!(stream.held, 1);
    }
    stream.send(good).await;

    assert_eq!(node.at(2).await.tenants, 2);
    let mut history = node.history.lock().unwrap().clone();
    history.dedup();
    assert_eq!(history, [0, 1, 2]);
    assert_eq!(node.metric("tollgate_config_updates_refused_total"), count + 1, "and a gap");
    node.end().await;
    replica.end().await;
}

/// A way to the replica on which each connection breaks after some bytes, either way, the later ones after more.
async fn breaking(replica: &Replica) -> (String, Arc<AtomicUsize>, JoinSet<()>) {
    const BREAKS_AFTER: [u64; 6] = [500, 2_500, 4_000, 6_000, 9_000, 14_000];
    let to: SocketAddr = replica.address.trim_start_matches("https://").parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let broken = Arc::new(AtomicUsize::new(0));
    let count = broken.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut node, _) = listener.accept().await.unwrap();
            let count = count.clone();
            connections.spawn(async move {
                let left = BREAKS_AFTER.get(count.load(Ordering::Relaxed));
                let mut replica = TcpStream::connect(to).await.unwrap();
                let (node_says, mut to_node) = node.split();
                let (replica_says, mut to_replica) = replica.split();
                let bytes = left.copied().unwrap_or(u64::MAX);
                let (mut up, mut down) = (node_says.take(bytes), replica_says.take(bytes));
                tokio::select! {
                    _ = tokio::io::copy(&mut up, &mut to_replica) => {}
                    _ = tokio::io::copy(&mut down, &mut to_node) => {}
                }
                count.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    (address, broken, tasks)
}

#[sqlx::test(migrations = "../migrations")]
async fn a_connection_that_breaks_in_the_middle_of_messages_loses_and_doubles_nothing(db: PgPool) {
    const CHANGES: u64 = 60;
    let home = Home::new();
    let replica = replica(&db, &home).await;
    let mut before = node(&home, &[&replica], Some(&replica.token().await)).unwrap();
    before.at(0).await;
    before.end().await;
    for _ in 0..CHANGES {
        replica.change().await;
    }
    let (address, broken, _tasks) = breaking(&replica).await;

    let mut node = node_at(&home, vec![address], None).unwrap();

    assert_eq!(node.at(CHANGES).await.tenants, CHANGES);
    assert_eq!(node.at(replica.change().await).await.tenants, CHANGES + 1);
    let history = node.history.lock().unwrap().clone();
    assert!(history.is_sorted_by(|earlier, later| earlier < later), "{history:?}");
    assert_eq!(node.metric("tollgate_config_updates_refused_total"), 0, "no gap, no forgery");
    assert!(broken.load(Ordering::Relaxed) >= 4, "too little was broken");
    until(&replica.app, "select exists (select from node_cell where version = 61)").await;
    node.end().await;
    replica.end().await;
}

/// Says all this, and waits for why the replica ends the stream.
async fn refused(channel: &Channel, said: Vec<Option<Kind>>) -> Status {
    let messages = stream::iter(said.into_iter().map(|kind| NodeMessage { kind }));
    let messages = messages.chain(stream::pending());
    let mut client = ConfigStreamClient::new(channel.clone());
    let talk = async {
        let mut updates = client.subscribe(messages).await?.into_inner();
        while updates.message().await?.is_some() {}
        Ok::<(), Status>(())
    };
    patient("the replica ends the stream", talk).await.expect_err("the replica refuses it")
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_that_breaks_the_protocol_is_cut_off_and_speaks_for_no_other(db: PgPool) {
    let (home, bad_home) = (Home::new(), Home::new());
    let replica = replica(&db, &home).await;
    let mut good = node(&home, &[&replica], Some(&replica.token().await)).unwrap();
    good.at(replica.change().await).await;
    until(&replica.app, "select exists (select from node_cell where version = 1)").await;
    let bad = identity(&replica, &bad_home).await;

    let cell = |name: &str| name.to_owned();
    let ack = |name: &str, version| Some(Kind::Ack(Ack { cell: cell(name), version }));
    let wanted = |name: &str| Some(Kind::SnapshotRequest(SnapshotRequest { cell: cell(name) }));
    let nack = |name: &str, version, reason: &str| {
        let (cell, reason) = (cell(name), reason.to_owned());
        Some(Kind::Nack(Nack { cell, version, resource: None, reason }))
    };
    let cells = |names: &[&str], version| {
        let cells = names.iter().map(|name| CellPosition { cell: cell(name), version }).collect();
        Some(Kind::Subscribe(Subscribe { cells, software_version: String::new() }))
    };
    let hello = || Some(subscribe(1));
    let many: Vec<String> = (0..65).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = "x".repeat(300 * 1024);
    let table = [
        ("an ack first", vec![ack("default", 1)], Code::InvalidArgument),
        ("nothing in the first message", vec![None], Code::InvalidArgument),
        ("no cell", vec![cells(&[], 0)], Code::InvalidArgument),
        ("a cell twice", vec![cells(&["default", "default"], 0)], Code::InvalidArgument),
        ("65 cells", vec![cells(&many, 0)], Code::InvalidArgument),
        ("a cell of others", vec![cells(&["east"], 0)], Code::PermissionDenied),
        ("a version beyond all", vec![cells(&["default"], u64::MAX)], Code::InvalidArgument),
        ("subscribing twice", vec![hello(), hello()], Code::InvalidArgument),
        ("a message of no kind", vec![hello(), None], Code::InvalidArgument),
        ("an ack of another cell", vec![hello(), ack("east", 1)], Code::InvalidArgument),
        ("an ack beyond all", vec![hello(), ack("default", u64::MAX)], Code::InvalidArgument),
        ("a nack of another cell", vec![hello(), nack("east", 1, "no")], Code::InvalidArgument),
        ("wanting another cell", vec![hello(), wanted("east")], Code::InvalidArgument),
        ("300 KiB", vec![hello(), nack("default", 1, &long)], Code::OutOfRange),
    ];
    for (what, said, code) in table {
        assert_eq!(refused(&bad, said).await.code(), code, "{what}");
    }
    // Versions that the cell has not reached, then an older one, are no progress; what ends the stream was said last.
    let boast = vec![hello(), ack("default", 1), ack("default", 900), ack("default", 0), None];
    refused(&bad, boast).await;
    let shout = vec![
        hello(),
        nack("default", 900, "of the future"),
        nack("default", 1, &long[..9_000]),
        None,
    ];
    refused(&bad, shout).await;

    let rows: Vec<i64> = sqlx::query_scalar("select version from node_cell order by version")
        .fetch_all(&db)
        .await
        .unwrap();
    assert_eq!(rows, [1, 1], "each node's own");
    let kept: Vec<(i64, i32)> = sqlx::query_as("select version, length(reason) from node_refusal")
        .fetch_all(&db)
        .await
        .unwrap();
    assert_eq!(kept, [(1, 1000)]);

    // The other node was not disturbed, and the acks of one are not the other's.
    let version = replica.change().await;
    good.at(version).await;
    until(&replica.app, "select count(*) = 1 from node_cell where version = 2").await;
    let converged =
        domain::convergence::of_version(&replica.app, "default", version, &[]).await.unwrap();
    assert_eq!((converged.online(), converged.acknowledged(), converged.live()), (2, 1, false));
    assert_eq!(good.metric("tollgate_config_updates_refused_total"), 0);
    good.end().await;
    replica.end().await;
}
