//! The digest of an API key: what the control plane stores and a node looks up.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// HMAC-SHA-256 of the key's value under its tenant's pepper. A stolen table of digests is useless without
/// the peppers, and the same value in two tenants has two digests.
#[expect(clippy::missing_panics_doc, reason = "HMAC takes a key of any length")]
pub fn api_key(pepper: &[u8], value: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(pepper).expect("HMAC takes a key of any length");
    mac.update(value);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_depends_on_the_value_and_the_pepper() {
        let digest = api_key(b"pepper", b"value");
        assert_eq!(digest, api_key(b"pepper", b"value"));
        assert_ne!(digest, api_key(b"pepper", b"valuf"));
        assert_ne!(digest, api_key(b"peppes", b"value"));
    }
}
