//! Each message of the control plane to what is served of it, or the reason why it cannot be served.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use egress::{Policy, Target};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;
use plan::{RouteKey, Router, TrailingSlash, UriTemplate, path::Normalization};
use proto::config::v1::{self as message, integration};

use super::served::{
    ApiKey, Bucket, Deployment, HttpProxy, Integration, Mock, Period, PlanStage, Quota, Route,
    Template, Tenant, Timeouts, UsagePlan,
};
use crate::dialect::Dialect;

pub(crate) type Compiled<T> = Result<T, String>;

impl Template {
    /// Fills in a stage's variables.
    pub(super) fn bind(&self, variable: impl Fn(&str) -> Option<String>) -> Compiled<Integration> {
        match self {
            Self::Mock(mock) => Ok(Integration::Mock(mock.clone())),
            Self::HttpProxy { uri, method, timeouts, preserve_host } => {
                let uri =
                    uri.bind(variable).map_err(|error| format!("an integration's URI {error}"))?;
                let target = Target::parse(&uri.origin)
                    .map_err(|error| format!("an integration's URI {error}"))?;
                let authority = HeaderValue::try_from(target.authority())
                    .map_err(|_| "an integration's host is no field value".to_owned())?;
                Ok(Integration::HttpProxy(Arc::new(HttpProxy {
                    target,
                    authority,
                    uri,
                    method: method.clone(),
                    timeouts: *timeouts,
                    preserve_host: *preserve_host,
                })))
            }
        }
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
    })
}

pub(crate) fn deployment(message: &message::Deployment) -> Compiled<Deployment> {
    let api = message.api.as_ref().ok_or("the deployment has no Api")?;
    if api.protocol() != message::Protocol::Http {
        return Err("this node serves only APIs of protocol HTTP".to_owned());
    }
    let dialect = Dialect::of(api.dialect).ok_or("the Api's dialect is unknown to this node")?;
    let templates =
        message.integrations.iter().map(template).collect::<Compiled<Vec<Template>>>()?;
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
        if let Template::HttpProxy { uri, .. } = &templates[integration] {
            uri.check(&key).map_err(|error| format!("route {key}: {error}"))?;
        }
        routes.push(Route {
            name: key.to_string().into(),
            key,
            integration,
            api_key_required: route.api_key_required,
            unknown_restriction: !matches!(&*route.authorization_type, "" | "NONE")
                || !route.restrictions.is_empty(),
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
        router: table,
        routes,
        templates,
    })
}

fn template(message: &message::Integration) -> Compiled<Template> {
    let wrong = |what: String| format!("integration {}: {what}", message.id);
    match &message.kind {
        Some(integration::Kind::HttpProxy(proxy)) => Ok(Template::HttpProxy {
            uri: UriTemplate::parse(&proxy.uri).map_err(|error| wrong(error.to_string()))?,
            method: match proxy.method.as_str() {
                "" | "ANY" => None,
                method => Some(
                    Method::from_bytes(method.as_bytes())
                        .map_err(|_| wrong(format!("{method} is no method")))?,
                ),
            },
            timeouts: timeouts(proxy),
            preserve_host: proxy.preserve_host,
        }),
        Some(integration::Kind::Mock(mock)) => {
            let status =
                u16::try_from(mock.status).ok().filter(|status| (200..=599).contains(status));
            let status = status.and_then(|status| StatusCode::from_u16(status).ok());
            let mut headers = HeaderMap::new();
            for header in &mock.headers {
                let name = HeaderName::try_from(&header.name);
                let value = HeaderValue::try_from(&header.value);
                let (Ok(name), Ok(value)) = (name, value) else {
                    return Err(wrong(format!("the field {:?} cannot be sent", header.name)));
                };
                headers.append(name, value);
            }
            Ok(Template::Mock(Arc::new(Mock {
                status: status
                    .ok_or_else(|| wrong(format!("{} is no status of an answer", mock.status)))?,
                headers,
                body: Bytes::from(mock.body.clone()),
            })))
        }
        None => Err(wrong("its kind is unknown to this node".to_owned())),
    }
}

fn timeouts(proxy: &message::HttpProxy) -> Timeouts {
    let given = |ms: u32| (ms > 0).then(|| Duration::from_millis(ms.into()));
    Timeouts {
        connect: given(proxy.connect_timeout_ms).unwrap_or(Duration::from_secs(5)),
        first_byte: given(proxy.first_byte_timeout_ms).unwrap_or(Duration::from_secs(30)),
        idle: given(proxy.idle_timeout_ms).unwrap_or(Duration::from_mins(5)),
        total: given(proxy.total_timeout_ms),
    }
}

pub(super) fn bucket(throttle: &message::Throttle) -> Compiled<Bucket> {
    if !throttle.rate_limit.is_finite() || throttle.rate_limit < 0.0 {
        return Err(format!("{} is no rate", throttle.rate_limit));
    }
    Ok(Bucket { rate: throttle.rate_limit, burst: throttle.burst_limit })
}

pub(super) fn usage_plan(message: &message::UsagePlan) -> Compiled<UsagePlan> {
    let quota = message.quota.as_ref().map(|quota| {
        let period = match quota.period() {
            message::QuotaPeriod::Unspecified => return Err("the quota has no period".to_owned()),
            message::QuotaPeriod::Day => Period::Day,
            message::QuotaPeriod::Week => Period::Week,
            message::QuotaPeriod::Month => Period::Month,
        };
        Ok(Quota { limit: quota.limit, period })
    });
    let stages = message.api_stages.iter().map(|stage| {
        let throttles = stage.route_throttles.iter().map(|(key, throttle)| {
            let route =
                RouteKey::parse_throttle_key(key).map_err(|error| format!("{key}: {error}"))?;
            Ok((route, bucket(throttle)?))
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
        throttle: message.throttle.as_ref().map(bucket).transpose()?,
        quota: quota.transpose()?,
        stages: stages.collect::<Compiled<_>>()?,
    })
}

pub(super) fn api_key(message: &message::ApiKey) -> Compiled<ApiKey> {
    Ok(ApiKey {
        id: message.id.as_str().into(),
        tenant_id: message.tenant_id.as_str().into(),
        digest: message.digest.as_slice().try_into().map_err(|_| "the digest is not 32 bytes")?,
        enabled: message.enabled,
        test: message.test,
        usage_plan_ids: message.usage_plan_ids.iter().map(|id| id.as_str().into()).collect(),
        consumer_id: message.consumer_id.as_str().into(),
        expires_at_ms: message.expires_at_ms,
    })
}
