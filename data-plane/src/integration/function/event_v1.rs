//! The Lambda proxy event 1.0: what is absent is null.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::event::Call;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    /// REST APIs say none.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    resource: &'a str,
    path: &'a str,
    http_method: &'a str,
    headers: Map<String, Value>,
    multi_value_headers: Map<String, Value>,
    query_string_parameters: Option<Map<String, Value>>,
    multi_value_query_string_parameters: Option<Map<String, Value>>,
    request_context: RequestContext<'a>,
    path_parameters: Option<&'a Map<String, Value>>,
    stage_variables: Option<&'a Map<String, Value>>,
    body: Option<Cow<'a, str>>,
    is_base64_encoded: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    account_id: &'a str,
    api_id: &'a str,
    /// REST APIs say nothing of one that a route has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<Value>,
    domain_name: Option<&'a str>,
    domain_prefix: Option<&'a str>,
    extended_request_id: &'a str,
    http_method: &'a str,
    identity: Identity<'a>,
    path: String,
    protocol: String,
    request_id: &'a str,
    request_time: String,
    request_time_epoch: u64,
    resource_id: Option<&'a str>,
    resource_path: &'a str,
    stage: &'a str,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    access_key: (),
    account_id: (),
    caller: (),
    cognito_authentication_provider: (),
    cognito_authentication_type: (),
    cognito_identity_id: (),
    cognito_identity_pool_id: (),
    principal_org_id: (),
    source_ip: String,
    user: (),
    user_agent: Option<Cow<'a, str>>,
    user_arn: (),
    client_cert: (),
    /// REST APIs tell of a key, and say nothing of none.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_id: Option<&'a str>,
}

pub(super) fn event<'a>(call: &'a Call<'_>) -> Event<'a> {
    let is_rest = call.dialect.rest_events;
    let (body, is_base64_encoded) = call.body();
    let fields = call.fields().map(|(name, values)| (name.as_str().to_owned(), values));
    let (headers, multi_value_headers) = maps(fields);
    let mut parameters: Vec<(String, Vec<Cow<'_, str>>)> = Vec::new();
    let mut places = hashbrown::HashMap::new();
    for (name, value) in call.query_pairs() {
        let place = *places.entry(name.clone()).or_insert_with(|| {
            parameters.push((name.into_owned(), Vec::new()));
            parameters.len() - 1
        });
        parameters[place].1.push(value);
    }
    let (query, multi_value_query) = maps(parameters.into_iter());
    Event {
        version: (!is_rest).then_some("1.0"),
        resource: call.resource(),
        path: call.path,
        http_method: call.method,
        headers,
        multi_value_headers,
        query_string_parameters: some(query),
        multi_value_query_string_parameters: some(multi_value_query),
        request_context: RequestContext {
            account_id: call.account_id,
            api_id: call.api_id,
            authorizer: (!is_rest).then(|| json!({ "claims": null, "scopes": null })),
            domain_name: call.domain_name(),
            domain_prefix: call.domain_prefix(),
            extended_request_id: call.request_id,
            http_method: call.method,
            identity: Identity {
                source_ip: call.source_ip.to_string(),
                user_agent: call.user_agent(),
                api_key: call.api_key.as_deref().filter(|_| is_rest),
                api_key_id: call.api_key_id.filter(|_| is_rest),
                ..Identity::default()
            },
            path: call.path_with_stage(),
            protocol: call.protocol(),
            request_id: call.request_id,
            request_time: call.time(),
            request_time_epoch: call.time_ms,
            resource_id: None,
            resource_path: call.resource(),
            stage: call.stage,
        },
        path_parameters: Some(&call.path_parameters).filter(|map| !map.is_empty()),
        stage_variables: Some(call.stage_variables).filter(|map| !map.is_empty()),
        body,
        is_base64_encoded,
    }
}

/// The last value of each, and all of them.
fn maps<'a>(
    named: impl Iterator<Item = (String, Vec<Cow<'a, str>>)>,
) -> (Map<String, Value>, Map<String, Value>) {
    let (mut single, mut multi) = (Map::new(), Map::new());
    for (name, values) in named {
        single.insert(name.clone(), values.last().map(ToString::to_string).into());
        multi.insert(name, values.into_iter().map(Cow::into_owned).collect::<Vec<_>>().into());
    }
    (single, multi)
}

fn some(map: Map<String, Value>) -> Option<Map<String, Value>> {
    (!map.is_empty()).then_some(map)
}
