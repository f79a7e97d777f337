//! The Lambda proxy event 2.0: what a name has several values of is joined by commas, and what is absent is left out.

use std::borrow::Cow;

use http::header::COOKIE;
use serde::Serialize;
use serde_json::{Map, Value};

use super::event::Call;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    version: &'static str,
    route_key: &'a str,
    raw_path: String,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<String>,
    headers: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    query_string_parameters: Map<String, Value>,
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    path_parameters: &'a Map<String, Value>,
    is_base64_encoded: bool,
    #[serde(skip_serializing_if = "Map::is_empty")]
    stage_variables: &'a Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    account_id: &'a str,
    api_id: &'a str,
    domain_name: Option<&'a str>,
    domain_prefix: Option<&'a str>,
    http: Http<'a>,
    request_id: &'a str,
    route_key: &'a str,
    stage: &'a str,
    time: String,
    time_epoch: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Http<'a> {
    method: &'a str,
    path: String,
    protocol: String,
    source_ip: String,
    user_agent: Cow<'a, str>,
}

pub(super) fn event<'a>(call: &'a Call<'_>) -> Event<'a> {
    let (body, is_base64_encoded) = call.body();
    let (mut headers, mut cookies) = (Map::new(), Vec::new());
    for (name, values) in call.fields() {
        if *name == COOKIE {
            let pairs = values.iter().flat_map(|value| value.split(';'));
            let pairs = pairs.map(str::trim).filter(|pair| !pair.is_empty());
            cookies.extend(pairs.map(str::to_owned));
        } else {
            headers.insert(name.as_str().to_owned(), values.join(",").into());
        }
    }
    let mut query_string_parameters = Map::new();
    for (name, value) in call.query_pairs() {
        match query_string_parameters.get_mut(&*name) {
            Some(Value::String(joined)) => {
                joined.push(',');
                joined.push_str(&value);
            }
            _ => drop(query_string_parameters.insert(name.into_owned(), value.into())),
        }
    }
    Event {
        version: "2.0",
        route_key: call.route_key,
        raw_path: call.path_with_stage(),
        raw_query_string: call.query,
        cookies,
        headers,
        query_string_parameters,
        request_context: RequestContext {
            account_id: call.account_id,
            api_id: call.api_id,
            domain_name: call.domain_name(),
            domain_prefix: call.domain_prefix(),
            http: Http {
                method: call.method,
                path: call.path_with_stage(),
                protocol: call.protocol(),
                source_ip: call.source_ip.to_string(),
                user_agent: call.user_agent().unwrap_or_default(),
            },
            request_id: call.request_id,
            route_key: call.route_key,
            stage: call.stage,
            time: call.time(),
            time_epoch: call.time_ms,
        },
        body,
        path_parameters: &call.path_parameters,
        is_base64_encoded,
        stage_variables: call.stage_variables,
    }
}
