//! `tollgate up`: everything on this machine, in the foreground.
//!
//! The order of a start, each step waiting for the one before: home and its lock, ports, PostgreSQL, Redis,
//! roles and tables, master key, control plane, join token, node. The order of an end is the reverse, so that
//! the node can hand over what it counted before the control plane and the stores go.

mod demo;
mod detach;
mod home;
mod logs;
mod ports;
mod service;
mod stores;

use crate::cli::{ControlPlaneArgs, DataPlaneArgs, UpArgs};
use crate::settings;
use crate::{Missing, database, http};
use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use home::Home;
use service::{Service, Spec};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long one process may take from its start to its readiness.
const START_MAX: Duration = Duration::from_mins(1);
/// How long the node may take to finish its requests and hand over its usage.
const NODE_DRAIN_MAX: Duration = Duration::from_secs(45);
const CONTROL_PLANE_DRAIN_MAX: Duration = Duration::from_secs(20);

const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// The login that the planes use on the private PostgreSQL, and its database.
const LOGIN: &str = "tollgate";
const DATABASE: &str = "tollgate";

/// Networks opened to tenants' backends while nothing of ours can be reached from outside this machine.
const LOOPBACK: &str = "127.0.0.0/8,::1/128";

pub(crate) fn run(args: UpArgs, given: &ArgMatches) -> Result<ExitCode> {
    let home = Home::find(&args.common)?;
    if args.detach {
        return detach::run(&home);
    }
    if args.detached {
        rustix::process::setsid().context("cannot leave the terminal's session")?;
    }
    // One thread: children ask to be ended with the thread that started them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let _lock = home.lock()?;
        let mut up = Up { args, environment: Environment::new(given), home, services: Vec::new() };
        let started = tokio::select! {
            started = up.start() => started,
            () = signals.wait() => Err(anyhow::anyhow!("stopped before everything was ready")),
        };
        let ended = match started {
            Ok(()) => {
                signals.wait().await;
                println!("Stopping: requests in progress are finished first.");
                Ok(ExitCode::SUCCESS)
            }
            Err(error) => Err(error),
        };
        tokio::select! {
            () = up.stop() => {}
            () = signals.wait() => up.kill(),
        }
        up.home.unmark_ready();
        ended
    })
}

struct Up {
    args: UpArgs,
    environment: Environment,
    home: Home,
    /// In the order of their start.
    services: Vec<Service>,
}

/// What each of our children finds in its environment.
struct Environment {
    control_plane: Vec<(String, String)>,
    node: Vec<(String, String)>,
}

impl Environment {
    fn new(given: &ArgMatches) -> Self {
        Self {
            control_plane: settings::environment::<ControlPlaneArgs>(given),
            node: settings::environment::<DataPlaneArgs>(given),
        }
    }

    fn both(&mut self, name: &str, value: &str) {
        set(&mut self.control_plane, name, value);
        set(&mut self.node, name, value);
    }
}

fn set(variables: &mut Vec<(String, String)>, name: &str, value: &str) {
    variables.retain(|(other, _)| other != name);
    variables.push((name.to_owned(), value.to_owned()));
}

impl Up {
    async fn start(&mut self) -> Result<()> {
        let signup = self.args.control_plane.signup.as_deref();
        if self.args.demo && signup.is_some_and(|who| who != "open") {
            bail!("--demo signs a tenant up; leave TOLLGATE_SIGNUP unset, or set it to open");
        }
        self.free_ports().await?;
        let stores = stores::Binaries::find(&self.args, &self.home)?;
        self.home.prepare()?;
        self.start_postgres(&stores).await?;
        self.start_redis(&stores).await?;
        self.settle_addresses()?;
        self.start_control_plane().await?;
        self.start_node().await?;
        self.announce().await?;
        if self.args.demo {
            self.show_demo().await?;
        }
        self.home.mark_ready()
    }

    /// Every port is free, or nothing is started. The node of a run that was killed may still be handing over.
    async fn free_ports(&self) -> Result<()> {
        if self.home.was_killed() {
            println!("The last run was killed; waiting for what it left to end.");
            let until = tokio::time::Instant::now() + NODE_DRAIN_MAX;
            while ports::check(&self.args).is_err() && tokio::time::Instant::now() < until {
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
            }
        }
        self.home.unmark_ready();
        ports::check(&self.args)
    }

    /// The database of `DATABASE_URL`, or a private one; in both cases with its tables up to date.
    async fn start_postgres(&mut self, stores: &stores::Binaries) -> Result<()> {
        let url = if let Some(url) = self.args.control_plane.database.url()? {
            url
        } else {
            let spec = stores.postgres(&self.home)?;
            let admin = stores::postgres_url(&self.home, "postgres", "postgres");
            self.services.push(Service::start(spec)?);
            self.last()
                .ready(START_MAX, async || database::connect(&admin).await.map(drop))
                .await?;
            let mut admin = database::connect(&admin).await?;
            database::make_roles(&mut admin, LOGIN).await?;
            database::create(&mut admin, DATABASE).await?;
            stores::postgres_url(&self.home, LOGIN, DATABASE)
        };
        database::migrate(&url).await?;
        set(&mut self.environment.control_plane, "DATABASE_URL", &url);
        Ok(())
    }

    async fn start_redis(&mut self, stores: &stores::Binaries) -> Result<()> {
        let url = if let Some(url) = self.args.data_plane.redis_url()? {
            url
        } else {
            let spec = stores.redis(&self.home)?;
            let socket = stores::redis_socket(&self.home);
            self.services.push(Service::start(spec)?);
            self.last().ready(START_MAX, async || stores::ping(&socket).await).await?;
            format!("redis+unix://{}", socket.display())
        };
        set(&mut self.environment.node, "REDIS_URL", &url);
        Ok(())
    }

    /// What follows from the listen addresses and the home unless it was set.
    fn settle_addresses(&mut self) -> Result<()> {
        let on_loopback_only = self.on_loopback_only();
        let UpArgs { common, control_plane, data_plane, .. } = &self.args;
        let environment = &mut self.environment;
        environment.both("TOLLGATE_HOME", &self.home.path().to_string_lossy());
        let key = match &control_plane.master_key_file {
            Some(file) => file.clone(),
            None => self.home.path().join("master.key"),
        };
        home::make_master_key(&key)?;
        set(&mut environment.control_plane, "TOLLGATE_MASTER_KEY_FILE", &key.to_string_lossy());
        if control_plane.signup.is_none() {
            set(&mut environment.control_plane, "TOLLGATE_SIGNUP", "open");
        }
        if control_plane.public_url.is_none() {
            let url = format!("http://{}", control_plane.http_listen);
            set(&mut environment.control_plane, "TOLLGATE_PUBLIC_URL", &url);
        }
        if control_plane.endpoint_template.is_none() {
            let template =
                format!("http://{{apiId}}.{}:{}", common.zone, data_plane.node_listen.port());
            set(&mut environment.control_plane, "TOLLGATE_ENDPOINT_TEMPLATE", &template);
        }
        let listeners = ports::all(&self.args);
        let listeners = listeners.iter().map(|listener| listener.address.to_string());
        let refused = common.egress_refuse.iter().map(ToString::to_string).chain(listeners);
        environment.both("TOLLGATE_EGRESS_REFUSE", &refused.collect::<Vec<_>>().join(","));
        let address = reachable(control_plane.grpc_listen);
        set(&mut environment.node, "TOLLGATE_CONTROL_PLANE", &format!("https://{address}"));
        if data_plane.node_dir.is_none() {
            let directory = self.home.path().join("node");
            set(&mut environment.node, "TOLLGATE_NODE_DIR", &directory.to_string_lossy());
        }
        if on_loopback_only {
            if common.egress_allow.is_empty() {
                environment.both("TOLLGATE_EGRESS_ALLOW", LOOPBACK);
            }
            if common.path_addressing.is_none() {
                environment.both("TOLLGATE_PATH_ADDRESSING", "on");
                let template = format!("http://{}/_api/{{apiId}}", data_plane.node_listen);
                set(&mut environment.control_plane, "TOLLGATE_PATH_ENDPOINT_TEMPLATE", &template);
            }
        }
        Ok(())
    }

    async fn start_control_plane(&mut self) -> Result<()> {
        self.home.write_settings(&settings::as_file(&self.environment.control_plane))?;
        let spec = Spec::ours(
            "control-plane",
            &self.environment.control_plane,
            &self.home,
            CONTROL_PLANE_DRAIN_MAX,
        )?;
        let admin = reachable(self.args.control_plane.admin_listen);
        self.services.push(Service::start(spec)?);
        self.last().ready(START_MAX, async || is_ready(admin).await).await
    }

    async fn start_node(&mut self) -> Result<()> {
        // A token is spent by its first use, and costs nothing while the node has its certificate.
        let token =
            self.ask("join-token", &["--cells", &self.args.data_plane.cells.join(",")]).await?;
        set(&mut self.environment.node, "TOLLGATE_JOIN_TOKEN", &token);
        let spec = Spec::ours("data-plane", &self.environment.node, &self.home, NODE_DRAIN_MAX)?;
        let admin = reachable(self.args.data_plane.node_admin_listen);
        self.services.push(Service::start(spec)?);
        self.last().ready(START_MAX, async || is_ready(admin).await).await
    }

    /// What one of our own short commands prints, run with the control plane's settings.
    async fn ask(&self, command: &str, arguments: &[&str]) -> Result<String> {
        let output = service::ours(&self.environment.control_plane)?
            .arg(command)
            .args(arguments)
            .output()
            .await?;
        if !output.status.success() {
            bail!(
                "`tollgate {command}` failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    async fn announce(&self) -> Result<()> {
        let UpArgs { common, control_plane, data_plane, .. } = &self.args;
        let port = data_plane.node_listen.port();
        println!("Tollgate is up.");
        println!("  console    http://{}", reachable(control_plane.http_listen));
        println!("  APIs       http://{{apiId}}.{}:{port}/{{stage}}", common.zone);
        if let Some(tls) = data_plane.node_tls_listen.0 {
            println!("             https://{{apiId}}.{}:{}/{{stage}}", common.zone, tls.port());
        }
        if self
            .environment
            .node
            .iter()
            .any(|(name, value)| name == "TOLLGATE_PATH_ADDRESSING" && value == "on")
        {
            println!(
                "             http://{}/_api/{{apiId}}/{{stage}}",
                reachable(data_plane.node_listen)
            );
        }
        println!(
            "  metrics    http://{}/metrics, http://{}/metrics",
            reachable(control_plane.admin_listen),
            reachable(data_plane.node_admin_listen)
        );
        println!("  state      {}", self.home.path().display());
        println!("  logs       {}", self.home.logs().display());
        if self.on_loopback_only() && common.egress_allow.is_empty() {
            println!(
                "  Backends on this machine are allowed, because every address above is on loopback."
            );
        }
        if self.home.first_start() {
            let link = self.ask("operator-link", &[]).await?;
            println!("  operator   {link}");
            let settings = self.home.settings_file();
            println!(
                "             works once; `tollgate operator-link --config {}` makes another",
                settings.display()
            );
            self.home.mark_started()?;
        }
        Ok(())
    }

    /// The demo of an earlier start, or a fresh one.
    async fn show_demo(&self) -> Result<()> {
        let file = self.home.path().join("demo.json");
        let demo = if let Some(demo) = demo::read(&file)? {
            demo
        } else {
            let UpArgs { control_plane, data_plane, .. } = &self.args;
            let doors = demo::Doors {
                management: reachable(control_plane.http_listen),
                endpoint: reachable(data_plane.node_listen),
            };
            println!("Making the demo: its traffic takes some seconds to reach the bill.");
            demo::make(&doors, &self.ask("operator-link", &[]).await?, &file).await?
        };
        demo.announce();
        Ok(())
    }

    fn on_loopback_only(&self) -> bool {
        ports::all(&self.args).iter().all(|listener| listener.address.ip().is_loopback())
    }

    fn last(&mut self) -> &mut Service {
        self.services.last_mut().expect("a service was pushed just before")
    }

    /// Last started, first stopped; each is given its time.
    async fn stop(&mut self) {
        while let Some(service) = self.services.last_mut() {
            service.stop().await;
            self.services.pop();
        }
    }

    fn kill(&mut self) {
        while let Some(service) = self.services.pop() {
            service.kill();
        }
    }
}

/// An address to connect to: the unspecified address listens everywhere, this machine included.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let mut address = listen;
    if listen.ip().is_unspecified() {
        let loopback: std::net::IpAddr = if listen.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        };
        address.set_ip(loopback);
    }
    address
}

async fn is_ready(admin: SocketAddr) -> Result<()> {
    match http::get(admin, "/readyz").await? {
        (200, _) => Ok(()),
        (status, body) => bail!("not ready ({status}): {}", body.trim()),
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The one line for what the machine lacks.
fn missing(what: &str, install: &str) -> anyhow::Error {
    Missing(format!("{what}; install it with `{install}` or run deploy/up as root")).into()
}
