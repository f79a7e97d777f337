//! What is served no longer, until nobody reads it. A table of 100,000 routes takes milliseconds to take apart: that is done
//! here, and not on the data thread that happens to let go of it last.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use super::{
    resources::ResourceName,
    served::{Deployment, Snapshot},
};

/// How often it is looked whether anybody still reads what is held.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where snapshots go once there is a newer one.
pub(super) struct Retired(Option<Sender<Held>>);

struct Held {
    snapshot: Option<Arc<Snapshot>>,
    /// Those of it that there is no place for any more: calls in progress hold them longer than the snapshot.
    deployments: Vec<Arc<Deployment>>,
}

impl Retired {
    /// Starts the thread that takes them apart; without one they are let go of at once.
    pub(super) fn start() -> Self {
        let (send, retired) = mpsc::channel::<Held>();
        let mut held = Vec::new();
        let run = move || {
            let wait = |held: &Vec<Held>| (!held.is_empty()).then_some(LOOK_EVERY);
            while next(&retired, wait(&held), &mut held) {
                held.retain_mut(Held::is_read);
            }
        };
        let started = thread::Builder::new().name("retired".to_owned()).spawn(run);
        Self(started.is_ok().then_some(send))
    }

    /// Takes the snapshot in whose place another one is, where these resources changed.
    pub(super) fn take(&self, snapshot: Arc<Snapshot>, changed: &[ResourceName]) {
        let Some(send) = &self.0 else { return };
        let gone = changed.iter().filter_map(|name| match name {
            ResourceName::DeploymentId(id) => snapshot.deployments.get(id.as_str()).cloned(),
            _ => None,
        });
        let deployments = gone.collect();
        let _ = send.send(Held { snapshot: Some(snapshot), deployments });
    }
}

/// Takes what comes; `false`: nothing will come any more.
fn next(retired: &Receiver<Held>, wait: Option<Duration>, held: &mut Vec<Held>) -> bool {
    let next = match wait {
        Some(wait) => retired.recv_timeout(wait),
        None => retired.recv().map_err(|_| RecvTimeoutError::Disconnected),
    };
    match next {
        Ok(next) => held.push(next),
        Err(RecvTimeoutError::Timeout) => {}
        Err(RecvTimeoutError::Disconnected) => return false,
    }
    true
}

impl Held {
    /// Whether somebody else still reads of it; what nobody does is let go of.
    fn is_read(&mut self) -> bool {
        if self.snapshot.as_ref().is_some_and(|snapshot| Arc::strong_count(snapshot) == 1) {
            self.snapshot = None;
        }
        if self.snapshot.is_none() {
            self.deployments.retain(|deployment| Arc::strong_count(deployment) > 1);
        }
        self.snapshot.is_some() || !self.deployments.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_held_until_nobody_reads_it() {
        let read = Arc::new(Snapshot::default());
        let mut held = Held { snapshot: Some(read.clone()), deployments: Vec::new() };
        assert!(held.is_read());
        drop(read);
        assert!(!held.is_read());
    }

    #[test]
    fn what_is_retired_is_taken_apart_by_its_own_thread() {
        let retired = Retired::start();
        let snapshot = Arc::new(Snapshot::default());
        let seen = Arc::downgrade(&snapshot);
        retired.take(snapshot, &[]);
        while seen.strong_count() > 0 {
            thread::yield_now();
        }
    }
}
