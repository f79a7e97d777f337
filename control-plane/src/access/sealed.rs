//! Secrets at rest. The master key wraps the tenants' data keys and the installation's own keys; a data key
//! wraps that tenant's secrets. AES-256-GCM; the context is authenticated, so that a value moved to another
//! row does not open.

use std::fmt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::ids::Rng;

/// A 256-bit key that wraps others. It has no `Debug` that shows it, and no `Serialize`.
#[derive(Clone)]
pub struct WrappingKey(Zeroizing<[u8; 32]>);

impl WrappingKey {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads the 64 hex digits of a master key file.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let text = Zeroizing::new(std::fs::read_to_string(path)?);
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), bytes.as_mut()).map_err(|_| {
            std::io::Error::other(format!("{} does not hold 64 hex digits", path.display()))
        })?;
        Ok(Self(bytes))
    }

    /// Nonce ‖ ciphertext ‖ tag. `context` names what is wrapped and whose it is: `tenant:{id}:data_key`.
    pub fn wrap(&self, context: &str, secret: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = Rng.bytes();
        let mut wrapped = secret.to_vec();
        self.cipher()
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context.as_bytes()),
                &mut wrapped,
            )
            .expect("a secret is far below AES-GCM's length limit");
        [nonce.as_slice(), &wrapped].concat()
    }

    pub fn unwrap(&self, context: &str, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let (nonce, ciphertext) = wrapped
            .split_at_checked(NONCE_LEN)
            .ok_or_else(|| Error::corrupt("wrapped secret", "too short"))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce)
            .map_err(|cause| Error::corrupt("nonce", cause))?;
        let mut opened = Zeroizing::new(ciphertext.to_vec());
        let length = self
            .cipher()
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut opened)
            .map_err(|_| Error::corrupt("wrapped secret", "wrong key or context"))?
            .len();
        opened.truncate(length);
        Ok(opened)
    }

    /// The key of this length that `wrapped` holds.
    pub fn unwrap_key(&self, context: &str, wrapped: &[u8]) -> Result<Self> {
        let opened = self.unwrap(context, wrapped)?;
        let bytes: [u8; 32] =
            opened.as_slice().try_into().map_err(|cause| Error::corrupt("wrapped key", cause))?;
        Ok(Self::new(bytes))
    }

    /// A key for one purpose other than wrapping: HMAC-SHA-256 of its name.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mac = Hmac::<Sha256>::new_from_slice(self.0.as_slice());
        let mac = mac.expect("HMAC takes a key of any length").chain_update(purpose);
        Zeroizing::new(mac.finalize().into_bytes().into())
    }

    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(
            UnboundKey::new(&AES_256_GCM, self.0.as_slice()).expect("the key has 32 bytes"),
        )
    }
}

impl fmt::Debug for WrappingKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("WrappingKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_secret_opens_only_with_its_key_and_context() {
        let key = WrappingKey::new([7; 32]);
        let wrapped = key.wrap("tenant:a:secret", b"value");

        assert_eq!(key.unwrap("tenant:a:secret", &wrapped).unwrap().as_slice(), b"value");
        assert!(key.unwrap("tenant:b:secret", &wrapped).is_err());
        assert!(WrappingKey::new([8; 32]).unwrap("tenant:a:secret", &wrapped).is_err());
        assert!(key.unwrap("tenant:a:secret", &wrapped[..5]).is_err());
        assert_ne!(wrapped, key.wrap("tenant:a:secret", b"value"));
    }
}
