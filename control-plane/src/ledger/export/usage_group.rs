//! Usage, added up, as CSV (RFC 4180, UTF-8) or NDJSON: one line for each row, the oldest first and of one start by name;
//! where the whole stretch is added up, by name.
//!
//! The columns are `start`, then those that rows are told apart by (`api_id`, `stage`, `route`, `api_key_id`,
//! `usage_plan_id`, `consumer_id`, `status_class`), then `requests`, `billed_requests`, `bytes_in`, `bytes_out` and
//! `duration_ms`, the sum over the calls. What calls have none of is empty, in NDJSON null.

use chrono::SecondsFormat;
use serde_json::{Map, Value};

use crate::domain::usage_group::{By, Dimension, Format, UsageGroup};
use crate::error::{Error, Result};
use crate::ledger::export::csv;

const MEASURES: [&str; 5] = ["requests", "billed_requests", "bytes_in", "bytes_out", "duration_ms"];

/// What stands before the rows.
pub fn header(format: Format, by: &By) -> Result<Vec<u8>> {
    if format == Format::Ndjson {
        return Ok(Vec::new());
    }
    let names = by.iter().map(|dimension| column(*dimension));
    let columns: Vec<&str> = ["start"].into_iter().chain(names).chain(MEASURES).collect();
    csv::write(|csv| csv.write_record(columns))
}

pub fn rows(format: Format, by: &By, rows: &[UsageGroup]) -> Result<Vec<u8>> {
    match format {
        Format::Csv => csv::write(|csv| {
            for row in rows {
                csv.write_field(start(row))?;
                for dimension in by {
                    let name = name(row, *dimension).map(|name| match name {
                        Value::String(name) => csv::escape(&name).into_owned(),
                        number => number.to_string(),
                    });
                    csv.write_field(name.unwrap_or_default())?;
                }
                for sum in sums(row) {
                    csv.write_field(sum.to_string())?;
                }
                csv.write_record(None::<&[u8]>)?;
            }
            Ok(())
        }),
        Format::Ndjson => {
            let mut lines = Vec::new();
            for row in rows {
                let mut line = Map::new();
                line.insert("start".to_owned(), start(row).into());
                for dimension in by {
                    let name = name(row, *dimension).unwrap_or(Value::Null);
                    line.insert(column(*dimension).to_owned(), name);
                }
                for (measure, sum) in MEASURES.into_iter().zip(sums(row)) {
                    line.insert(measure.to_owned(), sum.into());
                }
                serde_json::to_writer(&mut lines, &line).map_err(Error::internal)?;
                lines.push(b'\n');
            }
            Ok(lines)
        }
    }
}

fn start(row: &UsageGroup) -> String {
    row.start.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn column(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Api => "api_id",
        Dimension::Stage => "stage",
        Dimension::Route => "route",
        Dimension::ApiKey => "api_key_id",
        Dimension::UsagePlan => "usage_plan_id",
        Dimension::Consumer => "consumer_id",
        Dimension::StatusClass => "status_class",
    }
}

fn name(row: &UsageGroup, dimension: Dimension) -> Option<Value> {
    let text = |name: &Option<String>| name.clone().map(Value::String);
    match dimension {
        Dimension::Api => text(&row.api_id),
        Dimension::Stage => text(&row.stage),
        Dimension::Route => text(&row.route),
        Dimension::ApiKey => text(&row.api_key_id),
        Dimension::UsagePlan => text(&row.usage_plan_id),
        Dimension::Consumer => text(&row.consumer_id),
        Dimension::StatusClass => row.status_class.map(Value::from),
    }
}

fn sums(row: &UsageGroup) -> [i64; 5] {
    [row.requests, row.billed_requests, row.bytes_in, row.bytes_out, row.duration_ms]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_rows_are_told_apart_by_and_no_formula() {
        let by = By::from([Dimension::Route, Dimension::ApiKey, Dimension::StatusClass]);
        let row = UsageGroup {
            start: "2026-11-20T12:00:00Z".parse().unwrap(),
            api_id: None,
            stage: None,
            route: Some("=GET /a, b".to_owned()),
            api_key_id: None,
            usage_plan_id: None,
            consumer_id: None,
            status_class: Some(2),
            requests: 3,
            billed_requests: 2,
            bytes_in: 100,
            bytes_out: 200,
            duration_ms: 60,
        };
        let written = |format| {
            let rows = rows(format, &by, std::slice::from_ref(&row)).unwrap();
            String::from_utf8([header(format, &by).unwrap(), rows].concat()).unwrap()
        };
        assert_eq!(
            written(Format::Csv),
            "start,route,api_key_id,status_class,requests,billed_requests,bytes_in,bytes_out,duration_ms\r\n\
             2026-11-20T12:00:00Z,\"'=GET /a, b\",,2,3,2,100,200,60\r\n"
        );
        assert_eq!(
            written(Format::Ndjson),
            "{\"start\":\"2026-11-20T12:00:00Z\",\"route\":\"=GET /a, b\",\"api_key_id\":null,\"status_class\":2,\
             \"requests\":3,\"billed_requests\":2,\"bytes_in\":100,\"bytes_out\":200,\"duration_ms\":60}\n"
        );
    }
}
