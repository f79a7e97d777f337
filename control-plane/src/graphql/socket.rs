//! GraphQL subscriptions over WebSocket, by the protocol `graphql-transport-ws`
//! (github.com/enisdenjo/graphql-ws, PROTOCOL.md).
//!
//! The access token comes in `connection_init`, as `{"accessToken": "…"}` or `{"authorization": "Bearer …"}`, and
//! is asked again and again: when it has expired, or its session was ended, so is the socket; so it is when its user
//! is no longer in the tenant or has another role there, or the tenant is closed. In a suspended tenant it stays, since
//! members read on. No cookie counts.

use std::num::NonZeroU32;
use std::time::Duration;

use async_graphql::parser::types::OperationType;
use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::{Either, select};
use futures_util::stream::BoxStream;
use futures_util::{Sink, SinkExt, Stream, StreamExt, stream};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_stream::StreamMap;

use crate::access::actor::{Actor, Caller, Origin};
use crate::access::allowance::{READ, Spender};
use crate::app::App;
use crate::domain;
use crate::error::{Error, Result};
use crate::graphql::http::Door;
use crate::graphql::limits::Measured;
use crate::graphql::request::Body;
use crate::graphql::socket::message::{Close, Said};
use crate::graphql::{Identity, error, loader};
use crate::live::Place;
use crate::rest::{extract, request_id, session};

pub mod message;

const PROTOCOL: &str = "graphql-transport-ws";
/// A document and its variables.
const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// From the upgrade to `connection_init`.
const INIT_WITHIN: Duration = Duration::from_secs(10);
/// A peer that does not take a message by then is cut off. Others' events wait in no queue of ours meanwhile.
const SEND_WITHIN: Duration = Duration::from_secs(2);
/// How often it is asked whether the token still opens anything.
const CHECK_EVERY: Duration = Duration::from_secs(2);
const PING_EVERY: Duration = Duration::from_secs(15);
/// Who says nothing for so long, not even that it heard the ping, is gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);
const SUBSCRIPTIONS_MAX: usize = 20;
/// Messages of a peer.
const MESSAGES_PER_SECOND: NonZeroU32 = NonZeroU32::new(10).expect("not zero");
const MESSAGES_AT_ONCE: NonZeroU32 = NonZeroU32::new(60).expect("not zero");

/// The handler of `GET /graphql`.
pub async fn open(
    State(app): State<App>,
    Extension(door): Extension<Door>,
    parts: Parts,
    upgrade: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    // Without an upgrade `GET` is no method of this resource.
    let Ok(upgrade) = upgrade else {
        return ([(header::ALLOW, "POST")], Error::MethodNotAllowed).into_response();
    };
    match admit(&app, &parts.headers, upgrade) {
        Ok((upgrade, place)) => {
            let origin = extract::origin(&parts);
            let id = origin.request_id.clone();
            upgrade.on_upgrade(move |socket| {
                let tracked = app.clone();
                tracked.live.sockets.track(request_id::within(id, async move {
                    let (out, heard) = socket.split();
                    serve(app, door, origin, heard, out).await;
                    drop(place);
                }))
            })
        }
        Err(refusal) => refusal.into_response(),
    }
}

fn admit(
    app: &App,
    headers: &HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<(WebSocketUpgrade, impl Send + use<>)> {
    // The token is what counts; another site's page is told at once that it has none.
    if headers
        .get(header::ORIGIN)
        .is_some_and(|from| !session::is_own(&app.config.public_url, from))
    {
        return Err(Error::Forbidden("this comes from another origin"));
    }
    if !upgrade.requested_protocols().any(|asked| asked == PROTOCOL) {
        let rule = "a socket speaks graphql-transport-ws, which this one does not ask for";
        return Err(Error::bad_request("sec-websocket-protocol", rule));
    }
    let place =
        app.live.sockets.admit().ok_or(Error::TooManyRequests { retry_after_seconds: 5 })?;
    let upgrade = upgrade
        .protocols([PROTOCOL])
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .max_write_buffer_size(1 << 20);
    Ok((upgrade, place))
}

/// Err: we end it. Ok(None), where there is one: the peer has.
type Step<T = ()> = std::result::Result<T, Close>;

/// What a subscription brings.
enum Event {
    Next(Box<async_graphql::Response>),
    End,
}

/// Until one of both ends it.
async fn serve<In, Out, E>(app: App, door: Door, origin: Origin, mut heard: In, mut out: Out)
where
    In: Stream<Item = std::result::Result<Message, E>> + Unpin,
    Out: Sink<Message> + Unpin,
{
    let ended = match begin(&app, &origin, &mut heard, &mut out).await {
        Ok(Some(member)) => {
            let socket = Socket {
                app: &app,
                door: &door,
                messages: RateLimiter::direct(
                    Quota::per_second(MESSAGES_PER_SECOND).allow_burst(MESSAGES_AT_ONCE),
                ),
                member,
                origin,
                streams: StreamMap::new(),
                out: &mut out,
            };
            socket.run(&mut heard).await
        }
        Ok(None) => Ok(()),
        Err(close) => Err(close),
    };
    if let Err(Close { code, reason }) = ended {
        tracing::debug!(code, reason, "a socket was ended");
        let frame = CloseFrame { code, reason: reason.into() };
        let _ = timeout(SEND_WITHIN, out.send(Message::Close(Some(frame)))).await;
    }
}

/// A member, by the token that says so.
struct Member {
    token: String,
    actor: Actor,
    _place: Place,
}

/// From the upgrade to `connection_ack`.
async fn begin<In, Out, E>(
    app: &App,
    origin: &Origin,
    heard: &mut In,
    out: &mut Out,
) -> Step<Option<Member>>
where
    In: Stream<Item = std::result::Result<Message, E>> + Unpin,
    Out: Sink<Message> + Unpin,
{
    let first = async {
        loop {
            let Some(Ok(message)) = heard.next().await else { return Ok(None) };
            match said(message)? {
                Some(Said::Ping { .. } | Said::Pong {}) | None => {}
                Some(said) => return Ok(Some(said)),
            }
        }
    };
    let stopping = std::pin::pin!(app.live.sockets.stopping());
    let first = match select(std::pin::pin!(timeout(INIT_WITHIN, first)), stopping).await {
        Either::Left((Ok(first), _)) => first?,
        Either::Left((Err(_), _)) => {
            return Err(Close::because(4408, "Connection initialisation timeout"));
        }
        Either::Right(_) => return Err(going_away()),
    };
    let payload = match first {
        None => return Ok(None),
        Some(Said::ConnectionInit { payload }) => payload.unwrap_or_default(),
        Some(_) => return Err(Close::unauthenticated("connection_init comes first")),
    };
    let token = message::token(&payload)?;
    let actor = member(app, &token, origin).await?;
    let place = app.live.sockets.enter(actor.tenant);
    let place = place.ok_or_else(|| {
        Close::because(1013, "Try again later: this tenant has enough sockets open")
    })?;
    send(out, json!({ "type": "connection_ack" })).await?;
    Ok(Some(Member { token, actor, _place: place }))
}

async fn member(app: &App, token: &str, origin: &Origin) -> Step<Actor> {
    match domain::session::authenticate(app, token, origin.clone()).await {
        Ok(Caller::Member(actor)) => Ok(actor),
        Ok(Caller::Operator(_)) => {
            Err(Close::because(4403, "Forbidden: the operator belongs to no tenant"))
        }
        Err(Error::Unauthenticated(reason)) => Err(Close::unauthenticated(reason)),
        Err(Error::Forbidden(reason)) => Err(Close::because(4403, format!("Forbidden: {reason}"))),
        Err(error) => {
            tracing::error!(?error, "a socket's token could not be checked");
            Err(Close::because(1011, "Internal error"))
        }
    }
}

fn going_away() -> Close {
    Close::because(1012, "Service restart: another replica serves on")
}

/// What a message says; none where it is the protocol's of WebSocket itself.
fn said(message: Message) -> Step<Option<Said>> {
    match message {
        Message::Text(text) => Said::parse(&text).map(Some),
        Message::Binary(_) => Err(Close::because(4400, "Messages are text")),
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(None),
    }
}

async fn send<Out: Sink<Message> + Unpin>(out: &mut Out, message: Value) -> Step {
    deliver(out, Message::Text(Utf8Bytes::from(message.to_string()))).await
}

async fn deliver<Out: Sink<Message> + Unpin>(out: &mut Out, message: Message) -> Step {
    match timeout(SEND_WITHIN, out.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => {
            Err(Close::because(1008, "This peer does not take what it asked for"))
        }
    }
}

/// A member's socket.
struct Socket<'a, Out> {
    app: &'a App,
    door: &'a Door,
    messages: DefaultDirectRateLimiter,
    member: Member,
    origin: Origin,
    streams: StreamMap<String, BoxStream<'static, Event>>,
    out: &'a mut Out,
}

impl<Out: Sink<Message> + Unpin> Socket<'_, Out> {
    async fn run<In, E>(mut self, heard: &mut In) -> Step
    where
        In: Stream<Item = std::result::Result<Message, E>> + Unpin,
    {
        let app = self.app;
        let session = self.member.actor.session;
        let mut revoked = app.revoked.clone();
        let mut check = interval(CHECK_EVERY);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_heard = Instant::now();
        loop {
            tokio::select! {
                () = app.live.sockets.stopping() => return Err(going_away()),
                true = async { revoked.wait_for(|ended| ended.contains(&session)).await.is_ok() } => {
                    return Err(Close::unauthenticated("the session was ended"));
                }
                _ = check.tick() => self.check().await?,
                _ = ping.tick() => {
                    if last_heard.elapsed() > SILENCE_MAX {
                        return Err(Close::because(3008, "Timeout: nothing was heard"));
                    }
                    deliver(self.out, Message::Ping(axum::body::Bytes::new())).await?;
                }
                message = heard.next() => {
                    let Some(Ok(message)) = message else { return Ok(()) };
                    last_heard = Instant::now();
                    if let Message::Close(_) = message {
                        return Ok(());
                    }
                    if let Some(said) = said(message)? {
                        self.hear(said).await?;
                    }
                }
                Some((id, event)) = self.streams.next(), if !self.streams.is_empty() => {
                    self.bring(id, event).await?;
                }
            }
        }
    }

    /// Whether the token still opens what it did.
    async fn check(&mut self) -> Step {
        let held = &self.member.actor;
        match member(self.app, &self.member.token, &self.origin).await {
            Ok(actor) if actor.role != held.role => {
                Err(Close::because(4403, "Forbidden: your role is another now; connect again"))
            }
            // A database that is away says nothing of the token.
            Ok(_) | Err(Close { code: 1011, .. }) => Ok(()),
            Err(close) => Err(close),
        }
    }

    async fn hear(&mut self, said: Said) -> Step {
        if self.messages.check().is_err() {
            return Err(Close::because(1008, "Too many messages"));
        }
        match said {
            Said::ConnectionInit { .. } => {
                Err(Close::because(4429, "Too many initialisation requests"))
            }
            Said::Ping { payload } => match payload {
                Some(payload) => {
                    send(self.out, json!({ "type": "pong", "payload": payload })).await
                }
                None => send(self.out, json!({ "type": "pong" })).await,
            },
            Said::Pong {} => Ok(()),
            Said::Complete { id } => {
                self.streams.remove(&id);
                Ok(())
            }
            Said::Subscribe { id, payload } => self.subscribe(id, payload).await,
        }
    }

    async fn subscribe(&mut self, id: String, payload: Map<String, Value>) -> Step {
        if self.streams.contains_key(&id) {
            return Err(Close::taken(&id));
        }
        match self.request(payload) {
            Ok(request) => {
                let events = self.door.schema.execute_stream(request);
                let events = events.map(|response| Event::Next(Box::new(response)));
                let end = stream::once(std::future::ready(Event::End));
                self.streams.insert(id, events.chain(end).boxed());
                Ok(())
            }
            Err(refusal) => {
                let mut refused = error::refused(refusal);
                error::complete(&mut refused);
                send(self.out, json!({ "type": "error", "id": id, "payload": refused.errors }))
                    .await
            }
        }
    }

    /// What is asked for, if it is one subscription and nothing else, and we will run it.
    fn request(&self, payload: Map<String, Value>) -> Result<async_graphql::Request> {
        if self.streams.len() >= SUBSCRIPTIONS_MAX {
            let rule =
                format!("a socket carries at most {SUBSCRIPTIONS_MAX} subscriptions at once");
            return Err(Error::limit_exceeded("", rule));
        }
        let spender = Spender::User(self.member.actor.user);
        let (standing, allowed) = self.app.allowance.spend(&spender, READ);
        allowed?; // before anything of it is read
        let Body { query, operation_name, variables } = Body::read(payload, &self.door.persisted)?;
        let variables = async_graphql::Variables::from_json(Value::Object(variables));
        let Measured { document, cost, .. } = self.door.shape.measure(&query, &variables)?;
        let mut operations = document.operations.iter();
        if !operations.all(|(_, operation)| operation.node.ty == OperationType::Subscription) {
            let rule = "a socket is for subscriptions; queries and mutations go by POST";
            return Err(Error::bad_request("query", rule));
        }
        let mut request = async_graphql::Request::new(query).variables(variables);
        request.operation_name = operation_name;
        request.set_parsed_query(document);
        self.app.allowance.spend_rest(&spender, standing, cost).1?;
        let actor = &self.member.actor;
        Ok(request
            .data(loader::batches(self.app, actor))
            .data(Identity::Known(Caller::Member(actor.clone())))
            .data(self.origin.clone()))
    }

    async fn bring(&mut self, id: String, event: Event) -> Step {
        let Event::Next(mut response) = event else {
            return send(self.out, json!({ "type": "complete", "id": id })).await;
        };
        error::complete(&mut response);
        if response.data == async_graphql::Value::Null && !response.errors.is_empty() {
            // An error is a subscription's end.
            self.streams.remove(&id);
            return send(
                self.out,
                json!({ "type": "error", "id": id, "payload": response.errors }),
            )
            .await;
        }
        send(self.out, json!({ "type": "next", "id": id, "payload": *response })).await
    }
}

#[cfg(test)]
mod tests;
