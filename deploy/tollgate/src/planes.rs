//! Settings to what each plane takes, and running one of them until it is told to stop.

use crate::cli::{ControlPlaneArgs, DataPlaneArgs, JoinTokenArgs, ResetLinkArgs};
use crate::settings::{AccessLogSink, Common, ControlPlane, DataPlane};
use crate::telemetry::Telemetry;
use anyhow::{Context, Result, ensure};
use control_plane::app::App;
use control_plane::config::Signup;
use control_plane::domain;
use data_plane::access_log::{self, AccessLog};
use data_plane::config::{Http1Server, LimiterMode, LimiterOutage, Start};
use data_plane::tls;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const JOIN_TOKEN_LIFE: chrono::TimeDelta = chrono::TimeDelta::hours(1);
const TAKE_OVER: &str = "--take-over";
/// Threads beside a node's data threads.
const NODE_WORKERS: usize = 2;
const POSTGRES_PORT: u16 = 5432;

pub(crate) fn control_plane(args: &ControlPlaneArgs) -> Result<ExitCode> {
    end_with_parent(args.with_parent)?;
    let config = control_plane_config(&args.common, &args.control_plane)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut telemetry = Telemetry::start(&args.common, "tollgate-control-plane")?;
        telemetry.export_metrics(prometheus::gather)?;
        let stop = stop_signal()?;
        let ended = Box::pin(control_plane::run(config, stop)).await;
        telemetry.end().await;
        ended.context("the control plane ended")
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn data_plane(args: &DataPlaneArgs) -> Result<ExitCode> {
    end_with_parent(args.with_parent)?;
    let mut config = data_plane_config(&args.common, &args.data_plane)?;
    if args.take_over {
        config.start = Start::TakeOver;
    }
    // Admin, configuration and shipping run here; the data threads are the node's own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(NODE_WORKERS)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut telemetry = Telemetry::start(&args.common, "tollgate-node")?;
        config.propagators.clone_from(&telemetry.propagators);
        config.tracer = telemetry.tracer();
        config.callers_decide = telemetry.callers_decide();
        config.access_log = access_log(&args.data_plane, &telemetry)?;
        let registry = config.registry.clone();
        telemetry.export_metrics(move || registry.gather())?;
        let stop = stop_signal()?;
        let renewing = tokio::spawn(renewals()?);
        let ended = Box::pin(data_plane::run(config, stop)).await;
        renewing.abort();
        telemetry.end().await;
        ended.context("the node ended")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn data_plane_config(common: &Common, settings: &DataPlane) -> Result<data_plane::Config> {
    let directory = settings.node_dir.clone().unwrap_or_else(|| home(common).join("node"));
    let mut config = data_plane::Config::new(directory);
    config.listen = settings.node_listen;
    config.admin_listen = settings.node_admin_listen;
    config.control_planes.clone_from(&settings.control_plane);
    config.join_token = settings.join_token()?;
    config.cells.clone_from(&settings.cells);
    config.zone.clone_from(&common.zone);
    config.path_addressing = common.path_addressing.as_deref() == Some("on");
    config.egress_allow.clone_from(&common.egress_allow);
    config.own.clone_from(&common.egress_refuse);
    config.backend_roots = settings.backend_authorities()?;
    config.trusted_proxies.clone_from(&common.trusted_proxies);
    config.proxy_protocol = settings.proxy_protocol == "on";
    let (chains, keys) = (&settings.node_tls_certificate_file, &settings.node_tls_key_file);
    ensure!(
        chains.len() == keys.len(),
        "TOLLGATE_NODE_TLS_CERTIFICATE_FILE names {} files and TOLLGATE_NODE_TLS_KEY_FILE {}; each certificate needs its \
         key, in the same order",
        chains.len(),
        keys.len()
    );
    let files = chains.iter().cloned().zip(keys.iter().cloned());
    config.tls = settings.node_tls_listen.0.map(|listen| tls::Settings {
        listen,
        certificates: files.map(|(chain, key)| tls::Files { chain, key }).collect(),
    });
    if let Some(threads) = settings.node_threads {
        config.threads = threads;
    }
    config.limits.tenant_in_flight_max =
        usize::try_from(settings.node_tenant_in_flight_max.get()).unwrap_or(usize::MAX);
    config.limits.backend_in_flight_max =
        usize::try_from(settings.node_backend_in_flight_max.get()).unwrap_or(usize::MAX);
    config.limits.header_timeout = Duration::from_millis(settings.node_header_timeout_ms.into());
    config.limits.write_timeout = Duration::from_millis(settings.node_write_timeout_ms.into());
    config.http1_server = match settings.node_http1_server.as_str() {
        "hyper" => Http1Server::Hyper,
        _ => Http1Server::Tollgate,
    };
    config.redis_url = settings.redis_url()?;
    config.redis_authority = settings.redis_authority()?;
    config.limiter_mode = match settings.limiter_mode.as_str() {
        "exact" => LimiterMode::Exact,
        "local" => LimiterMode::Local,
        _ => LimiterMode::Leased,
    };
    config.limiter_outage = match settings.limiter_outage.as_str() {
        "fail_open" => LimiterOutage::FailOpen,
        "fail_closed" => LimiterOutage::FailClosed,
        _ => LimiterOutage::LocalFallback,
    };
    config.limits.redis_timeout = Duration::from_millis(settings.redis_timeout_ms);
    Ok(config)
}

fn access_log(settings: &DataPlane, telemetry: &Telemetry) -> Result<AccessLog> {
    let mut sinks = Vec::new();
    for sink in &settings.access_log {
        match sink {
            AccessLogSink::Off => {}
            AccessLogSink::Stdout => {
                sinks.push(access_log::Sink::Lines(Box::new(access_log::Stdout)));
            }
            AccessLogSink::File(path) => {
                let bytes_max = Some(settings.access_log_file_bytes_max).filter(|max| *max > 0);
                let file = access_log::File::open(path.clone(), bytes_max).with_context(|| {
                    format!("TOLLGATE_ACCESS_LOG: cannot write the file {}", path.display())
                })?;
                sinks.push(access_log::Sink::Lines(Box::new(file)));
            }
            AccessLogSink::Otlp => {
                sinks.push(access_log::Sink::Records(telemetry.access_log()?));
            }
        }
    }
    Ok(AccessLog::start(sinks)?)
}

pub(crate) async fn join_token(args: &JoinTokenArgs) -> Result<ExitCode> {
    let app = App::connect(control_plane_config(&args.common, &args.control_plane)?).await?;
    println!("{}", domain::node::create_join_token(&app, &args.cells, JOIN_TOKEN_LIFE).await?);
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn operator_link(args: &ControlPlaneArgs) -> Result<ExitCode> {
    let app = App::connect(control_plane_config(&args.common, &args.control_plane)?).await?;
    println!("{}", domain::operator::create_operator_link(&app).await?);
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn reset_link(args: &ResetLinkArgs) -> Result<ExitCode> {
    let app = App::connect(control_plane_config(&args.common, &args.control_plane)?).await?;
    let link = domain::password::create_reset_link(&app, &args.email).await;
    println!("{}", link.with_context(|| format!("cannot make a link for {}", args.email))?);
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn control_plane_config(
    common: &Common,
    settings: &ControlPlane,
) -> Result<control_plane::Config> {
    let database_url = settings.database.required_url()?;
    let listeners = [settings.http_listen, settings.admin_listen, settings.grpc_listen];
    let mut egress_refuse = common.egress_refuse.clone();
    egress_refuse.extend(listeners);
    egress_refuse.extend(database_addresses(&database_url)?);
    Ok(control_plane::Config {
        http_listen: settings.http_listen,
        admin_listen: settings.admin_listen,
        grpc_listen: settings.grpc_listen,
        grpc_names: settings.grpc_names.clone(),
        public_url: settings
            .public_url
            .clone()
            .unwrap_or_else(|| format!("http://{}", settings.http_listen)),
        database_url,
        master_key_file: settings
            .master_key_file
            .clone()
            .unwrap_or_else(|| home(common).join("master.key")),
        signup: match settings.signup.as_deref() {
            Some("open") => Signup::Open,
            Some("closed") => Signup::Closed,
            _ => Signup::Invite,
        },
        mail: settings.mail()?,
        endpoint_template: settings
            .endpoint_template
            .clone()
            .unwrap_or_else(|| format!("http://{{apiId}}.{}:9080", common.zone)),
        path_endpoint_template: settings.path_endpoint_template.clone(),
        trusted_proxies: common.trusted_proxies.clone(),
        egress_allow: common.egress_allow.clone(),
        egress_refuse,
        user_points_per_minute: settings.user_points_per_minute,
        address_points_per_minute: settings.address_points_per_minute,
        database_connections_max: settings.database_connections_max,
        usage_minutes_kept_days: settings.usage_minutes_kept_days,
    })
}

fn home(common: &Common) -> PathBuf {
    common.home.clone().unwrap_or_else(|| PathBuf::from("var"))
}

/// Where the database listens, if it does so on TCP: no tenant's backend may be there.
fn database_addresses(url: &str) -> Result<Vec<SocketAddr>> {
    let url: url::Url = url.parse().context("DATABASE_URL is not a PostgreSQL URL")?;
    let on_socket = url.query_pairs().any(|(name, value)| name == "host" && value.starts_with('/'));
    let Some(host) = url.host_str().filter(|_| !on_socket) else { return Ok(Vec::new()) };
    let address = (host.trim_matches(['[', ']']), url.port().unwrap_or(POSTGRES_PORT));
    // A name that does not resolve now is the database driver's error to report, with its own words.
    Ok(address.to_socket_addrs().map(Iterator::collect).unwrap_or_default())
}

/// Completes at SIGTERM or SIGINT: finish what is in progress, then end.
fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// At each SIGUSR2: starts the program that now lies where this one was started from, to take this process's place.
fn renewals() -> Result<impl Future<Output = ()> + Send + 'static> {
    let mut asked = signal(SignalKind::user_defined2())?;
    let program = std::env::current_exe().context("cannot find this program's file")?;
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if !arguments.iter().any(|argument| argument == TAKE_OVER) {
        arguments.push(TAKE_OVER.into());
    }
    Ok(async move {
        while asked.recv().await.is_some() {
            match tokio::process::Command::new(&program).args(&arguments).status().await {
                Ok(status) => {
                    tracing::error!(%status, "the process that was to take over has ended");
                }
                Err(error) => {
                    tracing::error!(%error, "no process that would take over was started");
                }
            }
        }
    })
}

/// A child of `up` ends when `up` is killed: nobody would restart or stop it any more.
fn end_with_parent(wanted: bool) -> Result<()> {
    if wanted {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
            .context("cannot bind this process to its parent")?;
    }
    Ok(())
}
