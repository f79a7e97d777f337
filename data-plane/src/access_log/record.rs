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

/// One request, from the moment it ended.
pub struct Record {
    pub(crate) at: SystemTime,
    /// `x-request-id`: a UUIDv7.
    pub(crate) request_id: Uuid,
    /// The `x-request-id` that the caller sent, if it is fit to be written down.
    pub(crate) client_request_id: Option<Box<str>>,
    pub(crate) trace: Option<(TraceId, SpanId, TraceFlags)>,
    /// Of the connection, or what a trusted proxy's PROXY header says.
    pub(crate) client: IpAddr,
    pub(crate) version: Version,
    /// None: no head could be read.
    pub(crate) method: Option<Method>,
    pub(crate) stage: Option<Arc<Stage>>,
    pub(crate) route: Option<Arc<str>>,
    /// The route's `operationName`.
    pub(crate) operation: Option<Arc<str>>,
    pub(crate) caller: Option<(Arc<ApiKey>, Arc<UsagePlan>)>,
    pub(crate) outline: Outline,
    /// The limit that refused it.
    pub(crate) throttled_by: Option<Label>,
    /// Which throttles in shadow would have refused it, with commas; empty: none.
    pub(crate) shadow_throttled_by: String,
}

/// How a request ended.
#[derive(Clone, Copy, Default)]
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

impl Record {
    /// When the request ended.
    pub fn at(&self) -> SystemTime {
        self.at
    }

    /// Whose Api was called, where that is known.
    pub(crate) fn tenant_id(&self) -> Option<&Arc<str>> {
        self.stage.as_ref().map(|stage| &stage.tenant_id)
    }

    /// Who called: the connection's address, or what a trusted proxy's PROXY header says.
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// The call's place in its trace.
    pub fn trace(&self) -> Option<(TraceId, SpanId, TraceFlags)> {
        self.trace
    }

    /// Every other field that is known, in order.
    pub fn fields<'a>(&'a self, mut field: impl FnMut(&'static str, Value<'a>)) {
        let stage = self.stage.as_deref();
        let key = self.caller.as_ref().map(|(key, _)| key);
        let plan = self.caller.as_ref().map(|(_, plan)| plan);
        let deployment = stage.and_then(|stage| stage.deployment.as_deref());
        field("request.id", Value::Id(self.request_id));
        let texts = [
            ("client_request.id", self.client_request_id.as_deref()),
            ("tenant.id", stage.map(|stage| &*stage.tenant_id)),
            ("api.id", stage.map(|stage| &*stage.api_id)),
            ("stage", stage.map(|stage| &*stage.name)),
            ("deployment.id", deployment.map(|deployment| &*deployment.id)),
            ("route", Some(self.route.as_deref().unwrap_or("-"))),
            ("operation", self.operation.as_deref()),
            ("method", Some(self.method.as_ref().map_or("-", Method::as_str))),
            (
                "protocol",
                Some(if self.version == Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" }),
            ),
            ("api_key.id", key.map(|key| &*key.id)),
            ("usage_plan.id", plan.map(|plan| &*plan.id)),
            ("consumer.id", key.map(|key| &*key.consumer_id)),
            ("code", self.outline.code),
            ("throttled_by", self.throttled_by.as_ref().map(Label::as_str)),
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
        if ended.over_quota {
            field("over_quota", Value::Flag(true));
        }
        if !self.shadow_throttled_by.is_empty() {
            field("shadow_throttled_by", Value::Text(&self.shadow_throttled_by));
        }
    }

    #[cfg(test)]
    pub(crate) fn test() -> Self {
        Self {
            at: SystemTime::UNIX_EPOCH,
            request_id: Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_000a),
            client_request_id: None,
            trace: None,
            client: IpAddr::from([192, 0, 2, 7]),
            version: Version::HTTP_11,
            method: None,
            stage: None,
            route: None,
            operation: None,
            caller: None,
            outline: Outline { status: 400, code: Some("MALFORMED_REQUEST"), ..Outline::default() },
            throttled_by: None,
            shadow_throttled_by: String::new(),
        }
    }
}
