//! What a statement and a proof vouch for, and that nothing else passes for them.

use super::*;
use crate::ledger::row::tests::{TENANT, row};

fn tenant() -> TenantId {
    TENANT.parse().unwrap()
}

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

fn public(key: &Ed25519KeyPair) -> Hex<32> {
    Hex(key.public_key().as_ref().try_into().unwrap())
}

/// Three rows at 9 and one at 17 o'clock.
fn used() -> Vec<LedgerRow> {
    let nine = ["GET /a", "GET /b", "-"].map(|route| row("2026-11-16T09:00:00Z", route));
    nine.into_iter().chain([row("2026-11-16T17:00:00Z", "GET /a")]).collect()
}

fn leaves(rows: &[LedgerRow], hour: DateTime<Utc>) -> Vec<Hash> {
    rows.iter().filter(|row| row.hour == hour).map(|row| row::leaf(tenant(), row)).collect()
}

fn hours(rows: &[LedgerRow]) -> Vec<Hour> {
    let times = (0..24).map(|hour| start(day()) + TimeDelta::hours(hour));
    times.map(|hour| Hour::over(hour, leaves(rows, hour))).collect()
}

fn day() -> NaiveDate {
    "2026-11-16".parse().unwrap()
}

fn statement() -> Statement {
    Statement::new(tenant(), day(), hours(&used()), &key(1))
}

fn proof(index: usize) -> Proof {
    let row = used().remove(index);
    let leaves = leaves(&used(), row.hour);
    Proof::new(tenant(), row, leaves).unwrap()
}

fn export(rows: &[LedgerRow]) -> Vec<u8> {
    [csv::header().unwrap(), csv::rows(tenant(), rows).unwrap()].concat()
}

/// The numbers were computed by another program, from what is said above.
#[test]
fn a_statement_is_what_its_description_says() {
    let statement = statement();
    assert_eq!(
        statement.hours[9].root.to_string(),
        "fbaf1c27e7619c90a0edfc15f0d95a30afa1e437bb734e14cc315a5a9d950aaa"
    );
    assert_eq!(
        statement.root.unwrap().to_string(),
        "c17cd3f1e6a11434844991124c135849a797cfbbc7b3c4e7f737ad5ab32a3f13"
    );
    assert_eq!(
        statement.key.unwrap().to_string(),
        "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
    );
    assert_eq!(
        statement.signature.unwrap().to_string(),
        "e8900e07152a876c7e09ed6ceaadf989223a99373282c3f333d2224bd41958a1c40d159921b1ae32b9517d738338877d819e84f852fa6df84177d20b17576604"
    );
    let hour = statement.hours[17];
    assert_eq!(
        hex::encode(hour.sign(tenant(), &key(1))),
        "d606b61629a59e94d4d7f653b0577c2aa4a84ce75af94b1aab4f660ba75f28fc085f99122c81fe85e37e6b50533bbbe318db99db1126f9bfe9975d0655da2d05"
    );
}

#[test]
fn a_day_its_rows_and_each_proof_are_checked_with_nothing_but_themselves() {
    let text = serde_json::to_string(&statement()).unwrap();
    let statement = Statement::parse(&text).unwrap();
    for given in [None, Some(public(&key(1)))] {
        let checked = statement.check(given).unwrap();
        for index in 0..4 {
            let text = serde_json::to_string(&proof(index)).unwrap();
            checked.proof(&Proof::parse(&text).unwrap()).unwrap();
        }
        let rows = Rows { of_the_day: 4, others: 0 };
        assert_eq!(checked.csv(&export(&used())[..]), Ok(rows));
        // In whichever order, among those of other days.
        let mut month = used();
        month.reverse();
        month.insert(2, row("2026-11-15T23:00:00Z", "GET /a"));
        month.push(row("2026-11-17T00:00:00Z", "GET /a"));
        assert_eq!(checked.csv(&export(&month)[..]), Ok(Rows { of_the_day: 4, others: 2 }));
    }
}

#[test]
fn a_statement_in_which_a_byte_was_changed_is_refused_or_says_the_same() {
    let statement = statement();
    let text = serde_json::to_string(&statement).unwrap();
    for at in 0..text.len() {
        for bit in 0..7 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let changed = String::from_utf8(bytes).unwrap();
            let Ok(read) = Statement::parse(&changed) else { continue };
            assert!(read == statement || read.check(None).is_err(), "{changed}");
        }
    }
}

#[test]
fn a_proof_in_which_a_byte_was_changed_is_refused_or_says_the_same() {
    let statement = statement();
    let checked = statement.check(None).unwrap();
    let proof = proof(1);
    let text = serde_json::to_string(&proof).unwrap();
    for at in 0..text.len() {
        for bit in 0..7 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let changed = String::from_utf8(bytes).unwrap();
            let Ok(read) = Proof::parse(&changed) else { continue };
            assert!(read == proof || checked.proof(&read).is_err(), "{changed}");
        }
    }
}

#[test]
fn an_export_in_which_a_byte_was_changed_is_refused() {
    let statement = statement();
    let checked = statement.check(None).unwrap();
    let written = export(&used());
    for at in 0..written.len() {
        let mut changed = written.clone();
        changed[at] ^= 1;
        // What ends a line, and the quotes around nothing, are no part of a row.
        if let Ok(rows) = checked.csv(&changed[..]) {
            assert!(!written[at].is_ascii_alphanumeric(), "byte {at}");
            assert_eq!(rows, Rows { of_the_day: 4, others: 0 });
        }
    }
}

#[test]
fn what_differs_first_is_named() {
    let whole = statement();
    let refused = |change: fn(&mut Statement)| {
        let mut statement = whole.clone();
        change(&mut statement);
        statement.check(None).unwrap_err()
    };
    for (said, reason) in [
        (refused(|it| it.version = 2), "version 2"),
        (refused(|it| it.is_final = false), "not final"),
        (refused(|it| it.signature = None), "no signature"),
        (refused(|it| it.hours.truncate(23)), "23 hours"),
        (refused(|it| it.hours.swap(3, 4)), "hours[3] is not 2026-11-16T03:00:00Z"),
        (refused(|it| it.day += TimeDelta::days(1)), "hours[0] is not 2026-11-17T00:00:00Z"),
        (refused(|it| it.hours[9].rows = 4), "do not make its root"),
        (refused(|it| it.tenant_id = TenantId(uuid::Uuid::nil())), "another statement"),
        (refused(|it| it.key = Some(public(&key(2)))), "by another key"),
    ] {
        assert!(said.contains(reason), "{said} is not: {reason}");
    }
    let mut rows = used();
    rows[3].requests = 30;
    let forged = Statement::new(tenant(), day(), hours(&rows), &key(2));
    assert!(forged.check(None).is_ok(), "by whoever calls themselves the installation");
    assert!(forged.check(Some(public(&key(1)))).unwrap_err().contains("another key than yours"));
    let open = Statement::new(tenant(), day(), hours(&used())[..7].to_vec(), &key(1));
    assert_eq!((open.is_final, open.root, open.signature), (false, None, None));
    assert!(open.check(None).unwrap_err().contains("2026-11-16T07:00:00Z is not sealed yet"));

    let checked = whole.check(None).unwrap();
    let refused = |change: fn(&mut Proof)| {
        let mut proof = proof(1);
        change(&mut proof);
        checked.proof(&proof).unwrap_err()
    };
    for (said, reason) in [
        (refused(|it| it.version = 2), "version 2"),
        (refused(|it| it.tenant_id = TenantId(uuid::Uuid::nil())), "another tenant"),
        (refused(|it| it.row.hour += TimeDelta::days(1)), "2026-11-17T09:00:00Z, is not one"),
        (refused(|it| it.row.route.push('x')), "not the name"),
        (refused(|it| it.rows = 4), "an hour with 4 rows; the statement has 3"),
        (refused(|it| it.row.requests += 1), "do not lead to the root"),
        (refused(|it| it.index += 1), "do not lead to the root"),
        (refused(|it| it.path.truncate(1)), "do not lead to the root"),
        (refused(|it| it.row.cache = "hot".to_owned()), "is no cache"),
    ] {
        assert!(said.contains(reason), "{said} is not: {reason}");
    }

    let refused = |change: fn(&mut Vec<LedgerRow>)| {
        let mut rows = used();
        change(&mut rows);
        checked.csv(&export(&rows)[..]).unwrap_err()
    };
    for (said, reason) in [
        (refused(|rows| drop(rows.remove(1))), "2026-11-16T09:00:00Z: it has 2 rows"),
        (refused(|rows| rows.push(rows[3].clone())), "2026-11-16T17:00:00Z: it has 2 rows"),
        (refused(|rows| rows[1].duration_ms += 1), "2026-11-16T09:00:00Z: its rows are not those"),
        (refused(|rows| rows[0].hour += TimeDelta::seconds(1)), "row 2: its hour is not a whole"),
    ] {
        assert!(said.contains(reason), "{said} is not: {reason}");
    }
}
