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
use std::io::Read;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::ledger::row::{self, cache_name, cache_of};
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
            let hour = row.hour.to_rfc3339_opts(SecondsFormat::Secs, true);
            csv.write_record([
                row::name(tenant, row).as_str(),
                &hour,
                &escape(&row.cell_id),
                &escape(&row.api_id),
                &escape(&row.stage),
                &escape(&row.route),
                &escape(&row.api_key_id),
                &escape(&row.usage_plan_id),
                &escape(&row.consumer_id),
                &row.status_class.to_string(),
                cache_name(row.cache),
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

pub(super) fn write(
    fill: impl FnOnce(&mut csv::Writer<Vec<u8>>) -> csv::Result<()>,
) -> Result<Vec<u8>> {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    fill(&mut writer).map_err(Error::internal)?;
    writer.into_inner().map_err(|error| Error::internal(error.to_string()))
}

/// What begins like a formula gets an apostrophe, which spreadsheets do not show. A lone sign is no formula.
pub(super) fn escape(cell: &str) -> Cow<'_, str> {
    if looks_like_a_formula(cell) { Cow::Owned(format!("'{cell}")) } else { Cow::Borrowed(cell) }
}

fn looks_like_a_formula(cell: &str) -> bool {
    cell.len() > 1 && cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n'])
}

/// Reads what [`header`] and [`rows`] wrote, row by row; stops at the first that is not so, and says which.
pub fn read(
    tenant: TenantId,
    input: impl Read,
    mut each: impl FnMut(LedgerRow) -> Result<(), String>,
) -> Result<(), String> {
    let mut reader = ::csv::Reader::from_reader(input);
    let header = reader.headers().map_err(|error| format!("row 1: {error}"))?;
    if *header != COLUMNS[..] {
        return Err("row 1: it does not name the columns of exported usage".to_owned());
    }
    let mut record = ::csv::StringRecord::new();
    // As spreadsheets number them; a name may hold the end of a line.
    for number in 2_u64.. {
        let at = |reason: String| format!("row {number}: {reason}");
        if !reader.read_record(&mut record).map_err(|error| at(error.to_string()))? {
            return Ok(());
        }
        each(row_of(tenant, &record).map_err(at)?).map_err(at)?;
    }
    Ok(())
}

fn row_of(tenant: TenantId, record: &::csv::StringRecord) -> Result<LedgerRow, String> {
    let cell = |column: usize| record.get(column).unwrap_or_default();
    let wrong = |column: usize| format!("{:?} is no {}", cell(column), COLUMNS[column]);
    // As it was written and in no other way: no sign, no zeros in front.
    let number = |column: usize| {
        let parsed = cell(column).parse::<i64>().ok();
        let same = parsed.filter(|number| number.to_string() == cell(column));
        same.ok_or_else(|| wrong(column))
    };
    let hour = DateTime::parse_from_rfc3339(cell(1)).map(|hour| hour.with_timezone(&Utc));
    let hour = hour.ok().filter(|hour| hour.to_rfc3339_opts(SecondsFormat::Secs, true) == cell(1));
    let hour = hour.ok_or_else(|| wrong(1))?;
    let status_class = i16::try_from(number(9)?).map_err(|_| wrong(9))?;
    let cache = cache_of(cell(10)).ok_or_else(|| wrong(10))?;
    let sums = [11, 12, 13, 14, 15, 16].map(number);
    let [requests, billed_requests, bytes_in, bytes_out, billed_bytes_out, duration_ms] = sums;
    let mut row = LedgerRow {
        hour,
        api_id: String::new(),
        stage: String::new(),
        route: String::new(),
        api_key_id: String::new(),
        usage_plan_id: String::new(),
        consumer_id: String::new(),
        status_class,
        cache,
        cell_id: String::new(),
        requests: requests?,
        billed_requests: billed_requests?,
        bytes_in: bytes_in?,
        bytes_out: bytes_out?,
        billed_bytes_out: billed_bytes_out?,
        duration_ms: duration_ms?,
    };
    // `'=1` is either itself or what was written of `=1`; the row's name knows which.
    let escaped: Vec<usize> = (2..9)
        .filter(|column| cell(*column).strip_prefix('\'').is_some_and(looks_like_a_formula))
        .collect();
    for choice in 0..1_u32 << escaped.len() {
        let text = |column: usize| {
            let place = escaped.iter().position(|escaped| *escaped == column);
            let plain = place.is_some_and(|place| (choice >> place) & 1 == 0);
            cell(column)[usize::from(plain)..].to_owned()
        };
        row.cell_id = text(2);
        row.api_id = text(3);
        row.stage = text(4);
        row.route = text(5);
        row.api_key_id = text(6);
        row.usage_plan_id = text(7);
        row.consumer_id = text(8);
        if row::name(tenant, &row) == cell(0) {
            return Ok(row);
        }
    }
    Err("its ledger_row is not the name of the tenant's row with these names".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Rng;

    fn row(route: &str) -> LedgerRow {
        crate::ledger::row::tests::row("2026-11-20T12:00:00Z", route)
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
        assert_eq!(&read[0][0], row::name(tenant, &rows[0]));
        assert_ne!(read[0][0], read[1][0]);
        assert_ne!(row::name(Rng.id(), &rows[0]), row::name(tenant, &rows[0]));
    }

    fn read(tenant: TenantId, written: &[u8]) -> Result<Vec<LedgerRow>, String> {
        let mut found = Vec::new();
        super::read(tenant, written, |row| {
            found.push(row);
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn what_is_written_is_read_again_escaped_or_not() {
        let tenant: TenantId = Rng.id();
        let mut both = row("=1+1");
        both.stage = "'=1".to_owned();
        both.consumer_id = "@x".to_owned();
        let rows = [
            row("GET /a, b"),
            row("-"),
            row("=1+1"),
            row("'=1+1"),
            row("'"),
            row("GET /\"x\"\r\n"),
            both,
        ];

        let written = [header().unwrap(), super::rows(tenant, &rows).unwrap()].concat();

        assert_eq!(read(tenant, &written).unwrap(), rows);
        let stranger = read(Rng.id(), &written).unwrap_err();
        assert!(stranger.starts_with("row 2: its ledger_row"), "{stranger}");
        assert_eq!(read(tenant, &header().unwrap()).unwrap(), []);
    }

    #[test]
    fn a_row_that_was_never_written_is_named() {
        let tenant: TenantId = Rng.id();
        let rows = [row("GET /a"), row("GET /b")];
        let written = [header().unwrap(), super::rows(tenant, &rows).unwrap()].concat();
        let written = String::from_utf8(written).unwrap();
        for (from, to, reason) in [
            ("ledger_row,", "ledger_rows,", "row 1: it does not name"),
            ("GET /b", "GET /c", "row 3: its ledger_row"),
            (",hit,3,2,100,", ",hot,3,2,100,", "row 2: \"hot\" is no cache"),
            (",hit,3,2,100,", ",hit,+3,2,100,", "row 2: \"+3\" is no requests"),
            (",hit,3,2,100,", ",hit,3,02,100,", "row 2: \"02\" is no billed_requests"),
            (",hit,3,2,100,", ",hit,3,2,", "row 2: "),
            ("T12:00:00Z", "T12:00:00+00:00", "row 2: \"2026-11-20T12:00:00+00:00\" is no hour"),
        ] {
            let changed = written.replacen(from, to, 1);
            assert_ne!(changed, written, "{from}");
            let said = read(tenant, changed.as_bytes()).unwrap_err();
            assert!(said.starts_with(reason), "{said} is not: {reason}");
        }
        assert!(read(tenant, b"").is_err() && read(tenant, b"\xff\n").is_err());
    }
}
