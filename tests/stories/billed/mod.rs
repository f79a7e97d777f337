//! What is billed: each line of the table in `deploy/runbooks/billing.md` is made to happen, and the ledger asked for it.

mod backend;
pub(crate) mod caller;
mod let_through;
mod refused;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::time::Duration;

use harness::tenant::{since, text};
use harness::{Api, Detour, Tenant, World, eventually};
use serde_json::{Value, json};
use sqlx::Row;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use caller::{Answer, counted};

/// One data thread, so that a connection to a backend that waits is there for whichever call comes next.
const SETTINGS: [(&str, &str); 3] = [
    ("TOLLGATE_NODE_THREADS", "1"),
    ("TOLLGATE_NODE_TENANT_IN_FLIGHT_MAX", "4"),
    ("TOLLGATE_LIMITER_OUTAGE", "fail_closed"),
];
/// The route of the call that a line is about, and one beside it for calls that are no more than needed for that.
const LINE: &str = "/line";
const BESIDE: &str = "/beside";

/// Where lines happen.
pub(crate) struct Scene<'w> {
    world: &'w World,
    acme: &'w Tenant<'w>,
    detour: &'w Detour,
}

/// A call that was made, as its caller saw it.
pub(crate) struct Seen {
    /// The ten characters of the API that it was for.
    api_id: String,
    /// As the ledger names it.
    route: String,
    bytes_in: Went,
    bytes_out: Went,
}

/// Bytes of a request or an answer.
#[derive(Clone, Copy)]
pub(crate) struct Went {
    /// Of its head, as far as that is counted.
    head: u64,
    /// Of its body that went over the caller's socket.
    bytes: u64,
    /// That the body has.
    whole: u64,
}

type Proof<'s> = Pin<Box<dyn Future<Output = Seen> + 's>>;

impl Went {
    fn all(head: usize, bytes: usize) -> Self {
        Self::of(head, bytes, bytes)
    }

    fn of(head: usize, bytes: usize, whole: usize) -> Self {
        let [head, bytes, whole] = [head, bytes, whole].map(|bytes| u64::try_from(bytes).unwrap());
        Self { head, bytes, whole }
    }
}

impl Seen {
    /// A call that had an answer, after a body of so many bytes.
    fn answered(api: &Api<'_>, sent: usize, answer: &Answer) -> Self {
        Self::broke_off(api, Went::all(answer.asked, sent), answer)
    }

    fn told(api: &Api<'_>, bytes_in: Went, bytes_out: Went) -> Self {
        Self { api_id: api.api_id.clone(), route: format!("ANY {LINE}"), bytes_in, bytes_out }
    }

    /// A call that had an answer before all of its body was taken.
    fn broke_off(api: &Api<'_>, bytes_in: Went, answer: &Answer) -> Self {
        let bytes_out = Went::all(counted(&answer.head), answer.content.len());
        Self::told(api, bytes_in, bytes_out)
    }

    /// Of a route that is named otherwise.
    fn by(self, route: &str) -> Self {
        Self { route: route.to_owned(), ..self }
    }
}

impl Scene<'_> {
    /// An API with what a line needs, before it is deployed.
    async fn draft(&self, integration: Value) -> Api<'_> {
        self.draft_of(json!({ "integration": integration })).await
    }

    async fn draft_of(&self, route: Value) -> Api<'_> {
        with_line(self.acme.api("line").await, route).await
    }

    /// Deployed, and for everybody.
    async fn api(&self, integration: Value) -> Api<'_> {
        self.draft(integration).await.deploy("prod").await
    }

    /// With the same behind a second route.
    async fn with_beside(&self, integration: Value) -> Api<'_> {
        let beside = json!({ "method": "ANY", "path": BESIDE, "integration": integration });
        self.draft(integration.clone()).await.route_of(beside).await.deploy("prod").await
    }

    /// With a second route, of `MOCK`, and for holders of a key.
    async fn keyed(&self) -> Api<'_> {
        let route = json!({ "integration": mock("hello"), "apiKeyRequired": true });
        let beside = json!({
            "method": "ANY", "path": BESIDE, "integration": mock("beside"), "apiKeyRequired": true,
        });
        self.draft_of(route).await.route_of(beside).await.deploy("prod").await
    }
}

async fn with_line(api: Api<'_>, mut route: Value) -> Api<'_> {
    route["method"] = json!("ANY");
    route["path"] = json!(LINE);
    api.route_of(route).await
}

fn proxy(url: &str) -> Value {
    json!({ "type": "HTTP_PROXY", "uri": url, "method": "ANY" })
}

fn mock(body: &str) -> Value {
    json!({ "type": "MOCK", "mockResponse": { "status": 200, "body": body } })
}

/// What the ledger has of one route of one API.
#[derive(Debug, Default, PartialEq)]
struct Counted {
    requests: u64,
    billed: u64,
    bytes_in: u64,
    bytes_out: u64,
    /// Which the bill prices.
    billed_bytes_out: u64,
}

/// By API and route. The product's own face tells all but the bytes that are billed.
async fn ledger(world: &World, acme: &Tenant<'_>) -> BTreeMap<(String, String), Counted> {
    let query = "query($filter: UsageGroupFilter!) { \
                 usageGroups(filter: $filter, groupBy: [API, ROUTE], first: 100) { nodes { \
                 apiId route requests billedRequests bytesIn bytesOut } pageInfo { hasNextPage } } }";
    let mut groups =
        acme.graphql(query, json!({ "filter": { "since": since() } })).await["usageGroups"].take();
    assert_eq!(groups["pageInfo"]["hasNextPage"], false);
    let mut counted = BTreeMap::<_, Counted>::new();
    for row in groups["nodes"].as_array_mut().unwrap() {
        let number = |name: &str| row[name].as_u64().unwrap();
        // A row for each hour, where the story went over its end.
        let it = counted.entry((text(&row["apiId"]), text(&row["route"]))).or_default();
        it.requests += number("requests");
        it.billed += number("billedRequests");
        it.bytes_in += number("bytesIn");
        it.bytes_out += number("bytesOut");
    }
    let priced = "select api_id, route, sum(billed_bytes_out)::bigint as bytes from usage_minute group by 1, 2";
    for row in sqlx::query(priced).fetch_all(&mut world.database().await).await.unwrap() {
        let bytes = row.get::<i64, _>("bytes");
        counted.entry((row.get("api_id"), row.get("route"))).or_default().billed_bytes_out =
            u64::try_from(bytes).unwrap();
    }
    counted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_billed_is_what_the_table_in_the_docs_says() {
    let table = table::read(include_str!("../../../deploy/runbooks/billing.md"));
    let detour = Detour::start().await;
    let mut world = World::start_nodes_over(&detour, 1, &SETTINGS).await;
    let (mut seen, token) = {
        let acme = world.tenant("acme").await;
        let scene = Scene { world: &world, acme: &acme, detour: &detour };
        let proofs: Vec<(&str, Proof<'_>)> =
            let_through::lines(&scene).into_iter().chain(refused::lines(&scene)).collect();
        let named: Vec<&str> = proofs.iter().map(|(name, _)| *name).collect();
        let lines: Vec<&str> = table.iter().map(|line| line.call.as_str()).collect();
        assert_eq!(named, lines, "the proofs, and the lines of the table");
        let mut seen = Vec::new();
        for (name, proof) in proofs {
            let made = tokio::time::timeout(Duration::from_mins(1), proof).await;
            seen.push(made.unwrap_or_else(|_| panic!("{name}: it did not happen")));
        }
        (seen.into_iter(), acme.token.clone())
    };
    // It ends when all that it counted is in the ledger.
    world.stop_node().await;

    let acme = Tenant { world: &world, id: String::new(), email: String::new(), token };
    let mut counted = ledger(&world, &acme).await;
    let mut wrong = Vec::new();
    for line in &table {
        let seen = seen.next().unwrap();
        let is = counted.remove(&(seen.api_id, seen.route)).unwrap_or_default();
        let bytes = (line.bytes_in.of(seen.bytes_in), line.bytes_out.of(seen.bytes_out));
        let (Ok(bytes_in), Ok(bytes_out)) = bytes else {
            wrong.push(format!("{}: {bytes:?}", line.call));
            continue;
        };
        let (requests, billed) = (line.requests, line.billed);
        let billed_bytes_out = bytes_out * billed;
        let expected = Counted { requests, billed, bytes_in, bytes_out, billed_bytes_out };
        if is != expected {
            wrong.push(format!("{}: {is:?} instead of {expected:?}", line.call));
        }
    }
    println!("{} kinds of calls, {} wrong", table.len(), wrong.len());
    let others: BTreeSet<&str> = counted.keys().map(|(_, route)| route.as_str()).collect();
    let beside = format!("ANY {BESIDE}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(others, BTreeSet::from([beside.as_str()]), "nothing else is counted");
}

#[tokio::test]
async fn a_long_answer_counts_as_far_as_it_was_noted_when_its_node_is_killed() {
    let mut world = World::start().await;
    let (url, _backend) = backend::backend(async |mut stream| {
        caller::head(&mut stream).await;
        let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await;
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        while sent.is_ok() {
            pace.tick().await;
            sent = stream.write_all(&[b'x'; 100]).await;
        }
    })
    .await;
    let (mut stream, asked, token) = {
        let acme = world.tenant("acme").await;
        let api = with_line(acme.api("line").await, json!({ "integration": proxy(&url) })).await;
        let api = api.deploy("prod").await;
        let mut stream = caller::connect(&api).await;
        let head = caller::request(&api, "GET", LINE, &[]);
        stream.write_all(head.as_bytes()).await.unwrap();
        (stream, head.len() as u64, acme.token.clone())
    };
    let head = counted(&caller::head(&mut stream).await);
    // Three seconds of it: a node notes each second how far an answer is.
    let mut came = vec![0; 6_000];
    stream.read_exact(&mut came).await.unwrap();
    world.kill_node();
    while stream.read_buf(&mut came).await.is_ok_and(|bytes| bytes > 0) {}
    world.start_node().await;

    let acme = Tenant { world: &world, id: String::new(), email: String::new(), token };
    let counted = eventually("the call in the ledger", async || {
        ledger(&world, &acme).await.into_values().find(|counted| counted.requests > 0)
    })
    .await;
    let bytes_out = counted.bytes_out;
    println!("{} bytes came after the head's {head}, {bytes_out} are counted", came.len());
    let (head, all) = (head as u64, (head + came.len()) as u64);
    assert!((head + 1..=all).contains(&bytes_out), "{counted:?}");
    let once =
        Counted { requests: 1, billed: 1, bytes_in: asked, bytes_out, billed_bytes_out: bytes_out };
    assert_eq!(counted, once);
}
