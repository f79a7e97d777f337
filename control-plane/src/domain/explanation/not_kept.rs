//! Why no node knows a request, in words.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use proto::inquiry::v1::NotKept;
use uuid::Uuid;

use super::{ANSWER_WITHIN, moment};
use crate::ids::NodeId;

/// Clocks of nodes may be ahead of this replica's by so much.
const AHEAD_MAX: TimeDelta = TimeDelta::minutes(1);

/// What nodes said that do not know it.
#[derive(Default)]
pub(super) struct Heard {
    nodes: Vec<NodeId>,
    refused_since_ms: u64,
    others_since_ms: u64,
}

impl Heard {
    pub(super) fn add(&mut self, node: NodeId, since: NotKept) {
        // Two processes of it, while one takes the other's place, are one node.
        if !self.nodes.contains(&node) {
            self.nodes.push(node);
        }
        self.refused_since_ms = self.refused_since_ms.max(since.refused_since_ms);
        self.others_since_ms = self.others_since_ms.max(since.others_since_ms);
    }

    /// The reason, and what to do.
    pub(super) fn reason(&self, id: &Uuid, online: &[NodeId], now: DateTime<Utc>) -> String {
        let silent = online.iter().filter(|node| !self.nodes.contains(node)).count();
        let (answered, within) = (self.nodes.len(), ANSWER_WITHIN.as_secs());
        if answered == 0 && silent == 0 {
            return "no node is there to be asked for this request; what nodes remember ends with them".to_owned();
        }
        if answered == 0 {
            return format!(
                "none of {} answered within {within} s; ask again in a moment",
                nodes(silent)
            );
        }
        let began = began(id);
        if began.is_some_and(|began| began > now + AHEAD_MAX) {
            return "no request with this id was ever answered: its time lies in the future"
                .to_owned();
        }
        let at = began.map(|began| format!("; its id says that it began at {}", second(began)));
        let since = |ms| second(moment(ms).unwrap_or_default());
        let more = if silent == 0 {
            String::new()
        } else {
            format!(
                ". {} more did not answer within {within} s; ask again in a moment",
                nodes(silent)
            )
        };
        format!(
            "no such request of this tenant is known to the {} that answered{}. They remember what ended since {} and was refused by a \
             limit, and since {} of all else: what is older was written over by newer calls, or ended before a node \
             started. A request that is in progress, or reached no stage, is not remembered either{more}",
            nodes(answered),
            at.unwrap_or_default(),
            since(self.refused_since_ms),
            since(self.others_since_ms),
        )
    }
}

/// When the request with this id began.
fn began(id: &Uuid) -> Option<DateTime<Utc>> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

fn second(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn nodes(count: usize) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Rng;

    #[test]
    fn who_asks_for_what_is_gone_is_told_why() {
        let now = DateTime::from_timestamp(1_900_000_000, 0).unwrap();
        let id =
            |seconds: u64| Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, 0));
        let (one, other) = (Rng.id(), Rng.id());
        let mut heard = Heard::default();
        for (refused_since_ms, others_since_ms) in [(1_899_999_990_000, 3), (7, 1_899_999_995_000)]
        {
            heard.add(one, NotKept { refused_since_ms, others_since_ms });
        }
        let old = heard.reason(&id(1_899_999_000), &[one, other], now);
        for part in [
            "known to the 1 node that answered",
            "began at 2030-03-17T17:30:00Z",
            "since 2030-03-17T17:46:30Z and was refused by a limit, and since 2030-03-17T17:46:35Z",
            "1 node more did not answer within 2 s",
        ] {
            assert!(old.contains(part), "{part}: {old}");
        }
        assert!(!heard.reason(&id(1_899_999_000), &[one], now).contains("did not answer"));
        assert!(heard.reason(&id(1_900_009_000), &[one], now).contains("future"));
        let nobody = Heard::default();
        assert!(nobody.reason(&id(1_899_999_000), &[one, other], now).contains("none of 2 nodes"));
        assert!(nobody.reason(&id(1_899_999_000), &[], now).contains("no node is there"));
    }
}
