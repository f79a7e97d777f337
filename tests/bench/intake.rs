//! How fast one replica takes usage in: a node comes back with a million requests in its journal, each of another key,
//! route and minute, and then with as many for the same rows.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use harness::{World, within};
use proto::segment::{BLOCK_BYTES, Cache, Footer, Header, Names, Record, State, encode_names};
use sqlx::PgConnection;

use crate::machine::cpu_nanos;

const KEYS: usize = 1000;
const ROUTES: usize = 100;
const MINUTES: u64 = 10;
const ROWS: usize = KEYS * ROUTES * 10;
/// As large as a node makes them.
const SEGMENT_BYTES_MAX: usize = 1024 * 1024;
const PATIENCE: Duration = Duration::from_mins(20);

/// What was spent so far, by whom.
struct Spent {
    postgres: f64,
    control_plane: f64,
    database_bytes: i64,
    log_bytes: i64,
}

pub(crate) async fn run() -> Result<()> {
    let mut world = World::start_alone().await;
    let tenant = world.tenant("bench").await.plain_id().await;
    let journal = world.node_directory(0).join("usage/sealed");
    let mut database = world.database().await;
    println!(
        "| a million requests | rows/s | PostgreSQL CPU s | replica CPU s | journal MB | database MB | WAL MB |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut segments = 0;
    for (round, name) in (1..).zip(["every row new", "the same rows again"]) {
        world.stop_node().await;
        let written = write(&journal, round, &tenant)?;
        segments += written.segments;
        let before = spent(&world, &mut database).await?;
        let began = Instant::now();
        world.start_node().await;
        taken(&mut database, segments).await;
        let took = began.elapsed();
        let after = spent(&world, &mut database).await?;
        let (rows, requests) = ledger(&mut database).await?;
        ensure!(rows == i64::try_from(ROWS)?, "{rows} rows");
        ensure!(requests == rows * i64::from(round), "{requests} requests");
        #[expect(clippy::cast_precision_loss, reason = "a million, and megabytes")]
        let (rate, mb) =
            (ROWS as f64 / took.as_secs_f64(), |bytes: i64| bytes as f64 / 1_000_000.0);
        println!(
            "| {name} | {rate:.0} | {:.1} | {:.1} | {:.0} | {:.0} | {:.0} |",
            after.postgres - before.postgres,
            after.control_plane - before.control_plane,
            mb(written.bytes),
            mb(after.database_bytes - before.database_bytes),
            mb(after.log_bytes - before.log_bytes),
        );
    }
    Ok(())
}

async fn taken(database: &mut PgConnection, segments: i64) {
    within(PATIENCE, "all segments in the ledger", async || {
        let count = sqlx::query_scalar("select count(*) from usage_segment");
        let count: i64 = count.fetch_one(&mut *database).await.ok()?;
        (count >= segments).then_some(())
    })
    .await;
}

async fn ledger(database: &mut PgConnection) -> Result<(i64, i64)> {
    let sums = "select count(*), sum(requests)::bigint from usage_minute";
    Ok(sqlx::query_as(sums).fetch_one(database).await?)
}

async fn spent(world: &World, database: &mut PgConnection) -> Result<Spent> {
    let sizes = "select pg_database_size(current_database()),
        pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint";
    let (database_bytes, log_bytes) = sqlx::query_as(sizes).fetch_one(database).await?;
    let server = world.database_server().context("the world has a PostgreSQL of its own")?;
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of minutes")]
    let control_plane = cpu_nanos(&[world.control_plane().id()])? as f64 / 1e9;
    Ok(Spent { postgres: family_seconds(server)?, control_plane, database_bytes, log_bytes })
}

/// CPU time of a process, of its children, and of those that have ended.
fn family_seconds(parent: u32) -> Result<f64> {
    let ticks = Command::new("getconf").arg("CLK_TCK").output().context("getconf")?;
    let ticks: f64 = String::from_utf8(ticks.stdout)?.trim().parse()?;
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    let mut sum = times(&parent.to_string())?.iter().sum::<u64>();
    for child in children.split_whitespace() {
        // One that ends meanwhile is counted with its parent the next time.
        sum += times(child).map_or(0, |[user, system, ..]| user + system);
    }
    #[expect(clippy::cast_precision_loss, reason = "hundredths of minutes")]
    Ok(sum as f64 / ticks)
}

/// User and system time of a process and of its children that ended, in ticks.
fn times(process: &str) -> Result<[u64; 4]> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // A name may hold anything but ends with the last parenthesis; the times are fields 14 to 17.
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let times = fields.split_whitespace().skip(11).take(4).map(str::parse);
    let times: Vec<u64> = times.collect::<Result<_, _>>()?;
    times.try_into().ok().context("fewer fields than there are")
}

struct Written {
    segments: i64,
    bytes: i64,
}

/// Sealed segments of an epoch of their own, as a process left them that could not ship.
fn write(journal: &Path, round: u8, tenant: &str) -> Result<Written> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let first_ms = (now / 3600 * 3600 - 3600) * 1000; // minutes of the hour before this one
    let mut written = Written { segments: 0, bytes: 0 };
    let mut segment = None;
    for minute in 0..MINUTES {
        for key in 0..KEYS {
            for route in 0..ROUTES {
                let (key, route) =
                    (format!("{key:010}"), format!("GET /pets/{route}/toys/{{toy}}"));
                let names = Names {
                    cell: "default",
                    tenant_id: tenant,
                    consumer_id: "",
                    api_id: "k3v9x0q2ab",
                    stage: "prod",
                    route: &route,
                    api_key_id: &key,
                    usage_plan_id: "z9y8x7w6v5",
                };
                let open = segment.get_or_insert_with(|| {
                    written.segments += 1;
                    Segment::new(round, written.segments.unsigned_abs())
                });
                open.append(&names, first_ms + minute * 60_000);
                if open.content.len() + 64 * BLOCK_BYTES > SEGMENT_BYTES_MAX {
                    written.bytes +=
                        segment.take().context("it was just written to")?.seal(journal)?;
                }
            }
        }
    }
    if let Some(last) = segment {
        written.bytes += last.seal(journal)?;
    }
    Ok(written)
}

struct Segment {
    header: Header,
    content: Vec<u8>,
    records: u32,
}

impl Segment {
    fn new(round: u8, counter: u64) -> Self {
        let header = Header { epoch: [round; 16], thread: 0, counter, created_ms: 0 };
        Self { content: header.encode().to_vec(), header, records: 0 }
    }

    fn next(&self) -> u32 {
        u32::try_from(self.content.len() / BLOCK_BYTES).expect("a segment is small")
    }

    fn append(&mut self, names: &Names<&str>, ended_ms: u64) {
        let (seed, number) = (self.header.seed(), self.next());
        self.content.extend(encode_names(&names.encode(), seed, number).flatten());
        let record = Record {
            state: State::Done,
            names: number,
            started_ms: ended_ms,
            ended_ms,
            bytes_in: 300,
            bytes_out: 1200,
            duration_ms: 20,
            requests: 1,
            status: 200,
            cache: Cache::None,
            billed: true,
            test: false,
            aborted: false,
            upgraded: false,
            test_invoke: false,
        };
        let block = record.encode(seed, self.next());
        self.content.extend(block);
        self.records += 1;
    }

    /// How many bytes it has.
    fn seal(mut self, journal: &Path) -> Result<i64> {
        let (blocks, records) = (self.next() + 1, self.records);
        let footer = Footer { blocks, records, sealed_ms: 0, recovered: false };
        self.content.extend(footer.encode(self.header.seed()));
        let (epoch, counter) = (hex::encode(self.header.epoch), self.header.counter);
        std::fs::write(journal.join(format!("{epoch}-0-{counter:020}.segment")), &self.content)?;
        Ok(i64::try_from(self.content.len())?)
    }
}
