//! Nodes as the server sees them: real sockets, real TLS, a real database.

mod questions;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use chrono::TimeDelta;
use prost::Message;
use proto::config::v1::config_stream_client::ConfigStreamClient;
use proto::config::v1::{
    Ack, CellPosition, Certificate, Heartbeat, JoinRequest, Nack, NodeMessage,
    RenewCertificateRequest, Resource, Signed, SnapshotRequest, StageName, Subscribe, Tenant,
    Update, node_message, resource::Kind, resource_name, update,
};
use rcgen::{CertificateParams, KeyPair};
use sqlx::PgPool;
use tokio::io::AsyncReadExt;
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{self, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status, Streaming};

use super::Grpc;
use crate::access::authority::Authority;
use crate::app::App;
use crate::clock::Clock;
use crate::ids::NodeId;
use crate::{domain, testing};

/// One replica on a free port.
struct Replica {
    app: App,
    address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn replica(db: &PgPool) -> Replica {
    let mut app = testing::app(db.clone()).await;
    app.clock = Clock::system(); // TLS libraries read the machine's clock
    let grpc = Grpc::bind(&app).await.unwrap();
    let (address, stop) = (grpc.address().unwrap(), CancellationToken::new());
    tokio::spawn(grpc.serve(stop.clone()));
    Replica { app, address, stop }
}

/// A client's side of a node: its key and certificate.
struct Node {
    pair: KeyPair,
    certificate: Certificate,
}

impl Node {
    fn id(&self) -> NodeId {
        self.certificate.node_id.parse().unwrap()
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

async fn connect(replica: &Replica, node: Option<&Node>) -> Result<Channel, transport::Error> {
    let authority = Authority::open(&replica.app).await.unwrap();
    let ca = transport::Certificate::from_pem(pem("CERTIFICATE", authority.certificate()));
    let mut tls = ClientTlsConfig::new().ca_certificate(ca);
    if let Some(node) = node {
        let certificate = pem("CERTIFICATE", &node.certificate.certificate);
        tls = tls.identity(transport::Identity::from_pem(certificate, node.pair.serialize_pem()));
    }
    let endpoint = Endpoint::from_shared(format!("https://{}", replica.address)).unwrap();
    endpoint.tls_config(tls)?.connect().await
}

async fn client(replica: &Replica, node: Option<&Node>) -> ConfigStreamClient<Channel> {
    ConfigStreamClient::new(connect(replica, node).await.unwrap())
        .max_decoding_message_size(64 << 20)
}

async fn join_with(replica: &Replica, secret: &str) -> Result<Node, Status> {
    let pair = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&pair).unwrap();
    let request = JoinRequest {
        secret: secret.to_owned(),
        certificate_request: request.der().to_vec(),
        name: "test".to_owned(),
    };
    let certificate = client(replica, None).await.join(request).await?.into_inner();
    Ok(Node { pair, certificate })
}

async fn join(replica: &Replica) -> Node {
    let cells = ["default".to_owned()];
    let token =
        domain::node::create_join_token(&replica.app, &cells, TimeDelta::hours(1)).await.unwrap();
    join_with(replica, token.split('.').next().unwrap()).await.unwrap()
}

/// A stream as a node holds it.
struct Stream {
    out: mpsc::Sender<NodeMessage>,
    updates: Streaming<Signed>,
    signing_key: Vec<u8>,
}

async fn subscribe(replica: &Replica, node: &Node, version: u64) -> Result<Stream, Status> {
    let (out, messages) = mpsc::channel(16);
    let cells = vec![CellPosition { cell: "default".to_owned(), version }];
    let first = Subscribe { cells, software_version: "test".to_owned() };
    out.send(NodeMessage { kind: Some(node_message::Kind::Subscribe(first)) }).await.unwrap();
    let mut client = client(replica, Some(node)).await;
    let updates = client.subscribe(ReceiverStream::new(messages)).await?.into_inner();
    Ok(Stream { out, updates, signing_key: node.certificate.signing_key.clone() })
}

impl Stream {
    async fn say(&self, kind: node_message::Kind) {
        self.out.send(NodeMessage { kind: Some(kind) }).await.unwrap();
    }

    async fn next(&mut self) -> Result<Update, Status> {
        let signed = self.updates.message().await?.ok_or_else(|| Status::ok("the end"))?;
        let key = aws_lc_rs::signature::UnparsedPublicKey::new(
            &aws_lc_rs::signature::ED25519,
            &self.signing_key,
        );
        key.verify(&signed.update, &signed.signature).expect("every update is signed");
        Ok(Update::decode(signed.update.as_slice()).unwrap())
    }

    /// The version of the next update, which must be a whole snapshot.
    async fn snapshot(&mut self) -> (u64, Vec<Resource>) {
        let mut all = Vec::new();
        loop {
            let update = self.next().await.unwrap();
            let Some(update::Kind::Snapshot(chunk)) = update.kind else {
                panic!("not a snapshot: {update:?}")
            };
            all.extend(chunk.resources);
            if chunk.last {
                return (update.version, all);
            }
        }
    }

    /// The version of the next update, which must be a delta.
    async fn delta(&mut self) -> u64 {
        let update = self.next().await.unwrap();
        assert!(matches!(update.kind, Some(update::Kind::Delta(_))), "{update:?}");
        update.version
    }
}

/// Commits one change of the cell; answers its version.
async fn change(app: &App, tenant: &str) -> u64 {
    let mut tx = app.system(crate::app::Job::Publisher).await.unwrap();
    tx.publish_to("default");
    let tenant = Tenant { id: tenant.to_owned(), ..Tenant::default() };
    tx.upsert(Resource { kind: Some(Kind::Tenant(tenant)) });
    tx.commit().await.unwrap().unwrap()
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_gets_its_cell_whole_and_then_each_version(db: PgPool) {
    let replica = replica(&db).await;
    let tenant = testing::owner(&replica.app).await.tenant.to_string();
    let held = change(&replica.app, &tenant).await;
    let node = join(&replica).await;

    let mut stream = subscribe(&replica, &node, 0).await.unwrap();

    let (version, resources) = stream.snapshot().await;
    assert_eq!((version, resources.len()), (held, 1));
    for _ in 0..3 {
        let version = change(&replica.app, &tenant).await;
        assert_eq!(stream.delta().await, version);
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn joining_needs_the_secret_and_every_other_call_a_certificate(db: PgPool) {
    let replica = replica(&db).await;
    join(&replica).await;

    let refused = join_with(&replica, "wrong").await.err().unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut nobody = client(&replica, None).await;
    let refused = nobody.renew_certificate(RenewCertificateRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let refused = nobody.subscribe(tokio_stream::empty()).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

#[sqlx::test(migrations = "../migrations")]
async fn one_address_holds_its_share_of_handshakes_and_nodes_get_in(db: PgPool) {
    let replica = replica(&db).await;
    let node = join(&replica).await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        crowd.push(socket.connect(replica.address).await.unwrap());
    }
    // The oldest made room, long before the time of a handshake is over.
    let (gone, held) = crowd.split_at_mut(200 - 64);
    for stream in gone {
        let closed = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut [0])).await;
        assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
    }
    for stream in held {
        let read = stream.try_read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(read, Err(ErrorKind::WouldBlock), "the newest may still say who they are");
    }
    assert_eq!(subscribe(&replica, &node, 0).await.unwrap().snapshot().await.0, 0);
    join(&replica).await;
}

#[sqlx::test(migrations = "../migrations")]
async fn a_certificate_of_another_authority_opens_nothing(db: PgPool) {
    let replica = replica(&db).await;
    let mut forged = join(&replica).await;
    // The same name, signed by the node's own key instead of the authority.
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, forged.certificate.node_id.clone());
    forged.certificate.certificate = params.self_signed(&forged.pair).unwrap().der().to_vec();

    assert!(subscribe_or_connect(&replica, &forged).await.is_err());
}

/// With TLS 1.3 a client learns only at its first reading that its certificate was refused.
async fn subscribe_or_connect(replica: &Replica, node: &Node) -> Result<(), String> {
    let channel = connect(replica, Some(node)).await.map_err(|error| error.to_string())?;
    let mut client = ConfigStreamClient::new(channel);
    let refused = client.renew_certificate(RenewCertificateRequest::default()).await;
    refused.map(drop).map_err(|status| status.to_string())
}

#[sqlx::test(migrations = "../migrations")]
async fn a_renewed_certificate_works_for_the_same_node(db: PgPool) {
    let replica = replica(&db).await;
    let node = join(&replica).await;
    let request = CertificateParams::default().serialize_request(&node.pair).unwrap();
    let request = RenewCertificateRequest { certificate_request: request.der().to_vec() };

    let renewed = client(&replica, Some(&node)).await.renew_certificate(request).await.unwrap();

    let renewed = Node { pair: node.pair, certificate: renewed.into_inner() };
    assert_eq!(renewed.certificate.node_id, node.certificate.node_id);
    assert_ne!(renewed.certificate.certificate, node.certificate.certificate);
    assert_eq!(subscribe(&replica, &renewed, 0).await.unwrap().snapshot().await.0, 0);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_resumes_without_a_snapshot(db: PgPool) {
    let replica = replica(&db).await;
    let node = join(&replica).await;
    for _ in 0..5 {
        change(&replica.app, "a").await;
    }

    let mut stream = subscribe(&replica, &node, 2).await.unwrap();

    assert_eq!([stream.delta().await, stream.delta().await, stream.delta().await], [3, 4, 5]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_that_was_away_for_too_long_takes_a_snapshot(db: PgPool) {
    let replica = replica(&db).await;
    let node = join(&replica).await;
    for _ in 0..5 {
        change(&replica.app, "a").await;
    }
    sqlx::query("delete from outbox where version <= 3").execute(&db).await.unwrap();
    let other = self::replica(&db).await; // one that has nothing at hand

    let mut stream = subscribe(&other, &node, 2).await.unwrap();

    assert_eq!(stream.snapshot().await.0, 5);
    change(&replica.app, "a").await;
    assert_eq!(stream.delta().await, 6);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_that_asks_gets_a_snapshot_and_goes_on(db: PgPool) {
    let replica = replica(&db).await;
    let node = join(&replica).await;
    change(&replica.app, "a").await;
    let mut stream = subscribe(&replica, &node, 1).await.unwrap();

    let cell = "default".to_owned();
    stream.say(node_message::Kind::SnapshotRequest(SnapshotRequest { cell })).await;

    assert_eq!(stream.snapshot().await.0, 1);
    change(&replica.app, "a").await;
    assert_eq!(stream.delta().await, 2);
}

#[sqlx::test(migrations = "../migrations")]
async fn after_a_restored_backup_versions_go_on_beyond_the_nodes(db: PgPool) {
    let replica = replica(&db).await;
    let node = join(&replica).await;
    change(&replica.app, "a").await;

    let mut ahead = subscribe(&replica, &node, 40).await.unwrap();
    let (version, _) = ahead.snapshot().await;
    assert!(version >= 1040, "{version}");
    // A node that was further than the first: nothing of the new history may seem to follow the old.
    let mut further = subscribe(&replica, &node, 41).await.unwrap();
    assert_eq!(further.snapshot().await.0, version);
    assert_eq!(change(&replica.app, "a").await, version + 1);
    assert_eq!((ahead.delta().await, further.delta().await), (version + 1, version + 1));

    let absurd = subscribe(&replica, &node, u64::MAX).await.err().unwrap();
    assert_eq!(absurd.code(), Code::InvalidArgument);
}

#[sqlx::test(migrations = "../migrations")]
async fn another_line_of_the_database_gives_every_node_a_snapshot(db: PgPool) {
    let before = replica(&db).await;
    let node = join(&before).await;
    assert_eq!(change(&before.app, "a").await, 1);
    // As if this database came from a backup of another server: version 1 may be another one than the node's.
    sqlx::query("update cell set line = '7/00000001'").execute(&db).await.unwrap();
    let after = self::replica(&db).await;

    let mut stream = subscribe(&after, &node, 1).await.unwrap();

    let (version, _) = stream.snapshot().await;
    assert!(version >= 1001, "{version}");
    let again = self::replica(&db).await;
    assert_eq!(change(&again.app, "a").await, version + 1, "once, whoever looks");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_backup_that_is_restored_twice_does_not_lead_to_the_same_versions_twice(db: PgPool) {
    let before = replica(&db).await;
    change(&before.app, "a").await;
    let mut versions = Vec::new();
    for line in ["7/00000001", "8/00000001"] {
        let backup = "update cell set version = 1, line = $1";
        sqlx::query(backup).bind(line).execute(&db).await.unwrap();
        let restored = self::replica(&db).await;
        versions.push(change(&restored.app, "a").await);
    }
    // Drawn from a million: the same once in a million times.
    assert_ne!(versions[0], versions[1]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_server_that_does_not_tell_its_line_is_taken_at_its_word(db: PgPool) {
    sqlx::query("revoke execute on function pg_control_system() from public")
        .execute(&db)
        .await
        .unwrap();
    let replica = replica(&db).await;
    let node = join(&replica).await;
    change(&replica.app, "a").await;

    let mut stream = subscribe(&replica, &node, 0).await.unwrap();

    assert_eq!(stream.snapshot().await.0, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn acks_and_nacks_say_how_far_a_version_is(db: PgPool) {
    let replica = replica(&db).await;
    let node = join(&replica).await;
    let version = change(&replica.app, "a").await;
    let stream = subscribe(&replica, &node, version).await.unwrap();
    let cell = || "default".to_owned();
    let stage = StageName { api_id: "a".to_owned(), name: "prod".to_owned() };
    let resource = Some(resource_name::Kind::Stage(stage).into());
    let reason = "no such deployment".to_owned();

    let nack = Nack { cell: cell(), version, resource, reason };
    stream.say(node_message::Kind::Nack(nack)).await;
    stream.say(node_message::Kind::Ack(Ack { cell: cell(), version })).await;
    // What the stream says is handled in order: after an error that ends it, all of it was handled.
    stream.say(node_message::Kind::Heartbeat(Heartbeat::default())).await;
    stream.say(node_message::Kind::Ack(Ack { cell: "elsewhere".to_owned(), version })).await;
    let Stream { mut updates, .. } = stream;
    assert_eq!(updates.message().await.unwrap_err().code(), Code::InvalidArgument);

    let names = ["stage a/prod".to_owned()];
    let converged =
        domain::convergence::of_version(&replica.app, "default", version, &names).await.unwrap();
    assert_eq!((converged.online(), converged.acknowledged()), (1, 1));
    assert_eq!(converged.refusals(), ["stage a/prod: no such deployment"]);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_revoked_node_is_cut_off_by_every_replica(db: PgPool) {
    let (here, there) = (replica(&db).await, replica(&db).await);
    let (node, other) = (join(&here).await, join(&here).await);
    let mut streams =
        [subscribe(&here, &node, 0).await.unwrap(), subscribe(&there, &node, 0).await.unwrap()];
    let mut kept = subscribe(&there, &other, 0).await.unwrap();
    for stream in &mut streams {
        stream.snapshot().await;
    }
    kept.snapshot().await;

    domain::node::revoke(&here.app, node.id()).await.unwrap();

    for stream in &mut streams {
        stream.next().await.unwrap_err();
    }
    assert!(subscribe_or_connect(&there, &node).await.is_err());
    change(&here.app, "a").await;
    assert_eq!(kept.delta().await, 1);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_gets_only_the_cells_of_its_token(db: PgPool) {
    sqlx::query("insert into cell (id) values ('east')").execute(&db).await.unwrap();
    let replica = replica(&db).await;
    let node = join(&replica).await;
    let (out, messages) = mpsc::channel(16);
    let cells = vec![CellPosition { cell: "east".to_owned(), version: 0 }];
    let first = Subscribe { cells, software_version: String::new() };
    out.send(NodeMessage { kind: Some(node_message::Kind::Subscribe(first)) }).await.unwrap();

    let mut client = client(&replica, Some(&node)).await;
    let refused = client.subscribe(ReceiverStream::new(messages)).await.err().unwrap();

    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[sqlx::test(migrations = "../migrations")]
async fn a_node_that_does_not_read_holds_up_no_other(db: PgPool) {
    let replica = replica(&db).await;
    let (slow, quick) = (join(&replica).await, join(&replica).await);
    let _unread = subscribe(&replica, &slow, 0).await.unwrap();
    let mut stream = subscribe(&replica, &quick, 0).await.unwrap();
    stream.snapshot().await;

    // Far more than fits between a server and a client that reads nothing.
    let large = "a".repeat(256 * 1024);
    for _ in 0..64 {
        let version = change(&replica.app, &large).await;
        assert_eq!(stream.delta().await, version);
    }
}

#[sqlx::test(migrations = "../migrations")]
async fn with_32_writers_and_2_replicas_each_stream_has_every_version_in_order(db: PgPool) {
    const WRITERS: u64 = 32;
    const CHANGES: u64 = 8;
    let (here, there) = (replica(&db).await, replica(&db).await);
    let node = join(&here).await;
    let mut streams =
        [subscribe(&here, &node, 0).await.unwrap(), subscribe(&there, &node, 0).await.unwrap()];
    let mut held = BTreeMap::new();
    for (index, stream) in streams.iter_mut().enumerate() {
        held.insert(index, stream.snapshot().await.0);
    }

    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let app = if writer % 2 == 0 { here.app.clone() } else { there.app.clone() };
        writers.spawn(async move {
            for _ in 0..CHANGES {
                let pause = u64::from(app.rng.bytes::<1>()[0]) * 50;
                tokio::time::sleep(std::time::Duration::from_micros(pause)).await;
                change(&app, "a").await;
            }
        });
    }
    for (index, stream) in streams.iter_mut().enumerate() {
        for expected in held[&index] + 1..=WRITERS * CHANGES {
            assert_eq!(stream.delta().await, expected);
        }
    }
    writers.join_all().await;
}

#[sqlx::test(migrations = "../migrations")]
async fn guessing_secrets_is_slowed_down(db: PgPool) {
    let replica = replica(&db).await;
    let mut stranger = client(&replica, None).await;
    let mut codes = Vec::new();
    for _ in 0..300 {
        codes.push(stranger.join(JoinRequest::default()).await.unwrap_err().code());
    }
    assert_eq!(codes[0], Code::Unauthenticated);
    assert!(codes.contains(&Code::ResourceExhausted), "all 300 were looked up");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_change_that_no_node_could_take_is_refused_before_it_is_written(db: PgPool) {
    let app = testing::app(db).await;
    let mut tx = app.system(crate::app::Job::Publisher).await.unwrap();
    tx.publish_to("default");
    let tenant = Tenant { id: "a".repeat(proto::config::UPDATE_BYTES_MAX), ..Tenant::default() };
    tx.upsert(Resource { kind: Some(Kind::Tenant(tenant)) });
    assert!(matches!(tx.commit().await, Err(crate::error::Error::LimitExceeded { .. })));
}

#[sqlx::test(migrations = "../migrations")]
async fn usage_is_answered_in_order_after_it_was_applied(db: PgPool) {
    use futures_util::StreamExt;
    use proto::usage::v1::usage_intake_client::UsageIntakeClient;
    use proto::usage::v1::{HighWater, OpenEpochRequest, Outcome, Segment};

    use crate::ledger::intake::{Shipped, tests as ledger};

    let replica = replica(&db).await;
    let (node, tenant) = (join(&replica).await, testing::owner(&replica.app).await.tenant);
    let segment = |counter| {
        let calls = [ledger::call(&replica.app, tenant)];
        let Shipped { place, sha256, content } = ledger::segment(ledger::place(counter), &calls);
        let (epoch, counter) = (place.epoch.to_vec(), place.counter.unsigned_abs());
        Segment { epoch, thread: 0, counter, sha256: sha256.to_vec(), content }
    };
    let open = OpenEpochRequest { epoch: ledger::place(1).epoch.to_vec() };
    let mut client = UsageIntakeClient::new(connect(&replica, Some(&node)).await.unwrap());

    let opened = client.open_epoch(open.clone()).await.unwrap().into_inner();
    assert_eq!((opened.redraw, opened.high_water), (false, vec![]));
    let unreadable = Segment { content: vec![1], ..segment(3) };
    let first = segment(1);
    let sent = [first.clone(), segment(2), unreadable, first, segment(4)];
    let stream = tokio_stream::iter(sent).chain(futures_util::stream::pending());
    let mut acks = client.ship(stream).await.unwrap().into_inner();
    let mut answered = Vec::new();
    while answered.len() < 5 {
        let ack = acks.message().await.unwrap().unwrap();
        answered.push((ack.counter, ack.outcome()));
    }
    assert_eq!(
        answered,
        [
            (1, Outcome::Applied),
            (2, Outcome::Applied),
            (3, Outcome::Quarantined),
            (1, Outcome::Duplicate),
            (4, Outcome::Applied),
        ]
    );
    assert_eq!(ledger::total(&replica.app, "usage_minute").await.requests, 3);

    // The first stream still lives: whoever comes with its epoch now is a clone.
    let mut clone = UsageIntakeClient::new(connect(&replica, Some(&node)).await.unwrap());
    assert!(clone.open_epoch(open.clone()).await.unwrap().into_inner().redraw);
    let again = client.open_epoch(open.clone()).await.unwrap().into_inner();
    let mark = HighWater { epoch: open.epoch.clone(), thread: 0, counter: 4 };
    assert_eq!((again.redraw, again.high_water), (false, vec![mark]));

    let mut nobody = UsageIntakeClient::new(connect(&replica, None).await.unwrap());
    assert_eq!(nobody.open_epoch(open).await.unwrap_err().code(), Code::Unauthenticated);
}
