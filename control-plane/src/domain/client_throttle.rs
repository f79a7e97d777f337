//! A throttle of a stage for each client by itself: an address, or a header's value.

use std::collections::{HashMap, HashSet};

use plan::RouteKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::throttle::{Throttle, ThrottleEnforcement, ThrottleMode, ThrottleOutage};
use crate::error::{Error, Result};

/// The most of a stage, and of those the most that one call can count against.
pub const CLIENT_THROTTLES_MAX: usize = 20;
pub const CLIENT_THROTTLES_OF_CALL_MAX: usize = 4;
pub const NAME_CHARS_MAX: usize = 32;
pub const HEADER_NAME_CHARS_MAX: usize = 128;
/// A client's bucket fills within this. Clients are as many as callers invent: their buckets must not stay.
pub const FILL_SECONDS_MAX: f64 = 3600.0;
/// What callers are told of the other limits by.
const LEVELS: [&str; 6] = ["key-route", "key", "route", "stage", "tenant", "quota"];

/// How often each client of a stage may call. Every throttle that a call counts against must let it through: these, the
/// stage's, those of its routes, of usage plans and of the tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientThrottle {
    /// Unlike all others of the stage: 1 to 32 lower-case letters, digits and `-`, a letter first. `RateLimit` and the log
    /// of requests call it so. Under another name every client begins anew.
    #[schema(max_length = 32)]
    pub name: String,
    pub key: ClientThrottleKey,
    /// Of `HEADER`: whose value tells clients apart. Calls without it are not counted.
    #[serde(default)]
    #[schema(max_length = 128)]
    pub header_name: Option<String>,
    /// `GET /pets/{id}` or `$default`: calls of that route are counted, and no others. Left out: every call of the stage.
    #[serde(default)]
    pub route_key: Option<String>,
    /// Requests a second, above 0.
    pub rate_limit: f64,
    /// From 1, and at most 3600 times the rate: a client's bucket fills within an hour.
    pub burst_limit: i32,
    /// Left out: `HARD`, whatever the throttle was that this one replaces.
    #[serde(default)]
    pub enforcement: ThrottleEnforcement,
    /// Left out: as each node is set, which is `LEASED` unless its operator says otherwise.
    #[serde(default)]
    pub mode: Option<ThrottleMode>,
    /// Left out: as each node is set, which is `LOCAL_FALLBACK` unless its operator says otherwise.
    #[serde(default)]
    pub outage: Option<ThrottleOutage>,
}

/// Who is one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ClientThrottleKey {
    /// The caller behind trusted proxies: an IPv4 address, or the /64 network of an IPv6 address.
    Ip,
    /// A header's value; several headers of the name are one value, with commas between. Callers choose it freely, unless
    /// something before the gateway sets it.
    Header,
}

impl ClientThrottle {
    /// Without whom it is for.
    pub fn throttle(&self) -> Throttle {
        let Self { rate_limit, burst_limit, enforcement, mode, outage, .. } = *self;
        Throttle { rate_limit, burst_limit, enforcement, mode, outage }
    }

    fn checked(self) -> Result<Self> {
        check_name(&self.name)?;
        let header_name = match (self.key, self.header_name) {
            (ClientThrottleKey::Ip, None) => None,
            (ClientThrottleKey::Ip, Some(_)) => {
                return Err(Error::bad_request("headerName", "belongs to the key HEADER only"));
            }
            (ClientThrottleKey::Header, name) => {
                Some(checked_header("headerName", &name.unwrap_or_default())?)
            }
        };
        let route = self.route_key.as_deref().map(RouteKey::parse_key).transpose();
        let route = route.map_err(|error| Error::bad_request("routeKey", error.to_string()))?;
        let checked = Self { header_name, route_key: route.map(|key| key.to_string()), ..self };
        let Throttle { rate_limit, burst_limit, .. } = checked.throttle().checked()?;
        if (f64::from(burst_limit) / rate_limit).round() > FILL_SECONDS_MAX {
            let rule = format!(
                "must be at most {FILL_SECONDS_MAX} times rateLimit: a client's bucket fills within an hour"
            );
            return Err(Error::bad_request("burstLimit", rule));
        }
        Ok(checked)
    }
}

fn check_name(name: &str) -> Result<()> {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let begins = name.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
    if !letters || !begins || name.len() > NAME_CHARS_MAX {
        let rule = format!(
            "must be 1 to {NAME_CHARS_MAX} lower-case letters, digits and -, beginning with a letter"
        );
        return Err(Error::bad_request("name", rule));
    }
    if LEVELS.contains(&name) {
        let rule = format!("{name} is what another limit is called; choose another name");
        return Err(Error::bad_request("name", rule));
    }
    Ok(())
}

/// A header's name in lower case; an error names the field `param`.
pub(crate) fn checked_header(param: &str, name: &str) -> Result<String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !(1..=HEADER_NAME_CHARS_MAX).contains(&name.len()) || !name.bytes().all(token) {
        let rule = format!("must be a header's name of 1 to {HEADER_NAME_CHARS_MAX} characters");
        return Err(Error::bad_request(param, rule));
    }
    Ok(name.to_ascii_lowercase())
}

/// Checks the throttles of a stage's clients; an error names one by its position, and the field in it.
pub fn checked(throttles: Vec<ClientThrottle>) -> Result<Vec<ClientThrottle>> {
    let too_many = |rule: String| Err(Error::limit_exceeded("clientThrottles", rule));
    if throttles.len() > CLIENT_THROTTLES_MAX {
        return too_many(format!(
            "a stage has at most {CLIENT_THROTTLES_MAX} throttles of clients"
        ));
    }
    let mut named = HashSet::new();
    let checked = throttles.into_iter().enumerate().map(|(at, throttle)| {
        let throttle = throttle.checked().and_then(|throttle| {
            if !named.insert(throttle.name.clone()) {
                return Err(Error::bad_request("name", "an earlier throttle has this name"));
            }
            Ok(throttle)
        });
        throttle.map_err(|error| error.within(&format!("clientThrottles[{at}]")))
    });
    let checked = checked.collect::<Result<Vec<_>>>()?;
    let mut counts = HashMap::<_, usize>::new();
    for throttle in &checked {
        *counts.entry(throttle.route_key.as_deref()).or_default() += 1;
    }
    let of_stage = counts.remove(&None).unwrap_or_default();
    if of_stage + counts.into_values().max().unwrap_or_default() > CLIENT_THROTTLES_OF_CALL_MAX {
        return too_many(format!(
            "a call counts against at most {CLIENT_THROTTLES_OF_CALL_MAX} of them: those without \
             routeKey, and those of its route"
        ));
    }
    Ok(checked)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn by_ip(name: &str) -> ClientThrottle {
        ClientThrottle {
            name: name.to_owned(),
            key: ClientThrottleKey::Ip,
            header_name: None,
            route_key: None,
            rate_limit: 0.5,
            burst_limit: 10,
            enforcement: ThrottleEnforcement::Hard,
            mode: None,
            outage: None,
        }
    }

    pub(crate) fn by_header(name: &str, header: &str) -> ClientThrottle {
        ClientThrottle {
            key: ClientThrottleKey::Header,
            header_name: Some(header.to_owned()),
            ..by_ip(name)
        }
    }

    fn of_route(route: &str, throttle: ClientThrottle) -> ClientThrottle {
        ClientThrottle { route_key: Some(route.to_owned()), ..throttle }
    }

    #[test]
    fn a_headers_name_is_kept_in_lower_case_and_a_route_as_it_is_written() {
        let given = of_route("GET /pets/{id}", by_header("per-user", "X-User"));
        let kept = checked(vec![given.clone(), by_ip("per-ip")]).unwrap();
        let of_user = ClientThrottle { header_name: Some("x-user".to_owned()), ..given };
        assert_eq!(kept, [of_user, by_ip("per-ip")]);
        let five_an_hour =
            ClientThrottle { rate_limit: 5.0 / 3600.0, burst_limit: 5, ..by_ip("a") };
        assert!(checked(vec![five_an_hour]).is_ok());
    }

    #[test]
    fn a_wrong_field_is_named_with_its_position() {
        let named = |name: &str| by_ip(name);
        let long = "x".repeat(NAME_CHARS_MAX + 1);
        for (wrong, field) in [
            (named(""), "name"),
            (named("Per-ip"), "name"),
            (named("1st"), "name"),
            (named("a\"b"), "name"),
            (named(&long), "name"),
            (named("stage"), "name"),
            (named("first"), "name"),
            (by_header("a", ""), "headerName"),
            (by_header("a", "x user"), "headerName"),
            (by_header("a", &"x".repeat(HEADER_NAME_CHARS_MAX + 1)), "headerName"),
            (ClientThrottle { header_name: None, ..by_header("a", "x") }, "headerName"),
            (ClientThrottle { header_name: Some("x".to_owned()), ..by_ip("a") }, "headerName"),
            (of_route("/a", by_ip("a")), "routeKey"),
            (of_route("*", by_ip("a")), "routeKey"),
            (ClientThrottle { rate_limit: 0.0, ..by_ip("a") }, "rateLimit"),
            (ClientThrottle { burst_limit: 0, ..by_ip("a") }, "burstLimit"),
            (ClientThrottle { rate_limit: 0.001, ..by_ip("a") }, "burstLimit"),
        ] {
            let shown = format!("{wrong:?}");
            let refused = checked(vec![by_ip("first"), wrong]).unwrap_err();
            let param = format!("clientThrottles[1].{field}");
            assert_eq!(refused.param(), Some(&*param), "{shown}");
        }
    }

    #[test]
    fn a_call_counts_against_four_at_most() {
        let names: Vec<String> = (0..30).map(|at| format!("t{at}")).collect();
        let all = |count| names[..count].iter().map(|name| by_ip(name));
        assert!(checked(all(4).collect()).is_ok());
        assert_eq!(checked(all(5).collect()).unwrap_err().param(), Some("clientThrottles"));
        let with = |routes: &[&str]| {
            let of_routes = routes.iter().enumerate();
            let of_routes = of_routes.map(|(at, route)| of_route(route, by_ip(&names[10 + at])));
            checked(all(2).chain(of_routes).collect()).is_ok()
        };
        assert!(with(&["GET /a", "GET /a", "GET /b", "GET /b"]));
        assert!(!with(&["GET /a", "GET /b", "GET /a", "GET /a"]));
        let routes = names[..=CLIENT_THROTTLES_MAX].iter();
        let many = routes.map(|name| of_route(&format!("GET /{name}"), by_ip(name)));
        assert_eq!(checked(many.collect()).unwrap_err().param(), Some("clientThrottles"));
    }
}
