//! What says what a tenant used: signed statements, proofs of their rows, and exports.

use std::sync::LazyLock;

use aws_lc_rs::signature::Ed25519KeyPair;
use control_plane::ledger::export::csv;
use control_plane::ledger::row;
use control_plane::ledger::statement::{Hex, Hour, Proof, Rows, Statement, start};
use control_plane::store::usage_hour::LedgerRow;

/// A day with three rows at 9 o'clock and one at 17, signed; and the proof of its second row.
static USED: LazyLock<(Vec<LedgerRow>, Statement, Proof)> = LazyLock::new(|| {
    let tenant = "0198f2a0-0000-7000-8000-000000000001".parse().unwrap();
    let day = "2026-11-16".parse().unwrap();
    let row = |(hour, route): (i64, &str)| LedgerRow {
        hour: start(day) + chrono::TimeDelta::hours(hour),
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
    };
    let rows = [(9, "GET /a"), (9, "GET /b"), (9, "-"), (17, "GET /a")].map(row).to_vec();
    let leaves = |hour| {
        let of_hour = rows.iter().filter(|row| row.hour == hour);
        of_hour.map(|row| row::leaf(tenant, row)).collect::<Vec<_>>()
    };
    let hours = (0..24).map(|hour| start(day) + chrono::TimeDelta::hours(hour));
    let hours = hours.map(|hour| Hour::over(hour, leaves(hour))).collect();
    let key = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let statement = Statement::new(tenant, day, hours, &key);
    let proof = Proof::new(tenant, rows[1].clone(), leaves(rows[1].hour)).unwrap();
    (rows, statement, proof)
});

/// Only the statement that was signed passes for it, only the proof of a row for that, and an export only with each row
/// of the day once.
pub(crate) fn usage_statement(bytes: &[u8]) {
    let (rows, signed, proof) = &*USED;
    let key: Option<Hex<32>> = signed.key;
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(read) = Statement::parse(text) {
            drop(read.check(None));
            assert!(read.check(key).is_err() || read == *signed, "{text}");
        }
        if let Ok(read) = Proof::parse(text) {
            let passes = signed.check(key).unwrap().proof(&read).is_ok();
            assert!(!passes || read == *proof, "{text}");
        }
    }
    if let Ok(Rows { of_the_day, others }) = signed.check(key).unwrap().csv(bytes) {
        let mut read = Vec::new();
        let again = csv::read(signed.tenant_id, bytes, |row| {
            read.push(row);
            Ok(())
        });
        assert!(again.is_ok() && read.len() as u64 == of_the_day + others);
        assert!(rows.iter().all(|row| read.iter().filter(|other| *other == row).count() == 1));
    }
}
