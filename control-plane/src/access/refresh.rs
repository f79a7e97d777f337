//! What the refresh cookie holds: the session it belongs to, 256 random bits, and a tag that only we can make.
//! The tag tells a value that was once ours, and now comes back, from one that somebody made up.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::access::sealed::WrappingKey;
use crate::ids::{Rng, SessionId};

const SESSION_BYTES: usize = 16;
const RANDOM_BYTES: usize = 32;
const TAG_BYTES: usize = 32;

/// A value of the refresh cookie. It has no `Debug` that shows it, and no `Serialize`.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken {
    pub session: SessionId,
    random: Zeroizing<[u8; RANDOM_BYTES]>,
}

impl RefreshToken {
    pub fn fresh(rng: Rng, session: SessionId) -> Self {
        Self { session, random: Zeroizing::new(rng.bytes()) }
    }

    /// What the session's row holds of it: SHA-256 of 256 random bits needs no salt.
    pub fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.random.as_slice()).to_vec()
    }

    pub fn to_cookie(&self, master: &WrappingKey) -> String {
        let body = self.body();
        let tag = tag(master, &body).finalize().into_bytes();
        BASE64_URL_SAFE_NO_PAD.encode([body.as_slice(), tag.as_slice()].concat())
    }

    /// The token in a cookie that we made; nothing for any other.
    pub fn from_cookie(master: &WrappingKey, cookie: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(cookie).ok()?);
        if bytes.len() != SESSION_BYTES + RANDOM_BYTES + TAG_BYTES {
            return None;
        }
        let (body, given) = bytes.split_at(SESSION_BYTES + RANDOM_BYTES);
        tag(master, body).verify_slice(given).ok()?;
        let (session, random) = body.split_at(SESSION_BYTES);
        Some(Self {
            session: SessionId(Uuid::from_slice(session).ok()?),
            random: Zeroizing::new(random.try_into().ok()?),
        })
    }

    fn body(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([self.session.0.as_bytes(), self.random.as_slice()].concat())
    }
}

impl std::fmt::Debug for RefreshToken {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "RefreshToken({}, …)", self.session)
    }
}

fn tag(master: &WrappingKey, body: &[u8]) -> Hmac<Sha256> {
    let key = master.derive("refresh cookie");
    let mac = Hmac::<Sha256>::new_from_slice(key.as_slice());
    mac.expect("HMAC takes a key of any length").chain_update(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cookie_that_we_made_is_read() {
        let master = WrappingKey::new([1; 32]);
        let token = RefreshToken::fresh(Rng, Rng.id());
        let cookie = token.to_cookie(&master);

        assert_eq!(RefreshToken::from_cookie(&master, &cookie).unwrap(), token);
        assert!(RefreshToken::from_cookie(&WrappingKey::new([2; 32]), &cookie).is_none());
        for at in 0..cookie.len() {
            let mut forged = cookie.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(RefreshToken::from_cookie(&master, &forged).is_none(), "{at}");
        }
        assert!(RefreshToken::from_cookie(&master, "").is_none());
        assert!(!format!("{token:?}").contains(&cookie[22..40]));
    }
}
