//! What a draft must be before it is deployed: nothing that a node could not serve, and nothing that restricts
//! access but would not be enforced.

use std::collections::BTreeMap;

use plan::{Precedence, RouteKey, Router, TrailingSlash, UriTemplate};
use proto::config::v1::{Deployment, HttpProxy, Integration, Resource, integration, resource};
use serde_json::Value;

use crate::domain::integration::Reach;
use crate::domain::route::route_key;
use crate::error::{Error, Result};
use crate::snapshot::document::backend_uri;
use crate::snapshot::mocks;
use crate::store::draft::{ApiRow, Draft, IntegrationRow, RouteRow};

/// A field to mend, as a path, and what is wrong with it.
struct Problem {
    param: String,
    message: String,
}

/// Refuses a draft that must not go live. All its problems are told at once: the first by its field, each in
/// the message.
pub fn deployable(draft: &Draft, reach: &Reach) -> Result<()> {
    let mut problems = Vec::new();
    let mut report = |param: String, message: String| problems.push(Problem { param, message });

    if draft.api.protocol != "HTTP" {
        report("protocol".to_owned(), format!("{} is not served yet", draft.api.protocol));
    }
    for field in unenforced_of_api(&draft.api) {
        report(field.to_owned(), NOT_ENFORCED.to_owned());
    }
    if draft.routes.is_empty() {
        report("routes".to_owned(), "the API has no route to deploy".to_owned());
    }
    for route in &draft.routes {
        let key = route_key(&route.method, &route.path);
        for field in unenforced_of_route(route) {
            report(format!("routes[{key}].{field}"), NOT_ENFORCED.to_owned());
        }
        let id = route.integration_id.as_deref();
        match id.and_then(|id| draft.integrations.iter().find(|row| row.id == id)) {
            None => report(
                format!("routes[{key}].integrationId"),
                "the route has no integration".to_owned(),
            ),
            Some(integration) => {
                if let Ok(parsed) = RouteKey::parse(&route.method, &route.path)
                    && let Ok(template) = UriTemplate::parse(&backend_uri(integration))
                    && let Err(reason) = template.check(&parsed)
                {
                    report(format!("integrations[{}].uri", integration.id), reason.to_string());
                }
            }
        }
    }
    for (key, reason) in misfits(draft) {
        report(format!("routes[{key}].path"), reason);
    }
    for row in &draft.integrations {
        for (field, reason) in wrong_with_integration(row, reach) {
            report(format!("integrations[{}].{field}", row.id), reason);
        }
    }
    refuse(&problems)
}

fn refuse(problems: &[Problem]) -> Result<()> {
    let Some(first) = problems.first() else { return Ok(()) };
    let message = match problems.len() {
        1 => first.message.clone(),
        count => {
            let all: Vec<String> = problems
                .iter()
                .map(|problem| format!("{}: {}", problem.param, problem.message))
                .collect();
            format!("{count} problems: {}", all.join("; "))
        }
    };
    Err(Error::bad_request(first.param.clone(), message))
}

/// What DESIGN §5.3 asks: never ignored, so refused until it is enforced.
const NOT_ENFORCED: &str = "is not enforced yet, so it cannot be deployed; take it away";

fn unenforced_of_api(row: &ApiRow) -> impl Iterator<Item = &'static str> {
    let types = row.endpoint_configuration.get("types").and_then(Value::as_array);
    let private = types.is_some_and(|types| types.iter().any(|kind| kind == "PRIVATE"));
    set([
        ("apiKeySource", row.api_key_source != "HEADER"),
        ("policy", row.policy.is_some()),
        ("endpointConfiguration.types", private),
        (
            "endpointConfiguration.vpcEndpointIds",
            filled(row.endpoint_configuration.get("vpcEndpointIds")),
        ),
        ("endpointAccessMode", !row.endpoint_access_mode.is_empty()),
        ("securityPolicy", !row.security_policy.is_empty()),
    ])
}

/// The fields of a route that restrict its calls and that no node enforces yet.
pub(super) fn unenforced_of_route(row: &RouteRow) -> impl Iterator<Item = &'static str> {
    set([
        ("authorizationType", row.authorization_type != "NONE"),
        ("authorizerId", !row.authorizer_id.is_empty()),
        ("authorizationScopes", !row.authorization_scopes.is_empty()),
        ("requestValidatorId", !row.request_validator_id.is_empty()),
        ("requestParameters", filled(Some(&row.request_parameters))),
        ("requestModels", filled(Some(&row.request_models))),
    ])
}

fn set<const N: usize>(fields: [(&'static str, bool); N]) -> impl Iterator<Item = &'static str> {
    fields.into_iter().filter(|(_, set)| *set).map(|(field, _)| field)
}

fn filled(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(_) => true,
    }
}

/// The routes that no table of this dialect can hold: unreadable, the same as another, or an odd sibling.
fn misfits(draft: &Draft) -> Vec<(String, String)> {
    let mut misfits = Vec::new();
    let mut keys = Vec::new();
    for route in &draft.routes {
        match RouteKey::parse(&route.method, &route.path) {
            Ok(key) => keys.push(key),
            Err(reason) => {
                misfits.push((route_key(&route.method, &route.path), reason.to_string()));
            }
        }
    }
    let precedence =
        if draft.api.dialect == "aws-rest" { Precedence::Rest } else { Precedence::Http };
    // The table names one misfit at a time; without it the rest is tried again.
    while let Err(error) = Router::build(&keys, precedence, TrailingSlash::Strict) {
        let key = keys.remove(error.index);
        misfits.push((key.to_string(), error.reason));
    }
    misfits
}

fn wrong_with_integration(row: &IntegrationRow, reach: &Reach) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    match row.kind.as_str() {
        "HTTP_PROXY" | "HTTP" | "AWS_PROXY" | "AWS" => {
            let uri = backend_uri(row);
            let unreadable = UriTemplate::parse(&uri).err().map(|reason| reason.to_string());
            if let Some(reason) = unreadable.or_else(|| reach.check(&uri).err()) {
                wrong.push(("uri", reason));
            }
            if let Some(Err(reason)) = row.tls_config.as_ref().map(|tls| tls.check(&uri)) {
                wrong.push(("tlsConfig", reason.to_string()));
            }
        }
        "MOCK" if mocks::mock(row).is_none() => {
            wrong.push(("mockResponse", "MOCK needs something to answer".to_owned()));
        }
        "MOCK" => {}
        other => wrong.push(("type", format!("{other} is not served yet"))),
    }
    // A mock's templates are constants, which are served, and so are those of integration responses.
    let is_mock = row.kind == "MOCK";
    let makes_answers = is_mock || matches!(row.kind.as_str(), "HTTP" | "AWS");
    let unserved = set([
        ("connectionType", !is_connection_served(row)),
        ("credentials", !row.credentials.is_empty()),
        ("tlsConfig", row.tls_config.is_some() && is_mock),
        ("contentHandling", !row.content_handling.is_empty() && !makes_answers),
        ("requestParameters", filled(Some(&row.request_parameters))),
        ("requestTemplates", !is_mock && filled(Some(&row.request_templates))),
        ("responseParameters", filled(Some(&row.response_parameters))),
        ("responses", !makes_answers && filled(Some(&row.responses))),
    ]);
    wrong.extend(unserved.map(|field| (field, "is not served yet; take it away".to_owned())));
    wrong
}

fn is_connection_served(row: &IntegrationRow) -> bool {
    match row.connection_type.as_str() {
        "INTERNET" => true,
        "VPC_LINK" => {
            matches!(row.kind.as_str(), "HTTP_PROXY" | "HTTP") && !row.connection_id.is_empty()
        }
        _ => false,
    }
}

/// Restrictions of stages that this release's nodes enforce. They are named for those that are older.
const ENFORCED: [&str; 4] =
    ["canarySettings", "clientCertificateId", "clientThrottles", "concurrencyLimit"];

/// Refuses a stage that restricts its calls by something that no node enforces yet.
pub fn stage_enforced(stage: &Resource) -> Result<()> {
    let Some(resource::Kind::Stage(stage)) = &stage.kind else { return Ok(()) };
    let problem = |field: &String| Problem {
        param: format!("stage.{field}"),
        message: NOT_ENFORCED.to_owned(),
    };
    let unenforced = stage.restrictions.iter().filter(|field| !ENFORCED.contains(&field.as_str()));
    refuse(&unenforced.map(problem).collect::<Vec<_>>())
}

/// What an integration calls, if it calls anything.
pub(super) fn backend(row: &Integration) -> Option<&HttpProxy> {
    match row.kind.as_ref()? {
        integration::Kind::HttpProxy(proxy) => Some(proxy),
        integration::Kind::LinkedProxy(linked) => linked.backend.as_ref(),
        integration::Kind::Http(http) => http.backend.as_ref(),
        integration::Kind::Function(function) => function.backend.as_ref(),
        integration::Kind::Lambda(lambda) => {
            lambda.function.as_ref().and_then(|function| function.backend.as_ref())
        }
        integration::Kind::AwsService(service) => service.backend.as_ref(),
        integration::Kind::AwsFunction(function) => function.backend.as_ref(),
        integration::Kind::AwsSubtype(subtype) => subtype.backend.as_ref(),
        integration::Kind::Mock(_) => None,
    }
}

/// Refuses a stage whose variables leave a deployment's backends without an address.
pub fn fits_stage(
    deployment: &Deployment,
    variables: &BTreeMap<String, String>,
    reach: &Reach,
) -> Result<()> {
    let mut problems = Vec::new();
    for row in &deployment.integrations {
        let Some(proxy) = backend(row) else { continue };
        let bound = UriTemplate::parse(&proxy.uri)
            .and_then(|template| template.bind(|name| variables.get(name).cloned()))
            .map_err(|reason| reason.to_string())
            .and_then(|bound| reach.check(&bound.origin));
        if let Err(reason) = bound {
            let message = format!("{}: {reason}", proxy.uri);
            problems.push(Problem { param: "variables".to_owned(), message });
        }
    }
    refuse(&problems)
}
