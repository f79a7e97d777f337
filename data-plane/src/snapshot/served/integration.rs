//! Where calls go, and what answers in the place of a backend.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use egress::{Identity, Protocol, Target};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use plan::{
    AwsAction, BoundUri, Subtype, UriTemplate, media::ContentHandling, mock::Selection,
    subtype::ParameterValues,
};
use serde_json::{Map, Value};

use crate::dialect::headers::Form;

/// An integration before a stage's variables are known.
pub(in crate::snapshot) enum Template {
    HttpProxy(ProxyTemplate),
    Http(ProxyTemplate, Arc<Mapping>),
    Function(ProxyTemplate, PayloadFormatVersion, Option<Arc<Lambda>>),
    Aws(ProxyTemplate, Arc<AwsShared>),
    AwsSubtype(ProxyTemplate, AwsSubtype),
    Mock(Arc<Mock>),
}

pub(in crate::snapshot) struct ProxyTemplate {
    pub(in crate::snapshot) uri: UriTemplate,
    pub(in crate::snapshot) method: Option<Method>,
    pub(in crate::snapshot) timeouts: Timeouts,
    pub(in crate::snapshot) preserve_host: bool,
    pub(in crate::snapshot) protocol: Protocol,
    pub(in crate::snapshot) forwarding: Forwarding,
    pub(in crate::snapshot) buffered: bool,
    pub(in crate::snapshot) retry_policy: Option<Arc<RetryPolicy>>,
    pub(in crate::snapshot) circuit_breaker: Option<CircuitBreaker>,
    pub(in crate::snapshot) vpc_link_id: Option<Arc<str>>,
    pub(in crate::snapshot) identity: Option<Arc<Identity>>,
    /// In the place of the stage's.
    pub(in crate::snapshot) client_certificate_id: Option<Box<str>>,
}

pub enum Integration {
    HttpProxy(Arc<HttpProxy>),
    Http(Arc<HttpCall>),
    Function(Arc<Function>),
    Aws(Arc<AwsCall>),
    Mock(Arc<Mock>),
}

pub struct HttpProxy {
    pub target: Target,
    /// `Host` of the request to the backend, unless the caller's is preserved.
    pub authority: HeaderValue,
    pub uri: BoundUri,
    /// `None`: the caller's.
    pub method: Option<Method>,
    pub timeouts: Timeouts,
    pub preserve_host: bool,
    pub protocol: Protocol,
    pub(crate) forwarding: Forwarding,
    /// Its answers reach their callers whole, and not as they come.
    pub(crate) buffered: bool,
    /// Who the backend must prove to be over TLS, and who the node is to it; `None`: its host, by an authority that the node
    /// trusts, to which the node is nobody.
    pub(crate) identity: Option<Arc<Identity>>,
    /// The client certificate that it should be shown, and that is not on this node: no call goes out.
    pub(crate) lacks_certificate: Option<Box<str>>,
    pub retry_policy: Option<Arc<RetryPolicy>>,
    pub circuit_breaker: Option<CircuitBreaker>,
    /// Whose targets are connected to, in the place of `target`.
    pub vpc_link_id: Option<Arc<str>>,
}

/// When a call is sent again.
#[derive(Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Beside the first time.
    pub attempts: u32,
    pub on: RetryConditions,
    pub statuses: Box<[StatusCode]>,
    /// Else only methods that repeat safely.
    pub any_method: bool,
    /// Of each try, for a connection and then for an answer's head; `None`: the integration's own.
    pub per_try_timeout: Option<Duration>,
    /// A call that repeats safely, without a body, is sent a second time beside the first that has not answered for so long.
    pub hedging_delay: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryConditions {
    pub connect_failure: bool,
    /// The connection broke before an answer.
    pub reset: bool,
    /// No connection, or no answer's head, in time.
    pub timeout: bool,
}

/// When a backend is left alone. 0 of either kind of failures: it opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CircuitBreaker {
    pub consecutive_failures: u32,
    pub failure_percent: u32,
    pub minimum_requests: u32,
    pub open_ms: u32,
    pub half_open_probes: u32,
}

/// How a backend is told where a call comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forwarding {
    pub(crate) policy: ForwardingPolicy,
    pub(crate) form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ForwardingPolicy {
    /// What trusted proxies say goes on, with the caller's address behind it.
    Append,
    /// The client's address alone.
    Replace,
    /// Nothing is told.
    Remove,
}

pub struct Function {
    /// Where events go, by POST. They tell of the caller's host, so that is preserved. `buffered`: the answer is one JSON.
    pub backend: HttpProxy,
    pub format: PayloadFormatVersion,
    /// By Lambda's Invoke API; `None`: the event goes by POST as it is.
    pub lambda: Option<Arc<Lambda>>,
    /// As events tell them.
    pub stage_variables: Map<String, Value>,
}

/// How a function is invoked by Lambda's API.
pub struct Lambda {
    pub signing: AwsSigning,
    pub invocation: Invocation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invocation {
    RequestResponse,
    /// Nobody waits for the function.
    Event,
}

/// A backend that gets a caller's body, and whose status says what callers get.
pub struct HttpCall {
    pub backend: HttpProxy,
    /// Of the integration, which its stages share.
    pub mapping: Arc<Mapping>,
}

/// What becomes of callers' bodies, and of what was answered.
#[derive(Default)]
pub struct Mapping {
    pub content_handling: Option<ContentHandling>,
    pub responses: Responses,
}

/// What is called of AWS, with a caller's body as it is.
pub struct AwsCall {
    pub backend: HttpProxy,
    /// Of the integration, which its stages share.
    pub shared: Arc<AwsShared>,
}

pub struct AwsShared {
    pub signing: AwsSigning,
    pub asked: Asked,
    pub mapping: Mapping,
}

/// A subtype before a stage's variables are known.
pub(in crate::snapshot) struct AwsSubtype {
    pub(in crate::snapshot) signing: AwsSigning,
    pub(in crate::snapshot) subtype: &'static Subtype,
    pub(in crate::snapshot) values: ParameterValues,
}

pub enum Asked {
    /// By the URI alone.
    Path,
    Action(AwsAction),
    Function(Invocation),
    Subtype(&'static Subtype, ParameterValues),
}

/// Integration responses; none: what was answered goes on as it is.
#[derive(Default)]
pub struct Responses {
    selection: Selection,
    responses: Box<[MockResponse]>,
}

impl Responses {
    pub(in crate::snapshot) fn new(selection: Selection, responses: Box<[MockResponse]>) -> Self {
        Self { selection, responses }
    }

    pub fn is_empty(&self) -> bool {
        self.responses.is_empty()
    }

    /// For this status, or this error of a function.
    pub fn of(&self, text: &str) -> Option<&MockResponse> {
        self.selection.of(text).and_then(|at| self.responses.get(at))
    }

    /// Where nothing failed.
    pub fn default(&self) -> Option<&MockResponse> {
        self.selection.default().and_then(|at| self.responses.get(at))
    }
}

/// By which secret requests are signed, and for what of AWS.
#[derive(Clone)]
pub struct AwsSigning {
    pub secret_id: Box<str>,
    pub region: Box<str>,
    pub service: Box<str>,
}

/// AWS's, of the event and of the function's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadFormatVersion {
    V1,
    V2,
}

/// What answers by itself.
pub enum Mock {
    Fixed(MockAnswer),
    /// By the status that the template for a request's body gives.
    Responses {
        choice: plan::mock::Choice,
        responses: Box<[MockResponse]>,
    },
    /// By what the caller prefers.
    Examples(Box<[MockExample]>),
}

pub struct MockAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: MockBody,
}

pub struct MockBody {
    pub text: Bytes,
    pub handling: Option<ContentHandling>,
    /// The bytes of which the text is the base64, where a caller may get them; `None` too where it is none.
    pub decoded: Option<Bytes>,
}

pub struct MockResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// By media type; none: the backend's, where there is one.
    pub bodies: Box<[(HeaderValue, MockBody)]>,
    /// Of the backend's.
    pub handling: Option<ContentHandling>,
}

pub struct MockExample {
    pub name: Box<str>,
    pub answer: MockAnswer,
}

#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    pub connect: Duration,
    /// From the request's last byte to the answer's head.
    pub first_byte: Duration,
    /// Between two pieces of a body, in either direction.
    pub idle: Duration,
    /// From start to last byte; `None`: as long as it takes.
    pub total: Option<Duration>,
}
