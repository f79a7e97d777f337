//! gRPC through a node: a real service behind an integration whose protocolVersion is HTTP2.

use std::iter::once;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;

use futures_util::{Stream, StreamExt, stream};
use harness::tenant::Api;
use harness::{World, eventually};
use proto::usage::v1::usage_intake_client::UsageIntakeClient;
use proto::usage::v1::usage_intake_server::{UsageIntake, UsageIntakeServer};
use proto::usage::v1::{OpenEpochRequest, OpenEpochResponse, Segment, SegmentAck};
use serde_json::json;
use tokio::sync::mpsc;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Identity, Server, ServerTlsConfig};
use tonic::{Code, Request, Response, Status, Streaming};

/// Any service would do; this one is in Tollgate's own protocols. Each segment is answered by as many acks as its
/// `thread` says, one whose content is `stop` by an error.
struct Backend {
    /// Told when a call of `ship` is over, however it ended.
    over: mpsc::UnboundedSender<()>,
}

struct Over(mpsc::UnboundedSender<()>);

impl Drop for Over {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

#[tonic::async_trait]
impl UsageIntake for Backend {
    type ShipStream = Pin<Box<dyn Stream<Item = Result<SegmentAck, Status>> + Send>>;

    async fn open_epoch(
        &self,
        request: Request<OpenEpochRequest>,
    ) -> Result<Response<OpenEpochResponse>, Status> {
        if request.get_ref().epoch.is_empty() {
            return Err(Status::invalid_argument("the epoch is missing"));
        }
        let mut answer = Response::new(OpenEpochResponse { redraw: true, high_water: Vec::new() });
        let asked = request.metadata().get("x-asked").cloned();
        answer.metadata_mut().insert("x-heard", asked.expect("it was sent"));
        Ok(answer)
    }

    async fn ship(
        &self,
        request: Request<Streaming<Segment>>,
    ) -> Result<Response<Self::ShipStream>, Status> {
        let over = Over(self.over.clone());
        let acks = request.into_inner().flat_map(move |segment| {
            let _held = &over;
            let acks: Box<dyn Iterator<Item = _> + Send> = match segment {
                Ok(Segment { content, .. }) if content == b"stop" => {
                    Box::new(once(Err(Status::resource_exhausted("that is enough"))))
                }
                Ok(Segment { thread, counter, .. }) => {
                    let ack = move |_| Ok(SegmentAck { counter, ..SegmentAck::default() });
                    Box::new((0..thread).map(ack))
                }
                Err(status) => Box::new(once(Err(status))),
            };
            stream::iter(acks)
        });
        Ok(Response::new(Box::pin(acks)))
    }
}

/// Serves until the test ends; tells of each call of `ship` that is over.
fn backend(tls: Option<Identity>) -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    let (over, calls) = mpsc::unbounded_channel();
    let incoming = TcpIncoming::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = incoming.local_addr().unwrap();
    let mut server = Server::builder();
    if let Some(identity) = tls {
        server = server.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
    }
    let service = UsageIntakeServer::new(Backend { over });
    tokio::spawn(server.add_service(service).serve_with_incoming(incoming));
    (address, calls)
}

async fn api<'w>(world: &'w World, name: &str, uri: &str) -> Api<'w> {
    let api = world.tenant(name).await.api("pets").await;
    let integration = json!({ "type": "HTTP_PROXY", "uri": uri, "protocolVersion": "HTTP2" });
    let route = json!({ "method": "POST", "path": "/{proxy+}", "integration": integration });
    api.route_of(route).await.deploy("$default").await
}

/// A client of whoever has this host on the node.
async fn client(world: &World, host: &str) -> UsageIntakeClient<Channel> {
    let node = Endpoint::from_shared(format!("http://{}", world.endpoint_address())).unwrap();
    let node = node.origin(format!("http://{host}").parse().unwrap());
    UsageIntakeClient::new(node.connect().await.unwrap())
}

fn segment(thread: u32, counter: u64, content: &str) -> Segment {
    Segment { thread, counter, content: content.as_bytes().to_vec(), ..Segment::default() }
}

/// All that a gRPC client does with a service.
async fn everything(mut client: UsageIntakeClient<Channel>) {
    let mut asking = Request::new(OpenEpochRequest { epoch: vec![1; 16] });
    asking.metadata_mut().insert("x-asked", "yes".parse().unwrap());
    let answer = client.open_epoch(asking).await.unwrap();
    assert_eq!(answer.metadata().get("x-heard").unwrap(), "yes");
    assert!(answer.get_ref().redraw);

    // A status without any message: trailers alone.
    let refused = client.open_epoch(OpenEpochRequest::default()).await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::InvalidArgument, "the epoch is missing")
    );

    // One message up, many down.
    let asked = stream::iter([segment(1000, 7, "")]);
    let acks = client.ship(asked).await.unwrap().into_inner();
    let acks: Vec<_> = acks.map(|ack| ack.unwrap().counter).collect().await;
    assert_eq!(acks, vec![7; 1000]);

    // Each waits for the other, and the service ends it with a status.
    let (say, said) = mpsc::channel(1);
    let said = stream::unfold(said, async |mut said| Some((said.recv().await?, said)));
    say.send(segment(1, 1, "")).await.unwrap();
    let mut acks = client.ship(said).await.unwrap().into_inner();
    for counter in 1..=20 {
        assert_eq!(acks.message().await.unwrap().unwrap().counter, counter);
        say.send(segment(1, counter + 1, "")).await.unwrap();
    }
    assert_eq!(acks.message().await.unwrap().unwrap().counter, 21);
    say.send(segment(1, 22, "stop")).await.unwrap();
    let stopped = acks.message().await.unwrap_err();
    assert_eq!((stopped.code(), stopped.message()), (Code::ResourceExhausted, "that is enough"));
}

#[tokio::test]
async fn a_grpc_service_is_called_through_a_node_by_prior_knowledge_and_over_tls() {
    let signed = rcgen::generate_simple_self_signed(["grpc.localhost".to_owned()]).unwrap();
    let directory = tempdir();
    let authority = directory.join("authority.pem");
    std::fs::write(&authority, signed.cert.pem()).unwrap();
    let trusted = ("TOLLGATE_NODE_BACKEND_CA_FILE", authority.to_str().unwrap());
    let world = World::start_with(&[trusted]).await;

    let (plain, _calls) = backend(None);
    let acme = api(&world, "acme", &format!("http://{plain}/{{proxy}}")).await;
    everything(client(&world, &acme.host()).await).await;

    let identity = Identity::from_pem(signed.cert.pem(), signed.signing_key.serialize_pem());
    let (tls, _calls) = backend(Some(identity));
    let uri = format!("https://grpc.localhost:{}/{{proxy}}", tls.port());
    let globex = api(&world, "globex", &uri).await;
    everything(client(&world, &globex.host()).await).await;
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn a_grpc_call_that_its_caller_gives_up_is_over_for_the_service() {
    let world = World::start().await;
    let (address, mut calls) = backend(None);
    let acme = api(&world, "acme", &format!("http://{address}/{{proxy}}")).await;
    let mut client = client(&world, &acme.host()).await;
    // More than all windows on the way let through.
    let asked = stream::iter([segment(10_000_000, 1, "")]);
    let mut acks = client.ship(asked).await.unwrap().into_inner();
    assert_eq!(acks.message().await.unwrap().unwrap().counter, 1);
    assert!(calls.try_recv().is_err(), "it goes on");
    drop(acks);
    eventually("the end of the service's call", async || calls.try_recv().ok()).await;
}

#[tokio::test]
async fn a_grpc_caller_without_a_route_gets_an_http_status() {
    let world = World::start().await;
    let (address, _calls) = backend(None);
    let acme = api(&world, "acme", &format!("http://{address}/{{proxy}}")).await;
    let mut other = client(&world, &format!("unknown-{}", acme.host())).await;
    let refused = other.open_epoch(OpenEpochRequest::default()).await.unwrap_err();
    assert!(refused.message().contains("404 Not Found"), "{refused}");
}

fn tempdir() -> std::path::PathBuf {
    let directory: &Path = &std::env::temp_dir();
    let directory = directory.join(format!("tollgate-grpc-{}", uuid::Uuid::now_v7()));
    std::fs::create_dir(&directory).unwrap();
    directory
}
