//! Usage by hour as CSV (RFC 4180, UTF-8), one line for each row of the ledger.
//!
//! | column | what it is |
//! |---|---|
//! | `ledger_row` | the row's name: the same whenever it is exported |
//! | `hour` | its start, `2026-11-20T12:00:00Z` |
//! | `cell`, `api_id`, `stage` | where it was called |
//! | `route` | `GET /pets/{id}`; `-` where none matched |
//! | `api_key_id`, `usage_plan_id`, `consumer_id` | who called; empty where nobody is known |
//! | `status_class` | 2 for 2xx; 0 where calls were cut off before a status |
//! | `cache` | `none`, `miss` or `hit` |
//! | `requests`, `billed_requests` | how many calls, and how many of them are charged |
//! | `bytes_in`, `bytes_out`, `billed_bytes_out` | bytes |
//! | `duration_ms` | the sum over the calls |
//!
//! A cell that a spreadsheet would take for a formula is preceded by an apostrophe.

use std::borrow::Cow;

use chrono::SecondsFormat;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::store::usage_hour::LedgerRow;

const COLUMNS: [&str; 17] = [
    "ledger_row",
    "hour",
    "cell",
    "api_id",
    "stage",
    "route",
    "api_key_id",
    "usage_plan_id",
    "consumer_id",
    "status_class",
    "cache",
    "requests",
    "billed_requests",
    "bytes_in",
    "bytes_out",
    "billed_bytes_out",
    "duration_ms",
];

pub fn header() -> Result<Vec<u8>> {
    write(|csv| csv.write_record(COLUMNS))
}

pub fn rows(tenant: TenantId, rows: &[LedgerRow]) -> Result<Vec<u8>> {
    write(|csv| {
        for row in rows {
            let cache = match row.cache {
                0 => "none",
                1 => "miss",
                _ => "hit",
            };
            let hour = row.hour.to_rfc3339_opts(SecondsFormat::Secs, true);
            csv.write_record([
                name(tenant, row).as_str(),
                &hour,
                &escape(&row.cell_id),
                &escape(&row.api_id),
                &escape(&row.stage),
                &escape(&row.route),
                &escape(&row.api_key_id),
                &escape(&row.usage_plan_id),
                &escape(&row.consumer_id),
                &row.status_class.to_string(),
                cache,
                &row.requests.to_string(),
                &row.billed_requests.to_string(),
                &row.bytes_in.to_string(),
                &row.bytes_out.to_string(),
                &row.billed_bytes_out.to_string(),
                &row.duration_ms.to_string(),
            ])?;
        }
        Ok(())
    })
}

fn write(fill: impl FnOnce(&mut csv::Writer<Vec<u8>>) -> csv::Result<()>) -> Result<Vec<u8>> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    fill(&mut writer).map_err(Error::internal)?;
    writer.into_inner().map_err(|error| Error::internal(error.to_string()))
}

/// 128 bits of the hash of everything that makes the row the one it is.
fn name(tenant: TenantId, row: &LedgerRow) -> String {
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

/// What begins like a formula gets an apostrophe, which spreadsheets do not show. A lone sign is no formula.
fn escape(cell: &str) -> Cow<'_, str> {
    if cell.len() > 1 && cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Rng;

    fn row(route: &str) -> LedgerRow {
        LedgerRow {
            hour: "2026-11-20T12:00:00Z".parse().unwrap(),
            api_id: "abcdefghi0".to_owned(),
            stage: "prod".to_owned(),
            route: route.to_owned(),
            api_key_id: String::new(),
            usage_plan_id: String::new(),
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

    #[test]
    fn a_cell_that_looks_like_a_formula_is_escaped() {
        for formula in ["=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1"] {
            assert_eq!(escape(formula), format!("'{formula}"));
        }
        for text in ["", "-", "GET /a=b", "'=1", "prod"] {
            assert_eq!(escape(text), text);
        }
        let written =
            String::from_utf8(rows(Rng.id(), &[row("=HYPERLINK(\"x\",1)")]).unwrap()).unwrap();
        assert!(written.contains(r#","'=HYPERLINK(""x"",1)","#), "{written}");
    }

    #[test]
    fn a_line_has_a_cell_for_each_column_and_names_its_ledger_row() {
        let tenant: TenantId = Rng.id();
        let rows = [row("GET /a, b"), row("-")];

        let written = [header().unwrap(), super::rows(tenant, &rows).unwrap()].concat();

        let mut reader = csv::Reader::from_reader(&written[..]);
        assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>(), COLUMNS);
        let read: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(&read[0][5], "GET /a, b");
        assert_eq!(&read[1][1], "2026-11-20T12:00:00Z");
        assert_eq!(
            read[1].iter().skip(9).collect::<Vec<_>>(),
            ["2", "hit", "3", "2", "100", "200", "150", "60"]
        );
        assert_eq!(&read[0][0], name(tenant, &rows[0]));
        assert_ne!(read[0][0], read[1][0]);
        assert_ne!(name(Rng.id(), &rows[0]), name(tenant, &rows[0]));
    }
}
