//! The targets: each takes any bytes, and panics only where the parser or a property of it is broken.

use control_plane::domain::api_key::KeyMode;
use control_plane::domain::api_key_value::KeyValue;
use control_plane::domain::page::Key;
use control_plane::graphql::node::Kind;
use control_plane::ids::{AccessKeyId, ApiId, ConsumerId, StageId};
use data_plane::listener::proxy_protocol::{self, Parsed};
use data_plane::snapshot::join::JoinToken;
use egress::Target;
use plan::path::{self, Normalization};
use plan::{RouteKey, RoutePath, UriTemplate};
use prost::Message;
use proto::config::v1::{NodeMessage, Signed, SnapshotChunk, Update};
use proto::segment::{self, BLOCK_BYTES};

/// What is accepted once is accepted again, unchanged: no second reading of a path finds another route.
pub(crate) fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let raw = format!("/{text}");
    for policy in [Normalization::Reject, Normalization::Normalize] {
        if let Ok(once) = path::normalize(&raw, policy) {
            assert!(once.starts_with('/'), "{once:?}");
            assert_eq!(path::normalize(&once, policy).as_deref(), Ok(&*once));
            assert_eq!(path::normalize(&once, Normalization::Reject).as_deref(), Ok(&*once));
        }
    }
    path::decode(text);
    path::with_slashes(text);
}

/// A route's key means the same after it was written out.
pub(crate) fn route(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = RouteKey::parse_key(text) {
        assert_eq!(RouteKey::parse_key(&key.to_string()), Ok(key));
    }
    drop((RouteKey::parse_throttle_key(text), RoutePath::parse(text)));
}

/// A filled-in URI still begins with the origin that the template names.
pub(crate) fn uri_template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(template) = UriTemplate::parse(text) else { return };
    if let Ok(bound) = template.bind(|_| Some("value".to_owned())) {
        let path = bound.render(|_| Some("a%2Fb"), None, Some("q=1"));
        assert!(path.starts_with('/'), "{text:?} gives {path:?}");
    }
}

/// What is read from a URI is what the connector is told: writing the authority out changes nothing.
pub(crate) fn egress_target(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(target) = Target::parse(text) {
        let again = Target::from_authority(target.scheme, &target.authority());
        let again = again.unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(
            (again.scheme, again.host, again.port),
            (target.scheme, target.host, target.port)
        );
    }
}

/// What follows a header does not change it, and a shorter part of it is never a header of its own.
pub(crate) fn proxy_protocol(bytes: &[u8]) {
    let parsed = proxy_protocol::parse(bytes);
    if let Ok(Parsed::Complete { bytes: length, .. }) = &parsed {
        assert!(*length <= bytes.len());
        assert_eq!(proxy_protocol::parse(&bytes[..*length]), parsed);
        assert_eq!(proxy_protocol::parse(&bytes[..*length - 1]), Ok(Parsed::Incomplete));
    }
}

/// A value that is taken fits into a header field, and its hint is its end.
pub(crate) fn api_key_value(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for mode in [KeyMode::Live, KeyMode::Test] {
        if let Ok(value) = KeyValue::supplied(text.to_owned().into(), mode) {
            assert!((20..=128).contains(&text.len()) && text.is_ascii());
            assert!(text.ends_with(value.hint()) && value.hint().len() == 4);
        }
    }
}

/// A cursor that is taken leads to the same place after it was written out.
pub(crate) fn cursor(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = Key::from_cursor(text, "cursor") {
        assert!(!key.id.contains('\0'));
        assert_eq!(Key::from_cursor(&key.to_cursor(), "cursor").ok(), Some(key));
    }
}

/// An id that is taken is the one that its kind and its plain id make.
pub(crate) fn global_id(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let id = async_graphql::ID(text.to_owned());
    if let Ok(plain) = Kind::Api.parse::<ApiId>(&id, "id") {
        assert_eq!(Kind::Api.id(plain), id);
    }
    drop(Kind::AccessKey.parse::<AccessKeyId>(&id, "id"));
    drop(Kind::Consumer.parse::<ConsumerId>(&id, "id"));
    drop(Kind::Stage.parse::<StageId>(&id, "id"));
}

/// A token that is taken names an authority by a whole hash.
pub(crate) fn join_token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if text.parse::<JoinToken>().is_ok() {
        assert_eq!(text.trim().split_once('.').map(|(_, hash)| hash.len()), Some(64));
    }
}

/// Messages of the stream: what is read can be written out and read again.
pub(crate) fn stream_message(bytes: &[u8]) {
    fn again<M: Message + Default + PartialEq>(bytes: &[u8]) {
        if let Ok(message) = M::decode(bytes) {
            let read = M::decode(message.encode_to_vec().as_slice());
            assert!(read.is_ok_and(|read| read == message));
        }
    }
    again::<Signed>(bytes);
    again::<Update>(bytes);
    again::<SnapshotChunk>(bytes);
    again::<NodeMessage>(bytes);
}

/// A damaged segment gives no more than it has blocks for, and no record without its names.
pub(crate) fn usage_segment(bytes: &[u8]) {
    let Ok(read) = segment::decode(bytes) else { return };
    assert!(read.blocks as usize <= bytes.len().div_ceil(BLOCK_BYTES));
    assert!(read.records.len() + read.damaged as usize <= read.blocks as usize);
    assert!(read.records.iter().all(|record| read.names.contains_key(&record.names)));
}
