//! What became of requests that have ended, for whoever asks by `x-request-id` why one was limited.
//!
//! Each data thread remembers the newest in memory of a fixed size: nothing is locked, and in the long run nothing
//! allocated. Those that a limit refused are kept apart, so that calls which pass do not drive them out. Both are divided
//! among the tenants that have any.

mod decision;
mod note;
mod ring;

use std::cell::RefCell;

use proto::inquiry::v1::{Explanation, NotKept};
use uuid::Uuid;

use self::ring::Ring;
pub(crate) use self::{
    decision::Decision,
    note::{Finished, Note, Texts},
};

/// Requests that a limit refused, on one thread, of all tenants together; each takes half a kilobyte, three at most.
const REFUSED_MAX: usize = 4096;
/// The same of all others.
const OTHERS_MAX: usize = 2048;

/// One thread's memory.
pub(crate) struct Kept {
    refused: RefCell<Ring>,
    others: RefCell<Ring>,
}

impl Kept {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            refused: RefCell::new(Ring::new(REFUSED_MAX, now_ms)),
            others: RefCell::new(Ring::new(OTHERS_MAX, now_ms)),
        }
    }

    pub(crate) fn put(&self, tenant_id: &str, finished: Finished<'_>) {
        let ring = if finished.decision.is_some() { &self.refused } else { &self.others };
        ring.borrow_mut().put(tenant_id, finished);
    }

    /// What became of a tenant's request, where it is remembered.
    pub(crate) fn find(&self, tenant_id: &str, id: Uuid) -> Result<Explanation, NotKept> {
        let (refused, others) = (self.refused.borrow(), self.others.borrow());
        let found = [&refused, &others]
            .into_iter()
            .find_map(|ring| ring.find(tenant_id, |note| note.id == id).map(Note::told));
        found.ok_or_else(|| NotKept {
            refused_since_ms: refused.since_ms(tenant_id),
            others_since_ms: others.since_ms(tenant_id),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proto::inquiry::v1::Level;

    use super::*;

    pub(super) fn ended(id: Uuid, ended_ms: u64) -> Finished<'static> {
        Finished {
            id,
            started_ms: ended_ms,
            ended_ms,
            config_version: 7,
            status: 200,
            code: None,
            decision: None,
            limits: Vec::new(),
            shadow_throttled_by: Vec::new(),
            texts: Texts {
                api_id: "api",
                stage: "prod",
                deployment_id: "",
                method: "GET",
                route: "GET /pets",
                path: "/pets",
                api_key_id: "",
                usage_plan_id: "",
            },
        }
    }

    #[test]
    fn a_request_is_found_by_its_tenant_alone_and_calls_that_pass_drive_out_no_refusal() {
        let kept = Kept::new(3);
        let (refused, passed) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let decision = Some(Decision::of_share("tenant-share", Level::Tenant, 5));
        kept.put(
            "acme",
            Finished { decision, code: Some("TENANT_OVERLOADED"), ..ended(refused, 9) },
        );
        kept.put("acme", ended(passed, 10));
        assert!(kept.find("acme", passed).is_ok_and(|it| it.decision.is_none()));
        for at in 0..10_000 {
            kept.put("acme", ended(Uuid::from_u128(at + 10), 20));
        }
        let found = kept.find("acme", refused).unwrap();
        let decided = found.decision.unwrap();
        assert_eq!(
            (decided.limit.unwrap().name.as_str(), decided.retry_after_s),
            ("tenant-share", 1)
        );
        assert_eq!((found.code.as_str(), found.config_version), ("TENANT_OVERLOADED", 7));
        assert_eq!((found.path.as_str(), found.api_key_id.as_str()), ("/pets", ""));
        let gone = kept.find("acme", passed).unwrap_err();
        assert_eq!((gone.refused_since_ms, gone.others_since_ms), (3, 20));
        let strange = kept.find("globex", refused).unwrap_err();
        assert_eq!((strange.refused_since_ms, strange.others_since_ms), (3, 3));
    }

    #[test]
    fn of_long_texts_the_beginning_is_kept() {
        let kept = Kept::new(0);
        let long = "/ä".repeat(5000);
        let mut of = ended(Uuid::from_u128(1), 1);
        of.texts =
            Texts { path: &long, route: &long, stage: &long, usage_plan_id: "plan", ..of.texts };
        kept.put("acme", of);
        let found = kept.find("acme", Uuid::from_u128(1)).unwrap();
        assert!(long.starts_with(&found.path) && (250..=256).contains(&found.path.len()));
        assert_eq!((found.method.as_str(), found.usage_plan_id.as_str()), ("GET", "plan"));
    }
}
