//! The commands.

use crate::settings::{self, Common, ControlPlane, DataPlane, Database};
use crate::{audit, database, http, inspect_segment, node, planes, roles, up, verify_usage};
use anyhow::{Context, Result, bail};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::process::ExitCode;

/// A multi-tenant API gateway: what AWS API Gateway does, on your own machines.
#[derive(Debug, Parser)]
#[command(name = "tollgate", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine, in the foreground
    Up(UpArgs),
    /// Run one replica of the control plane
    ControlPlane(ControlPlaneArgs),
    /// Run one node
    DataPlane(DataPlaneArgs),
    /// Bring the database's tables up to date, or make its roles
    Migrate(MigrateArgs),
    /// Print a token with which nodes may join, for one hour
    JoinToken(JoinTokenArgs),
    /// List the nodes, or cut one off
    #[command(subcommand)]
    Node(node::Command),
    /// Print a link that makes its first visitor the operator, within a day
    OperatorLink(ControlPlaneArgs),
    /// Help a member of a tenant
    #[command(subcommand)]
    Member(MemberCommand),
    /// Check the audit logs
    #[command(subcommand)]
    Audit(audit::Command),
    /// Check a signed statement of usage, a row's proof or a whole export against it, by the files alone; exits with 1
    /// and names what differs first
    VerifyUsage(verify_usage::VerifyUsageArgs),
    /// Print what can be read of a segment of usage, such as one that was quarantined, by the file alone; exits with 1
    /// where nothing can
    InspectSegment(inspect_segment::InspectSegmentArgs),
    /// Print the GraphQL schema
    PrintSchema,
    /// Print the OpenAPI document of the REST paths
    PrintOpenapi,
    /// Ask a running process whether it is ready; exits with 1 when it is not
    Healthcheck(HealthcheckArgs),
    /// Read all settings, say what is wrong with them, and print the rest without secrets
    CheckConfig(UpArgs),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) control_plane: ControlPlane,
    #[command(flatten)]
    pub(crate) data_plane: DataPlane,
    /// Return as soon as everything is ready; `deploy/down` stops it
    #[arg(long, conflicts_with = "detached")]
    pub(crate) detach: bool,
    /// Make a demo tenant with a working API, a key, traffic and a bill, once, and print the `curl` line
    #[arg(long)]
    pub(crate) demo: bool,
    /// Leave the terminal's session: how `--detach` starts the process that stays
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ControlPlaneArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) control_plane: ControlPlane,
    /// End when the process that started this one ends
    #[arg(long, hide = true)]
    pub(crate) with_parent: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Print a link with which a user chooses another password, once and within an hour
    ResetLink(ResetLinkArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ResetLinkArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) control_plane: ControlPlane,
    /// The user's address
    #[arg(long)]
    pub(crate) email: String,
}

#[derive(Debug, Args)]
pub(crate) struct DataPlaneArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) data_plane: DataPlane,
    /// Take the place of the node that runs in the same directory, without turning a caller away
    #[arg(long)]
    pub(crate) take_over: bool,
    /// End when the process that started this one ends
    #[arg(long, hide = true)]
    pub(crate) with_parent: bool,
}

#[derive(Debug, Args)]
pub(crate) struct JoinTokenArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) control_plane: ControlPlane,
    /// The cells that the nodes may serve, with commas between
    #[arg(
        long,
        env = "TOLLGATE_CELLS",
        value_name = "CELLS",
        value_delimiter = ',',
        default_value = "default"
    )]
    pub(crate) cells: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    database: Database,
    /// Make the roles and the login instead; `DATABASE_URL` must then be an administrator's
    #[arg(long)]
    roles: bool,
    /// The login that the processes will use
    #[arg(long, default_value = "tollgate", requires = "roles", value_parser = roles::checked_login)]
    login: String,
    /// Print the SQL instead of running it
    #[arg(long, requires = "roles")]
    print: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HealthcheckArgs {
    #[command(flatten)]
    common: Common,
    /// Which process: `control-plane` or `data-plane`
    #[arg(value_parser = ["control-plane", "data-plane"], default_value = "control-plane")]
    role: String,
    #[arg(long, env = "TOLLGATE_ADMIN_LISTEN", default_value = "127.0.0.1:9902")]
    admin_listen: std::net::SocketAddr,
    #[arg(long, env = "TOLLGATE_NODE_ADMIN_LISTEN", default_value = "127.0.0.1:9901")]
    node_admin_listen: std::net::SocketAddr,
}

/// Reads the command line and does what it says.
pub(crate) fn run() -> Result<ExitCode> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let mut command = Cli::command();
    if let Some(file) = config_file(&command, &arguments) {
        command = settings::with_file(command, &file)?;
    }
    let matches = match command.try_get_matches_from_mut(&arguments) {
        Ok(matches) => matches,
        Err(error) => {
            error.print().ok();
            return Ok(ExitCode::from(u8::from(error.use_stderr())));
        }
    };
    settings::refuse_unknown_variables(&command)?;
    let cli = Cli::from_arg_matches(&matches).context("the settings do not fit together")?;
    let (_, given) = matches.subcommand().context("no command was given")?;
    dispatch(cli.command, given)
}

fn dispatch(command: Command, given: &clap::ArgMatches) -> Result<ExitCode> {
    match command {
        Command::Up(args) => up::run(args, given),
        Command::Migrate(args) => block_on(migrate(args)),
        Command::Healthcheck(args) => block_on(healthcheck(args)),
        Command::CheckConfig(args) => check_config(&args, given),
        Command::ControlPlane(args) => planes::control_plane(&args),
        Command::DataPlane(args) => planes::data_plane(&args),
        Command::JoinToken(args) => block_on(planes::join_token(&args)),
        Command::Member(MemberCommand::ResetLink(args)) => block_on(planes::reset_link(&args)),
        Command::Node(command) => block_on(node::run(command)),
        Command::Audit(command) => block_on(audit::run(command)),
        Command::VerifyUsage(args) => verify_usage::run(&args),
        Command::InspectSegment(args) => inspect_segment::run(&args),
        Command::OperatorLink(args) => block_on(planes::operator_link(&args)),
        Command::PrintOpenapi => {
            println!("{}", control_plane::rest::openapi::openapi_document());
            Ok(ExitCode::SUCCESS)
        }
        Command::PrintSchema => {
            print!("{}", control_plane::graphql::schema_sdl());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// `--config` or `TOLLGATE_CONFIG`, found before the rest is understood: the rest may need the file.
fn config_file(command: &clap::Command, arguments: &[OsString]) -> Option<std::path::PathBuf> {
    let matches = command.clone().ignore_errors(true).try_get_matches_from(arguments).ok()?;
    let (_, mut given) = matches.subcommand()?;
    while let Some((_, deeper)) = given.subcommand() {
        given = deeper;
    }
    given.try_get_one("config").ok()?.cloned()
}

pub(crate) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(future)
}

async fn migrate(args: MigrateArgs) -> Result<ExitCode> {
    if args.print {
        print!("{}", roles::sql(&args.login));
    } else if args.roles {
        let mut admin = database::connect(&args.database.required_url()?).await?;
        database::make_roles(&mut admin, &args.login).await?;
    } else {
        database::migrate(&args.database.required_url()?).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn healthcheck(args: HealthcheckArgs) -> Result<ExitCode> {
    let address =
        if args.role == "control-plane" { args.admin_listen } else { args.node_admin_listen };
    let (status, body) = http::get(address, "/readyz")
        .await
        .with_context(|| format!("{} is not answering on {address}", args.role))?;
    if status != 200 {
        bail!("{} is not ready: {}", args.role, body.trim());
    }
    println!("ready");
    Ok(ExitCode::SUCCESS)
}

fn check_config(args: &UpArgs, given: &clap::ArgMatches) -> Result<ExitCode> {
    args.control_plane.database.url()?;
    args.data_plane.redis_url()?;
    args.data_plane.redis_authority()?;
    args.data_plane.backend_authorities()?;
    args.data_plane.join_token()?;
    let secret = ["DATABASE_URL", "REDIS_URL", "TOLLGATE_JOIN_TOKEN"];
    for (name, value) in settings::environment::<UpArgs>(given) {
        let shown = if secret.contains(&name.as_str()) { "(set, not shown)" } else { &value };
        println!("{name}={shown}");
    }
    Ok(ExitCode::SUCCESS)
}
