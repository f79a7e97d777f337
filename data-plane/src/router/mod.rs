//! From a request's address to a route of a stage: host, then stage, then path and method.

mod canary;
mod host;
mod method_override;

use std::{borrow::Cow, sync::Arc};

use http::header::{ALLOW, LOCATION, RETRY_AFTER};
use plan::{
    Found,
    path::{self, Normalization, PathError},
};

use self::canary::Chooser;
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
    let chooser = Chooser::new(snapshot, &exchange.head);
    let Place { stage, path: below, before } =
        place(api, &chooser, address.path, exchange.head.uri.path()).ok_or_else(|| {
            Kind::ResourceNotFound.because("The path names no stage of this API.")
        })?;
    exchange.addressing = address.addressing();
    exchange.stage = Some(stage.clone());
    exchange.config_version = snapshot.version(&stage.cell);

    let nothing = || Kind::ResourceNotFound.because("Nothing is deployed to this stage.");
    let deployment = stage.deployment.as_ref().ok_or_else(nothing)?;
    if deployment.disable_execute_api_endpoint {
        return Err(unknown());
    }
    exchange.path = below.map_err(|error| Kind::BadRequestParameters.because(error.to_string()))?;
    if deployment.method_override {
        method_override::apply(&mut exchange.head.method, &mut exchange.head.headers)?;
    }
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
            .with(LOCATION, without_last_slash(exchange, &before))),
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
fn select_stage<'a, 'p>(
    api: &'a Api,
    chooser: &Chooser<'_>,
    full: &'p str,
) -> Option<(&'a Arc<Stage>, &'p str)> {
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
    let found = named.map(|stage| (stage, below)).or_else(|| default().map(|stage| (stage, full)));
    found.map(|(stage, below)| (chooser.of(stage), below))
}

/// Where a call goes.
struct Place<'a> {
    stage: &'a Arc<Stage>,
    /// Below the stage, as the Api reads it.
    path: Result<String, PathError>,
    /// What of the request's path leads to the stage.
    before: Before,
}

enum Before {
    /// So many bytes of it.
    Bytes(usize),
    Text(String),
}

/// The stage that a path names, and the path below it. A path with two readings is read again as a stage that normalizes has
/// it, so that `/./prod/a` is `/prod/a` before a stage is chosen too; unless the stage that it names as it came passes it.
/// `whole` is the request's path, of which `raw` is the end.
fn place<'a>(api: &'a Api, chooser: &Chooser<'_>, raw: &str, whole: &str) -> Option<Place<'a>> {
    let as_it_came = select_stage(api, chooser, raw).map(|(stage, below)| {
        let policy = policy(stage);
        (stage, below, policy, path::normalize(below, policy))
    });
    let plain = |policy: &Normalization, path: &Result<Cow<'_, str>, _>| {
        *policy == Normalization::Pass || matches!(path, Ok(Cow::Borrowed(_)))
    };
    if !as_it_came.as_ref().is_some_and(|(.., policy, path)| plain(policy, path))
        && let Ok(Cow::Owned(normal)) = path::normalize(raw, Normalization::Normalize)
        && let Some((stage, below)) = select_stage(api, chooser, &normal)
        && policy(stage) == Normalization::Normalize
    {
        let address = whole.strip_suffix(raw).unwrap_or_default();
        let lead = normal.strip_suffix(below).unwrap_or_default();
        let before = Before::Text(format!("{address}{lead}"));
        return Some(Place { stage, path: Ok(below.to_owned()), before });
    }
    let (stage, below, _, path) = as_it_came?;
    let before = Before::Bytes(whole.strip_suffix(below).map_or(0, str::len));
    Some(Place { stage, path: path.map(Cow::into_owned), before })
}

/// What becomes of a path with two readings; where nothing is deployed nobody reads it.
fn policy(stage: &Stage) -> Normalization {
    stage.deployment.as_ref().map_or(Normalization::Pass, |deployment| deployment.normalization)
}

/// Where a caller with one slash too many should go: to the path as the Api reads it, or a dot segment could lead back
/// here for ever. Never another host: it starts with one slash.
fn without_last_slash(exchange: &Exchange, before: &Before) -> String {
    let uri = &exchange.head.uri;
    let stage = match before {
        Before::Bytes(count) => uri.path().get(..*count).unwrap_or_default(),
        Before::Text(text) => text,
    };
    let path = format!("{stage}{}", exchange.path);
    // Browsers read a backslash as a slash.
    let path = path.trim_start_matches(['/', '\\']).trim_end_matches('/');
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{path}{query}")
}
