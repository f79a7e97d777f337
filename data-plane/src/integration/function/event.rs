//! What AWS's Lambda proxy events of either version say of a call, and the body as they hold it.

use std::{borrow::Cow, net::IpAddr};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{CONTENT_TYPE, HOST, USER_AGENT},
};
use jiff::Timestamp;
use plan::{
    KeyLocation,
    media::{BinaryMediaTypes, ContentHandling, Conversion},
};
use serde_json::{Map, Value};

use super::{super::media, event_v1, event_v2};
use crate::{
    dialect::Dialect, exchange::Exchange, snapshot::served::PayloadFormatVersion as Format,
};

/// A call as events tell it. Texts are the caller's, but that bytes which are no UTF-8 are replaced.
pub(super) struct Call<'a> {
    pub(super) dialect: &'static Dialect,
    pub(super) account_id: &'a str,
    pub(super) api_id: &'a str,
    pub(super) stage: &'a str,
    /// `GET /pets/{id}`, or `$default`.
    pub(super) route_key: &'a str,
    pub(super) method: &'a str,
    /// Below the stage, as it was sent.
    pub(super) path: &'a str,
    /// As it was sent.
    pub(super) query: &'a str,
    pub(super) version: Version,
    pub(super) headers: &'a HeaderMap,
    pub(super) path_parameters: Map<String, Value>,
    pub(super) stage_variables: &'a Map<String, Value>,
    pub(super) source_ip: IpAddr,
    /// Of whom was let in by a key.
    pub(super) api_key_id: Option<&'a str>,
    /// Its value, where it came in a field.
    pub(super) api_key: Option<Cow<'a, str>>,
    pub(super) request_id: &'a str,
    pub(super) time_ms: u64,
    pub(super) body: &'a [u8],
    pub(super) binary_media_types: &'a BinaryMediaTypes,
}

impl<'a> Call<'a> {
    /// `None`: the call has no route.
    pub(super) fn of(
        exchange: &'a Exchange,
        stage_variables: &'a Map<String, Value>,
        body: &'a [u8],
    ) -> Option<Self> {
        let (stage, route) = (exchange.stage.as_deref()?, exchange.route()?);
        let binary_media_types = &exchange.deployment()?.binary_media_types;
        let parameter = |name: &str| {
            let value = plan::path::decode(exchange.parameter(name)?).into_owned();
            Some((name.to_owned(), value.into()))
        };
        Some(Self {
            dialect: exchange.dialect(),
            account_id: &stage.tenant_id,
            api_id: &stage.api_id,
            stage: &stage.name,
            route_key: &route.name,
            method: exchange.head.method.as_str(),
            path: &exchange.path,
            query: exchange.head.uri.query().unwrap_or_default(),
            version: exchange.head.version,
            headers: &exchange.head.headers,
            path_parameters: route.key.variables().filter_map(parameter).collect(),
            stage_variables,
            source_ip: exchange.client(),
            api_key_id: exchange.caller.as_ref().map(|caller| &*caller.key.id),
            api_key: exchange.caller.as_ref().and_then(|_| api_key(exchange)),
            request_id: &exchange.id,
            time_ms: exchange.started_ms,
            body,
            binary_media_types,
        })
    }

    /// The event as JSON.
    pub(super) fn event(&self, format: Format) -> serde_json::Result<Vec<u8>> {
        match format {
            Format::V1 => serde_json::to_vec(&event_v1::event(self)),
            Format::V2 => serde_json::to_vec(&event_v2::event(self)),
        }
    }

    /// With the stage before it, as the caller sent it, unless that is `$default`.
    pub(super) fn path_with_stage(&self) -> String {
        if self.stage == "$default" {
            return self.path.to_owned();
        }
        format!("/{}{}", self.stage, self.path)
    }

    /// The route's path.
    pub(super) fn resource(&self) -> &str {
        self.route_key.split_once(' ').map_or(self.route_key, |(_, path)| path)
    }

    /// The host that was asked, without its port.
    pub(super) fn domain_name(&self) -> Option<&str> {
        let host = self.headers.get(HOST)?.to_str().ok()?;
        let port = host.rfind(':').filter(|at| !host[*at..].contains(']'));
        Some(&host[..port.unwrap_or(host.len())])
    }

    /// Its first label.
    pub(super) fn domain_prefix(&self) -> Option<&str> {
        self.domain_name()?.split('.').next()
    }

    pub(super) fn user_agent(&self) -> Option<Cow<'_, str>> {
        self.headers.get(USER_AGENT).map(text)
    }

    pub(super) fn protocol(&self) -> String {
        format!("{:?}", self.version)
    }

    /// In the Common Log Format: `12/Mar/2020:19:03:58 +0000`.
    pub(super) fn time(&self) -> String {
        let at =
            i64::try_from(self.time_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        at.unwrap_or_default().strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()
    }

    /// Decoded, in their order.
    pub(super) fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        url::form_urlencoded::parse(self.query.as_bytes())
    }

    /// Each name once, with its values in their order.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&HeaderName, Vec<Cow<'_, str>>)> {
        let values = |name| self.headers.get_all(name).iter().map(text).collect();
        self.headers.keys().map(move |name| (name, values(name)))
    }

    /// `None` without one. Else text, or base64, which the second tells: in AWS's REST APIs what the Api calls binary, and
    /// elsewhere what is no UTF-8 and of no media type that is text too.
    pub(super) fn body(&self) -> (Option<Cow<'_, str>>, bool) {
        if self.body.is_empty() {
            return (None, false);
        }
        let media_type = media::text(self.headers, CONTENT_TYPE);
        let is_binary = if self.dialect.converts_media {
            let handling = Some(ContentHandling::ConvertToText); // an event holds nothing else
            self.binary_media_types.of_request(media_type, handling) == Conversion::Encode
        } else {
            self.binary_media_types.cover(media_type)
                || !media_type.is_some_and(is_text)
                || std::str::from_utf8(self.body).is_err()
        };
        if is_binary {
            return (Some(STANDARD.encode(self.body).into()), true);
        }
        (Some(String::from_utf8_lossy(self.body)), false)
    }
}

/// One that came in the query is told to nobody behind this node.
fn api_key(exchange: &Exchange) -> Option<Cow<'_, str>> {
    let mut locations = exchange.deployment()?.key_locations.iter();
    locations.find_map(|location| match location {
        KeyLocation::Header(name) => exchange.head.headers.get(name).map(text),
        _ => None,
    })
}

fn text(value: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(value.as_bytes())
}

/// AWS's rule for HTTP APIs.
fn is_text(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let known = [
        "application/json",
        "application/javascript",
        "application/xml",
        "application/x-www-form-urlencoded",
    ];
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || known.contains(&&*essence)
}

#[cfg(test)]
mod tests;
