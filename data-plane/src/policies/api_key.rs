//! Who calls, by the API key where the Api says that it stands, and the usage plan that lets the key in here.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, Uri, header, uri::PathAndQuery};
use plan::KeyLocation;

use crate::{
    exchange::{Caller, Exchange},
    gateway_response::{GatewayResponse, Kind},
    snapshot::{Snapshot, served::KeyRestrictions},
};

/// The longest key that is looked at; AWS's are at most 128 characters.
const KEY_BYTES_MAX: usize = 256;

/// What stands in one location.
enum Found<Key> {
    Nothing,
    One(Key),
    /// Nobody has to guess which is meant.
    Several,
}

/// Unknown, disabled, expired and unplanned keys get one answer, so that none can be told from another. Only
/// this node's memory is asked.
pub(super) fn apply(snapshot: &Snapshot, exchange: &mut Exchange) -> Result<(), GatewayResponse> {
    let parameters = take_parameters(exchange);
    if !exchange.route().is_some_and(|route| route.api_key_required) {
        return Ok(());
    }
    let caller = find(snapshot, exchange, &parameters).ok_or_else(|| refusal(exchange))?;
    // The caller holds the key: what it is refused for is counted as the key's, and said.
    let restrictions = caller.key.restrictions.as_ref();
    let outcome = restrictions.map_or(Ok(()), |restrictions| restrict(restrictions, exchange));
    exchange.caller = Some(caller);
    outcome
}

/// Whether the key is good from where the call comes.
fn restrict(restrictions: &KeyRestrictions, exchange: &Exchange) -> Result<(), GatewayResponse> {
    if restrictions.unknown {
        return Err(Kind::AuthorizerConfigurationError
            .because("The API key asks for a check that this gateway does not know."));
    }
    let networks = &restrictions.client_networks;
    let client = exchange.client().to_canonical();
    if !networks.is_empty() && !networks.iter().any(|network| network.contains(&client)) {
        let message = format!("This API key is not good from the address {client}.");
        return Err(Kind::ApiKeyClientNotAllowed.because(message));
    }
    if restrictions.origins.is_empty() {
        return Ok(());
    }
    let mut fields = exchange.head.headers.get_all(header::ORIGIN).iter();
    let good = match (fields.next(), fields.next()) {
        (Some(origin), None) => {
            restrictions.origins.iter().any(|known| known.matches(origin.as_bytes()))
        }
        _ => false,
    };
    if good {
        return Ok(());
    }
    Err(Kind::ApiKeyOriginNotAllowed
        .because("This API key is good only from pages whose Origin it names."))
}

fn refusal(exchange: &Exchange) -> GatewayResponse {
    match key_locations(exchange) {
        [KeyLocation::Header(name)] if name == "x-api-key" => Kind::InvalidApiKey
            .because("The x-api-key field must hold a key that is valid for this stage."),
        locations => {
            let places: Vec<_> = locations.iter().map(KeyLocation::in_words).collect();
            let places = places.join(" or ");
            Kind::InvalidApiKey
                .because(format!("A key that is valid for this stage must be in {places}."))
        }
    }
}

fn key_locations(exchange: &Exchange) -> &[KeyLocation] {
    exchange.deployment().map_or(&[], |deployment| &deployment.key_locations)
}

/// Takes those parameters out of the query that are locations of a key, whatever the route asks for: nothing behind this
/// point is told of them. In the order of the locations.
fn take_parameters(exchange: &mut Exchange) -> Vec<Found<Vec<u8>>> {
    let deployment = exchange.stage.as_ref().and_then(|stage| stage.deployment.as_ref());
    let locations = deployment.map_or(&[][..], |deployment| &deployment.key_locations);
    let uri = &mut exchange.head.uri;
    let names = locations.iter().filter_map(|location| match location {
        KeyLocation::Query(name) => Some(name),
        _ => None,
    });
    names.map(|name| take_parameter(uri, name)).collect()
}

fn take_parameter(uri: &mut Uri, name: &str) -> Found<Vec<u8>> {
    let Some(taken) = uri.query().and_then(|query| plan::take_parameter(query, name)) else {
        return Found::Nothing;
    };
    let path = uri.path();
    let left =
        if taken.rest.is_empty() { path.to_owned() } else { format!("{path}?{}", taken.rest) };
    let mut parts = std::mem::take(uri).into_parts();
    // A part of what was read as path and query can be read as such.
    parts.path_and_query = PathAndQuery::try_from(left).ok();
    *uri = Uri::from_parts(parts).unwrap_or_default();
    taken.value.map_or(Found::Several, Found::One)
}

/// The key in the first of the Api's locations that the call has.
fn presented<'a>(exchange: &'a Exchange, parameters: &'a [Found<Vec<u8>>]) -> Option<&'a [u8]> {
    let headers = &exchange.head.headers;
    let mut parameters = parameters.iter();
    for location in key_locations(exchange) {
        let here = match location {
            KeyLocation::Header(name) => {
                one(headers.get_all(name).iter().map(HeaderValue::as_bytes))
            }
            KeyLocation::Bearer => {
                one(headers.get_all(header::AUTHORIZATION).iter().filter_map(bearer))
            }
            KeyLocation::Query(_) => match parameters.next()? {
                Found::Nothing => Found::Nothing,
                Found::One(key) => Found::One(&**key),
                Found::Several => Found::Several,
            },
        };
        match here {
            Found::Nothing => {}
            Found::One(key) => return Some(key),
            Found::Several => return None,
        }
    }
    None
}

/// The key in the first of these locations that a call has. Nothing is taken out of its query.
pub(crate) fn peek<'a>(
    locations: &[KeyLocation],
    headers: &'a HeaderMap,
    uri: &Uri,
) -> Option<Cow<'a, [u8]>> {
    for location in locations {
        let here = match location {
            KeyLocation::Query(name) => {
                match uri.query().and_then(|query| plan::take_parameter(query, name)) {
                    None => Found::Nothing,
                    Some(taken) => {
                        taken.value.map_or(Found::Several, |key| Found::One(Cow::Owned(key)))
                    }
                }
            }
            KeyLocation::Header(name) => {
                one(headers.get_all(name).iter().map(HeaderValue::as_bytes)).borrowed()
            }
            KeyLocation::Bearer => {
                one(headers.get_all(header::AUTHORIZATION).iter().filter_map(bearer)).borrowed()
            }
        };
        match here {
            Found::Nothing => {}
            Found::One(key) => return Some(key).filter(|key| key.len() <= KEY_BYTES_MAX),
            Found::Several => return None,
        }
    }
    None
}

impl<'a> Found<&'a [u8]> {
    fn borrowed(self) -> Found<Cow<'a, [u8]>> {
        match self {
            Found::Nothing => Found::Nothing,
            Found::One(key) => Found::One(Cow::Borrowed(key)),
            Found::Several => Found::Several,
        }
    }
}

fn one<'a>(mut keys: impl Iterator<Item = &'a [u8]>) -> Found<&'a [u8]> {
    match (keys.next(), keys.next()) {
        (None, _) => Found::Nothing,
        (Some(key), None) => Found::One(key),
        (Some(_), Some(_)) => Found::Several,
    }
}

/// The token of the scheme `Bearer`, whose name may be in any case (RFC 9110, 11.1).
fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked("bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn find(snapshot: &Snapshot, exchange: &Exchange, parameters: &[Found<Vec<u8>>]) -> Option<Caller> {
    let value = presented(exchange, parameters)?;
    if value.len() > KEY_BYTES_MAX {
        return None;
    }
    let stage = exchange.stage.as_ref()?;
    let tenant = snapshot.tenant(&stage.tenant_id)?;
    let digest = proto::digest::api_key(&tenant.key_pepper, value);
    let key = snapshot.api_key(&tenant.id, digest)?;
    if !key.opens(&digest, exchange.started_ms) {
        return None;
    }
    let plans = key.usage_plan_ids.iter().filter_map(|id| snapshot.usage_plan(id));
    let mut plans = plans.filter(|plan| plan.tenant_id == key.tenant_id);
    let plan = plans.find(|plan| plan.stage(&stage.api_id, &stage.name).is_some())?;
    Some(Caller { key: key.clone(), plan: plan.clone() })
}
