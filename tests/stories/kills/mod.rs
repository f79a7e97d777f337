//! Load through two nodes while nodes, control planes, PostgreSQL and Redis are killed and started again in an order
//! drawn from a printed seed; then three counts: what callers were answered, what the backend saw, what is billed.
//!
//! `KILLS_SEED` draws the same order again. `TESTS_LONG` makes it twenty minutes.

mod backend;
mod callers;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use harness::load::Death;
use harness::{World, at_length, eventually, within};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use backend::Backend;
use callers::{Callers, Told};

const CALLERS: usize = 6;
/// How long a shaky backend is waited for.
const FIRST_BYTE_MS: u32 = 500;
/// From the end of the kills to the last answered call in the ledger.
const BILLED_WITHIN: Duration = Duration::from_secs(30);
/// At most so many calls are answered between two kills or starts.
const BETWEEN_MAX: usize = 300;

/// A kind of call. Each has a route of its own, by which the ledger tells it from the others.
struct Kind {
    route: &'static str,
    keyed: bool,
    /// Its backend may leave it unanswered, which is answered with 502 or 504, and billed.
    shaky: bool,
}

static KINDS: [Kind; 4] = [
    Kind { route: "GET /open", keyed: false, shaky: false },
    Kind { route: "GET /keyed", keyed: true, shaky: false },
    Kind { route: "POST /orders", keyed: true, shaky: false },
    Kind { route: "POST /shaky", keyed: false, shaky: true },
];

/// Nodes twice: what they lose is lost.
const DECK: [Victim; 8] = [
    Victim::Node(0),
    Victim::Node(0),
    Victim::Node(1),
    Victim::Node(1),
    Victim::ControlPlane(0),
    Victim::ControlPlane(1),
    Victim::Database,
    Victim::Redis,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Node(usize),
    ControlPlane(usize),
    Database,
    Redis,
}

/// Who is dead, and who dies next.
struct Killer<'a> {
    world: &'a mut World,
    callers: &'a Callers,
    random: StdRng,
    deck: Vec<Victim>,
    down: Vec<Victim>,
    deaths: Vec<Death>,
    kills: BTreeMap<Victim, u32>,
    /// Nodes that were killed again before they served.
    faltered: u32,
}

impl Killer<'_> {
    /// Until some more calls are answered: that is how time passes here.
    async fn a_while(&mut self, most: usize) {
        let wanted = self.callers.answered() + self.random.random_range(0..=most);
        let enough = async || (self.callers.answered() >= wanted).then_some(());
        eventually("more answers", enough).await;
    }

    /// Kills whom the next card names, or starts it where it is down.
    async fn act(&mut self) {
        self.a_while(BETWEEN_MAX).await;
        if self.deck.is_empty() {
            self.deck.extend(DECK);
            self.deck.shuffle(&mut self.random);
        }
        let victim = self.deck.pop().unwrap();
        if self.down.contains(&victim) {
            return self.start(victim).await;
        }
        // Somebody has to take the calls.
        if let Victim::Node(node) = victim
            && self.down.contains(&Victim::Node(1 - node))
        {
            self.start(Victim::Node(1 - node)).await;
        }
        self.kill(victim);
    }

    fn kill(&mut self, victim: Victim) {
        *self.kills.entry(victim).or_default() += 1;
        self.down.push(victim);
        match victim {
            Victim::Node(node) => {
                let address = self.world.endpoint_address_at(node);
                self.deaths.push(Death::of(address, || self.world.kill_node_at(node)));
            }
            Victim::ControlPlane(replica) => self.world.kill_control_plane_at(replica),
            Victim::Database => self.world.kill_database(),
            Victim::Redis => self.world.kill_redis(),
        }
    }

    async fn start(&mut self, victim: Victim) {
        self.down.retain(|it| *it != victim);
        match victim {
            Victim::Node(node) => {
                if self.random.random_bool(0.25) {
                    self.falter(node).await;
                }
                self.world.start_node_at(node).await;
            }
            Victim::ControlPlane(replica) => {
                // It does not start without its database.
                if self.down.contains(&Victim::Database) {
                    Box::pin(self.start(Victim::Database)).await;
                }
                self.world.start_control_plane_at(replica).await;
            }
            Victim::Database => self.world.start_database().await,
            Victim::Redis => self.world.start_redis().await,
        }
    }

    /// Dies on its way up: while it takes up what the one before it left, or as it begins to serve.
    async fn falter(&mut self, node: usize) {
        let process = self.world.spawn(&format!("node{node}"), self.world.node_command(node));
        self.a_while(BETWEEN_MAX / 2).await;
        let address = self.world.endpoint_address_at(node);
        self.deaths.push(Death::of(address, || process.kill()));
        self.faltered += 1;
    }

    async fn start_all(&mut self) {
        while let Some(victim) = self.down.first() {
            self.start(*victim).await;
        }
    }
}

/// An API with a route for each kind of call, its host name, and a key whose limits are never reached.
async fn api(world: &World, backend: &Backend) -> (String, String) {
    let acme = world.tenant("acme").await;
    let api = acme.api("pets").await;
    for kind in &KINDS {
        let (method, path) = kind.route.split_once(' ').unwrap();
        let mut integration = json!({
            "type": "HTTP_PROXY", "uri": format!("{}{path}", backend.url()), "method": "ANY",
        });
        if kind.shaky {
            integration["firstByteTimeoutMs"] = json!(FIRST_BYTE_MS);
        }
        let input = json!({
            "apiId": api.id, "method": method, "path": path,
            "apiKeyRequired": kind.keyed, "integration": integration,
        });
        acme.mutate("createRoute", "CreateRouteInput!", input, "route { id }").await;
    }
    let api = api.deploy("prod").await;
    let plan = api.usage_plan("gold").throttle(100_000.0, 100_000).quota(100_000_000, "DAY");
    (api.host(), plan.key().await.value)
}

/// By route, and whether a key was named: counted and billed requests.
async fn ledger(world: &World) -> BTreeMap<(String, bool), (u64, u64)> {
    let sums = "select route, api_key_id <> '', sum(requests)::bigint, sum(billed_requests)::bigint
                from usage_minute group by 1, 2";
    let rows: Vec<(String, bool, i64, i64)> =
        sqlx::query_as(sums).fetch_all(&mut world.database().await).await.unwrap();
    let number = |sum: i64| u64::try_from(sum).unwrap();
    rows.into_iter()
        .map(|(route, keyed, counted, billed)| ((route, keyed), (number(counted), number(billed))))
        .collect()
}

/// What the ledger should not have taken, and places of a journal that it holds twice.
async fn ledger_doubts(world: &World) -> (i64, i64) {
    let doubts = "select (select count(*) from usage_quarantine),
        (select count(*) - count(distinct (node_id, epoch, thread, counter)) from usage_segment)";
    sqlx::query_as(doubts).fetch_one(&mut world.database().await).await.unwrap()
}

/// What a node that drained left: segments that are not in the ledger, and what it set aside.
fn left_in(journal: &Path) -> Vec<String> {
    let files = ["open", "sealed", "quarantine"]
        .into_iter()
        .flat_map(|directory| std::fs::read_dir(journal.join(directory)).unwrap())
        .map(|entry| entry.unwrap().path());
    // A spare that was never written to holds nothing.
    let written = files.filter(|path| std::fs::read(path).unwrap().iter().any(|byte| *byte != 0));
    written.map(|path| path.display().to_string()).collect()
}

/// What was answered came once to the backend, and no POST came twice whatever became of it.
fn backend_agrees(told: &Told, seen: &[u8]) {
    let times = |call: u64| seen.get(usize::try_from(call).unwrap()).copied().unwrap_or_default();
    let unseen: Vec<_> = told.answered.iter().filter(|call| times(**call) == 0).collect();
    assert!(unseen.is_empty(), "answered, and never sent to the backend: {unseen:?}");
    let repeated: Vec<_> = (0..seen.len() as u64)
        .filter(|call| Kind::of(*call).route.starts_with("POST") && times(*call) > 1)
        .collect();
    assert!(repeated.is_empty(), "sent to the backend more than once: {repeated:?}");
}

/// For each kind of call, over and over: answered ≤ billed ≤ answered + in flight when killed.
async fn bill_agrees(world: &World, told: &Told, seen: &[u8]) {
    let ledger = ledger(world).await;
    let of = |kind: &Kind, call: u64| std::ptr::eq(Kind::of(call), kind);
    for kind in &KINDS {
        let count = |calls: &mut dyn Iterator<Item = u64>| calls.filter(|it| of(kind, *it)).count();
        let answered = count(&mut told.answered.iter().copied()) as u64;
        let in_flight = count(&mut told.broken.iter().map(|broken| broken.call)) as u64;
        let saw =
            count(&mut (0..seen.len() as u64).filter(|it| seen[usize::try_from(*it).unwrap()] > 0));
        let found = ledger.get(&(kind.route.to_owned(), kind.keyed));
        let (counted, billed) = found.copied().unwrap_or_default();
        println!(
            "{}: {answered} answered, {in_flight} in flight when killed; the backend saw {saw}; {billed} billed",
            kind.route
        );
        let allowed = answered..=answered + in_flight;
        assert!(allowed.contains(&billed), "{}: {billed} billed of {allowed:?}", kind.route);
        assert!(allowed.contains(&counted), "{}: {counted} counted of {allowed:?}", kind.route);
        assert!(allowed.contains(&(saw as u64)), "{}: {saw} seen of {allowed:?}", kind.route);
    }
    assert_eq!(ledger.len(), KINDS.len(), "{ledger:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_killed_each_answered_call_is_billed_once_and_no_post_is_sent_twice() {
    let given = std::env::var("KILLS_SEED").ok();
    let seed: u64 = given.map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("KILLS_SEED={seed}");
    let length = at_length(Duration::from_mins(1), Duration::from_mins(20));
    let mut world = World::start_many(2, 2).await;
    let backend = Backend::start().await;
    let (host, key) = api(&world, &backend).await;
    let nodes = [world.endpoint_address_at(0), world.endpoint_address_at(1)];
    let callers = Callers::start(CALLERS, nodes, &host, &key);

    let mut killer = Killer {
        world: &mut world,
        callers: &callers,
        random: StdRng::seed_from_u64(seed),
        deck: Vec::new(),
        down: Vec::new(),
        deaths: Vec::new(),
        kills: BTreeMap::new(),
        faltered: 0,
    };
    let began = Instant::now();
    // Everyone dies at least once, on the slowest machine too.
    while began.elapsed() < length || killer.kills.len() < 6 {
        killer.act().await;
    }
    killer.start_all().await;
    killer.a_while(BETWEEN_MAX).await;
    let Killer { deaths, kills, faltered, .. } = killer;
    let told = callers.end().await;
    let ended = Instant::now();

    assert!(
        told.wrong.is_empty(),
        "{} of {}: {:?}",
        told.wrong.len(),
        told.answered.len(),
        told.wrong
    );
    let unexcused: Vec<_> = told.broken.iter().filter(|it| !it.is_excused(&deaths)).collect();
    assert!(unexcused.is_empty(), "{} of {}: {unexcused:?}", unexcused.len(), told.answered.len());
    within(BILLED_WITHIN, "every answered call in the ledger", async || {
        let billed: u64 = ledger(&world).await.values().map(|(_, billed)| billed).sum();
        (billed >= told.answered.len() as u64).then_some(())
    })
    .await;
    let visible = ended.elapsed();
    // A node has ended when the ledger has all that it counted: nothing comes after this.
    for node in 0..2 {
        world.stop_node_at(node).await;
        let left = left_in(&world.node_directory(node).join("usage"));
        assert!(left.is_empty(), "{left:?}");
    }
    println!(
        "{:.0?}, killed {kills:?} and {faltered} nodes on their way up; all answered calls in the ledger {visible:.1?} \
         after the last",
        ended - began,
    );
    let arrived = backend.seen();
    backend_agrees(&told, &arrived);
    bill_agrees(&world, &told, &arrived).await;
    assert_eq!(ledger_doubts(&world).await, (0, 0), "set aside, and twice at one place");
}
