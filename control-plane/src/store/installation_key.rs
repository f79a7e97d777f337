//! The installation's own keys: made once, by whichever replica starts first, and wrapped by the master key.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use zeroize::Zeroizing;

use crate::access::sealed::WrappingKey;
use crate::app::Tx;
use crate::error::{Error, Result};

/// A key pair, or a certificate and its key.
pub struct InstallationKey {
    pub public: Vec<u8>,
    pub private: Zeroizing<Vec<u8>>,
}

/// The key of this name; `make` is called when there is none yet. Of two replicas that make one at once, the
/// second gets the first's.
pub async fn get_or_make(
    tx: &mut Tx,
    master: &WrappingKey,
    name: &str,
    make: impl FnOnce() -> Result<InstallationKey>,
) -> Result<InstallationKey> {
    if let Some(key) = get(tx, master, name).await? {
        return Ok(key);
    }
    let fresh = make()?;
    sqlx::query!(
        "insert into installation_key (name, public, private) values ($1, $2, $3) on conflict do nothing",
        name,
        fresh.public,
        master.wrap(&context(name), &fresh.private),
    )
    .execute(&mut **tx)
    .await?;
    get(tx, master, name).await?.ok_or_else(|| Error::corrupt("installation key", name.to_owned()))
}

async fn get(tx: &mut Tx, master: &WrappingKey, name: &str) -> Result<Option<InstallationKey>> {
    let row = sqlx::query!("select public, private from installation_key where name = $1", name)
        .fetch_optional(&mut **tx)
        .await?;
    row.map(|row| {
        Ok(InstallationKey {
            public: row.public,
            private: master.unwrap(&context(name), &row.private)?,
        })
    })
    .transpose()
}

fn context(name: &str) -> String {
    format!("installation:{name}")
}

/// A fresh Ed25519 pair: the raw public key, and PKCS#8.
pub fn ed25519() -> Result<InstallationKey> {
    let pair =
        Ed25519KeyPair::generate().map_err(|_| Error::internal("no Ed25519 key could be made"))?;
    let pkcs8 = pair.to_pkcs8().map_err(|_| Error::internal("no Ed25519 key could be written"))?;
    Ok(InstallationKey {
        public: pair.public_key().as_ref().to_vec(),
        private: Zeroizing::new(pkcs8.as_ref().to_vec()),
    })
}
