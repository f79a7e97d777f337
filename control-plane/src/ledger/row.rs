//! A row of the ledger outside it: what it is called, and what of it is hashed into its hour's tree.
//!
//! The leaf of a row is these fields, one after the other, without anything between them:
//!
//! | field | bytes |
//! |---|---|
//! | `TGR1` | 4, ASCII: a row of Tollgate's ledger, in this form |
//! | the tenant's id | 16, as in a UUID |
//! | `hour` | 8: its start in seconds since 1970-01-01T00:00:00Z, signed |
//! | `cell`, `api_id`, `stage`, `route`, `api_key_id`, `usage_plan_id`, `consumer_id` | each its length in 4 bytes, then itself in UTF-8; empty where there is none |
//! | `status_class`, `cache` | 2 each, signed; the cache is 0 for none, 1 for miss, 2 for hit |
//! | `requests`, `billed_requests`, `bytes_in`, `bytes_out`, `billed_bytes_out`, `duration_ms` | 8 each, signed |
//!
//! Numbers are big-endian. The leaves of an hour stand in the order of their hashes, so that no database's idea of
//! alphabetical order is part of it.

use sha2::{Digest, Sha256};

use crate::ids::TenantId;
use crate::ledger::merkle::{self, Hash};
use crate::store::usage_hour::LedgerRow;

/// The hash of the row's leaf.
pub fn leaf(tenant: TenantId, row: &LedgerRow) -> Hash {
    merkle::leaf(&bytes(tenant, row))
}

fn bytes(tenant: TenantId, row: &LedgerRow) -> Vec<u8> {
    let mut bytes = b"TGR1".to_vec();
    bytes.extend(tenant.0.as_bytes());
    bytes.extend(row.hour.timestamp().to_be_bytes());
    for text in [
        &row.cell_id,
        &row.api_id,
        &row.stage,
        &row.route,
        &row.api_key_id,
        &row.usage_plan_id,
        &row.consumer_id,
    ] {
        // No name of the ledger comes near 4 GiB: a journal's names are far shorter.
        bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes.extend(row.status_class.to_be_bytes());
    bytes.extend(row.cache.to_be_bytes());
    for sum in [
        row.requests,
        row.billed_requests,
        row.bytes_in,
        row.bytes_out,
        row.billed_bytes_out,
        row.duration_ms,
    ] {
        bytes.extend(sum.to_be_bytes());
    }
    bytes
}

/// 128 bits of the hash of everything that makes the row the one it is: the same whenever it is exported.
pub fn name(tenant: TenantId, row: &LedgerRow) -> String {
    let mut hash = Sha256::new();
    let texts = [
        &tenant.to_string(),
        &row.hour.timestamp().to_string(),
        &row.cell_id,
        &row.api_id,
        &row.stage,
        &row.route,
        &row.api_key_id,
        &row.usage_plan_id,
        &row.consumer_id,
        &row.status_class.to_string(),
        &row.cache.to_string(),
    ];
    for text in texts {
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    }
    hex::encode(&hash.finalize()[..16])
}

/// How people read `cache`.
const CACHE: [&str; 3] = ["none", "miss", "hit"];

pub fn cache_name(cache: i16) -> &'static str {
    usize::try_from(cache).ok().and_then(|cache| CACHE.get(cache)).unwrap_or(&CACHE[2])
}

pub fn cache_of(name: &str) -> Option<i16> {
    CACHE.iter().position(|known| *known == name).and_then(|cache| i16::try_from(cache).ok())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const TENANT: &str = "0198f2a0-0000-7000-8000-000000000001";

    pub(crate) fn row(hour: &str, route: &str) -> LedgerRow {
        LedgerRow {
            hour: hour.parse().unwrap(),
            api_id: "abcdefghi0".to_owned(),
            stage: "prod".to_owned(),
            route: route.to_owned(),
            api_key_id: "key4567890".to_owned(),
            usage_plan_id: "plan567890".to_owned(),
            consumer_id: String::new(),
            status_class: 2,
            cache: 2,
            cell_id: "default".to_owned(),
            requests: 3,
            billed_requests: 2,
            bytes_in: 100,
            bytes_out: 200,
            billed_bytes_out: 150,
            duration_ms: 60,
        }
    }

    /// The number was computed by another program, from the table above.
    #[test]
    fn a_leaf_is_what_its_description_says() {
        let row = row("2026-11-16T09:00:00Z", "GET /pets/{id}");
        assert_eq!(
            hex::encode(leaf(TENANT.parse().unwrap(), &row)),
            "6c188afe5bab24177de13c61fb3427593136dceeb90d35574bd9995b98547a20"
        );
    }

    #[test]
    fn whatever_differs_in_a_row_makes_another_leaf() {
        let tenant: TenantId = TENANT.parse().unwrap();
        let base = row("2026-11-16T09:00:00Z", "GET /a");
        let mut leaves = std::collections::BTreeSet::from([leaf(tenant, &base)]);
        let changes: [fn(&mut LedgerRow); 18] = [
            |row| row.hour += chrono::TimeDelta::hours(1),
            |row| row.cell_id.push('x'),
            |row| row.api_id.push('x'),
            |row| row.stage.push('x'),
            |row| row.route.push('x'),
            |row| row.api_key_id.push('x'),
            |row| row.usage_plan_id.push('x'),
            |row| row.consumer_id.push('x'),
            |row| row.status_class += 1,
            |row| row.cache -= 1,
            |row| row.requests += 1,
            |row| row.billed_requests += 1,
            |row| row.bytes_in += 1,
            |row| row.bytes_out += 1,
            |row| row.billed_bytes_out += 1,
            |row| row.duration_ms += 1,
            // The same letters, cut elsewhere.
            |row| (row.api_id, row.stage) = ("abcdefghi".to_owned(), "0prod".to_owned()),
            |row| (row.usage_plan_id, row.consumer_id) = (String::new(), "plan567890".to_owned()),
        ];
        for change in changes {
            let mut other = base.clone();
            change(&mut other);
            assert!(leaves.insert(leaf(tenant, &other)), "{other:?}");
        }
        assert!(leaves.insert(leaf(TenantId(uuid::Uuid::nil()), &base)), "another tenant");
    }
}
