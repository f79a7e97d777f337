//! One question for all who follow something, each period, for as long as anybody does.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::WatchStream;

use crate::error::Result;

/// Cheap to clone.
pub struct Poller<K, V>(Arc<Inner<K, V>>);

struct Inner<K, V> {
    what: &'static str,
    period: Duration,
    followed: Mutex<Followed<K, V>>,
}

struct Followed<K, V> {
    values: HashMap<K, watch::Sender<Option<V>>>,
    asking: bool,
}

impl<K, V> Clone for Poller<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Poller<K, V>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: PartialEq + Clone + Send + Sync + 'static,
{
    pub fn new(what: &'static str, period: Duration) -> Self {
        let followed = Followed { values: HashMap::new(), asking: false };
        Self(Arc::new(Inner { what, period, followed: Mutex::new(followed) }))
    }

    /// The value of `key` as soon as it is known, then whenever it is another; who reads slowly gets the last of
    /// them. Ends when `ask` no longer finds it. The first who follows brings the question for all.
    pub fn follow<A, F>(
        &self,
        key: K,
        ask: A,
    ) -> impl Stream<Item = V> + Send + Unpin + use<A, F, K, V>
    where
        A: Fn(Vec<K>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<HashMap<K, V>>> + Send + 'static,
    {
        let mut followed = self.followed();
        let values = followed.values.entry(key).or_default().subscribe();
        if !std::mem::replace(&mut followed.asking, true) {
            tokio::spawn(self.clone().ask(ask));
        }
        WatchStream::new(values).filter_map(std::future::ready)
    }

    async fn ask<F>(self, ask: impl Fn(Vec<K>) -> F + Send + Sync)
    where
        F: Future<Output = Result<HashMap<K, V>>> + Send,
    {
        let mut ticks = interval(self.0.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            let Some(keys) = self.wanted() else { return };
            match ask(keys.clone()).await {
                Ok(found) => {
                    self.tell(&keys, found);
                    failing = false;
                }
                Err(error) => {
                    if !failing {
                        tracing::error!(
                            what = self.0.what,
                            ?error,
                            "what is watched could not be read"
                        );
                    }
                    failing = true;
                }
            }
        }
    }

    /// What somebody follows; none, for good, where nobody does.
    fn wanted(&self) -> Option<Vec<K>> {
        let mut followed = self.followed();
        followed.values.retain(|_, value| value.receiver_count() > 0);
        followed.asking = !followed.values.is_empty();
        followed.asking.then(|| followed.values.keys().cloned().collect())
    }

    fn tell(&self, asked: &[K], mut found: HashMap<K, V>) {
        let mut followed = self.followed();
        for key in asked {
            let Some(fresh) = found.remove(key) else {
                followed.values.remove(key);
                continue;
            };
            let Some(value) = followed.values.get(key) else { continue };
            value.send_if_modified(|held| {
                let news = held.as_ref() != Some(&fresh);
                if news {
                    *held = Some(fresh);
                }
                news
            });
        }
    }

    fn followed(&self) -> MutexGuard<'_, Followed<K, V>> {
        self.0.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn one_question_serves_all_who_follow_and_ends_with_the_last() {
        let asked = Arc::new(AtomicU32::new(0));
        let poller: Poller<u8, u32> = Poller::new("counts", Duration::from_millis(5));
        let ask = {
            let asked = asked.clone();
            move |keys: Vec<u8>| {
                let count = asked.fetch_add(1, Ordering::Relaxed);
                // 1 stands still, 2 moves, 3 vanishes, and nobody knows 4.
                let value = move |key| match key {
                    1 => Some((key, 7)),
                    2 => Some((key, count)),
                    3 if count < 2 => Some((key, 0)),
                    _ => None,
                };
                std::future::ready(Ok(keys.into_iter().filter_map(value).collect()))
            }
        };
        let mut still = poller.follow(1, ask.clone());
        let mut again = poller.follow(1, ask.clone());
        let mut moving = poller.follow(2, ask.clone());
        let gone = poller.follow(3, ask.clone());
        let unknown = poller.follow(4, ask.clone());

        assert_eq!((still.next().await, again.next().await), (Some(7), Some(7)));
        let first = moving.next().await.unwrap();
        assert_eq!(moving.next().await, Some(first + 1));
        assert_eq!(gone.collect::<Vec<_>>().await, [0]);
        assert!(unknown.collect::<Vec<_>>().await.is_empty());
        assert_eq!(
            poller.follow(1, ask.clone()).next().await,
            Some(7),
            "at once, once it is known"
        );

        drop((still, again, moving));
        let ended = async {
            while poller.followed().asking {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ended).await.expect("nobody asks for nobody");
        assert_eq!(poller.follow(1, ask).next().await, Some(7), "and begins anew");
    }
}
