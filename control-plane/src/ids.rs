//! The ids of nouns. AWS's nouns have ten random `[a-z0-9]`, unique in the cell; ours have UUIDv7.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::error::Error;

/// Randomness, injected beside [`crate::clock::Clock`]. All of it comes from the operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rng;

impl Rng {
    pub fn bytes<const N: usize>(self) -> [u8; N] {
        let mut bytes = [0; N];
        aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives randomness");
        bytes
    }

    /// `length` characters, each one of `alphabet` with the same probability. `alphabet` has at most 256.
    pub fn text(self, alphabet: &[u8], length: usize) -> String {
        let fair = 256 - 256 % alphabet.len(); // bytes from here on would favour the first characters
        let mut text = String::with_capacity(length);
        while text.len() < length {
            let block: [u8; 32] = self.bytes();
            let rest = length - text.len();
            let fitting = block.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair);
            text.extend(fitting.take(rest).map(|byte| char::from(alphabet[byte % alphabet.len()])));
        }
        text
    }

    /// A fresh id of any kind: `app.rng.id::<ApiId>()`.
    pub fn id<Id: FreshId>(self) -> Id {
        Id::fresh(self)
    }
}

/// An id that can be drawn.
pub trait FreshId {
    fn fresh(rng: Rng) -> Self;
}

/// What an id's text is not.
#[derive(Debug, thiserror::Error)]
#[error("not an id of this kind")]
pub struct InvalidId;

impl From<InvalidId> for Error {
    fn from(cause: InvalidId) -> Self {
        Self::corrupt("id", cause)
    }
}

macro_rules! short_id {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 10]);

        impl $name {
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).unwrap_or_default() // only [a-z0-9] gets in
            }
        }

        impl FreshId for $name {
            fn fresh(rng: Rng) -> Self {
                rng.text(b"abcdefghijklmnopqrstuvwxyz0123456789", 10).parse().expect("drawn from its alphabet")
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let bytes: [u8; 10] = text.as_bytes().try_into().map_err(|_| InvalidId)?;
                let fits = bytes.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
                fits.then_some(Self(bytes)).ok_or(InvalidId)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                String::deserialize(input)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl FreshId for $name {
            fn fresh(_: Rng) -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.parse().map(Self).map_err(|_| InvalidId)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                String::deserialize(input)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

short_id! {
    ApiId
    ResourceId
    RouteId
    IntegrationId
    DeploymentId
    UsagePlanId
    ApiKeyId
    VpcLinkId
    ClientCertificateId
}

uuid_id! {
    TenantId
    UserId
    /// A log-in: the `sid` of access tokens.
    SessionId
    ConsumerId
    /// Of a tenant's secret.
    SecretId
    InvitationId
    TenantInvitationId
    /// A letter in the outbox.
    MailId
    NodeId
    JoinTokenId
    /// One process of the control plane.
    ReplicaId
    AuditEntryId
    ManagementRequestId
    QuarantinedSegmentId
    ReconciliationId
    PriceId
}

/// The public half of an access key, as AWS writes it: `TGAK` and sixteen of the base32 alphabet, 80 random bits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AccessKeyId(String);

impl AccessKeyId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FreshId for AccessKeyId {
    fn fresh(rng: Rng) -> Self {
        Self(format!("TGAK{}", rng.text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)))
    }
}

impl FromStr for AccessKeyId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fits = |byte: u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9');
        let right = text.len() == 20 && text.bytes().all(fits);
        right.then(|| Self(text.to_owned())).ok_or(InvalidId)
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Serialize for AccessKeyId {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AccessKeyId {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?.parse().map_err(D::Error::custom)
    }
}

/// A stage is named within its Api: `{apiId}/{name}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StageId {
    pub api: ApiId,
    /// `$default` or 1–128 of `[A-Za-z0-9_-]`.
    pub name: String,
}

impl FromStr for StageId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (api, name) = text.split_once('/').ok_or(InvalidId)?;
        let letters = |byte| matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        let fits = matches!(name.len(), 1..=128) && name.bytes().all(letters);
        if !fits && name != "$default" {
            return Err(InvalidId);
        }
        Ok(Self { api: api.parse()?, name: name.to_owned() })
    }
}

impl Serialize for StageId {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl fmt::Display for StageId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.api, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_named_within_its_api() {
        for right in ["abc123xyz0/prod", "abc123xyz0/$default", "abc123xyz0/a_B-9"] {
            assert_eq!(right.parse::<StageId>().unwrap().to_string(), right);
        }
        for wrong in
            ["", "prod", "abc123xyz0", "abc123xyz0/", "abc123xyz0/a/b", "abc/prod", "abc123xyz0/$x"]
        {
            assert!(wrong.parse::<StageId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_access_key_id_is_twenty_of_its_alphabet() {
        let drawn: AccessKeyId = Rng.id();
        assert_eq!(drawn.as_str().parse::<AccessKeyId>().unwrap(), drawn);
        for wrong in
            ["", "TGAK", "tgakabcdefghijklmnop", "TGAKABCDEFGHIJKLMNOPQ", "TGAKABCDEFGHIJKLMNO-"]
        {
            assert!(wrong.parse::<AccessKeyId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_short_id_is_ten_of_its_alphabet() {
        assert!("abc123xyz0".parse::<ApiId>().is_ok());
        for wrong in ["", "abc", "abc123xyz01", "ABC123XYZ0", "abc123xyz-", "äbc123xyz"] {
            assert!(wrong.parse::<ApiId>().is_err(), "{wrong}");
        }
        assert_ne!(Rng.id::<ApiId>(), Rng.id::<ApiId>());
    }
}
