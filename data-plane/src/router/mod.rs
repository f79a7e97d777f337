//! From a request's address to a route of a stage: host, then stage, then path and method.

mod host;

use std::sync::Arc;

use http::header::{ALLOW, LOCATION, RETRY_AFTER};
use plan::{
    Found,
    path::{self, Normalization},
};

pub(crate) use self::host::{Addressing, address};
use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    node::Node,
    snapshot::{
        Snapshot,
        served::{Api, Deployment, Stage},
    },
};

/// Finds stage and route and writes them into the exchange, as far as it comes.
pub(crate) fn route(
    node: &Node,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
) -> Result<(), GatewayResponse> {
    let config = &node.shared.config;
    let address = address(&exchange.head, &config.zone, config.path_addressing)?;
    let unknown = || Kind::ResourceNotFound.because("There is no API at this address.");
    let api = snapshot.api(&address.api_id).ok_or_else(|| {
        if snapshot.loaded {
            return unknown();
        }
        Kind::NotReady.because("This node has no configuration yet.").with(RETRY_AFTER, "1")
    })?;
    let (stage, below) = select_stage(api, address.path)
        .ok_or_else(|| Kind::ResourceNotFound.because("The path names no stage of this API."))?;
    exchange.addressing = address.addressing();
    exchange.stage = Some(stage.clone());
    exchange.config_version = snapshot.version(&stage.cell);

    let nothing = || Kind::ResourceNotFound.because("Nothing is deployed to this stage.");
    let deployment = stage.deployment.as_ref().ok_or_else(nothing)?;
    if deployment.disable_execute_api_endpoint {
        return Err(unknown());
    }
    exchange.path = path::normalize(below, deployment.normalization)
        .map_err(|error| Kind::BadRequestParameters.because(error.to_string()))?
        .into_owned();
    match deployment.router.find(&exchange.head.method, &exchange.path) {
        Found::Route { index, captures } => {
            if deployment.normalization != Normalization::Pass
                && hides_another_route(deployment, exchange, index)
            {
                return Err(Kind::BadRequestParameters
                    .because("The path has an encoded slash that hides another route."));
            }
            exchange.route = Some(index);
            exchange.captures = captures;
            Ok(())
        }
        Found::Redirect => Err(Kind::Moved
            .because("The path has a slash too many at its end.")
            .with(LOCATION, without_last_slash(exchange, below))),
        Found::MethodNotAllowed(methods) => {
            let allow = methods.iter().map(http::Method::as_str).collect::<Vec<_>>().join(", ");
            Err(Kind::MethodNotAllowed
                .because("The path does not take this method.")
                .with(ALLOW, allow))
        }
        Found::NotFound => Err(Kind::ResourceNotFound.because("No route matches the path.")),
    }
}

/// Whether a backend that decodes slashes before it chooses would find a route other than ours, whose key and
/// limits this call would go around.
fn hides_another_route(deployment: &Deployment, exchange: &Exchange, index: usize) -> bool {
    path::with_slashes(&exchange.path).is_some_and(|plain| {
        matches!(deployment.router.find(&exchange.head.method, &plain),
            Found::Route { index: other, .. } if other != index)
    })
}

/// The stage that the first segment names, else `$default`; and the path below it.
fn select_stage<'a>(api: &'a Api, full: &'a str) -> Option<(&'a Arc<Stage>, &'a str)> {
    let rest = full.strip_prefix('/').unwrap_or(full);
    let (first, below) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
    let named = Some(&*path::decode(first))
        .filter(|name| *name != "$default")
        .and_then(|name| api.stage(name));
    let default = || {
        // A dialect without `$default` stages does not serve one, whatever it was sent.
        api.stage("$default").filter(|stage| {
            stage.deployment.as_ref().is_none_or(|deployment| deployment.dialect.default_stage)
        })
    };
    named.map(|stage| (stage, below)).or_else(|| default().map(|stage| (stage, full)))
}

/// Where a caller with one slash too many should go: to the path as the Api reads it, or a dot segment could lead back
/// here for ever. `below` is that path as it came. Never another host: it starts with one slash.
fn without_last_slash(exchange: &Exchange, below: &str) -> String {
    let uri = &exchange.head.uri;
    let stage = uri.path().strip_suffix(below).unwrap_or_default();
    let path = format!("{stage}{}", exchange.path);
    // Browsers read a backslash as a slash.
    let path = path.trim_start_matches(['/', '\\']).trim_end_matches('/');
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{path}{query}")
}
