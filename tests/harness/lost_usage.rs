//! Usage that no ledger takes: calls of a tenant that nobody knows, in a node's own journal.

use std::time::SystemTime;

use proto::segment::{
    BLOCK_BYTES, Cache, Footer, Header, Names, Record, State, encode_names, names_blocks,
};

use crate::{World, eventually};

/// The tenant of [`World::send_lost_usage`], which has no row.
pub const LOST_TENANT: &str = "0198f2a0-0000-7000-8000-00000000dead";

impl World {
    /// Has the first node find so many sealed segments in its journal, as a process before might have left them, and
    /// ship them. Each has two calls of [`LOST_TENANT`].
    ///
    /// # Panics
    /// Where the journal cannot be written.
    pub async fn send_lost_usage(&mut self, segments: u64) {
        self.stop_node().await;
        let epoch: [u8; 16] = rand::random();
        let sealed = self.node_directory(0).join("usage").join("sealed");
        for counter in 1..=segments {
            let name = format!("{}-0-{counter:020}.segment", hex::encode(epoch));
            std::fs::write(sealed.join(name), segment(epoch, counter))
                .expect("the node's journal is on this disk");
        }
        self.start_node().await;
        let mut database = self.database().await;
        eventually("the segments in quarantine", async || {
            let set_aside = "select count(*) from usage_quarantine where epoch = $1";
            let set_aside = sqlx::query_scalar(set_aside).bind(epoch.as_slice());
            let set_aside: i64 = set_aside.fetch_one(&mut database).await.ok()?;
            (u64::try_from(set_aside) == Ok(segments)).then_some(())
        })
        .await;
    }
}

fn segment(epoch: [u8; 16], counter: u64) -> Vec<u8> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or_default();
    let header = Header { epoch, thread: 0, counter, created_ms: now };
    let seed = header.seed();
    let names = Names {
        cell: "default",
        tenant_id: LOST_TENANT,
        api_id: "abcdefghi0",
        stage: "prod",
        route: "GET /pets",
        ..Names::default()
    };
    let entry = names.encode();
    let first = 1 + names_blocks(&entry);
    let record = Record {
        state: State::Done,
        names: 1,
        started_ms: now,
        ended_ms: now,
        bytes_in: 100,
        bytes_out: 1000,
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
    let footer = Footer { blocks: first + 3, records: 2, sealed_ms: now, recovered: false };
    let mut content = header.encode().to_vec();
    content.extend(encode_names(&entry, seed, 1).flatten());
    content.extend(record.encode(seed, first));
    content.extend(record.encode(seed, first + 1));
    content.extend(footer.encode(seed));
    assert_eq!(content.len(), footer.blocks as usize * BLOCK_BYTES);
    content
}
