//! Digests under a tenant's pepper: of an API key, which the control plane stores and a node looks up, and of a client,
//! which stands for it in the name of its bucket.

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

/// 128 bits of HMAC-SHA-256 of what a client is known by, in hexadecimal: whoever reads Redis learns no address and no
/// field's value. `kind` keeps an address and a field, or two fields, from being one client.
#[expect(clippy::missing_panics_doc, reason = "HMAC takes a key of any length")]
pub fn client<'a>(pepper: &[u8], kind: &str, value: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(pepper).expect("HMAC takes a key of any length");
    mac.update(b"client\0");
    mac.update(kind.as_bytes());
    mac.update(b"\0");
    value.into_iter().for_each(|part| mac.update(part));
    let digest = mac.finalize().into_bytes();
    format!("{:032x}", digest[..16].iter().fold(0, |all: u128, byte| all << 8 | u128::from(*byte)))
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

    #[test]
    fn a_clients_digest_has_one_length_and_depends_on_its_tenant_its_kind_and_its_value() {
        let of = |pepper: &str, kind, value: &[&str]| {
            client(pepper.as_bytes(), kind, value.iter().map(|part| part.as_bytes()))
        };
        let digest = of("pepper", "ip", &["value"]);
        assert_eq!(digest, of("pepper", "ip", &["val", "ue"]));
        assert!(digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        for other in [
            of("peppes", "ip", &["value"]),
            of("pepper", "header:a", &["value"]),
            of("pepper", "ip", &["valuf"]),
            of("pepper", "ip", &[]),
        ] {
            assert_eq!(other.len(), 32);
            assert_ne!(digest, other);
        }
    }
}
