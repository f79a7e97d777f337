//! What is written down of one request. Names, counts and times only: never a key, a field's value or a path's text.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{Method, Version};
use opentelemetry::trace::{SpanId, TraceFlags, TraceId};
use uuid::Uuid;

use crate::{
    policies::throttle::Label,
    snapshot::served::{ApiKey, Stage, UsagePlan},
};

/// One request, from the moment it ended, while what it was is still at hand.
pub(crate) struct Entry<'a> {
    pub(crate) at: SystemTime,
    /// `x-request-id`: a UUIDv7.
    pub(crate) request_id: Uuid,
    /// The `x-request-id` that the caller sent, if it is fit to be written down.
    pub(crate) client_request_id: Option<&'a str>,
    pub(crate) trace: Option<(TraceId, SpanId, TraceFlags)>,
    /// Of the connection, or what a trusted proxy's PROXY header says.
    pub(crate) client: IpAddr,
    pub(crate) version: Version,
    /// None: no head could be read.
    pub(crate) method: Option<&'a Method>,
    pub(crate) stage: Option<&'a Arc<Stage>>,
    pub(crate) route: Option<&'a Arc<str>>,
    /// The route's `operationName`.
    pub(crate) operation: Option<&'a Arc<str>>,
    pub(crate) caller: Option<(&'a Arc<ApiKey>, &'a Arc<UsagePlan>)>,
    pub(crate) outline: Outline,
    /// The limit that refused it.
    pub(crate) throttled_by: Option<&'a Label>,
    /// Which throttles in shadow would have refused it, with commas; empty: none.
    pub(crate) shadow_throttled_by: &'a str,
}

/// How a request ended.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(crate) struct Outline {
    /// 0: none was sent.
    pub(crate) status: u16,
    /// Why, where the answer is our own.
    pub(crate) code: Option<&'static str>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) duration: Duration,
    pub(crate) aborted: bool,
    pub(crate) billed: bool,
    /// Beyond the quota of its key, though it may have passed.
    pub(crate) over_quota: bool,
    /// Sent to its backend a second time beside the first, which had not answered in time.
    pub(crate) hedged: bool,
}

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Text(&'a str),
    Id(Uuid),
    Count(u64),
    /// In milliseconds.
    Millis(Duration),
    Flag(bool),
}

impl<'a> Entry<'a> {
    /// Whose Api was called, where that is known.
    pub(crate) fn tenant_id(&self) -> Option<&'a Arc<str>> {
        self.stage.map(|stage| &stage.tenant_id)
    }

    /// Every field that is known but for time, client and trace, in order.
    #[inline]
    pub(super) fn fields(&self, mut field: impl FnMut(&'static str, Value<'a>)) {
        let stage = self.stage.map(|stage| &**stage);
        let key = self.caller.map(|(key, _)| key);
        let plan = self.caller.map(|(_, plan)| plan);
        let deployment = stage.and_then(|stage| stage.deployment.as_deref());
        field("request.id", Value::Id(self.request_id));
        let texts = [
            ("client_request.id", self.client_request_id),
            ("tenant.id", stage.map(|stage| &*stage.tenant_id)),
            ("api.id", stage.map(|stage| &*stage.api_id)),
            ("stage", stage.map(|stage| &*stage.name)),
            ("deployment.id", deployment.map(|deployment| &*deployment.id)),
            ("route", Some(self.route.map_or("-", |route| &**route))),
            ("operation", self.operation.map(|operation| &**operation)),
            ("method", Some(self.method.map_or("-", Method::as_str))),
            (
                "protocol",
                Some(if self.version == Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" }),
            ),
            ("api_key.id", key.map(|key| &*key.id)),
            ("usage_plan.id", plan.map(|plan| &*plan.id)),
            ("consumer.id", key.map(|key| &*key.consumer_id)),
            ("code", self.outline.code),
            ("throttled_by", self.throttled_by.map(Label::as_str)),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                field(name, Value::Text(text));
            }
        }
        let ended = &self.outline;
        field("status", Value::Count(ended.status.into()));
        field("bytes_in", Value::Count(ended.bytes_in));
        field("bytes_out", Value::Count(ended.bytes_out));
        field("duration_ms", Value::Millis(ended.duration));
        field("aborted", Value::Flag(ended.aborted));
        field("billed", Value::Flag(ended.billed));
        if stage.is_some_and(|stage| stage.is_canary) {
            field("is_canary_request", Value::Flag(true));
        }
        if ended.over_quota {
            field("over_quota", Value::Flag(true));
        }
        if ended.hedged {
            field("hedged", Value::Flag(true));
        }
        if !self.shadow_throttled_by.is_empty() {
            field("shadow_throttled_by", Value::Text(self.shadow_throttled_by));
        }
    }
}
