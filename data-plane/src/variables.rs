//! What a call tells of itself where something takes variables of it: gateway responses, and parameters of requests.

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderValue,
    header::{HOST, USER_AGENT},
};
use jiff::Timestamp;
use plan::gateway_response::{Context, Variable};

use crate::exchange::Exchange;

/// `fields`: the call's own, which are its backend's after a while. `None`: the call has no such thing.
pub(crate) fn value<'a>(
    variable: &Variable,
    exchange: &'a Exchange,
    fields: &'a HeaderMap,
) -> Option<Cow<'a, str>> {
    match variable {
        Variable::Context(context) => of_context(*context, exchange, fields),
        Variable::StageVariable(name) => {
            let variables = &exchange.stage.as_ref()?.told_variables;
            variables.iter().find(|(known, _)| known == name).map(|(_, text)| (&**text).into())
        }
        Variable::Header(name) => fields.get(&**name).map(text),
        Variable::MultiValueHeader(name) => joined(fields.get_all(&**name).iter().map(text)),
        Variable::QueryString(name) => parameters(exchange, name).next(),
        Variable::MultiValueQueryString(name) => joined(parameters(exchange, name)),
        Variable::Path(name) => exchange.parameter(name).map(plan::path::decode),
    }
}

fn of_context<'a>(
    context: Context,
    exchange: &'a Exchange,
    fields: &'a HeaderMap,
) -> Option<Cow<'a, str>> {
    let stage = exchange.stage.as_deref()?;
    let text = match context {
        Context::AccountId => &*stage.tenant_id,
        Context::ApiId => &*stage.api_id,
        Context::DeploymentId => &*stage.deployment.as_ref()?.id,
        Context::DomainName => return domain_name(fields),
        Context::DomainPrefix => {
            let name = domain_name(fields)?;
            return Some(name.split('.').next()?.to_owned().into());
        }
        // Refusals know of these, and nobody else.
        Context::ErrorMessage | Context::ErrorMessageString | Context::ErrorResponseType => {
            return None;
        }
        Context::RequestId | Context::ExtendedRequestId => &*exchange.id,
        Context::HttpMethod => exchange.head.method.as_str(),
        Context::ApiKeyId => &*exchange.caller.as_ref()?.key.id,
        Context::SourceIp => return Some(exchange.client().to_string().into()),
        Context::UserAgent => return fields.get(USER_AGENT).map(text),
        Context::Path if &*stage.name == "$default" => &*exchange.path,
        Context::Path => return Some(format!("/{}{}", stage.name, exchange.path).into()),
        Context::Protocol => return Some(format!("{:?}", exchange.head.version).into()),
        Context::RequestTime => return Some(time(exchange.started_ms).into()),
        Context::RequestTimeEpoch => return Some(exchange.started_ms.to_string().into()),
        Context::ResourcePath => {
            let route = &*exchange.route()?.name;
            route.split_once(' ').map_or(route, |(_, path)| path)
        }
        Context::RouteKey => &*exchange.route()?.name,
        Context::Stage => &*stage.name,
    };
    Some(text.into())
}

/// The host that was asked, without its port.
fn domain_name(fields: &HeaderMap) -> Option<Cow<'_, str>> {
    let host = fields.get(HOST)?.to_str().ok()?;
    let port = host.rfind(':').filter(|at| !host[*at..].contains(']'));
    Some(host[..port.unwrap_or(host.len())].into())
}

/// In the Common Log Format, as AWS's `requestTime`.
fn time(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.unwrap_or_default().strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()
}

/// The values of a parameter of the query, decoded.
fn parameters<'a>(exchange: &'a Exchange, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
    let query = exchange.head.uri.query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes())
        .filter(move |(known, _)| known == name)
        .map(|(_, value)| value)
}

fn joined<'a>(values: impl Iterator<Item = Cow<'a, str>>) -> Option<Cow<'a, str>> {
    values.reduce(|all, next| format!("{all},{next}").into())
}

fn text(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}
