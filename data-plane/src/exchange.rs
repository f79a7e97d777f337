//! One request in progress, from its head to the last byte of its answer.

use std::{
    cell::Cell,
    net::IpAddr,
    ops::Range,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderMap, HeaderValue, request::Parts};
use proto::tail::v1::Request as Shown;
use uuid::Uuid;

use crate::{
    access_log::{Entry, Outline},
    counter::{Full, Names, Outcome, Slot},
    dialect::{Dialect, NATIVE},
    explain::{Decision, Finished, Texts},
    gateway_response::{GatewayResponse, Kind},
    head_bytes,
    integration::decompress::Decompress,
    listener::{Peer, body::RequestBody, client_io::Serving},
    node::{Node, ms, now_ms},
    policies::{concurrency, limiter::Limit, throttle::Label},
    response::{compress::Wanted, headers::REQUEST_ID},
    router::Addressing,
    snapshot::served::{ApiKey, Deployment, Route, Stage, UsagePlan},
    trace::{self, Parent, Trace},
};

/// What is known of a request so far. Dropping it counts and logs it as cut off, unless it ended before.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a request")]
pub(crate) struct Exchange {
    pub(crate) node: Rc<Node>,
    /// `x-request-id`: a UUIDv7.
    pub(crate) id: String,
    /// The same as a number.
    uuid: Uuid,
    /// The `x-request-id` that the caller sent.
    pub(crate) client_id: Option<Box<str>>,
    pub(crate) started: Instant,
    pub(crate) started_ms: u64,
    pub(crate) peer: Peer,
    /// Who called, behind trusted proxies too.
    client: IpAddr,
    /// Held until the answer has ended; the upload holds it too.
    pub(crate) serving: Rc<Serving>,
    pub(crate) head: Parts,
    /// The caller's trace.
    parent: Option<Parent>,
    /// None where nobody traces the call, and until its stage is known.
    pub(crate) trace: Option<Trace>,
    pub(crate) body: Option<RequestBody>,
    /// How the Api was named; set by the router with the rest of this group.
    pub(crate) addressing: Addressing,
    pub(crate) stage: Option<Arc<Stage>>,
    /// The version of the stage's cell that the request is judged by.
    pub(crate) config_version: u64,
    /// The path below the stage, as the Api's policy normalized it.
    pub(crate) path: String,
    /// Position among the deployment's routes.
    pub(crate) route: Option<usize>,
    /// Where in `path` the route's variables stand.
    pub(crate) captures: Vec<Range<usize>>,
    pub(crate) caller: Option<Caller>,
    /// Whether it is counted among the requests in progress.
    in_flight: bool,
    /// Whether it is counted among its tenant's.
    in_share: bool,
    /// Its places among the requests in progress that its limits allow.
    pub(crate) permits: concurrency::Held,
    /// What the limits of this call stand at, for `RateLimit`.
    pub(crate) limits: Vec<Limit>,
    /// Which of them refused it.
    pub(crate) decision: Option<Decision>,
    /// It is beyond the quota of its key.
    pub(crate) over_quota: bool,
    /// Sent a second time beside the first.
    pub(crate) hedged: bool,
    /// Which throttles in shadow would have refused it.
    pub(crate) shadow_throttled_by: Vec<Label>,
    /// What undoes the codings of its body, until that is taken.
    pub(crate) decompress: Option<Box<Decompress>>,
    /// How its answer is to be compressed.
    pub(crate) compression: Option<Wanted>,
    /// The page that called, kept where an answer has to tell it: its field goes to the backend with the others.
    pub(crate) origin: Option<HeaderValue>,
    /// What its gateway responses tell of its fields, kept once they go to the backend.
    pub(crate) kept_fields: Option<Box<HeaderMap>>,
    /// It is a preflight that was answered here.
    pub(crate) preflight: bool,
    /// Every policy let it through.
    pub(crate) admitted: bool,
    /// Of the request's head and of what came of its body, counted where that is read.
    pub(crate) bytes_in: Rc<Cell<u64>>,
    /// Of the answer's head and of what went of its body.
    pub(crate) bytes_out: u64,
    /// 0 until an answer was chosen.
    pub(crate) status: u16,
    /// Set where the answer is our own.
    pub(crate) refused: Option<Kind>,
    slot: Option<Slot>,
    updated: Instant,
    ended: bool,
}

/// Who calls, by API key.
pub(crate) struct Caller {
    pub(crate) key: Arc<ApiKey>,
    /// The plan that gives the key access to this stage.
    pub(crate) plan: Arc<UsagePlan>,
}

/// A request that is still going writes its bytes down this often.
const UPDATE_EVERY_MS: u128 = 1000;
const CLIENT_ID_BYTES_MAX: usize = 128;
/// Who watches requests sees so much of a path.
const SHOWN_PATH_BYTES_MAX: usize = 1024;

impl Exchange {
    /// On the heap from the start: it is nearly a kilobyte, and goes from the pipeline to the answer's body.
    pub(crate) fn new(
        node: &Rc<Node>,
        peer: Peer,
        serving: Rc<Serving>,
        mut head: Parts,
        body: RequestBody,
    ) -> Box<Self> {
        node.in_flight.set(node.in_flight.get() + 1);
        let started = Instant::now();
        let bytes_in = Rc::new(Cell::new(head_bytes::of_request(&head)));
        let config = &node.shared.config;
        let client = peer.client(&head.headers, &config.trusted_proxies);
        let parent = trace::parent(&config.propagators, &mut head.headers);
        let client_id = client_id(&head.headers);
        let started_ms = now_ms();
        let uuid = request_id(started_ms);
        Box::new(Self {
            node: node.clone(),
            id: uuid.to_string(),
            uuid,
            client_id,
            started,
            started_ms,
            peer,
            client,
            serving,
            head,
            parent,
            trace: None,
            body: Some(body),
            addressing: Addressing::Host,
            stage: None,
            config_version: 0,
            path: String::new(),
            route: None,
            captures: Vec::new(),
            caller: None,
            in_flight: true,
            in_share: false,
            permits: concurrency::Held::default(),
            limits: Vec::new(),
            decision: None,
            over_quota: false,
            hedged: false,
            shadow_throttled_by: Vec::new(),
            decompress: None,
            compression: None,
            origin: None,
            kept_fields: None,
            preflight: false,
            admitted: false,
            bytes_in,
            bytes_out: 0,
            status: 0,
            refused: None,
            slot: None,
            updated: started,
            ended: false,
        })
    }

    /// Who called, behind trusted proxies too.
    pub(crate) fn client(&self) -> IpAddr {
        self.client
    }

    pub(crate) fn dialect(&self) -> &'static Dialect {
        self.deployment().map_or(&NATIVE, |deployment| deployment.dialect)
    }

    pub(crate) fn deployment(&self) -> Option<&Arc<Deployment>> {
        self.stage.as_ref()?.deployment.as_ref()
    }

    pub(crate) fn route(&self) -> Option<&Route> {
        self.deployment()?.routes.get(self.route?)
    }

    /// The raw text of a path parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let index = self.route()?.key.variables().position(|variable| variable == name)?;
        self.path.get(self.captures.get(index)?.clone())
    }

    /// Counts it among its tenant's requests in progress, unless there are as many as may be.
    pub(crate) fn enter_share(&mut self) -> bool {
        let Some(stage) = &self.stage else { return true };
        let max = self.node.shared.config.limits.tenant_in_flight_max;
        self.in_share = self.node.shares.enter(&stage.tenant_id, max);
        self.in_share
    }

    /// It is no longer in progress, but for its answer.
    fn leave(&mut self) {
        self.permits = concurrency::Held::default();
        if std::mem::replace(&mut self.in_flight, false) {
            self.node.in_flight.set(self.node.in_flight.get() - 1);
        }
        if std::mem::replace(&mut self.in_share, false)
            && let Some(stage) = &self.stage
        {
            self.node.shares.leave(&stage.tenant_id);
        }
    }

    /// Waits until a refusal may go, and takes nobody's place meanwhile.
    pub(crate) async fn refusals_turn(&mut self) {
        self.leave();
        self.node.turns.next(self.node.shared.config.limits.in_flight_max).await;
    }

    /// Finds the call's place in its trace, by the rules of its stage where it has any.
    pub(crate) fn begin_trace(&mut self) {
        let config = &self.node.shared.config;
        if self.trace.is_some() || config.propagators.is_empty() {
            return;
        }
        let tracer = config.tracer.as_ref();
        let sampling = self.stage.as_ref().and_then(|stage| stage.sampling.as_ref());
        let head = sampling.filter(|_| tracer.is_some()).map(|sampling| {
            let parent = self.parent.filter(|_| config.callers_decide);
            let caller = parent.and_then(|parent| parent.kept());
            sampling.rule(self.route).head(caller, self.started)
        });
        self.trace = Trace::begin(tracer, self.parent, head, self.started);
    }

    /// Opens the request's place in the usage journal. Calls that the journal has no room for are not served.
    pub(crate) fn begin(&mut self) -> Result<(), GatewayResponse> {
        let Some(stage) = &self.stage else { return Ok(()) };
        if self.slot.is_some() {
            return Ok(());
        }
        let caller = self.caller.as_ref();
        let names = Names {
            cell: &*stage.cell,
            tenant_id: &*stage.tenant_id,
            consumer_id: caller.map_or("", |caller| &caller.key.consumer_id),
            api_id: &*stage.api_id,
            stage: &*stage.name,
            route: self.route().map_or("-", |route| &route.name),
            api_key_id: caller.map_or("", |caller| &caller.key.id),
            usage_plan_id: caller.map_or("", |caller| &caller.plan.id),
        };
        let begun = self.node.counter.borrow_mut().begin(&names, self.started_ms);
        self.slot = Some(begun.map_err(|Full| {
            self.node.shared.metrics.journal_full.inc();
            Kind::Overloaded.because("This node cannot account for the call now.")
        })?);
        Ok(())
    }

    /// Tells the journal how far a long answer is, at most once a second.
    pub(crate) fn progress(&mut self) {
        if self.updated.elapsed().as_millis() < UPDATE_EVERY_MS {
            return;
        }
        self.updated = Instant::now();
        let outcome = self.outcome(SystemTime::now(), false);
        if let Some(slot) = &self.slot {
            self.node.counter.borrow_mut().update(slot, &outcome);
        }
    }

    /// The request is over but for the last bytes of its answer. Counted and logged once.
    pub(crate) fn end(&mut self, aborted: bool) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.begin_trace(); // unless it came so far
        self.leave();
        self.serving.pace().end();
        // A refusal takes its place only now; without room it goes uncounted, as it is never billed.
        let _ = self.begin();
        // One moment for the journal and the log: the hour that a request ended in is the same in both.
        let at = SystemTime::now();
        let outcome = self.outcome(at, aborted);
        if let Some(slot) = self.slot.take() {
            self.node.counter.borrow_mut().finish(slot, &outcome);
        }
        let elapsed = self.started.elapsed();
        self.node.metrics.request(self.dialect().name, self.status, elapsed.as_secs_f64());
        if self.stage.as_ref().is_some_and(|stage| stage.is_canary) {
            self.node.metrics.canary();
        }
        self.log(at, &outcome, elapsed);
        if self.node.shared.tails.watching() {
            self.show(&outcome, elapsed);
        }
        if let Some(mut trace) = self.trace.take() {
            trace.end(self, aborted);
        }
        self.remember(outcome.ended_ms);
    }

    /// Keeps for a while what became of it. Last: it takes what nobody needs any more.
    fn remember(&mut self, ended_ms: u64) {
        let limits = std::mem::take(&mut self.limits);
        let decision = self.decision.take();
        let shadow_throttled_by = std::mem::take(&mut self.shadow_throttled_by);
        let Some(stage) = &self.stage else { return };
        let caller = self.caller.as_ref();
        let deployment = stage.deployment.as_ref();
        let texts = Texts {
            api_id: &stage.api_id,
            stage: &stage.name,
            deployment_id: deployment.map_or("", |deployment| &deployment.id),
            method: self.head.method.as_str(),
            route: self.route().map_or("-", |route| &route.name),
            path: self.shown_path(),
            api_key_id: caller.map_or("", |caller| &caller.key.id),
            usage_plan_id: caller.map_or("", |caller| &caller.plan.id),
        };
        let finished = Finished {
            id: self.uuid,
            started_ms: self.started_ms,
            ended_ms,
            config_version: self.config_version,
            status: self.status,
            code: self.refused.map(Kind::code),
            decision,
            limits,
            shadow_throttled_by,
            texts,
        };
        self.node.kept.put(&stage.tenant_id, finished);
    }

    /// Below the stage, where that is known. Never the query: it may hold secrets.
    fn shown_path(&self) -> &str {
        if self.path.is_empty() { self.head.uri.path() } else { &self.path }
    }

    /// The limit that refused it, as the log calls it.
    fn throttled_by(&self) -> Option<&Label> {
        self.decision.as_ref().map(|decision| &decision.name)
    }

    fn outcome(&self, at: SystemTime, aborted: bool) -> Outcome {
        let test = self.caller.as_ref().is_some_and(|caller| caller.key.test);
        Outcome {
            ended_ms: ms(at),
            status: self.status,
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out,
            billed: self.admitted && !test && self.refused.is_none_or(Kind::billable),
            test,
            aborted,
            ..Outcome::default()
        }
    }

    /// Shows the request to whoever watches such ones.
    fn show(&self, outcome: &Outcome, duration: Duration) {
        let Some(stage) = &self.stage else { return };
        let path = self.shown_path();
        let caller = self.caller.as_ref().map(|caller| &caller.key);
        let request = || Shown {
            started_ms: self.started_ms,
            request_id: self.id.clone(),
            api_id: stage.api_id.to_string(),
            stage: stage.name.to_string(),
            method: self.head.method.to_string(),
            route: self.route().map_or("-", |route| &route.name).to_owned(),
            path: path[..path.floor_char_boundary(SHOWN_PATH_BYTES_MAX)].to_owned(),
            status: self.status.into(),
            code: self.refused.map_or("", Kind::code).to_owned(),
            duration_ms: duration.as_secs_f64() * 1000.0,
            bytes_in: outcome.bytes_in,
            bytes_out: outcome.bytes_out,
            api_key_id: caller.map_or("", |key| &key.id).to_owned(),
            consumer_id: caller.map_or("", |key| &key.consumer_id).to_owned(),
            aborted: outcome.aborted,
            shadow_throttled_by: self
                .shadow_throttled_by
                .iter()
                .map(|it| it.as_str().to_owned())
                .collect(),
            throttled_by: self.throttled_by().map_or("", Label::as_str).to_owned(),
        };
        let tails = &self.node.shared.tails;
        tails.tell(&stage.tenant_id, &stage.api_id, &stage.name, self.status, request);
    }

    fn log(&self, at: SystemTime, outcome: &Outcome, duration: Duration) {
        let log = &self.node.log;
        if !log.is_on() {
            return;
        }
        let route = self.route();
        let had_room = log.write(&Entry {
            at,
            request_id: self.uuid,
            client_request_id: self.client_id.as_deref(),
            trace: self.trace.as_ref().map(|trace| (trace.id, trace.span, trace.flags)),
            client: self.client,
            version: self.head.version,
            method: Some(&self.head.method),
            stage: self.stage.as_ref(),
            route: route.map(|route| &route.name),
            operation: route.and_then(|route| route.operation.as_ref()),
            caller: self.caller.as_ref().map(|it| (&it.key, &it.plan)),
            outline: Outline {
                status: self.status,
                code: self.refused.map(Kind::code),
                bytes_in: outcome.bytes_in,
                bytes_out: outcome.bytes_out,
                duration,
                aborted: outcome.aborted,
                billed: outcome.billed,
                over_quota: self.over_quota,
                hedged: self.hedged,
            },
            throttled_by: self.throttled_by(),
            shadow_throttled_by: &self.shadow_throttled_by.join(","),
        });
        if let Some(stage) = self.stage.as_ref().filter(|_| !had_room) {
            self.node.counts.not_logged(&stage.tenant_id, outcome.ended_ms);
        }
    }
}

/// A UUIDv7 (RFC 9562 §5.7). Its random part is the thread's own generator's: what [`Uuid::now_v7`] takes is behind a lock
/// that all threads share, and asks the kernel.
fn request_id(now_ms: u64) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(now_ms, &rand::random()).into_uuid()
}

/// A caller's own id, where it is one that may stand in a log: 1 to 128 letters, digits and `-._:=+/`.
fn client_id(headers: &HeaderMap) -> Option<Box<str>> {
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    let usable = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:=+/".contains(&byte);
    ((1..=CLIENT_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(usable))
        .then(|| text.into())
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end(true);
    }
}
