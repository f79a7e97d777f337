//! `tollgate inspect-segment`: what stands in a segment of usage, by the file alone.

use anyhow::{Context, Result};
use chrono::{DateTime, SecondsFormat};
use clap::Args;
use proto::segment::{self, CONTENT_BYTES_MAX, Cache, Names, Record, Segment, State};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct InspectSegmentArgs {
    /// The segment, as it was downloaded or as it lies in a node's `usage/` directory
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &InspectSegmentArgs) -> Result<ExitCode> {
    let file = &args.file;
    let mut content = Vec::new();
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let read = opened.take(CONTENT_BYTES_MAX as u64 + 1).read_to_end(&mut content);
    read.with_context(|| format!("cannot read {}", file.display()))?;
    let segment = match segment::decode(&content) {
        Ok(segment) => segment,
        Err(reason) => {
            eprintln!("{}: {reason}", file.display());
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    let written = if args.json {
        writeln!(out, "{:#}", document(&content, &segment))
    } else {
        text(&mut out, &content, &segment)
    };
    written.and_then(|()| out.flush()).context("cannot write")?;
    Ok(ExitCode::SUCCESS)
}

fn document(content: &[u8], segment: &Segment) -> Value {
    let header = &segment.header;
    let footer = segment.footer.map(|footer| {
        json!({
            "blocks": footer.blocks, "records": footer.records, "sealed": time(footer.sealed_ms),
            "recovered": footer.recovered,
        })
    });
    let record = |record: &Record| {
        let names = &segment.names[&record.names];
        json!({
            "state": state(record), "started": time(record.started_ms), "ended": time(record.ended_ms),
            "requests": record.requests, "status": record.status, "bytesIn": record.bytes_in,
            "bytesOut": record.bytes_out, "durationMs": record.duration_ms, "cache": cache(record),
            "billed": record.billed, "test": record.test, "aborted": record.aborted,
            "upgraded": record.upgraded, "testInvoke": record.test_invoke,
            "cell": names.cell, "tenantId": names.tenant_id, "consumerId": names.consumer_id,
            "apiId": names.api_id, "stage": names.stage, "route": names.route,
            "apiKeyId": names.api_key_id, "usagePlanId": names.usage_plan_id,
        })
    };
    json!({
        "bytes": content.len(),
        "sha256": hex::encode(Sha256::digest(content)),
        "header": {
            "epoch": hex::encode(header.epoch), "thread": header.thread, "counter": header.counter,
            "created": time(header.created_ms),
        },
        "footer": footer,
        "blocks": segment.blocks,
        "damagedBlocks": segment.damaged,
        "records": segment.records.iter().map(record).collect::<Vec<_>>(),
    })
}

fn text(out: &mut impl Write, content: &[u8], segment: &Segment) -> std::io::Result<()> {
    let header = &segment.header;
    writeln!(
        out,
        "segment {} of thread {} of epoch {}, begun {}",
        header.counter,
        header.thread,
        hex::encode(header.epoch),
        time(header.created_ms),
    )?;
    writeln!(out, "{} bytes, SHA-256 {}", content.len(), hex::encode(Sha256::digest(content)))?;
    writeln!(out, "{} blocks, {} damaged", segment.blocks, segment.damaged)?;
    match &segment.footer {
        Some(footer) => {
            let by = if footer.recovered { "the start after it" } else { "its own process" };
            let (sealed, records) = (time(footer.sealed_ms), footer.records);
            writeln!(out, "sealed {sealed} by {by}, with {records} records")?;
        }
        None => writeln!(out, "never sealed")?,
    }
    writeln!(out, "{} records can be read", segment.records.len())?;
    for record in &segment.records {
        writeln!(out, "{}", line(record, &segment.names[&record.names]))?;
    }
    Ok(())
}

fn line(record: &Record, names: &Names<String>) -> String {
    let flags = [
        (record.billed, "billed"),
        (record.test, "test"),
        (record.aborted, "aborted"),
        (record.upgraded, "upgraded"),
        (record.test_invoke, "test-invoke"),
    ];
    let flags: Vec<&str> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    let who = [
        ("cell", &names.cell),
        ("tenant", &names.tenant_id),
        ("api", &names.api_id),
        ("stage", &names.stage),
        ("route", &names.route),
        ("key", &names.api_key_id),
        ("plan", &names.usage_plan_id),
        ("consumer", &names.consumer_id),
    ];
    // What a node wrote is no command to the terminal.
    let who = who.iter().filter(|(_, name)| !name.is_empty());
    let who: Vec<String> = who.map(|(of, name)| format!("{of} {name:?}")).collect();
    format!(
        "{}  {}  {} requests  status {}  {} in  {} out  {} ms  cache {}  {}  {}",
        time(record.ended_ms),
        state(record),
        record.requests,
        record.status,
        record.bytes_in,
        record.bytes_out,
        record.duration_ms,
        cache(record),
        if flags.is_empty() { "-".to_owned() } else { flags.join(",") },
        who.join(" "),
    )
}

/// In UTC; as it stands there where no calendar has it.
fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis);
    time.map_or_else(
        || format!("{ms} ms"),
        |time| time.to_rfc3339_opts(SecondsFormat::Millis, true),
    )
}

fn state(record: &Record) -> &'static str {
    match record.state {
        State::Begun => "begun",
        State::Done => "done",
    }
}

fn cache(record: &Record) -> &'static str {
    match record.cache {
        Cache::None => "none",
        Cache::Miss => "miss",
        Cache::Hit => "hit",
    }
}
