//! The chain of an audit log, and how it is checked.
//!
//! Each tenant has one, and the installation its own. A link's hash is SHA-256 of the 32 bytes of the hash before
//! (zeros for the first) and the entry's text in UTF-8. The text is a JSON object with every field and the place in
//! the chain, exactly as PostgreSQL prints `jsonb`; exports carry it as it was hashed, so that whoever has one needs
//! nothing but SHA-256 to check it. The database writes links at the end of the transaction that wrote the entry.
//!
//! Hashes alone could be computed anew by whoever can write the tables. So every few seconds a replica seals each
//! chain that grew: it signs the newest hash with an Ed25519 key that is derived from the master key and is nowhere
//! in the database. What neither can show is a whole database put back to an earlier state; who notes a head
//! elsewhere (`expected` below) sees that too.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::access::actor::Caller;
use crate::access::sealed::WrappingKey;
use crate::app::{App, Job, Tx};
use crate::domain::audit;
use crate::error::{Error, Result};
use crate::ids::{AuditEntryId, TenantId};
use crate::store;

/// Links that are in memory at once.
const LINKS_MAX: i64 = 1000;
/// An entry that was not sealed for this long was not meant to be.
const SEALED_WITHIN: TimeDelta = TimeDelta::minutes(10);

/// SHA-256.
pub type Hash = [u8; 32];

/// A place in a chain, for people to note: `17:9f86…`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of links up to here; 0 with a hash of zeros for an empty chain.
    pub sequence: u64,
    pub hash: Hash,
}

impl fmt::Display for Head {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.sequence, hex::encode(self.hash))
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl std::str::FromStr for Head {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (sequence, hash) = text.split_once(':')?;
            let mut bytes = [0; 32];
            hex::decode_to_slice(hash, &mut bytes).ok()?;
            Some(Self { sequence: sequence.parse().ok()?, hash: bytes })
        };
        parse().ok_or_else(|| {
            Error::bad_request("expected", "is a sequence and a hash: 17:9f86…, 64 hex digits")
        })
    }
}

/// A chain as its row says.
pub struct Chain {
    pub head: Head,
    pub seal: Option<Seal>,
}

/// A signature over a chain, and a place in it.
#[derive(Clone, Debug)]
pub struct Seal {
    pub sequence: u64,
    pub signature: Vec<u8>,
}

/// A link, and the entry as the table has it now.
pub struct Linked {
    pub sequence: u64,
    pub entry: AuditEntryId,
    pub previous_hash: Vec<u8>,
    pub hash: Vec<u8>,
    /// None where the entry is gone.
    pub text: Option<String>,
    pub created_at: Option<DateTime<Utc>>,
}

/// What a check of a chain found.
#[derive(Clone, Debug)]
pub struct Verification {
    /// None for the installation's own.
    pub tenant: Option<TenantId>,
    /// How many entries were right, up to the first that was not.
    pub entries: u64,
    /// Where the chain that was checked ends. Note it somewhere else.
    pub head: Head,
    /// Up to which entry there is a signature.
    pub sealed_sequence: u64,
    /// The first thing that is wrong; None for a chain that is whole.
    pub fault: Option<Fault>,
}

/// Something that was changed behind the log's back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The place in the chain.
    pub sequence: u64,
    pub entry: Option<AuditEntryId>,
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entry {
            Some(entry) => write!(out, "entry {} ({entry}): {}", self.sequence, self.reason),
            None => write!(out, "entry {}: {}", self.sequence, self.reason),
        }
    }
}

/// A walk along a chain, from its first link.
struct Walk {
    at: Head,
    sealed_hash: Option<Hash>,
}

impl Walk {
    fn new() -> Self {
        Self { at: Head { sequence: 0, hash: [0; 32] }, sealed_hash: None }
    }

    /// One link further, or why not.
    fn step(
        &mut self,
        sequence: u64,
        previous: &[u8],
        text: Option<&str>,
        hash: &[u8],
    ) -> Result<(), String> {
        let next = self.at.sequence + 1;
        if sequence != next {
            return Err("it was taken out of the chain".to_owned());
        }
        if previous != self.at.hash {
            return Err("it does not follow the one before".to_owned());
        }
        let text = text.ok_or("it was deleted; its link is still there")?;
        if hash != link_hash(&self.at.hash, text) {
            return Err("it is not what was written".to_owned());
        }
        self.at = Head { sequence, hash: link_hash(&self.at.hash, text) };
        Ok(())
    }
}

/// The hash of a link.
pub fn link_hash(previous: &Hash, text: &str) -> Hash {
    Sha256::new().chain_update(previous).chain_update(text).finalize().into()
}

/// Checks the caller's log: a member's tenant's, or the installation's own. `expected` is a head that was noted
/// before.
pub async fn verify(app: &App, caller: &Caller, expected: Option<Head>) -> Result<Verification> {
    let tenant = audit::readable(caller)?;
    verify_one(app, tenant, expected).await
}

/// Checks one log as the administrator of the machine, who needs no permission but the master key.
pub async fn verify_one(
    app: &App,
    tenant: Option<TenantId>,
    expected: Option<Head>,
) -> Result<Verification> {
    // One moment of the whole log, which a tenant's transaction has no room for: it begins with its tenant.
    let mut tx = app.system(Job::Audit).await?;
    store::cell::read_as_of_one_moment(&mut tx).await?;
    check(app, &mut tx, tenant, expected).await
}

/// Every log there is: the installation's own (None), then the tenants'.
pub async fn all(app: &App) -> Result<Vec<Option<TenantId>>> {
    let mut tx = app.system(Job::Audit).await?;
    let mut chains = vec![None];
    chains.extend(store::audit_chain::tenants(&mut tx).await?.into_iter().map(Some));
    Ok(chains)
}

async fn check(
    app: &App,
    tx: &mut Tx,
    tenant: Option<TenantId>,
    expected: Option<Head>,
) -> Result<Verification> {
    let chain = current(tx, tenant).await?;
    let sealed_sequence = chain.seal.as_ref().map_or(0, |seal| seal.sequence);
    let mut walk = Walk::new();
    let mut unsealed_since = None;
    let mut fault = None;
    'links: loop {
        let links =
            store::audit_chain::links(tx, tenant, walk.at.sequence, None, LINKS_MAX).await?;
        let last = i64::try_from(links.len()) != Ok(LINKS_MAX);
        for link in links {
            let step =
                walk.step(link.sequence, &link.previous_hash, link.text.as_deref(), &link.hash);
            if let Err(reason) = step {
                // A gap is the fault of the one that is missing.
                let missing = link.sequence != walk.at.sequence + 1;
                let entry = (!missing).then_some(link.entry);
                fault = Some(Fault { sequence: walk.at.sequence + 1, entry, reason });
                break 'links;
            }
            if link.sequence == sealed_sequence {
                walk.sealed_hash = Some(walk.at.hash);
            }
            if link.sequence > sealed_sequence && unsealed_since.is_none() {
                unsealed_since = link.created_at;
            }
            if expected.is_some_and(|noted| noted.sequence == link.sequence && noted != walk.at) {
                let reason = "this or an earlier one is not what it was when you noted the head";
                fault = fault_at(link.sequence, Some(link.entry), reason);
                break 'links;
            }
        }
        if last {
            break;
        }
    }
    if fault.is_none() {
        let stray = store::audit_chain::unlinked(tx, tenant).await?;
        fault = whole(app, tenant, &chain, &walk, expected)
            .or_else(|| {
                let late = unsealed_since.is_some_and(|at| at + SEALED_WITHIN < app.clock.now());
                let reason =
                    "no control plane has sealed it; start one, or its seal was taken away";
                late.then(|| fault_at(sealed_sequence + 1, None, reason)).flatten()
            })
            .or_else(|| {
                let reason = "it was put in behind the chain's back";
                stray.and_then(|entry| fault_at(walk.at.sequence + 1, Some(entry), reason))
            });
    }
    let entries = walk.at.sequence;
    Ok(Verification { tenant, entries, head: walk.at, sealed_sequence, fault })
}

/// Whether a chain whose links are right is all of the chain.
fn whole(
    app: &App,
    tenant: Option<TenantId>,
    chain: &Chain,
    walk: &Walk,
    expected: Option<Head>,
) -> Option<Fault> {
    let after = walk.at.sequence + 1;
    let head = chain.head;
    if head.sequence > walk.at.sequence {
        let reason = format!("it and the rest are gone; the chain had {}", head.sequence);
        return fault_at(after, None, &reason);
    }
    if head != walk.at {
        return fault_at(walk.at.sequence, None, "the chain's head does not know it");
    }
    if let Some(seal) = &chain.seal {
        let Some(hash) = walk.sealed_hash else {
            let reason = format!("it and the rest are gone; {} were sealed", seal.sequence);
            return fault_at(after, None, &reason);
        };
        let head = Head { sequence: seal.sequence, hash };
        let key = public_key(app);
        if UnparsedPublicKey::new(&ED25519, key)
            .verify(&sealed_text(tenant, head), &seal.signature)
            .is_err()
        {
            let reason = "it or an earlier one was rewritten with all hashes after it: the seal was made for others";
            return fault_at(seal.sequence, None, reason);
        }
    }
    if expected.is_some_and(|noted| noted.sequence > walk.at.sequence) {
        return fault_at(after, None, "it was there when you noted the head, and is gone");
    }
    None
}

#[expect(clippy::unnecessary_wraps, reason = "every caller wants an option")]
fn fault_at(sequence: u64, entry: Option<AuditEntryId>, reason: &str) -> Option<Fault> {
    Some(Fault { sequence, entry, reason: reason.to_owned() })
}

/// Signs the head of every chain that grew since it was signed last.
pub async fn seal(app: &App) -> Result<()> {
    let mut tx = app.system(Job::Audit).await?;
    let key = key(app)?;
    for (tenant, head) in store::audit_chain::unsealed(&mut tx, LINKS_MAX).await? {
        let signature = key.sign(&sealed_text(tenant, head));
        store::audit_chain::seal(&mut tx, tenant, head, signature.as_ref()).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// What a seal signs.
fn sealed_text(tenant: Option<TenantId>, head: Head) -> Vec<u8> {
    let chain = tenant.map_or(Uuid::nil(), |tenant| tenant.0);
    format!("tollgate audit chain v1\n{chain}\n{head}\n").into_bytes()
}

/// The installation's key, which seals audit logs and the ledger. Texts that it signs begin with what they are.
pub(crate) fn key(app: &App) -> Result<Ed25519KeyPair> {
    key_of(&app.master)
}

fn key_of(master: &WrappingKey) -> Result<Ed25519KeyPair> {
    Ed25519KeyPair::from_seed_unchecked(master.derive("audit_seal").as_slice())
        .map_err(|_| Error::internal("the audit log's key could not be derived"))
}

/// The public half of the key that is derived from this master key, in hex.
pub fn published_key(master: &WrappingKey) -> Result<String> {
    Ok(hex::encode(key_of(master)?.public_key()))
}

/// What seals are verified with: 32 bytes; empty where the key cannot be derived, which verifies nothing.
pub fn public_key(app: &App) -> Vec<u8> {
    key(app).map(|key| key.public_key().as_ref().to_vec()).unwrap_or_default()
}

/// A line of an exported log. All but the last are entries.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum Line {
    #[serde(rename_all = "camelCase")]
    Entry {
        sequence: u64,
        previous_hash: String,
        hash: String,
        /// The text that was hashed: JSON inside JSON.
        entry: String,
    },
    #[serde(rename_all = "camelCase")]
    Head {
        /// The tenant's id; all zeros for the installation's own.
        chain: Uuid,
        /// `{sequence}:{hash}`.
        head: String,
        /// Up to which entry `seal` vouches.
        sealed_sequence: u64,
        /// Ed25519 over `tollgate audit chain v1\n{chain}\n{sequence}:{hash}\n`; null where there is none yet.
        seal: Option<String>,
        public_key: String,
    },
}

/// The chain as it is now; an empty one where nothing was ever written.
pub(crate) async fn current(tx: &mut Tx, tenant: Option<TenantId>) -> Result<Chain> {
    let chain = store::audit_chain::get(tx, tenant).await?;
    Ok(chain.unwrap_or_else(|| Chain { head: Walk::new().at, seal: None }))
}

/// The part of an exported log after `sequence`, as NDJSON, and its last sequence; nothing where there is no more.
pub(crate) async fn export(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    after: u64,
    until: u64,
) -> Result<Option<(String, u64)>> {
    let links = store::audit_chain::links(tx, tenant, after, Some(until), LINKS_MAX).await?;
    let Some(last) = links.last().map(|link| link.sequence) else { return Ok(None) };
    let mut part = String::new();
    for link in links {
        line(
            &mut part,
            &Line::Entry {
                sequence: link.sequence,
                previous_hash: hex::encode(&link.previous_hash),
                hash: hex::encode(&link.hash),
                entry: link.text.unwrap_or_default(),
            },
        )?;
    }
    Ok(Some((part, last)))
}

/// The last line of an exported log.
pub(crate) fn export_head(app: &App, tenant: Option<TenantId>, chain: &Chain) -> Result<String> {
    let mut text = String::new();
    line(
        &mut text,
        &Line::Head {
            chain: tenant.map_or(Uuid::nil(), |tenant| tenant.0),
            head: chain.head.to_string(),
            sealed_sequence: chain.seal.as_ref().map_or(0, |seal| seal.sequence),
            seal: chain.seal.as_ref().map(|seal| hex::encode(&seal.signature)),
            public_key: hex::encode(public_key(app)),
        },
    )?;
    Ok(text)
}

fn line(text: &mut String, line: &Line) -> Result<()> {
    text.push_str(&serde_json::to_string(line).map_err(Error::internal)?);
    text.push('\n');
    Ok(())
}

/// Checks an exported log with nothing but itself, and a head that was noted before. Answers its head.
pub fn verify_export(text: &str, expected: Option<Head>) -> Result<Head, Fault> {
    let mut walk = Walk::new();
    let mut hashes = vec![walk.at.hash];
    let mut head = None;
    for text in text.lines() {
        let at = walk.at.sequence + 1;
        let fault = |reason: String| Fault { sequence: at, entry: None, reason };
        if head.is_some() {
            return Err(fault("the file goes on after its head".to_owned()));
        }
        let line: Line =
            serde_json::from_str(text).map_err(|_| fault("not a line of an export".to_owned()))?;
        match line {
            Line::Entry { sequence, previous_hash, hash, entry } => {
                let bytes = |hex_digits: &str| hex::decode(hex_digits).unwrap_or_default();
                walk.step(sequence, &bytes(&previous_hash), Some(&entry), &bytes(&hash))
                    .map_err(fault)?;
                hashes.push(walk.at.hash);
            }
            Line::Head { chain, head: said, sealed_sequence, seal, public_key } => {
                if said != walk.at.to_string() {
                    return Err(fault(format!("the file's head says {said}")));
                }
                let tenant = (!chain.is_nil()).then_some(TenantId(chain));
                let sealed = usize::try_from(sealed_sequence).ok().and_then(|at| hashes.get(at));
                if let Some(seal) = seal {
                    let text = sealed.map(|hash| {
                        sealed_text(tenant, Head { sequence: sealed_sequence, hash: *hash })
                    });
                    let key = hex::decode(public_key).unwrap_or_default();
                    let seal = hex::decode(seal).unwrap_or_default();
                    let verified = text.is_some_and(|text| {
                        UnparsedPublicKey::new(&ED25519, key).verify(&text, &seal).is_ok()
                    });
                    if !verified {
                        return Err(fault("the seal was made for another chain".to_owned()));
                    }
                }
                head = Some(walk.at);
            }
        }
    }
    let fault =
        |sequence, reason: &str| Err(Fault { sequence, entry: None, reason: reason.to_owned() });
    let Some(head) = head else {
        return fault(walk.at.sequence + 1, "the file ends before its head: it was cut off");
    };
    match expected {
        Some(noted) => {
            let at = usize::try_from(noted.sequence).ok().and_then(|at| hashes.get(at));
            match at {
                None => fault(head.sequence + 1, "it was there when you noted the head"),
                Some(hash) if *hash != noted.hash => {
                    fault(noted.sequence, "this or an earlier one is not what you noted")
                }
                Some(_) => Ok(head),
            }
        }
        None => Ok(head),
    }
}

#[cfg(test)]
mod tests;
