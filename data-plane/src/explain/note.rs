//! What a thread remembers of one request that has ended.

use proto::inquiry::v1 as message;
use uuid::Uuid;

use super::Decision;
use crate::policies::{limiter::Limit, throttle::Label};

/// Of a path or another text that somebody chose.
const TEXT_BYTES_MAX: usize = 256;
/// In the order of [`Texts`].
const TEXTS: usize = 8;

/// It is written over by a later request in the same place, so that remembering allocates nothing in the long run.
#[derive(Default)]
pub(crate) struct Note {
    pub(super) id: Uuid,
    pub(super) ended_ms: u64,
    started_ms: u64,
    config_version: u64,
    status: u16,
    code: &'static str,
    decision: Option<Decision>,
    limits: Vec<Limit>,
    shadow_throttled_by: Vec<Label>,
    /// All of [`Texts`], and where each of them ends.
    text: String,
    ends: [u16; TEXTS],
}

/// A request that has ended.
pub(crate) struct Finished<'a> {
    pub(crate) id: Uuid,
    pub(crate) started_ms: u64,
    pub(crate) ended_ms: u64,
    pub(crate) config_version: u64,
    /// 0: none was sent.
    pub(crate) status: u16,
    /// Why, where the answer is our own.
    pub(crate) code: Option<&'static str>,
    /// Which limit refused it.
    pub(crate) decision: Option<Decision>,
    /// What its limits stood at.
    pub(crate) limits: Vec<Limit>,
    pub(crate) shadow_throttled_by: Vec<Label>,
    pub(crate) texts: Texts<'a>,
}

pub(crate) struct Texts<'a> {
    pub(crate) api_id: &'a str,
    pub(crate) stage: &'a str,
    pub(crate) deployment_id: &'a str,
    pub(crate) method: &'a str,
    pub(crate) route: &'a str,
    pub(crate) path: &'a str,
    pub(crate) api_key_id: &'a str,
    pub(crate) usage_plan_id: &'a str,
}

impl Note {
    pub(super) fn write(&mut self, finished: Finished<'_>) {
        self.id = finished.id;
        self.ended_ms = finished.ended_ms;
        self.started_ms = finished.started_ms;
        self.config_version = finished.config_version;
        self.status = finished.status;
        self.code = finished.code.unwrap_or("");
        self.decision = finished.decision;
        self.limits = finished.limits;
        self.shadow_throttled_by = finished.shadow_throttled_by;
        let of = finished.texts;
        let texts = [
            of.api_id,
            of.stage,
            of.deployment_id,
            of.method,
            of.route,
            of.path,
            of.api_key_id,
            of.usage_plan_id,
        ];
        self.text.clear();
        for (text, end) in texts.into_iter().zip(&mut self.ends) {
            self.text.push_str(&text[..text.floor_char_boundary(TEXT_BYTES_MAX)]);
            *end = u16::try_from(self.text.len()).unwrap_or(u16::MAX); // 8 × 256 fit
        }
    }

    pub(super) fn told(&self) -> message::Explanation {
        let mut from = 0;
        let texts = self.ends.map(|end| {
            let text = self.text[from..end.into()].to_owned();
            from = end.into();
            text
        });
        let [api_id, stage, deployment_id, method, route, path, api_key_id, usage_plan_id] = texts;
        message::Explanation {
            started_ms: self.started_ms,
            api_id,
            stage,
            method,
            route,
            path,
            status: self.status.into(),
            code: self.code.to_owned(),
            api_key_id,
            usage_plan_id,
            deployment_id,
            config_version: self.config_version,
            decision: self.decision.as_ref().map(Decision::told),
            standings: self.limits.iter().map(standing).collect(),
            shadow_throttled_by: self
                .shadow_throttled_by
                .iter()
                .map(|label| label.as_str().to_owned())
                .collect(),
        }
    }
}

fn standing(limit: &Limit) -> message::Standing {
    message::Standing {
        name: limit.name.as_str().to_owned(),
        limit: limit.quota,
        window_s: limit.window_s,
        remaining: limit.remaining,
        resets_in_s: limit.resets_in_s,
    }
}
