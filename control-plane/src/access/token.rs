//! Access tokens: `EdDSA` JWTs of minutes, good for one tenant, carrying the session's id.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use chrono::{NaiveDate, TimeDelta};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::access::api_version;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::ids::{SessionId, TenantId, UserId};

/// How long a token is good. Its session outlives it by refreshing.
pub const LIFE: TimeDelta = TimeDelta::minutes(10);

const ISSUER: &str = "tollgate";

/// RFC 7519 names: who (`sub`), in which tenant (`tid`, absent for the operator), by which log-in (`sid`).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    sub: Uuid,
    sid: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tid: Option<Uuid>,
    iat: i64,
    exp: i64,
    /// Absent for the first version: replicas that know of no other read such tokens too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ver: Option<NaiveDate>,
}

/// What a valid token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bearer {
    pub user: UserId,
    pub session: SessionId,
    pub tenant: Option<TenantId>,
    /// What its session is pinned to.
    pub api_version: NaiveDate,
}

/// Signs and verifies with the installation's `session_signing` key, the same on every replica.
pub struct TokenSigner {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl TokenSigner {
    /// `pkcs8` is an Ed25519 private key in PKCS#8 DER.
    pub fn new(pkcs8: &[u8]) -> Result<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8)
            .map_err(|cause| Error::corrupt("session signing key", cause.to_string()))?;
        Ok(Self {
            encoding: EncodingKey::from_ed_der(pkcs8),
            decoding: DecodingKey::from_ed_der(pair.public_key().as_ref()),
        })
    }

    pub fn sign(&self, clock: &Clock, bearer: Bearer) -> Result<String> {
        let now = clock.now();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: bearer.user.0,
            sid: bearer.session.0,
            tid: bearer.tenant.map(|tenant| tenant.0),
            iat: now.timestamp(),
            exp: (now + LIFE).timestamp(),
            ver: (bearer.api_version != api_version::FIRST).then_some(bearer.api_version),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.encoding)
            .map_err(Error::internal)
    }

    /// The signature, issuer and time are checked here; whether the session was revoked is the caller's to ask.
    pub fn verify(&self, clock: &Clock, token: &str) -> Result<Bearer> {
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_issuer(&[ISSUER]);
        rules.set_required_spec_claims(&["exp", "iss", "sub"]);
        rules.validate_exp = false; // by our own clock, below
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &rules)
            .map_err(|_| Error::Unauthenticated("the access token is not valid"))?
            .claims;
        if claims.exp <= clock.now().timestamp() {
            return Err(Error::Unauthenticated("the access token has expired"));
        }
        Ok(Bearer {
            user: UserId(claims.sub),
            session: SessionId(claims.sid),
            tenant: claims.tid.map(TenantId),
            api_version: claims.ver.unwrap_or(api_version::FIRST),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Rng;

    fn signer() -> TokenSigner {
        let key = Ed25519KeyPair::generate().unwrap().to_pkcs8().unwrap();
        TokenSigner::new(key.as_ref()).unwrap()
    }

    #[test]
    fn a_token_is_good_for_its_life_and_for_its_signer() {
        crate::install_crypto();
        let clock = Clock::at("2026-11-20T12:00:00Z".parse().unwrap());
        let signer = signer();
        let bearer = Bearer {
            user: Rng.id(),
            session: Rng.id(),
            tenant: Some(Rng.id()),
            api_version: "2027-06-01".parse().unwrap(),
        };

        let token = signer.sign(&clock, bearer).unwrap();

        assert_eq!(signer.verify(&clock, &token).unwrap(), bearer);
        assert!(self::signer().verify(&clock, &token).is_err());
        let (head, rest) = token.split_once('.').unwrap();
        assert!(signer.verify(&clock, &format!("{head}x.{rest}")).is_err());
        clock.advance(LIFE);
        assert!(signer.verify(&clock, &token).is_err());
    }
}
