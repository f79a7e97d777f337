//! `tollgate verify-usage`: whether an export or a row of usage is what the installation signed, by files alone.

use anyhow::{Context, Result};
use clap::Args;
use control_plane::ledger::statement::{BYTES_MAX, Hex, Proof, Statement};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct VerifyUsageArgs {
    /// The statement of a day, as it was downloaded
    #[arg(long, value_name = "FILE")]
    statement: PathBuf,
    /// The proof of a row of that day
    #[arg(long, value_name = "FILE")]
    proof: Option<PathBuf>,
    /// An export of usage in which the whole day is
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// The installation's public key as you noted it: 64 hex digits, which `tollgate audit key` prints. The key that the
    /// statement names is believed when this is left out
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// Says the first thing that differs, and in which file.
pub(crate) fn run(args: &VerifyUsageArgs) -> Result<ExitCode> {
    match verify(args)? {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err((file, reason)) => {
            eprintln!("{}: {reason}", file.display());
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What is wrong with which file; an error where one cannot be read.
fn verify(args: &VerifyUsageArgs) -> Result<Result<(), (&Path, String)>> {
    let wrong = |file| move |reason: String| (file, reason);
    let key = match &args.key {
        Some(file) => {
            let text = read(file)?;
            match text.trim().parse::<Hex<32>>() {
                Ok(key) => Some(key),
                Err(reason) => return Ok(Err(wrong(file.as_path())(reason))),
            }
        }
        None => None,
    };
    let text = read(&args.statement)?;
    let proof = args.proof.as_ref().map(|file| Ok::<_, anyhow::Error>((file, read(file)?)));
    let proof = proof.transpose()?;
    let csv = args.csv.as_ref().map(|file| Ok::<_, anyhow::Error>((file, open(file)?)));
    let csv = csv.transpose()?;
    Ok((|| {
        let file = &args.statement;
        let statement = Statement::parse(&text).map_err(wrong(file))?;
        let checked = statement.check(key).map_err(wrong(file))?;
        if key.is_none() {
            eprintln!(
                "warning: no --key was given: whoever forged the statement would have put a key of their own into it"
            );
        }
        let (tenant, day, rows) = (statement.tenant_id, statement.day, statement.rows());
        let named = statement.key.map(|key| format!(" with {key}")).unwrap_or_default();
        println!("{}: tenant {tenant}, {day}: {rows} rows, signed{named}", file.display());
        if let Some((file, text)) = proof {
            let proof = Proof::parse(&text).map_err(wrong(file))?;
            checked.proof(&proof).map_err(wrong(file))?;
            let (row, hour) = (&proof.ledger_row, proof.row.hour.format("%Y-%m-%dT%H:%M:%SZ"));
            println!("{}: row {row} is one of the {} of {hour}", file.display(), proof.rows);
        }
        if let Some((file, content)) = csv {
            let rows = checked.csv(content).map_err(wrong(file))?;
            let (day, others) = (rows.of_the_day, rows.others);
            println!(
                "{}: the {day} rows of the day are those that were sealed; {others} of other days were not looked at",
                file.display()
            );
        }
        Ok(())
    })())
}

fn open(file: &Path) -> Result<BufReader<File>> {
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(BufReader::new(opened))
}

/// The text of a small file; of a longer one, enough to see that it is too long.
fn read(file: &Path) -> Result<String> {
    let mut text = String::new();
    let most = u64::try_from(BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let read = open(file)?.take(most).read_to_string(&mut text);
    read.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text)
}
