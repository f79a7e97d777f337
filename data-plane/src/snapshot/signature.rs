//! Which updates are the control plane's.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use prost::Message;
use proto::config::UPDATE_BYTES_MAX;
use proto::config::v1::{Signed, Update};

/// Opens what the holder of the installation's signing key signed, and nothing else.
#[derive(Clone)]
pub(crate) struct Verifier(UnparsedPublicKey<Vec<u8>>);

/// Why a message is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("an update is not signed by this installation's control plane")]
    Forged,
    #[error("an update is longer than {UPDATE_BYTES_MAX} bytes")]
    Size,
    #[error("a signed update cannot be read")]
    Unreadable,
}

impl Verifier {
    pub(crate) fn new(public_key: &[u8]) -> Self {
        Self(UnparsedPublicKey::new(&ED25519, public_key.to_vec()))
    }

    pub(super) fn open(&self, signed: &Signed) -> Result<Update, Invalid> {
        if signed.update.len() > UPDATE_BYTES_MAX {
            return Err(Invalid::Size);
        }
        self.0.verify(&signed.update, &signed.signature).map_err(|_| Invalid::Forged)?;
        Update::decode(signed.update.as_slice()).map_err(|_| Invalid::Unreadable)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    use proto::config::v1::{Delta, Resource, SnapshotChunk, Tenant, resource::Kind, update};

    use super::*;

    /// A control plane that signs what it is told to.
    pub(in crate::snapshot) struct Signer(Ed25519KeyPair);

    impl Signer {
        pub(in crate::snapshot) fn new() -> Self {
            Self(Ed25519KeyPair::generate().unwrap())
        }

        pub(in crate::snapshot) fn public_key(&self) -> Vec<u8> {
            self.0.public_key().as_ref().to_vec()
        }

        pub(in crate::snapshot) fn verifier(&self) -> Verifier {
            Verifier::new(&self.public_key())
        }

        pub(in crate::snapshot) fn sign(&self, update: &Update) -> Signed {
            let update = update.encode_to_vec();
            Signed { signature: self.0.sign(&update).as_ref().to_vec(), update }
        }

        pub(in crate::snapshot) fn chunk(
            &self,
            version: u64,
            index: u32,
            last: bool,
            tenant: &str,
        ) -> Signed {
            let chunk = SnapshotChunk { index, last, resources: vec![resource(tenant)] };
            let kind = Some(update::Kind::Snapshot(chunk));
            self.sign(&Update { cell: "default".to_owned(), version, kind })
        }

        pub(in crate::snapshot) fn delta(&self, version: u64, tenant: &str) -> Signed {
            let delta = Delta { upserts: vec![resource(tenant)], removals: vec![] };
            let kind = Some(update::Kind::Delta(delta));
            self.sign(&Update { cell: "default".to_owned(), version, kind })
        }
    }

    pub(in crate::snapshot) fn resource(tenant: &str) -> Resource {
        Kind::Tenant(Tenant { id: tenant.to_owned(), ..Tenant::default() }).into()
    }

    #[test]
    fn only_what_the_control_plane_signed_opens() {
        let signer = Signer::new();
        let update = signer.delta(3, "a");
        assert_eq!(signer.verifier().open(&update).unwrap().version, 3);

        let mut forged = update.clone();
        forged.update = signer.delta(4, "a").update;
        assert_eq!(signer.verifier().open(&forged), Err(Invalid::Forged));
        let mut cut = update.clone();
        cut.update.pop();
        assert_eq!(signer.verifier().open(&cut), Err(Invalid::Forged));
        let mut unsigned = update.clone();
        unsigned.signature.clear();
        assert_eq!(signer.verifier().open(&unsigned), Err(Invalid::Forged));
        assert_eq!(Signer::new().verifier().open(&update), Err(Invalid::Forged));
    }
}
