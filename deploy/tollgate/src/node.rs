//! `tollgate node`: the nodes of the installation, for whoever administers the machine.

use crate::planes::control_plane_config;
use crate::settings::{Common, ControlPlane};
use anyhow::Result;
use clap::{Args, Subcommand};
use control_plane::app::App;
use control_plane::domain::fleet::{self, FleetNode, FleetState};
use control_plane::ids::NodeId;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print each node: id, name, state, version, how many config versions it is behind, when it was last seen, and
    /// until when its certificate is good
    List(ListArgs),
    /// Cut a node off for good; it serves what it holds until it is stopped, and comes back only with a new token
    Revoke(RevokeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    control_plane: ControlPlane,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    control_plane: ControlPlane,
    /// As `tollgate node list` prints it
    #[arg(value_name = "NODE")]
    id: NodeId,
}

pub(crate) async fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::List(args) => {
            let config = control_plane_config(&args.common, &args.control_plane)?;
            let app = Box::pin(App::connect(config)).await?;
            for node in fleet::nodes_here(&app).await? {
                println!("{}", line(&node));
            }
        }
        Command::Revoke(args) => {
            let config = control_plane_config(&args.common, &args.control_plane)?;
            let app = Box::pin(App::connect(config)).await?;
            let node = fleet::revoke_here(&app, args.id).await?;
            println!("node {} ({}) is revoked", node.id, node.name);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(node: &FleetNode) -> String {
    let state = match node.state {
        FleetState::Live => "live",
        FleetState::Offline => "offline",
        FleetState::Revoked => "revoked",
    };
    let behind: Vec<String> = node
        .progress
        .iter()
        .map(|progress| format!("{} {} behind", progress.cell, progress.lag()))
        .collect();
    format!(
        "{}  {}  {state}  {}  {}  seen {}  certificate until {}",
        node.id,
        node.name,
        node.software_version,
        behind.join(", "),
        node.last_seen_at.format("%Y-%m-%dT%H:%M:%SZ"),
        node.certificate_expires_at.format("%Y-%m-%dT%H:%M:%SZ"),
    )
}
