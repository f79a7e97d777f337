//! The statement of a day, the proof of a row, and how both are checked with nothing but themselves.
//!
//! A day (UTC) has 24 hours; each has a number of rows and the root over the leaves of its rows ([`super::row`]). The
//! day's own tree has these hours for leaves, in their order, each as `TGH1` in ASCII, then the hour's start in
//! seconds since 1970-01-01T00:00:00Z, the number of rows (8 bytes each, big-endian) and the 32 bytes of its root. The
//! installation signs, by Ed25519, the text `tollgate usage statement v1\n{tenantId}\n{day}\n{root}\n`, with the id in
//! lower case, the day as `2026-11-16`, and the root of the day in hex. Trees are those of RFC 9162 ([`super::merkle`]).
//!
//! A proof of a row has the row, the place of its leaf among the hour's, and the path from it to the hour's root. So a
//! statement and an export of usage say whether every row of a day is there, unchanged, and no other; a statement and
//! a proof say it of one row.

use std::fmt;
use std::io::Read;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::TenantId;
use crate::ledger::export::csv;
use crate::ledger::merkle::{self, Hash};
use crate::ledger::row::{self, cache_name, cache_of};
use crate::store::usage_hour::LedgerRow;

/// Of both forms.
pub const VERSION: u32 = 1;
/// The longest statement or proof that is read: a proof has one row and at most 64 hashes.
pub const BYTES_MAX: usize = 1024 * 1024;
const HOURS: usize = 24;

/// Bytes that are lower-case hex in JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hex<const N: usize>(pub [u8; N]);

impl<const N: usize> fmt::Display for Hex<N> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode(self.0))
    }
}

impl<const N: usize> fmt::Debug for Hex<N> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl<const N: usize> std::str::FromStr for Hex<N> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = [0; N];
        let read = hex::decode_to_slice(text, &mut bytes);
        // One form of each: upper case is another text.
        if read.is_err() || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(format!("is not {} lower-case hex digits", N * 2));
        }
        Ok(Self(bytes))
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Hex<N> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?.parse().map_err(D::Error::custom)
    }
}

/// An hour that cannot change any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hour {
    pub hour: DateTime<Utc>,
    pub rows: u64,
    pub root: Hex<32>,
}

impl Hour {
    /// Over these leaves, in whichever order they come.
    pub fn over(hour: DateTime<Utc>, mut leaves: Vec<Hash>) -> Self {
        leaves.sort_unstable();
        Self { hour, rows: leaves.len() as u64, root: Hex(merkle::root(&leaves)) }
    }

    fn leaf(&self) -> Hash {
        let mut bytes = b"TGH1".to_vec();
        bytes.extend(self.hour.timestamp().to_be_bytes());
        bytes.extend(self.rows.to_be_bytes());
        bytes.extend(self.root.0);
        merkle::leaf(&bytes)
    }

    /// What is signed when the hour is sealed, so that its root cannot be computed anew by whoever can write tables.
    fn text(&self, tenant: TenantId) -> Vec<u8> {
        let (hour, rows, root) = (at(self.hour), self.rows, self.root);
        format!("tollgate usage hour v1\n{tenant}\n{hour}\n{rows}\n{root}\n").into_bytes()
    }

    pub fn sign(&self, tenant: TenantId, key: &Ed25519KeyPair) -> Vec<u8> {
        key.sign(&self.text(tenant)).as_ref().to_vec()
    }

    pub fn signed(&self, tenant: TenantId, key: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, key).verify(&self.text(tenant), signature).is_ok()
    }
}

fn at(hour: DateTime<Utc>) -> String {
    hour.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// When the day begins.
pub fn start(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

/// What a tenant used on a day. One that is not final has the hours that are sealed so far and neither root nor
/// signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Statement {
    pub version: u32,
    pub tenant_id: TenantId,
    pub day: NaiveDate,
    #[serde(rename = "final")]
    pub is_final: bool,
    pub hours: Vec<Hour>,
    pub root: Option<Hex<32>>,
    pub signature: Option<Hex<64>>,
    /// The installation's public key.
    pub key: Option<Hex<32>>,
}

impl Statement {
    /// Of these hours, the first ones of the day; signed where they are all.
    pub fn new(tenant: TenantId, day: NaiveDate, hours: Vec<Hour>, key: &Ed25519KeyPair) -> Self {
        let is_final = hours.len() == HOURS;
        let mut statement = Self {
            version: VERSION,
            tenant_id: tenant,
            day,
            is_final,
            hours,
            root: None,
            signature: None,
            key: None,
        };
        if is_final {
            let root = statement.computed_root();
            statement.root = Some(Hex(root));
            let signature = key.sign(&statement.text(root));
            statement.signature = signature.as_ref().try_into().ok().map(Hex);
            statement.key = key.public_key().as_ref().try_into().ok().map(Hex);
        }
        statement
    }

    /// How many rows the day has.
    pub fn rows(&self) -> u64 {
        self.hours.iter().fold(0, |sum, hour| sum.saturating_add(hour.rows))
    }

    fn computed_root(&self) -> Hash {
        merkle::root(&self.hours.iter().map(Hour::leaf).collect::<Vec<_>>())
    }

    fn text(&self, root: Hash) -> Vec<u8> {
        let (tenant, day, root) = (self.tenant_id, self.day, Hex(root));
        format!("tollgate usage statement v1\n{tenant}\n{day}\n{root}\n").into_bytes()
    }

    /// Reads what was downloaded.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse("statement", text)
    }

    /// Whether it is what the owner of a key stated, or what is wrong first: by `key` where one is given, else by the
    /// one that it names itself.
    pub fn check(&self, key: Option<Hex<32>>) -> Result<Checked<'_>, String> {
        if self.version != VERSION {
            return Err(format!("it is of version {}, not {VERSION}", self.version));
        }
        if !self.is_final {
            let open = start(self.day)
                + TimeDelta::hours(i64::try_from(self.hours.len()).unwrap_or(0).min(24));
            return Err(format!("it is not final: {} is not sealed yet", at(open)));
        }
        let (Some(root), Some(signature), Some(stated_key)) = (self.root, self.signature, self.key)
        else {
            return Err("it has no root, no signature or no key".to_owned());
        };
        if self.hours.len() != HOURS {
            return Err(format!("it has {} hours, not {HOURS}", self.hours.len()));
        }
        let mut expected = start(self.day);
        for (index, hour) in self.hours.iter().enumerate() {
            if hour.hour != expected {
                return Err(format!("its hours[{index}] is not {}", at(expected)));
            }
            expected += TimeDelta::hours(1);
        }
        if self.computed_root() != root.0 {
            return Err(
                "its hours do not make its root: one of them or the root was changed".to_owned()
            );
        }
        if key.is_some_and(|key| key != stated_key) {
            return Err(format!("it names another key than yours: {stated_key}"));
        }
        let signed = UnparsedPublicKey::new(&ED25519, key.unwrap_or(stated_key).0)
            .verify(&self.text(root.0), &signature.0);
        if signed.is_err() {
            let reason = "its signature was made for another statement or by another key";
            return Err(reason.to_owned());
        }
        Ok(Checked(self))
    }
}

/// A statement whose signature is right.
#[derive(Clone, Copy, Debug)]
pub struct Checked<'a>(&'a Statement);

/// How many rows of an export are the statement's, and how many of other days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    pub of_the_day: u64,
    pub others: u64,
}

impl Checked<'_> {
    fn hour(&self, time: DateTime<Utc>) -> Option<&Hour> {
        self.0.hours.iter().find(|hour| hour.hour == time)
    }

    /// Whether the proven row is in the statement, or why not.
    pub fn proof(&self, proof: &Proof) -> Result<(), String> {
        if proof.version != VERSION {
            return Err(format!("it is of version {}, not {VERSION}", proof.version));
        }
        if proof.tenant_id != self.0.tenant_id {
            return Err(format!("it is of another tenant than the statement: {}", proof.tenant_id));
        }
        let row = proof.row.ledger_row()?;
        let Some(hour) = self.hour(row.hour) else {
            return Err(format!("its row's hour, {}, is not one of the statement's", at(row.hour)));
        };
        if proof.ledger_row != row::name(proof.tenant_id, &row) {
            return Err("its ledgerRow is not the name of a row with these names".to_owned());
        }
        if proof.rows != hour.rows {
            let (proven, stated) = (proof.rows, hour.rows);
            return Err(format!("it is of an hour with {proven} rows; the statement has {stated}"));
        }
        let leaf = row::leaf(proof.tenant_id, &row);
        let path: Vec<Hash> = proof.path.iter().map(|hash| hash.0).collect();
        if merkle::root_of(leaf, proof.index, proof.rows, &path) != Some(hour.root.0) {
            let (hour, root) = (at(hour.hour), hour.root);
            return Err(format!(
                "its row, index and path do not lead to the root of {hour}, {root}: one of them was changed"
            ));
        }
        Ok(())
    }

    /// Whether an export has each row of the day as it was sealed, and none besides; or what differs first. It may
    /// have rows of other days, which nothing is said of.
    pub fn csv(&self, input: impl Read) -> Result<Rows, String> {
        let (day, tenant) = (start(self.0.day), self.0.tenant_id);
        let mut hours: Vec<Vec<Hash>> = vec![Vec::new(); HOURS];
        let mut others = 0;
        csv::read(tenant, input, |row| {
            if row.hour < day || row.hour >= day + TimeDelta::days(1) {
                others += 1;
                return Ok(());
            }
            let index = self.0.hours.iter().position(|hour| hour.hour == row.hour);
            let leaves = index.and_then(|index| hours.get_mut(index));
            leaves.ok_or("its hour is not a whole one")?.push(row::leaf(tenant, &row));
            Ok(())
        })?;
        for (stated, leaves) in self.0.hours.iter().zip(hours) {
            let found = Hour::over(stated.hour, leaves);
            let hour = at(stated.hour);
            if found.rows != stated.rows {
                let (found, stated) = (found.rows, stated.rows);
                return Err(format!("{hour}: it has {found} rows, and the statement {stated}"));
            }
            if found.root != stated.root {
                let (found, stated) = (found.root, stated.root);
                return Err(format!(
                    "{hour}: its rows are not those that were sealed: they make the root {found}, not {stated}"
                ));
            }
        }
        Ok(Rows { of_the_day: self.0.rows(), others })
    }
}

/// That a row is in its hour's tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proof {
    pub version: u32,
    pub tenant_id: TenantId,
    /// The row's name in exports.
    pub ledger_row: String,
    pub row: ProvenRow,
    /// The place of its leaf, from 0.
    pub index: u64,
    /// How many rows the hour has.
    pub rows: u64,
    /// The hash beside each node on the way from the leaf to the hour's root, the lowest first.
    pub path: Vec<Hex<32>>,
}

/// A row in the words of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProvenRow {
    pub hour: DateTime<Utc>,
    pub cell: String,
    pub api_id: String,
    pub stage: String,
    pub route: String,
    pub api_key_id: String,
    pub usage_plan_id: String,
    pub consumer_id: String,
    pub status_class: i16,
    /// `none`, `miss` or `hit`.
    pub cache: String,
    pub requests: i64,
    pub billed_requests: i64,
    pub bytes_in: i64,
    pub bytes_out: i64,
    pub billed_bytes_out: i64,
    pub duration_ms: i64,
}

impl Proof {
    /// Of this row, whose leaf is among its hour's. None where it is not.
    pub fn new(tenant: TenantId, row: LedgerRow, mut leaves: Vec<Hash>) -> Option<Self> {
        leaves.sort_unstable();
        let index = leaves.binary_search(&row::leaf(tenant, &row)).ok()?;
        let path = merkle::path(&leaves, index)?;
        Some(Self {
            version: VERSION,
            tenant_id: tenant,
            ledger_row: row::name(tenant, &row),
            row: row.into(),
            index: index as u64,
            rows: leaves.len() as u64,
            path: path.into_iter().map(Hex).collect(),
        })
    }

    /// Reads what was downloaded.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse("proof", text)
    }
}

impl From<LedgerRow> for ProvenRow {
    fn from(row: LedgerRow) -> Self {
        Self {
            hour: row.hour,
            cell: row.cell_id,
            api_id: row.api_id,
            stage: row.stage,
            route: row.route,
            api_key_id: row.api_key_id,
            usage_plan_id: row.usage_plan_id,
            consumer_id: row.consumer_id,
            status_class: row.status_class,
            cache: cache_name(row.cache).to_owned(),
            requests: row.requests,
            billed_requests: row.billed_requests,
            bytes_in: row.bytes_in,
            bytes_out: row.bytes_out,
            billed_bytes_out: row.billed_bytes_out,
            duration_ms: row.duration_ms,
        }
    }
}

impl ProvenRow {
    fn ledger_row(&self) -> Result<LedgerRow, String> {
        let row = self.clone();
        Ok(LedgerRow {
            hour: row.hour,
            api_id: row.api_id,
            stage: row.stage,
            route: row.route,
            api_key_id: row.api_key_id,
            usage_plan_id: row.usage_plan_id,
            consumer_id: row.consumer_id,
            status_class: row.status_class,
            cache: cache_of(&row.cache).ok_or_else(|| format!("{:?} is no cache", row.cache))?,
            cell_id: row.cell,
            requests: row.requests,
            billed_requests: row.billed_requests,
            bytes_in: row.bytes_in,
            bytes_out: row.bytes_out,
            billed_bytes_out: row.billed_bytes_out,
            duration_ms: row.duration_ms,
        })
    }
}

fn parse<'a, T: Deserialize<'a>>(what: &str, text: &'a str) -> Result<T, String> {
    if text.len() > BYTES_MAX {
        return Err(format!("it is longer than the {BYTES_MAX} bytes of any {what}"));
    }
    serde_json::from_str(text).map_err(|error| format!("it is no {what}: {error}"))
}

#[cfg(test)]
mod tests;
