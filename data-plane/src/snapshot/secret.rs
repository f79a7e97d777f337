//! What of a tenant's secrets a node has.

use std::sync::Arc;

use proto::config::v1::{self as message, secret::Value};
use zeroize::Zeroizing;

use super::messages::Compiled;

/// Without `Debug`.
pub struct Secret {
    pub id: Arc<str>,
    pub tenant_id: Arc<str>,
    pub(crate) value: SecretValue,
}

pub(crate) enum SecretValue {
    /// As it is, for what needs a text.
    #[expect(dead_code, reason = "no integration takes a text yet")]
    Text(Zeroizing<String>),
    Aws(AwsSigner),
}

/// What signs for an access key of AWS, on some days and for some of its services.
pub(crate) struct AwsSigner {
    pub(crate) access_key_id: Zeroizing<String>,
    /// Of temporary credentials.
    pub(crate) session_token: Option<Zeroizing<String>>,
    keys: Vec<AwsSigningKey>,
}

struct AwsSigningKey {
    date: Box<str>,
    region: Box<str>,
    service: Box<str>,
    key: Zeroizing<[u8; 32]>,
}

impl AwsSigner {
    /// The key of a day, as YYYYMMDD in UTC.
    pub(crate) fn key(&self, date: &str, region: &str, service: &str) -> Option<&[u8; 32]> {
        let is = |it: &&AwsSigningKey| {
            *it.date == *date && *it.region == *region && *it.service == *service
        };
        self.keys.iter().find(is).map(|it| &*it.key)
    }
}

pub(crate) fn secret(message: &message::Secret) -> Compiled<Secret> {
    let value = match &message.value {
        Some(Value::Text(text)) => SecretValue::Text(Zeroizing::new(text.clone())),
        Some(Value::Aws(signer)) => SecretValue::Aws(aws_signer(signer)?),
        None => return Err("its kind is unknown to this node".to_owned()),
    };
    Ok(Secret {
        id: message.id.as_str().into(),
        tenant_id: message.tenant_id.as_str().into(),
        value,
    })
}

fn aws_signer(message: &message::AwsSigner) -> Compiled<AwsSigner> {
    let token = Some(&message.session_token).filter(|token| !token.is_empty());
    let keys = message.keys.iter().map(|given| {
        let key: [u8; 32] =
            given.key.as_slice().try_into().map_err(|_| "a signing key is not 32 bytes")?;
        Ok(AwsSigningKey {
            date: given.date.as_str().into(),
            region: given.region.as_str().into(),
            service: given.service.as_str().into(),
            key: Zeroizing::new(key),
        })
    });
    Ok(AwsSigner {
        access_key_id: Zeroizing::new(message.access_key_id.clone()),
        session_token: token.map(|token| Zeroizing::new(token.clone())),
        keys: keys.collect::<Compiled<_>>()?,
    })
}
