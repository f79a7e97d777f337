//! `tollgate`, the one binary that people install: `up` runs everything on this machine, `control-plane` and
//! `data-plane` run one role of a cluster, the rest are small commands around them.
//!
//! Read `cli.rs` for the commands, `settings.rs` for what can be set, `up/mod.rs` for the order of a start.

mod audit;
mod cli;
mod database;
mod http;
mod inspect_segment;
mod node;
mod planes;
mod roles;
mod settings;
mod telemetry;
mod up;
mod verify_usage;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Something that the machine lacks. The text says what to install; the process exits with 3.
#[derive(Debug)]
pub(crate) struct Missing(pub(crate) String);

impl std::fmt::Display for Missing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

fn main() -> ExitCode {
    // Before anything else: rustls panics at the first connection when no provider was chosen.
    control_plane::install_crypto();
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tollgate: {error:#}");
            ExitCode::from(if error.is::<Missing>() { 3 } else { 1 })
        }
    }
}
