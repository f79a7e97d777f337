//! Each message of the control plane to what is served of it, or the reason why it cannot be served.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use egress::{Policy, Target};
use hashbrown::HashMap;
use http::{HeaderName, HeaderValue, Method};
use ipnet::IpNet;
use jiff::tz::TimeZone;
use plan::{
    Cors, CorsSettings, KeyLocation, OriginPattern, Periods, ResponseType, RouteKey, Router,
    TrailingSlash, Unit, UriTemplate, media::BinaryMediaTypes, path::Normalization,
};
use proto::config::v1::{self as message, integration};

use super::backends::{backend, linked};
use super::client_certificate::Showing;
use super::served::{
    ApiKey, AwsCall, Bucket, ClientKey, ClientThrottle, ConcurrencyLimit, Deployment, Forwarding,
    Function, Grant, HttpCall, HttpProxy, Integration, Invocation, KeyRestrictions, Lambda,
    PayloadFormatVersion, PlanStage, PreviousValue, ProxyTemplate, Quota, QuotaExtension, Route,
    Template, Tenant, Throttle, UsagePlan,
};
use crate::{
    config::{LimiterMode, LimiterOutage},
    dialect::{Dialect, headers::Form},
    response::restyle::Restyled,
};

pub(crate) type Compiled<T> = Result<T, String>;

impl Template {
    /// Fills in a stage's variables, and what it shows to backends.
    pub(super) fn bind(
        &self,
        variables: &BTreeMap<String, String>,
        showing: &Showing<'_>,
    ) -> Compiled<Integration> {
        match self {
            Self::Mock(mock) => Ok(Integration::Mock(mock.clone())),
            Self::HttpProxy(proxy) => {
                Ok(Integration::HttpProxy(Arc::new(proxy.bind(variables, showing, false)?)))
            }
            Self::Http(backend, mapping) => Ok(Integration::Http(Arc::new(HttpCall {
                backend: backend.bind(variables, showing, false)?,
                mapping: mapping.clone(),
            }))),
            Self::Aws(backend, shared) => Ok(Integration::Aws(Arc::new(AwsCall {
                backend: backend.bind(variables, showing, true)?,
                shared: shared.clone(),
            }))),
            Self::AwsSubtype(backend, subtype) => Ok(Integration::Aws(Arc::new(AwsCall {
                backend: backend.bind(variables, showing, true)?,
                shared: Arc::new(subtype.bind(variables)),
            }))),
            Self::Function(backend, format, lambda) => {
                let told =
                    variables.iter().map(|(name, value)| (name.clone(), value.clone().into()));
                Ok(Integration::Function(Arc::new(Function {
                    backend: backend.bind(variables, showing, lambda.is_some())?,
                    format: *format,
                    lambda: lambda.clone(),
                    stage_variables: told.collect(),
                })))
            }
        }
    }

    /// Where a route's calls go, if that is a backend.
    fn uri(&self) -> Option<&UriTemplate> {
        match self {
            Self::HttpProxy(proxy)
            | Self::Http(proxy, _)
            | Self::Function(proxy, ..)
            | Self::Aws(proxy, _)
            | Self::AwsSubtype(proxy, _) => Some(&proxy.uri),
            Self::Mock(_) => None,
        }
    }
}

impl ProxyTemplate {
    fn bind(
        &self,
        variables: &BTreeMap<String, String>,
        showing: &Showing<'_>,
        signs: bool,
    ) -> Compiled<HttpProxy> {
        let uri = self.uri.bind(|name| variables.get(name).cloned());
        let uri = uri.map_err(|error| format!("an integration's URI {error}"))?;
        let target =
            Target::parse(&uri.origin).map_err(|error| format!("an integration's URI {error}"))?;
        let authority = HeaderValue::try_from(target.authority())
            .map_err(|_| "an integration's host is no field value".to_owned())?;
        let shown = showing.to(self, &target, signs);
        Ok(HttpProxy {
            target,
            authority,
            uri,
            method: self.method.clone(),
            timeouts: self.timeouts,
            preserve_host: self.preserve_host,
            protocol: self.protocol,
            forwarding: self.forwarding,
            buffered: self.buffered,
            retry_policy: self.retry_policy.clone(),
            circuit_breaker: self.circuit_breaker,
            vpc_link_id: self.vpc_link_id.clone(),
            identity: shown.identity,
            lacks_certificate: shown.lacking,
        })
    }
}

pub(super) fn tenant(message: &message::Tenant, all_may_reach: &[IpNet]) -> Compiled<Tenant> {
    let mut allow = all_may_reach.to_vec();
    for range in &message.egress_allow {
        allow.push(range.parse().map_err(|_| format!("{range} is no range of addresses"))?);
    }
    Ok(Tenant {
        id: message.id.as_str().into(),
        suspended: message.suspended,
        key_pepper: message.key_pepper.clone(),
        egress: Arc::new(Policy::new(allow)),
        throttle: message.throttle.as_ref().map(throttle).transpose()?,
        integration_timeout: (message.integration_timeout_s > 0)
            .then(|| Duration::from_secs(message.integration_timeout_s.into())),
    })
}

/// Restrictions of routes, and of stages, that this node enforces.
const ENFORCED: [&str; 3] = ["apiKeyLocations", "clientCertificateId", "tlsConfig"];
pub(super) const ENFORCED_OF_STAGES: [&str; 4] =
    ["canarySettings", "clientCertificateId", "clientThrottles", "concurrencyLimit"];

pub(crate) fn deployment(message: &message::Deployment) -> Compiled<Deployment> {
    let api = message.api.as_ref().ok_or("the deployment has no Api")?;
    if api.protocol() != message::Protocol::Http {
        return Err("this node serves only APIs of protocol HTTP".to_owned());
    }
    let dialect = Dialect::of(api.dialect).ok_or("the Api's dialect is unknown to this node")?;
    let binary = BinaryMediaTypes::parse(&api.binary_media_types)
        .map_err(|error| format!("one of the Api's binary media types {error}"))?;
    let templates = message.integrations.iter();
    let templates = templates.map(|integration| template(integration, dialect, &binary));
    let templates = templates.collect::<Compiled<Vec<Template>>>()?;
    let mut routes = Vec::with_capacity(message.routes.len());
    for route in &message.routes {
        let key = RouteKey::parse(&route.method, &route.path)
            .map_err(|error| format!("route {}: {error}", route.id))?;
        let integration = message
            .integrations
            .iter()
            .position(|integration| integration.id == route.integration_id)
            .ok_or_else(|| {
                format!("route {key}: integration {} is not here", route.integration_id)
            })?;
        if let Some(uri) = templates[integration].uri() {
            uri.check(&key).map_err(|error| format!("route {key}: {error}"))?;
        }
        routes.push(Route {
            name: key.to_string().into(),
            key,
            operation: Some(&route.operation_name)
                .filter(|name| !name.is_empty())
                .map(|name| name.as_str().into()),
            integration,
            api_key_required: route.api_key_required,
            cors: route.cors.as_ref().map(cors).transpose()?,
            unknown_restriction: !matches!(&*route.authorization_type, "" | "NONE")
                || !route.restrictions.iter().all(|it| ENFORCED.contains(&it.as_str())),
        });
    }
    let trailing_slash = match api.trailing_slash() {
        message::TrailingSlash::Unspecified => dialect.trailing_slash,
        message::TrailingSlash::Strict => TrailingSlash::Strict,
        message::TrailingSlash::Ignore => TrailingSlash::Ignore,
        message::TrailingSlash::Redirect => TrailingSlash::Redirect,
    };
    let table =
        Router::build(routes.iter().map(|route| &route.key), dialect.precedence, trailing_slash)
            .map_err(|error| format!("route {}: {error}", routes[error.index].name))?;
    Ok(Deployment {
        id: message.id.as_str().into(),
        api_id: api.id.as_str().into(),
        tenant_id: api.tenant_id.as_str().into(),
        dialect,
        disable_execute_api_endpoint: api.disable_execute_api_endpoint,
        normalization: match api.path_normalization() {
            message::PathNormalization::Unspecified | message::PathNormalization::Reject => {
                Normalization::Reject
            }
            message::PathNormalization::Normalize => Normalization::Normalize,
            message::PathNormalization::Pass => Normalization::Pass,
        },
        binary_media_types: binary,
        compression_bytes_min: api.minimum_compression_size.map(Into::into),
        decompresses_requests: api.decompress_requests,
        method_override: api.method_override.unwrap_or(dialect.method_override),
        key_locations: key_locations(&api.api_key_locations)?,
        cors: api.cors.as_ref().map(cors).transpose()?,
        restyled: Restyled::new(api.gateway_responses.iter().filter_map(style).collect()),
        router: table,
        routes,
        templates,
    })
}

/// `None` where this node knows no such type, or cannot read it: the answer is the gateway's, then.
fn style(
    message: &message::GatewayResponse,
) -> Option<(ResponseType, plan::gateway_response::GatewayResponse)> {
    let status = u16::try_from(message.status_code).ok().filter(|status| *status != 0);
    let style = plan::gateway_response::GatewayResponse::new(
        status,
        &message.response_parameters,
        &message.response_templates,
    );
    let style = style.inspect_err(|error| {
        tracing::warn!(response_type = message.response_type, %error, "a gateway response is not known to this node");
    });
    Some((ResponseType::parse(&message.response_type)?, style.ok()?))
}

fn cors(message: &message::Cors) -> Compiled<Arc<Cors>> {
    let settings = CorsSettings {
        allow_origins: message.allow_origins.clone(),
        allow_methods: message.allow_methods.clone(),
        allow_headers: message.allow_headers.clone(),
        expose_headers: message.expose_headers.clone(),
        allow_credentials: message.allow_credentials,
        max_age_s: message.max_age_s,
    };
    Cors::new(settings).map(Arc::new).map_err(|error| format!("corsConfiguration: {error}"))
}

fn key_locations(given: &[String]) -> Compiled<Vec<KeyLocation>> {
    let default = [KeyLocation::DEFAULT.to_owned()];
    let given = if given.is_empty() { &default[..] } else { given };
    given
        .iter()
        .map(|text| KeyLocation::parse(text).map_err(|error| format!("{text} {error}")))
        .collect()
}

fn template(
    message: &message::Integration,
    dialect: &Dialect,
    binary: &BinaryMediaTypes,
) -> Compiled<Template> {
    let wrong = |what: String| format!("integration {}: {what}", message.id);
    match &message.kind {
        Some(integration::Kind::HttpProxy(proxy)) => {
            Ok(Template::HttpProxy(backend(proxy, dialect).map_err(wrong)?))
        }
        Some(integration::Kind::LinkedProxy(proxy)) => {
            Ok(Template::HttpProxy(linked(proxy, dialect).map_err(wrong)?))
        }
        Some(integration::Kind::Http(message)) => {
            let of = message.backend.as_ref().ok_or_else(|| wrong("it has no backend".into()))?;
            let template = ProxyTemplate {
                vpc_link_id: (!message.vpc_link_id.is_empty())
                    .then(|| message.vpc_link_id.as_str().into()),
                preserve_host: false,
                ..backend(of, dialect).map_err(wrong)?
            };
            let (handling, responses) = (message.content_handling, &message.responses);
            let mapping = super::mocks::mapping(handling, responses, binary).map_err(wrong)?;
            Ok(Template::Http(template, Arc::new(mapping)))
        }
        Some(integration::Kind::Function(function)) => {
            let (backend, format) = called(function, dialect).map_err(wrong)?;
            Ok(Template::Function(backend, format, None))
        }
        Some(integration::Kind::Lambda(message)) => {
            let (of, invoked) = lambda(message).map_err(wrong)?;
            let (backend, format) = called(of, dialect).map_err(wrong)?;
            Ok(Template::Function(backend, format, Some(Arc::new(invoked))))
        }
        Some(integration::Kind::AwsService(message)) => {
            let of = message.backend.as_ref().ok_or_else(|| wrong("it has no backend".into()))?;
            let backend = backend(of, dialect).map_err(wrong)?;
            let shared = super::aws::service(message, binary).map_err(wrong)?;
            Ok(Template::Aws(ProxyTemplate { preserve_host: false, ..backend }, Arc::new(shared)))
        }
        Some(integration::Kind::AwsFunction(message)) => {
            let of = message.backend.as_ref().ok_or_else(|| wrong("it has no backend".into()))?;
            let backend = backend(of, dialect).map_err(wrong)?;
            let shared = super::aws::function(message, binary).map_err(wrong)?;
            Ok(Template::Aws(ProxyTemplate { preserve_host: false, ..backend }, Arc::new(shared)))
        }
        Some(integration::Kind::AwsSubtype(message)) => {
            let of = message.backend.as_ref().ok_or_else(|| wrong("it has no backend".into()))?;
            let backend = backend(of, dialect).map_err(wrong)?;
            let subtype = super::aws::subtype(message).map_err(wrong)?;
            Ok(Template::AwsSubtype(ProxyTemplate { preserve_host: false, ..backend }, subtype))
        }
        Some(integration::Kind::Mock(mock)) => {
            Ok(Template::Mock(Arc::new(super::mocks::mock(mock, binary).map_err(wrong)?)))
        }
        None => Err(wrong("its kind is unknown to this node".to_owned())),
    }
}

/// Where a function's events go, and how they look.
fn called(
    function: &message::Function,
    dialect: &Dialect,
) -> Compiled<(ProxyTemplate, PayloadFormatVersion)> {
    let of = function.backend.as_ref().ok_or("it has no backend")?;
    let backend = backend(of, dialect)?;
    let backend = ProxyTemplate {
        method: Some(Method::POST),
        preserve_host: true,
        // Events tell of callers by these fields in each dialect.
        forwarding: Forwarding { form: Form::XForwarded, ..backend.forwarding },
        // What a function streams begins otherwise, so that it does where its integration says so and nowhere else.
        buffered: !streams(function),
        ..backend
    };
    Ok((backend, payload_format_version(function)?))
}

fn streams(function: &message::Function) -> bool {
    let mode = function.backend.as_ref().map(message::HttpProxy::response_transfer_mode);
    mode == Some(message::ResponseTransferMode::Stream)
}

fn lambda(message: &message::Lambda) -> Compiled<(&message::Function, Lambda)> {
    let function = message.function.as_ref().ok_or("it has no function")?;
    let invocation = super::aws::invocation(message.invocation_type)?;
    if message.stream != streams(function) || message.stream && invocation == Invocation::Event {
        return Err("its answer streams and does not".to_owned());
    }
    let signing = message.signing.as_ref().ok_or("nothing signs for it")?;
    Ok((function, Lambda { signing: super::aws::signing(signing), invocation }))
}

fn payload_format_version(function: &message::Function) -> Compiled<PayloadFormatVersion> {
    use message::PayloadFormatVersion::{PayloadFormatVersion10, PayloadFormatVersion20};
    match message::PayloadFormatVersion::try_from(function.payload_format_version) {
        Ok(PayloadFormatVersion10) => Ok(PayloadFormatVersion::V1),
        Ok(PayloadFormatVersion20) => Ok(PayloadFormatVersion::V2),
        _ => Err("its payload format version is unknown to this node".to_owned()),
    }
}

pub(super) fn throttle(message: &message::Throttle) -> Compiled<Throttle> {
    let (rate, burst) = (message.rate_limit, message.burst_limit);
    if !rate.is_finite() || rate < 0.0 {
        return Err(format!("{rate} is no rate"));
    }
    // What a later release counts otherwise is counted as the node is set.
    Ok(Throttle {
        bucket: Bucket { rate, burst },
        shadow: message.shadow,
        mode: match message.mode() {
            message::ThrottleMode::Unspecified => None,
            message::ThrottleMode::Leased => Some(LimiterMode::Leased),
            message::ThrottleMode::Exact => Some(LimiterMode::Exact),
            message::ThrottleMode::Local => Some(LimiterMode::Local),
        },
        outage: match message.outage() {
            message::ThrottleOutage::Unspecified => None,
            message::ThrottleOutage::LocalFallback => Some(LimiterOutage::LocalFallback),
            message::ThrottleOutage::FailOpen => Some(LimiterOutage::FailOpen),
            message::ThrottleOutage::FailClosed => Some(LimiterOutage::FailClosed),
        },
    })
}

/// The throttles of a stage's routes.
pub(super) fn route_throttles(
    throttles: &BTreeMap<String, message::Throttle>,
) -> Compiled<HashMap<RouteKey, Throttle>> {
    let throttles = throttles.iter().map(|(key, message)| {
        let key = RouteKey::parse_key(key).map_err(|error| error.to_string())?;
        Ok((key, throttle(message)?))
    });
    throttles.collect()
}

pub(super) fn concurrency_limit(message: message::ConcurrencyLimit) -> Compiled<ConcurrencyLimit> {
    match message.max_in_flight {
        0 => Err("0 is no limit of requests in progress".to_owned()),
        max_in_flight => Ok(ConcurrencyLimit { max_in_flight, shadow: message.shadow }),
    }
}

/// The concurrency limits of a stage's routes.
pub(super) fn route_concurrency_limits(
    limits: &BTreeMap<String, message::ConcurrencyLimit>,
) -> Compiled<HashMap<RouteKey, ConcurrencyLimit>> {
    let limits = limits.iter().map(|(key, message)| {
        let key = RouteKey::parse_key(key).map_err(|error| error.to_string())?;
        Ok((key, concurrency_limit(*message)?))
    });
    limits.collect()
}

/// The throttles of a stage's clients, and whether there is one that this node cannot enforce.
pub(super) fn client_throttles(
    throttles: &[message::ClientThrottle],
) -> Compiled<(Vec<ClientThrottle>, bool)> {
    let (mut known, mut unknown) = (Vec::with_capacity(throttles.len()), false);
    for message in throttles {
        let wrong = |what: String| format!("throttle {}: {what}", message.name);
        let given = message.throttle.as_ref().ok_or_else(|| wrong("it has no limits".into()))?;
        let throttle = throttle(given).map_err(wrong)?;
        if throttle.bucket.rate == 0.0 {
            return Err(wrong("buckets that never fill would stay for ever".into()));
        }
        let key = match message.key() {
            message::ClientKey::Unspecified => {
                unknown |= !throttle.shadow;
                continue;
            }
            message::ClientKey::Ip => ClientKey::Ip,
            message::ClientKey::Header => {
                let name = HeaderName::from_bytes(message.header_name.as_bytes());
                ClientKey::Header(name.map_err(|error| wrong(error.to_string()))?)
            }
        };
        let route = Some(&message.route_key).filter(|key| !key.is_empty());
        let route = route.map(|key| RouteKey::parse_key(key)).transpose();
        let route = route.map_err(|error| wrong(error.to_string()))?;
        known.push(ClientThrottle { name: message.name.as_str().into(), key, route, throttle });
    }
    Ok((known, unknown))
}

pub(crate) fn usage_plan(message: &message::UsagePlan) -> Compiled<UsagePlan> {
    let stages = message.api_stages.iter().chain(&message.limited_stages).map(|stage| {
        let throttles = stage.route_throttles.iter().map(|(key, message)| {
            let route =
                RouteKey::parse_throttle_key(key).map_err(|error| format!("{key}: {error}"))?;
            Ok((route, throttle(message)?))
        });
        Ok(PlanStage {
            api_id: stage.api_id.as_str().into(),
            stage: stage.stage.as_str().into(),
            route_throttles: throttles.collect::<Compiled<_>>()?,
        })
    });
    Ok(UsagePlan {
        id: message.id.as_str().into(),
        tenant_id: message.tenant_id.as_str().into(),
        throttle: message.throttle.as_ref().map(throttle).transpose()?,
        concurrency_limit: message.concurrency_limit.map(concurrency_limit).transpose()?,
        quota: message.quota.as_ref().map(quota).transpose()?,
        stages: stages.collect::<Compiled<_>>()?,
    })
}

fn quota(message: &message::Quota) -> Compiled<Quota> {
    let unit = |period| match period {
        message::QuotaPeriod::Unspecified => Err("the quota has no period".to_owned()),
        message::QuotaPeriod::Day => Ok(Unit::Day),
        message::QuotaPeriod::Week => Ok(Unit::Week),
        message::QuotaPeriod::Month => Ok(Unit::Month),
    };
    let limit = message.limit;
    let Some(terms) = &message.terms else {
        let periods = Periods::calendar(unit(message.period())?, TimeZone::UTC);
        return Ok(Quota { limit, periods, soft: false, initial_used: 0 });
    };
    let unit = unit(terms.period())?;
    let zone = plan::time_zone(&terms.time_zone)
        .ok_or_else(|| format!("the time zone {} is unknown to this node", terms.time_zone))?;
    Ok(Quota {
        limit,
        periods: match terms.anniversary_s {
            Some(start) => Periods::anniversary(unit, zone, start),
            None => Periods::calendar(unit, zone),
        },
        soft: match terms.enforcement() {
            message::QuotaEnforcement::Unspecified => {
                return Err("the quota's enforcement is unknown to this node".to_owned());
            }
            message::QuotaEnforcement::Hard => false,
            message::QuotaEnforcement::Soft => true,
        },
        initial_used: terms.initial_used,
    })
}

fn quota_extension(message: &message::QuotaExtension) -> QuotaExtension {
    QuotaExtension {
        usage_plan_id: message.usage_plan_id.as_str().into(),
        grant: Grant { from_s: message.from_s, until_s: message.until_s, calls: message.calls },
    }
}

pub(super) fn api_key(message: &message::ApiKey) -> Compiled<ApiKey> {
    let previous = message.previous.as_ref().map(|previous| -> Compiled<_> {
        Ok(Box::new(PreviousValue {
            digest: digest(&previous.digest)?,
            until_ms: previous.until_ms,
        }))
    });
    let restrictions = message.restrictions.as_ref();
    Ok(ApiKey {
        id: message.id.as_str().into(),
        tenant_id: message.tenant_id.as_str().into(),
        digest: digest(&message.digest)?,
        enabled: restrictions.map_or(message.enabled, |restrictions| restrictions.enabled),
        test: message.test,
        usage_plan_ids: message.usage_plan_ids.iter().map(|id| id.as_str().into()).collect(),
        usage_plan_joined_s: message.usage_plan_joined_s.as_slice().into(),
        quota_extensions: message.quota_extensions.iter().map(quota_extension).collect(),
        consumer_id: message.consumer_id.as_str().into(),
        expires_at_ms: message.expires_at_ms,
        previous: previous.transpose()?,
        restrictions: restrictions.map(|it| Box::new(key_restrictions(it))),
    })
}

fn digest(bytes: &[u8]) -> Compiled<[u8; 32]> {
    bytes.try_into().map_err(|_| "the digest is not 32 bytes".to_owned())
}

/// What cannot be read is not left out, or the key would be good from more places than it is: it refuses every call.
fn key_restrictions(message: &message::KeyRestrictions) -> KeyRestrictions {
    let networks: Result<_, _> = message.client_networks.iter().map(|it| it.parse()).collect();
    let origins: Result<_, _> = message.origins.iter().map(|it| OriginPattern::parse(it)).collect();
    let unknown = !message.others.is_empty() || networks.is_err() || origins.is_err();
    KeyRestrictions {
        client_networks: networks.unwrap_or_default(),
        origins: origins.unwrap_or_default(),
        unknown,
    }
}
