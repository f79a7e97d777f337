//! What a link that works once carries: 256 random bits. Only their hash is stored.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::ids::Rng;

/// It has no `Debug` and no `Serialize`.
pub struct LinkToken(Zeroizing<String>);

impl LinkToken {
    pub fn fresh(rng: Rng) -> Self {
        Self(Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(rng.bytes::<32>())))
    }

    /// The link to this page of the console: `{public_url}/{page}?token=…`.
    pub fn link(&self, public_url: &str, page: &str) -> String {
        format!("{}/{page}?token={}", public_url.trim_end_matches('/'), *self.0)
    }

    pub fn hash(&self) -> Vec<u8> {
        hash(&self.0)
    }
}

/// By which what somebody opened a link with is found. 256 random bits need no salt.
pub fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}
