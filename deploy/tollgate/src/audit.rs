//! `tollgate audit verify`: whether the audit logs are what was written. `tollgate audit key`: what signs them.

use crate::cli::ControlPlaneArgs;
use crate::planes::control_plane_config;
use crate::settings::{Common, ControlPlane};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use control_plane::access::sealed::WrappingKey;
use control_plane::app::App;
use control_plane::domain::audit_chain::{self, Head, Verification};
use control_plane::domain::tenant;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check that no entry was changed, taken out, moved or cut off; exits with 1 and names the first one that was
    Verify(VerifyArgs),
    /// Print the public key that audit logs and statements of usage are signed with: 64 hex digits, to be noted elsewhere
    Key(ControlPlaneArgs),
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    control_plane: ControlPlane,
    /// The log of this tenant, by its name or id; all logs when left out
    #[arg(long, value_name = "TENANT", conflicts_with = "file")]
    tenant: Option<String>,
    /// A head that was noted before, `17:9f86…`, which must still be in the log; of the installation's own log
    /// where no tenant is named
    #[arg(long, value_name = "HEAD")]
    expected: Option<String>,
    /// A downloaded log; needs no database
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(crate) async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Verify(args) => Box::pin(verify(args)).await,
        Command::Key(args) => {
            let config = control_plane_config(&args.common, &args.control_plane)?;
            let file = &config.master_key_file;
            let master = WrappingKey::read(file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            println!("{}", audit_chain::published_key(&master)?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn verify(args: VerifyArgs) -> Result<ExitCode> {
    let expected = args.expected.as_deref().map(str::parse::<Head>).transpose()?;
    if let Some(file) = &args.file {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        return Ok(match audit_chain::verify_export(&text, expected) {
            Ok(head) => {
                println!("{}: {} entries, whole; head {head}", file.display(), head.sequence);
                ExitCode::SUCCESS
            }
            Err(fault) => {
                eprintln!("{}: {fault}", file.display());
                ExitCode::FAILURE
            }
        });
    }
    let config = control_plane_config(&args.common, &args.control_plane)?;
    let app = Box::pin(App::connect(config)).await?;
    let logs = match &args.tenant {
        Some(tenant) => vec![Some(tenant::named(&app, tenant).await?)],
        None if expected.is_some() => vec![None],
        None => audit_chain::all(&app).await?,
    };
    let mut whole = true;
    for tenant in logs {
        let found = audit_chain::verify_one(&app, tenant, expected).await?;
        whole &= found.fault.is_none();
        tell(&found);
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(found: &Verification) {
    let whose =
        found.tenant.map_or_else(|| "the installation".to_owned(), |id| format!("tenant {id}"));
    match &found.fault {
        None => println!(
            "{whose}: {} entries, whole; sealed up to {}; head {}",
            found.entries, found.sealed_sequence, found.head
        ),
        Some(fault) => eprintln!("{whose}: {fault}"),
    }
}
