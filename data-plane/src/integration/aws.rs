//! `AWS`: calls an action or a path of a service of AWS, or of what speaks like it, or a function of Lambda's, with the caller's
//! body as it is, signed by a secret of the tenant. Its answer goes on as it is, or as an integration response has it.
//!
//! Of the caller's fields only those pass that say what its body is, or which answer it takes: no other field, and nothing of
//! its query, may choose what a signed request does.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{self, CONTENT_TYPE, HOST},
    uri::PathAndQuery,
};
use url::form_urlencoded;

use super::{
    AnswerBody, breaker, custom,
    download::Download,
    function::{self, memory::Held},
    http_proxy::{self, Answered, Outgoing, within},
    media,
    sigv4::{self, Signed},
    subtype,
    upload::Upload,
};
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    node::{Node, now_ms},
    response::headers,
    snapshot::{
        Snapshot,
        served::{Asked, AwsCall, Invocation},
    },
};

const FORM: &str = "application/x-www-form-urlencoded";
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

pub(super) async fn call(
    node: &Node,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    call: &Arc<AwsCall>,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    let deadline = http_proxy::deadline(snapshot, exchange, call.backend.timeouts);
    let pass = breaker::enter(node, exchange, &call.backend)?;
    let asking = ask(node, snapshot, exchange, call, deadline);
    let answered = within(deadline, asking).await.ok_or_else(http_proxy::timed_out).flatten();
    breaker::leave(node, pass, answered.as_ref().map(Response::status).map_err(|it| it.kind));
    if let Some(trace) = &mut exchange.trace {
        let status = answered.as_ref().map(Response::status);
        trace.answered(status.map_err(|refused| refused.kind.code()));
    }
    answered
}

async fn ask(
    node: &Node,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    call: &AwsCall,
    deadline: Option<Instant>,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    let backend = &call.backend;
    let tenant_id = exchange.stage.as_ref().map(|stage| stage.tenant_id.clone());
    let tenant_id = tenant_id.ok_or_else(|| Kind::Internal.because("The API has no tenant."))?;
    let mut held = node.functions.enter(&tenant_id);
    let body_bytes_max = match &call.shared.asked {
        Asked::Function(invocation) => function::lambda::event_bytes_max(*invocation),
        Asked::Path | Asked::Action(_) => custom::BODY_BYTES_MAX,
        Asked::Subtype(..) => subtype::BODY_BYTES_MAX,
    };
    let idle = backend.timeouts.idle;
    let body = function::body(exchange, idle, body_bytes_max, &mut held).await?;
    let conversion = media::of_request(exchange, call.shared.mapping.content_handling);
    let body = media::converted(body, conversion, &mut held)?;
    let Asking { method, target, mut fields, body } = asking(exchange, call, body)?;
    let request = Signed { method: &method, target: &target, body: &body, now_ms: now_ms() };
    let target = sigv4::sign(snapshot, &tenant_id, &call.shared.signing, &request, &mut fields)?;
    let repeats_safely = body.is_empty() && matches!(method, Method::GET | Method::HEAD);
    let (upload, progress) = Upload::of(body, exchange.serving.clone());
    let is_head = method == Method::HEAD && exchange.head.method != Method::HEAD;
    let outgoing = Outgoing { method, target, fields, upload, progress, repeats_safely };
    let answered = http_proxy::send(node, snapshot, exchange, backend, outgoing).await?;
    match &call.shared.asked {
        Asked::Function(invocation) => functions(exchange, call, *invocation, answered, held).await,
        Asked::Path | Asked::Action(_) | Asked::Subtype(..) => {
            drop(held); // the request is on its way, and an answer of a service may stream
            services(node, exchange, call, answered, is_head, deadline).await
        }
    }
}

/// A request that is to be signed.
struct Asking {
    method: Method,
    target: PathAndQuery,
    fields: HeaderMap,
    body: Bytes,
}

fn asking(exchange: &mut Exchange, call: &AwsCall, body: Bytes) -> Result<Asking, GatewayResponse> {
    let backend = &call.backend;
    if let Asked::Subtype(subtype, values) = &call.shared.asked {
        let asked = subtype::request(exchange, subtype, values, &body)?;
        headers::prepare_request(exchange, backend);
        let mut fields = custom::traced(&exchange.head.headers);
        fields.insert(HOST, backend.authority.clone());
        if let Some(target) = &asked.target {
            name(target, &mut fields)?;
        }
        return Ok(Asking {
            method: asked.method.parse().map_err(|_| misconfigured())?,
            target: asked.path_and_query.parse().map_err(|_| http_proxy::unfit())?,
            fields,
            body: asked.body.into(),
        });
    }
    let target = custom::target(exchange, backend)?;
    headers::prepare_request(exchange, backend);
    let mut fields = custom::passed(&exchange.head.headers);
    fields.insert(HOST, backend.authority.clone());
    let stated = || backend.method.clone().unwrap_or_else(|| exchange.head.method.clone());
    let (method, body) = match &call.shared.asked {
        Asked::Path | Asked::Subtype(..) => (stated(), body),
        Asked::Action(action) => (stated(), acting(action, body, &mut fields)?),
        Asked::Function(invocation) => (Method::POST, event(*invocation, body, &mut fields)?),
    };
    Ok(Asking { method, target, fields, body })
}

/// The body as the service reads its action, whose name no caller says.
fn acting(
    action: &plan::AwsAction,
    body: Bytes,
    fields: &mut HeaderMap,
) -> Result<Bytes, GatewayResponse> {
    let content_type = fields.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_form = content_type.is_some_and(|it| plan::accept::essence(it) == FORM);
    match (&action.json, &action.form) {
        (_, Some((name, version))) if is_form || action.json.is_none() => {
            if !is_form && !body.is_empty() {
                return Err(Kind::BadRequestBody.because("The service takes a form."));
            }
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.append_pair("Action", name).append_pair("Version", version);
            let told = form_urlencoded::parse(&body);
            form.extend_pairs(told.filter(|(name, _)| name != "Action" && name != "Version"));
            fields.insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
            Ok(form.finish().into())
        }
        (Some(json), _) => {
            name(json, fields)?;
            Ok(if body.is_empty() { Bytes::from_static(b"{}") } else { body })
        }
        (None, _) => Err(misconfigured()),
    }
}

/// Names an action to a service that reads JSON.
fn name(
    (target, version): &(String, String),
    fields: &mut HeaderMap,
) -> Result<(), GatewayResponse> {
    let json = format!("application/x-amz-json-{version}");
    for (name, value) in [(TARGET, target.clone()), (CONTENT_TYPE, json)] {
        fields.insert(name, HeaderValue::try_from(value).map_err(|_| misconfigured())?);
    }
    Ok(())
}

fn misconfigured() -> GatewayResponse {
    Kind::ApiConfigurationError.because("The action of this integration cannot be asked for.")
}

/// The body as a function's event.
fn event(
    invocation: Invocation,
    body: Bytes,
    fields: &mut HeaderMap,
) -> Result<Bytes, GatewayResponse> {
    let body = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
    serde_json::from_slice::<serde::de::IgnoredAny>(&body)
        .map_err(|_| Kind::BadRequestBody.because("The request's body is not JSON."))?;
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    function::lambda::invoke(invocation, fields);
    Ok(body)
}

/// A function's answer, or its error, by the integration response that takes it.
async fn functions(
    exchange: &Exchange,
    call: &AwsCall,
    invocation: Invocation,
    answered: Answered,
    mut held: Held,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    if !answered.status.is_success() {
        return Err(function::lambda::refused(answered.status, &answered.headers));
    }
    let failed = answered.headers.contains_key(function::FUNCTION_ERROR);
    let timeouts = call.backend.timeouts;
    let bytes = function::payload(exchange, timeouts, answered.source, &mut held).await?;
    if invocation == Invocation::Event {
        return Ok(function::lambda::accepted(exchange).map(AnswerBody::whole));
    }
    if failed && call.shared.mapping.responses.is_empty() {
        return Err(Kind::FunctionFailure.because("The function failed."));
    }
    let response = if failed {
        Some(
            call.shared
                .mapping
                .responses
                .of(&error_message(&bytes))
                .ok_or_else(custom::unanswered)?,
        )
    } else if call.shared.mapping.responses.is_empty() {
        None
    } else {
        Some(call.shared.mapping.responses.default().ok_or_else(custom::unanswered)?)
    };
    let mut fields = HeaderMap::new();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = AnswerBody::whole(held.keep(bytes));
    custom::rendered(exchange, response, StatusCode::OK, fields, body).await
}

/// What patterns are held against: `errorMessage` of what the function threw.
fn error_message(bytes: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Thrown {
        error_message: String,
    }
    serde_json::from_slice::<Thrown>(bytes).map(|thrown| thrown.error_message).unwrap_or_default()
}

/// A service's answer, by the integration response that takes its status.
async fn services(
    node: &Node,
    exchange: &Exchange,
    call: &AwsCall,
    answered: Answered,
    is_head: bool,
    deadline: Option<Instant>,
) -> Result<Response<AnswerBody>, GatewayResponse> {
    let Answered { status, mut headers, source } = answered;
    if status.is_informational() {
        return Err(Kind::IntegrationFailure.because("The service switched protocols."));
    }
    headers::prepare_answer(&mut headers, exchange.dialect().headers);
    if is_head {
        headers.remove(header::CONTENT_LENGTH);
    }
    let response = custom::by_status(&call.shared.mapping.responses, status)?;
    let download = Download::new(source, exchange.node.clone(), call.backend.timeouts, deadline);
    let body = http_proxy::delivered(node, exchange, &call.backend, download, deadline).await?;
    custom::rendered(exchange, response, status, headers, body).await
}
