//! What an integration says of its backend, with what its Api's dialect says where it says nothing.

use std::{sync::Arc, time::Duration};

use egress::{Identity, Protocol, TlsSettings};
use http::Method;
use plan::UriTemplate;
use proto::config::v1 as message;

use super::{
    messages::Compiled,
    resilience,
    served::{Forwarding, ForwardingPolicy, ProxyTemplate, Timeouts},
};
use crate::dialect::Dialect;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the request's last byte to the answer's head.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two pieces of a body.
const IDLE_TIMEOUT: Duration = Duration::from_mins(5);

pub(super) fn backend(proxy: &message::HttpProxy, dialect: &Dialect) -> Compiled<ProxyTemplate> {
    let buffered = buffered(proxy, dialect)?;
    Ok(ProxyTemplate {
        uri: UriTemplate::parse(&proxy.uri).map_err(|error| error.to_string())?,
        method: match proxy.method.as_str() {
            "" | "ANY" => None,
            method => Some(
                Method::from_bytes(method.as_bytes())
                    .map_err(|_| format!("{method} is no method"))?,
            ),
        },
        timeouts: timeouts(proxy, dialect, buffered),
        preserve_host: proxy.preserve_host,
        protocol: protocol(proxy)?,
        forwarding: Forwarding { policy: policy(proxy)?, form: dialect.headers.forwarded },
        buffered,
        retry_policy: proxy.retry_policy.as_ref().map(resilience::retry_policy).map(Arc::new),
        circuit_breaker: proxy.circuit_breaker.as_ref().map(resilience::circuit_breaker),
        identity: proxy.tls_config.as_ref().map(identity).transpose()?.flatten(),
        client_certificate_id: proxy
            .tls_config
            .as_ref()
            .filter(|tls| !tls.client_certificate_id.is_empty())
            .map(|tls| tls.client_certificate_id.as_str().into()),
        vpc_link_id: None,
    })
}

/// Through a VPC link.
pub(super) fn linked(proxy: &message::LinkedProxy, dialect: &Dialect) -> Compiled<ProxyTemplate> {
    let of = proxy.backend.as_ref().ok_or("it has no backend")?;
    let vpc_link_id = Some(proxy.vpc_link_id.as_str().into());
    Ok(ProxyTemplate { vpc_link_id, ..backend(of, dialect)? })
}

/// `None` where it says no more than what the backend is shown.
fn identity(message: &message::TlsConfig) -> Compiled<Option<Arc<Identity>>> {
    let settings = TlsSettings {
        insecure_skip_verification: message.insecure_skip_verification,
        server_name_to_verify: message.server_name_to_verify.clone(),
        authorities: message.ca_bundle.clone(),
    };
    if settings == TlsSettings::default() {
        return Ok(None);
    }
    let identity = Identity::new(settings).map_err(|error| format!("its TLS settings: {error}"));
    identity.map(Arc::new).map(Some)
}

fn protocol(proxy: &message::HttpProxy) -> Compiled<Protocol> {
    use message::ProtocolVersion::{Http1, Http2, Unspecified};
    match message::ProtocolVersion::try_from(proxy.protocol_version) {
        Ok(Unspecified | Http1) => Ok(Protocol::Http1),
        Ok(Http2) => Ok(Protocol::Http2),
        Err(_) => Err("its protocol version is unknown to this node".to_owned()),
    }
}

fn policy(proxy: &message::HttpProxy) -> Compiled<ForwardingPolicy> {
    use message::ForwardedPolicy::{Append, Remove, Replace, Unspecified};
    match message::ForwardedPolicy::try_from(proxy.forwarded) {
        Ok(Unspecified | Append) => Ok(ForwardingPolicy::Append),
        Ok(Replace) => Ok(ForwardingPolicy::Replace),
        Ok(Remove) => Ok(ForwardingPolicy::Remove),
        Err(_) => Err("its policy for Forwarded is unknown to this node".to_owned()),
    }
}

fn buffered(proxy: &message::HttpProxy, dialect: &Dialect) -> Compiled<bool> {
    use message::ResponseTransferMode::{Buffered, Stream, Unspecified};
    match message::ResponseTransferMode::try_from(proxy.response_transfer_mode) {
        Ok(Unspecified) => Ok(dialect.buffers_answers),
        Ok(Buffered) => Ok(true),
        Ok(Stream) => Ok(false),
        Err(_) => Err("its response transfer mode is unknown to this node".to_owned()),
    }
}

/// A time that an integration leaves open is the dialect's. Where it gives the whole exchange more or less time than usual,
/// so has the backend for its answer's head.
fn timeouts(proxy: &message::HttpProxy, dialect: &Dialect, buffered: bool) -> Timeouts {
    let given = |ms: u32| (ms > 0).then(|| Duration::from_millis(ms.into()));
    let usual = if buffered { dialect.timeout } else { dialect.stream_timeout };
    let total = given(proxy.total_timeout_ms);
    let first_byte = given(proxy.first_byte_timeout_ms).or(total).or(dialect.timeout);
    Timeouts {
        connect: given(proxy.connect_timeout_ms).unwrap_or(CONNECT_TIMEOUT),
        first_byte: first_byte.unwrap_or(FIRST_BYTE_TIMEOUT),
        idle: given(proxy.idle_timeout_ms).unwrap_or(IDLE_TIMEOUT),
        total: total.or(usual),
    }
}

#[cfg(test)]
mod tests {
    use message::Dialect::{AwsHttp, AwsRest, Native};

    use super::*;

    fn compiled(dialect: message::Dialect, change: fn(&mut message::HttpProxy)) -> ProxyTemplate {
        let mut proxy =
            message::HttpProxy { uri: "http://h.test/".into(), ..message::HttpProxy::default() };
        change(&mut proxy);
        backend(&proxy, Dialect::of(dialect.into()).unwrap()).unwrap()
    }

    #[test]
    fn a_time_that_is_left_open_is_the_dialects() {
        let stream: fn(&mut message::HttpProxy) = |proxy| {
            proxy.response_transfer_mode = message::ResponseTransferMode::Stream.into();
        };
        for (dialect, change, total, first_byte) in [
            (Native, (|_| {}) as fn(&mut _), None, 30_000),
            (AwsRest, |_| {}, Some(29_000), 29_000),
            (AwsHttp, |_| {}, Some(30_000), 30_000),
            (AwsRest, stream, Some(900_000), 29_000),
            (AwsHttp, stream, Some(900_000), 30_000),
        ] {
            let times = compiled(dialect, change).timeouts;
            assert_eq!(times.total, total.map(Duration::from_millis), "{dialect:?}");
            assert_eq!(times.first_byte, Duration::from_millis(first_byte), "{dialect:?}");
        }
        for dialect in [Native, AwsRest, AwsHttp] {
            let long = compiled(dialect, |proxy| proxy.total_timeout_ms = 120_000).timeouts;
            assert_eq!(long.total, Some(Duration::from_mins(2)));
            assert_eq!(long.first_byte, Duration::from_mins(2), "the head may take as long");
            let own = compiled(dialect, |proxy| {
                (proxy.total_timeout_ms, proxy.first_byte_timeout_ms) = (120_000, 50);
            });
            assert_eq!(own.timeouts.first_byte, Duration::from_millis(50));
        }
    }

    #[test]
    fn what_this_node_does_not_know_is_refused() {
        let native = Dialect::of(Native.into()).unwrap();
        for change in [
            (|proxy| proxy.forwarded = 99) as fn(&mut message::HttpProxy),
            |proxy| proxy.response_transfer_mode = 99,
            |proxy| proxy.protocol_version = 99,
        ] {
            let mut proxy = message::HttpProxy { uri: "http://h/".into(), ..Default::default() };
            change(&mut proxy);
            let refused = backend(&proxy, native).err().unwrap();
            assert!(refused.ends_with("unknown to this node"), "{refused}");
        }
    }
}
