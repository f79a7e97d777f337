//! An entry that outlives its request.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use http::{Method, Version};
use opentelemetry::trace::{SpanId, TraceFlags, TraceId};
use uuid::Uuid;

use super::{
    Value,
    entry::{Entry, Outline},
};
use crate::{
    policies::throttle::Label,
    snapshot::served::{ApiKey, Stage, UsagePlan},
};

/// One request, from the moment it ended.
pub struct Record {
    pub(super) at: SystemTime,
    request_id: Uuid,
    client_request_id: Option<Box<str>>,
    pub(super) trace: Option<(TraceId, SpanId, TraceFlags)>,
    client: IpAddr,
    version: Version,
    pub(super) method: Option<Method>,
    stage: Option<Arc<Stage>>,
    pub(super) route: Option<Arc<str>>,
    operation: Option<Arc<str>>,
    caller: Option<(Arc<ApiKey>, Arc<UsagePlan>)>,
    pub(super) outline: Outline,
    throttled_by: Option<Label>,
    shadow_throttled_by: String,
}

impl Entry<'_> {
    pub(super) fn to_record(&self) -> Record {
        Record {
            at: self.at,
            request_id: self.request_id,
            client_request_id: self.client_request_id.map(Into::into),
            trace: self.trace,
            client: self.client,
            version: self.version,
            method: self.method.cloned(),
            stage: self.stage.cloned(),
            route: self.route.cloned(),
            operation: self.operation.cloned(),
            caller: self.caller.map(|(key, plan)| (key.clone(), plan.clone())),
            outline: self.outline,
            throttled_by: self.throttled_by.cloned(),
            shadow_throttled_by: self.shadow_throttled_by.to_owned(),
        }
    }
}

impl Record {
    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry {
            at: self.at,
            request_id: self.request_id,
            client_request_id: self.client_request_id.as_deref(),
            trace: self.trace,
            client: self.client,
            version: self.version,
            method: self.method.as_ref(),
            stage: self.stage.as_ref(),
            route: self.route.as_ref(),
            operation: self.operation.as_ref(),
            caller: self.caller.as_ref().map(|(key, plan)| (key, plan)),
            outline: self.outline,
            throttled_by: self.throttled_by.as_ref(),
            shadow_throttled_by: &self.shadow_throttled_by,
        }
    }

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
    pub fn fields<'a>(&'a self, field: impl FnMut(&'static str, Value<'a>)) {
        self.entry().fields(field);
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
