use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::signature::tests::{Signer, resource};
use super::*;

/// A node without a network: what it publishes, and what it says to two replicas.
struct Node {
    directory: PathBuf,
    signer: Signer,
    sources: [Arc<Source>; 2],
    /// The names of each publication.
    published: Arc<Mutex<Vec<Vec<String>>>>,
    panics: Arc<AtomicBool>,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Node {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("tollgate-{}", uuid::Uuid::new_v4()));
        crate::disk::private_dir(&directory).unwrap();
        Self {
            directory,
            signer: Signer::new(),
            sources: Default::default(),
            published: Arc::default(),
            panics: Arc::default(),
        }
    }

    /// As at the node's start.
    fn start(&self) -> Applier {
        let (published, panics) = (self.published.clone(), self.panics.clone());
        let publish = move |_: &Resources, names: &[ResourceName]| {
            assert!(!panics.load(Ordering::Relaxed), "a bug in the compiler");
            let mut seen: Vec<_> = names.iter().map(ToString::to_string).collect();
            seen.sort();
            published.lock().unwrap().push(seen);
            let broken = names.iter().filter(|name| name.to_string().contains("broken"));
            let refusal = |name: &ResourceName| Refusal {
                resource: name.clone(),
                reason: "it is broken".to_owned(),
            };
            broken.map(refusal).collect()
        };
        Applier::load(
            &self.directory,
            &["default".to_owned()],
            &Secret::new(b"secret".to_vec()),
            &self.signer.verifier(),
            Box::new(publish),
            Metrics::default(),
        )
    }

    fn snapshot(&self, source: usize, version: u64, tenant: &str) -> Input {
        let signed = vec![self.signer.chunk(version, 0, true, tenant)];
        let whole = Whole { version, resources: vec![resource(tenant)], signed };
        self.input(source, Change::Snapshot(whole))
    }

    fn delta(&self, source: usize, version: u64, tenant: &str) -> Input {
        let delta = Delta { upserts: vec![resource(tenant)], removals: vec![] };
        let signed = self.signer.delta(version, tenant);
        self.input(source, Change::Delta { version, delta, signed })
    }

    fn input(&self, source: usize, change: Change) -> Input {
        Input { source: self.sources[source].clone(), cell: "default".to_owned(), change }
    }

    /// What a replica was told, as one word each.
    fn said(&self, source: usize) -> Vec<String> {
        let word = |message: NodeMessage| match message.kind.unwrap() {
            node_message::Kind::Ack(ack) => format!("ack {}", ack.version),
            node_message::Kind::Nack(nack) => {
                let resource = nack.resource.and_then(|name| name.kind);
                let resource = resource.map_or("?".to_owned(), |name| name.to_string());
                format!("nack {} {resource}: {}", nack.version, nack.reason)
            }
            node_message::Kind::SnapshotRequest(request) => format!("want {}", request.cell),
            other => panic!("{other:?}"),
        };
        self.sources[source].take().into_iter().map(word).collect()
    }

    fn publications(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut *self.published.lock().unwrap())
    }
}

#[test]
fn a_version_that_two_replicas_bring_is_applied_once_and_acknowledged_to_both() {
    let node = Node::new();
    let mut applier = node.start();
    applier.apply(vec![node.snapshot(0, 4, "a")]);
    applier.apply(vec![node.delta(0, 5, "b"), node.delta(1, 5, "b")]);
    applier.apply(vec![node.delta(1, 5, "b")]);

    assert_eq!(node.publications(), [["tenant a"], ["tenant b"]]);
    assert_eq!(node.said(0), ["ack 5"], "only the newest ack is sent");
    assert_eq!(node.said(1), ["ack 5"]);
}

#[test]
fn after_a_gap_a_snapshot_is_asked_for_once_and_nothing_applied_before_it() {
    let node = Node::new();
    let mut applier = node.start();
    applier.apply(vec![node.snapshot(0, 4, "a")]);
    assert_eq!(node.said(0), ["ack 4"]);
    applier.apply(vec![node.delta(0, 6, "c")]);
    applier.apply(vec![node.delta(0, 7, "d")]);
    assert_eq!(node.said(0), ["want default"]);
    assert_eq!(applier.resources.version("default"), 4);

    applier.apply(vec![node.snapshot(0, 7, "d"), node.delta(0, 8, "e")]);
    assert_eq!(node.said(0), ["ack 8"]);
    applier.apply(vec![node.delta(0, 10, "f")]);
    assert_eq!(node.said(0), ["want default"], "the next gap is another one");
}

#[test]
fn a_snapshot_that_two_replicas_bring_is_applied_once() {
    let node = Node::new();
    let mut applier = node.start();
    applier.apply(vec![node.snapshot(0, 4, "a")]);
    applier.apply(vec![node.snapshot(1, 4, "a")]);
    assert_eq!(node.publications(), [["tenant a"]]);
    assert_eq!(node.said(1), ["ack 4"]);
    assert!(!node.directory.join("default.config.previous").exists());
}

#[test]
fn an_older_snapshot_of_a_slower_replica_changes_nothing() {
    let node = Node::new();
    let mut applier = node.start();
    applier.apply(vec![node.snapshot(0, 9, "a"), node.snapshot(1, 7, "old")]);
    assert_eq!(applier.resources.version("default"), 9);
    assert!(applier.resources.tenant("old").is_none());
    applier.apply(vec![node.delta(1, 8, "old"), node.delta(1, 9, "a"), node.delta(1, 10, "b")]);
    assert_eq!(applier.resources.version("default"), 10);
    assert!(applier.resources.tenant("old").is_none());
    assert_eq!(node.said(1), ["ack 10"]);
}

#[test]
fn what_does_not_compile_is_nacked_before_the_rest_is_acknowledged() {
    let node = Node::new();
    let mut applier = node.start();
    applier.apply(vec![node.snapshot(0, 4, "a")]);
    applier.apply(vec![node.delta(0, 5, "broken"), node.delta(0, 6, "b")]);
    assert_eq!(node.said(0), ["nack 5 tenant broken: it is broken", "ack 6"]);
}

#[test]
fn a_compiler_that_panics_stops_nothing() {
    let node = Node::new();
    let mut applier = node.start();
    applier.apply(vec![node.snapshot(0, 4, "a")]);
    node.said(0);
    node.panics.store(true, Ordering::Relaxed);
    applier.apply(vec![node.delta(0, 5, "b")]);
    assert_eq!(node.said(0), ["nack 5 tenant b: this node failed while compiling", "ack 5"]);
    node.panics.store(false, Ordering::Relaxed);
    applier.apply(vec![node.delta(0, 6, "c")]);
    assert_eq!(node.said(0), ["ack 6"]);
}

#[test]
fn a_resource_of_an_unknown_kind_is_told_of() {
    let node = Node::new();
    let mut applier = node.start();
    applier.apply(vec![node.snapshot(0, 4, "a")]);
    node.said(0);
    let upserts = vec![proto::config::v1::Resource { kind: None }];
    let delta = Delta { upserts, removals: vec![] };
    let signed = node.signer.delta(5, "a");
    applier.apply(vec![node.input(0, Change::Delta { version: 5, delta, signed })]);
    assert_eq!(node.said(0), ["nack 5 ?: this node is too old to know this kind", "ack 5"]);
}

#[test]
fn a_restarted_node_publishes_what_it_had_and_goes_on_from_there() {
    let node = Node::new();
    let mut applier = node.start();
    assert_eq!(applier.positions().get()["default"], 0);
    applier.apply(vec![node.snapshot(0, 4, "a"), node.delta(0, 5, "b")]);
    applier.apply(vec![node.delta(0, 6, "c")]);
    assert_eq!(applier.positions().get()["default"], 6);
    drop(applier);
    node.publications();

    let mut applier = node.start();
    assert_eq!(node.publications(), [["tenant a", "tenant b", "tenant c"]]);
    assert_eq!(applier.positions().get()["default"], 0, "it has no file to go back to yet");
    applier.apply(vec![node.snapshot(0, 6, "c"), node.delta(0, 7, "d")]);
    drop(applier);
    let applier = node.start();
    assert_eq!(applier.resources.version("default"), 7);
    assert_eq!(applier.positions().get()["default"], 7);
}

#[test]
fn a_full_disk_stops_nothing_and_is_not_answered_by_snapshot_after_snapshot() {
    let node = Node::new();
    let mut applier = node.start();
    std::fs::remove_dir_all(&node.directory).unwrap(); // nothing can be written from here on
    applier.apply(vec![node.snapshot(0, 4, "a")]);
    applier.apply(vec![node.delta(0, 5, "b")]);
    assert_eq!(node.said(0), ["ack 5"]);
    assert_eq!(applier.metrics.unkept.get(), 1);
    assert_eq!(applier.positions().get()["default"], 0, "the next stream begins with one");
}

#[test]
fn after_damage_to_the_file_the_stream_begins_with_a_snapshot() {
    let node = Node::new();
    let mut applier = node.start();
    applier.apply(vec![node.snapshot(0, 4, "a"), node.delta(0, 5, "b")]);
    drop(applier);
    let path = node.directory.join("default.config");
    let mut content = std::fs::read(&path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    std::fs::write(&path, content).unwrap();

    let mut applier = node.start();
    assert_eq!(applier.resources.version("default"), 4);
    assert_eq!(applier.metrics.damaged.get(), 1);
    assert_eq!(applier.positions().get()["default"], 0);
    applier.apply(vec![node.snapshot(0, 9, "c")]);
    assert_eq!(applier.positions().get()["default"], 9);
    drop(applier);
    assert_eq!(node.start().resources.version("default"), 9);
}
