//! Requests that somebody watches as they end. Where nobody does, a request pays one relaxed load for it.

mod follow;

pub(crate) use follow::follow;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use proto::tail::v1::{Request, Tail};
use tokio::sync::mpsc;

/// Requests that wait for the next batch of a tail. Further ones are counted, and not sent.
const WAITING_MAX: usize = 100;

/// What is watched on this node, by all replicas together.
#[derive(Default)]
pub(crate) struct Tails {
    watching: AtomicBool,
    /// What data threads look through.
    watches: ArcSwap<Vec<Arc<Watch>>>,
    by_stream: Mutex<HashMap<u64, Vec<Arc<Watch>>>>,
    streams: AtomicU64,
}

/// One tail, where requests are put into it.
#[derive(Debug)]
struct Watch {
    tail: Tail,
    out: mpsc::Sender<Request>,
    dropped: AtomicU64,
}

/// One tail, where they are taken out.
struct Watching {
    watch: Arc<Watch>,
    requests: mpsc::Receiver<Request>,
}

/// What one replica watches; its drop ends that.
struct Stream<'a> {
    tails: &'a Tails,
    id: u64,
}

impl Tails {
    /// Puts a request that has ended into each tail that is about it. `request` is made only where there is one.
    pub(crate) fn tell(
        &self,
        tenant_id: &str,
        api_id: &str,
        stage: &str,
        status: u16,
        request: impl Fn() -> Request,
    ) {
        for watch in self.watches.load().iter() {
            if watch.tail.is_about(tenant_id, api_id, stage, status)
                && watch.out.try_send(request()).is_err()
            {
                watch.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Whether anything is watched.
    pub(crate) fn watching(&self) -> bool {
        self.watching.load(Ordering::Relaxed)
    }

    fn open(&self) -> Stream<'_> {
        Stream { tails: self, id: self.streams.fetch_add(1, Ordering::Relaxed) }
    }

    fn set(&self, stream: u64, watches: Vec<Arc<Watch>>) {
        let mut by_stream = self.by_stream.lock().unwrap_or_else(PoisonError::into_inner);
        if watches.is_empty() {
            by_stream.remove(&stream);
        } else {
            by_stream.insert(stream, watches);
        }
        let all: Vec<Arc<Watch>> = by_stream.values().flatten().cloned().collect();
        self.watching.store(!all.is_empty(), Ordering::Relaxed);
        self.watches.store(Arc::new(all));
    }
}

impl Stream<'_> {
    /// Watches these and nothing else. What was watched before goes on where it was.
    fn watch(&self, wanted: Vec<Tail>, watched: &mut Vec<Watching>) {
        watched.retain(|held| wanted.contains(&held.watch.tail));
        for tail in wanted {
            if watched.iter().all(|held| held.watch.tail != tail) {
                let (out, requests) = mpsc::channel(WAITING_MAX);
                let watch = Arc::new(Watch { tail, out, dropped: AtomicU64::new(0) });
                watched.push(Watching { watch, requests });
            }
        }
        self.tails.set(self.id, watched.iter().map(|held| held.watch.clone()).collect());
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.tails.set(self.id, Vec::new());
    }
}

/// What a tail is about. The message is generated, so this is a trait of ours.
trait About {
    fn is_about(&self, tenant_id: &str, api_id: &str, stage: &str, status: u16) -> bool;
}

impl About for Tail {
    fn is_about(&self, tenant_id: &str, api_id: &str, stage: &str, status: u16) -> bool {
        let any_or = |wanted: &str, given| wanted.is_empty() || wanted == given;
        self.tenant_id == tenant_id
            && any_or(&self.api_id, api_id)
            && any_or(&self.stage, stage)
            && (self.status_class == 0 || self.status_class == u32::from(status / 100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(id: u64, tenant_id: &str) -> Tail {
        Tail { id, tenant_id: tenant_id.to_owned(), ..Tail::default() }
    }

    fn tell(tails: &Tails, tenant: &str, status: u16) {
        let made = || Request { status: status.into(), ..Request::default() };
        tails.tell(tenant, "pets", "prod", status, made);
    }

    fn taken(watching: &mut Watching) -> Vec<u32> {
        std::iter::from_fn(|| watching.requests.try_recv().ok()).map(|it| it.status).collect()
    }

    #[test]
    fn a_tail_gets_what_it_is_about_and_nothing_of_another_tenant() {
        let tails = Tails::default();
        assert!(!tails.watching());
        let (here, there) = (tails.open(), tails.open());
        let (mut mine, mut theirs) = (Vec::new(), Vec::new());
        let errors = Tail { status_class: 5, ..tail(2, "alice") };
        let elsewhere = Tail { stage: "test".to_owned(), ..tail(3, "alice") };
        let other = Tail { api_id: "cats".to_owned(), ..tail(4, "alice") };
        here.watch(vec![tail(1, "alice"), errors, elsewhere, other], &mut mine);
        there.watch(vec![tail(1, "mallory")], &mut theirs);
        assert!(tails.watching());

        tell(&tails, "alice", 200);
        tell(&tails, "alice", 503);
        let got: Vec<_> = mine.iter_mut().map(taken).collect();
        assert_eq!(got, [vec![200, 503], vec![503], vec![], vec![]]);
        assert!(taken(&mut theirs[0]).is_empty());

        drop(here);
        tell(&tails, "alice", 200);
        assert!(taken(&mut mine[0]).is_empty());
        assert!(tails.watching(), "the other replica watches on");
        there.watch(vec![], &mut theirs);
        assert!(!tails.watching());
    }

    #[test]
    fn what_is_too_much_is_counted_and_what_is_watched_on_loses_nothing() {
        let tails = Tails::default();
        let stream = tails.open();
        let mut watched = Vec::new();
        stream.watch(vec![tail(1, "alice")], &mut watched);
        for _ in 0..WAITING_MAX + 7 {
            tell(&tails, "alice", 200);
        }
        stream.watch(vec![tail(1, "alice"), tail(2, "alice")], &mut watched);
        tell(&tails, "alice", 404);
        assert_eq!(watched[0].watch.dropped.load(Ordering::Relaxed), 8);
        assert_eq!(taken(&mut watched[0]).len(), WAITING_MAX);
        assert_eq!(taken(&mut watched[1]), [404]);
    }
}
