//! What can be set, once: each setting is a flag, an environment variable and a key of one TOML file.
//!
//! A flag beats the environment, the environment beats the file, the file beats the default. A key or a
//! `TOLLGATE_…` variable that nothing reads is an error: a misspelt setting must not pass as unset.

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Command};
use ipnet::IpNet;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What both planes and `up` read.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// A TOML file with any of these settings, by their flag's name with underscores
    #[arg(long, env = "TOLLGATE_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where state lives: stores, the node's disk, logs, the master key. Default: var
    #[arg(long, env = "TOLLGATE_HOME", value_name = "DIRECTORY")]
    pub(crate) home: Option<PathBuf>,
    /// What is logged, for example `info,data_plane=debug`
    #[arg(long, env = "TOLLGATE_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
    /// The domain under which tenants' APIs answer, each at {apiId}.{zone}
    #[arg(
        long,
        env = "TOLLGATE_ZONE",
        value_name = "DOMAIN",
        default_value = "execute-api.localhost"
    )]
    pub(crate) zone: String,
    /// Networks that tenants' backends may be in although they are private, as CIDRs with commas between
    #[arg(long, env = "TOLLGATE_EGRESS_ALLOW", value_name = "CIDRS", value_delimiter = ',')]
    pub(crate) egress_allow: Vec<IpNet>,
    /// Addresses that no backend may be, beside this process's own: other listeners and stores of Tollgate
    #[arg(long, env = "TOLLGATE_EGRESS_REFUSE", value_name = "ADDRESSES", value_delimiter = ',')]
    pub(crate) egress_refuse: Vec<SocketAddr>,
    /// Whether `/_api/{apiId}/…` reaches an API under any host name. Default: off; under `up` on loopback: on
    #[arg(long, env = "TOLLGATE_PATH_ADDRESSING", value_name = "ON|OFF", value_parser = ["on", "off"])]
    pub(crate) path_addressing: Option<String>,
    /// Proxies whose X-Forwarded-For is believed, as CIDRs with commas between
    #[arg(long, env = "TOLLGATE_TRUSTED_PROXIES", value_name = "CIDRS", value_delimiter = ',')]
    pub(crate) trusted_proxies: Vec<IpNet>,
}

/// Where the truth is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Database {
    /// The PostgreSQL to use: one login, not a superuser, a NOINHERIT member of Tollgate's three roles
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,
    /// A file with the PostgreSQL URL
    #[arg(long, env = "DATABASE_URL_FILE", value_name = "FILE", conflicts_with = "database_url")]
    pub(crate) database_url_file: Option<PathBuf>,
}

/// What the control plane reads.
#[derive(Debug, Clone, Args)]
pub(crate) struct ControlPlane {
    /// Console, GraphQL and REST
    #[arg(
        long,
        env = "TOLLGATE_HTTP_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080"
    )]
    pub(crate) http_listen: SocketAddr,
    /// The control plane's /metrics, /livez and /readyz
    #[arg(
        long,
        env = "TOLLGATE_ADMIN_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9902"
    )]
    pub(crate) admin_listen: SocketAddr,
    /// Nodes' configuration and usage, mutual TLS
    #[arg(
        long,
        env = "TOLLGATE_GRPC_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8081"
    )]
    pub(crate) grpc_listen: SocketAddr,
    /// How browsers reach the console; needed behind a proxy. Default: http:// and the listen address
    #[arg(long, env = "TOLLGATE_PUBLIC_URL", value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// Who may sign up: `open`, `invite` or `closed`. Default: invite; under `up`: open
    #[arg(long, env = "TOLLGATE_SIGNUP", value_name = "WHO", value_parser = ["open", "invite", "closed"])]
    pub(crate) signup: Option<String>,
    /// The mail server that letters leave by: smtp://, smtps:// or smtp+starttls://user:password@host:port. Default:
    /// none, and no letters
    #[arg(
        long,
        env = "TOLLGATE_SMTP_URL",
        value_name = "URL",
        hide_env_values = true,
        requires = "mail_from"
    )]
    pub(crate) smtp_url: Option<String>,
    /// A file with the mail server's URL
    #[arg(
        long,
        env = "TOLLGATE_SMTP_URL_FILE",
        value_name = "FILE",
        conflicts_with = "smtp_url",
        requires = "mail_from"
    )]
    pub(crate) smtp_url_file: Option<PathBuf>,
    /// A certificate in PEM that signs the mail server's own, where no public authority does
    #[arg(long, env = "TOLLGATE_SMTP_CA_FILE", value_name = "FILE")]
    pub(crate) smtp_ca_file: Option<PathBuf>,
    /// Whom letters are from, for example `Tollgate <gate@example.com>`
    #[arg(long, env = "TOLLGATE_MAIL_FROM", value_name = "ADDRESS")]
    pub(crate) mail_from: Option<String>,
    /// The key that wraps every stored secret; made with mode 0600 at the first start of `up`
    #[arg(long, env = "TOLLGATE_MASTER_KEY_FILE", value_name = "FILE")]
    pub(crate) master_key_file: Option<PathBuf>,
    /// How consumers reach an API, with `{apiId}` in it. Default: under the zone, on the node's port
    #[arg(long, env = "TOLLGATE_ENDPOINT_TEMPLATE", value_name = "URL")]
    pub(crate) endpoint_template: Option<String>,
    /// How consumers reach an API by path, with `{apiId}` in it. Default: none
    #[arg(long, env = "TOLLGATE_PATH_ENDPOINT_TEMPLATE", value_name = "URL")]
    pub(crate) path_endpoint_template: Option<String>,
    /// Names beside the gRPC listen address that nodes may call the control plane by, with commas between
    #[arg(long, env = "TOLLGATE_GRPC_NAMES", value_name = "NAMES", value_delimiter = ',')]
    pub(crate) grpc_names: Vec<String>,
    /// The most database connections of this replica
    #[arg(
        long,
        env = "TOLLGATE_DATABASE_CONNECTIONS_MAX",
        value_name = "COUNT",
        default_value = "20"
    )]
    pub(crate) database_connections_max: u32,
    /// How long usage by minute is kept; by hour and by day, of which bills and statements are made, it is kept for good
    #[arg(
        long,
        env = "TOLLGATE_USAGE_MINUTES_KEPT_DAYS",
        value_name = "DAYS",
        default_value = "35",
        value_parser = clap::value_parser!(u16).range(7..=3650)
    )]
    pub(crate) usage_minutes_kept_days: u16,
    /// What a user may ask of a replica, at once or over a minute: a read is 1 point, a change 5, a GraphQL query
    /// what `rateLimit` tells
    #[arg(
        long,
        env = "TOLLGATE_USER_POINTS_PER_MINUTE",
        value_name = "POINTS",
        default_value = "6000"
    )]
    pub(crate) user_points_per_minute: NonZeroU32,
    /// The same for all who are not logged in at one address (IPv6: one /64)
    #[arg(
        long,
        env = "TOLLGATE_ADDRESS_POINTS_PER_MINUTE",
        value_name = "POINTS",
        default_value = "3000"
    )]
    pub(crate) address_points_per_minute: NonZeroU32,
    #[command(flatten)]
    pub(crate) database: Database,
}

/// What a node reads.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataPlane {
    /// Tenants' endpoints, HTTP/1.1 and HTTP/2
    #[arg(
        long,
        env = "TOLLGATE_NODE_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9080"
    )]
    pub(crate) node_listen: SocketAddr,
    /// The same over TLS 1.3 and 1.2, or `off`
    #[arg(
        long,
        env = "TOLLGATE_NODE_TLS_LISTEN",
        value_name = "ADDRESS|off",
        default_value = "127.0.0.1:9443"
    )]
    pub(crate) node_tls_listen: OrOff,
    /// The certificates to show there, each a file with those that lead to its authority, as PEM: the one for the name that
    /// a caller asks for, or the first. Default: one for development
    #[arg(
        long,
        env = "TOLLGATE_NODE_TLS_CERTIFICATE_FILE",
        value_name = "FILES",
        value_delimiter = ',',
        requires = "node_tls_key_file"
    )]
    pub(crate) node_tls_certificate_file: Vec<PathBuf>,
    /// The certificates' keys, as PEM, in the same order
    #[arg(
        long,
        env = "TOLLGATE_NODE_TLS_KEY_FILE",
        value_name = "FILES",
        value_delimiter = ',',
        requires = "node_tls_certificate_file"
    )]
    pub(crate) node_tls_key_file: Vec<PathBuf>,
    /// The node's /metrics, /livez and /readyz
    #[arg(
        long,
        env = "TOLLGATE_NODE_ADMIN_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9901"
    )]
    pub(crate) node_admin_listen: SocketAddr,
    /// The node's disk: identity, last good configuration, usage journal. Default: {home}/node
    #[arg(long, env = "TOLLGATE_NODE_DIR", value_name = "DIRECTORY")]
    pub(crate) node_dir: Option<PathBuf>,
    /// The control plane's gRPC addresses, with commas between; a stream is kept to each
    #[arg(
        long,
        env = "TOLLGATE_CONTROL_PLANE",
        value_name = "URLS",
        value_delimiter = ',',
        default_value = "https://127.0.0.1:8081"
    )]
    pub(crate) control_plane: Vec<String>,
    /// From `tollgate join-token`; needed until the node has joined
    #[arg(long, env = "TOLLGATE_JOIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub(crate) join_token: Option<String>,
    /// A file with the join token
    #[arg(
        long,
        env = "TOLLGATE_JOIN_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "join_token"
    )]
    pub(crate) join_token_file: Option<PathBuf>,
    /// The cells that this node serves, with commas between
    #[arg(
        long,
        env = "TOLLGATE_CELLS",
        value_name = "CELLS",
        value_delimiter = ',',
        default_value = "default"
    )]
    pub(crate) cells: Vec<String>,
    /// Whether connections of trusted proxies begin with a PROXY header, version 1 or 2
    #[arg(
        long,
        env = "TOLLGATE_PROXY_PROTOCOL",
        value_name = "ON|OFF",
        value_parser = ["on", "off"],
        default_value = "off"
    )]
    pub(crate) proxy_protocol: String,
    /// Where a record of each request goes, with commas between: `stdout`, `file:` and a path, `otlp`; or `off`
    #[arg(
        long,
        env = "TOLLGATE_ACCESS_LOG",
        value_name = "SINKS",
        value_delimiter = ',',
        default_value = "stdout"
    )]
    pub(crate) access_log: Vec<AccessLogSink>,
    /// An access log's file that would grow beyond it becomes `{file}.1`, in the place of the one before; 0: never
    #[arg(
        long,
        env = "TOLLGATE_ACCESS_LOG_FILE_BYTES_MAX",
        value_name = "BYTES",
        default_value = "1073741824"
    )]
    pub(crate) access_log_file_bytes_max: u64,
    /// Data threads. Default: one for each core
    #[arg(long, env = "TOLLGATE_NODE_THREADS", value_name = "COUNT")]
    pub(crate) node_threads: Option<usize>,
    /// Requests of one tenant in progress on one data thread, of 10,000 in all: what is more of that tenant's is answered
    /// 503, so that its slow backend takes no other tenant's place
    #[arg(
        long,
        env = "TOLLGATE_NODE_TENANT_IN_FLIGHT_MAX",
        value_name = "COUNT",
        default_value = "2500"
    )]
    pub(crate) node_tenant_in_flight_max: NonZeroU32,
    /// Calls that one data thread has with one backend at once, each on a connection of its own; 1,024 more wait for
    /// that, as long as connecting may take, and what is more is answered 503
    #[arg(
        long,
        env = "TOLLGATE_NODE_BACKEND_IN_FLIGHT_MAX",
        value_name = "COUNT",
        default_value = "2500"
    )]
    pub(crate) node_backend_in_flight_max: NonZeroU32,
    /// From a request's first byte to the end of its head, also of a TLS handshake and an HTTP/2 preface; whoever takes
    /// longer is cut off, and told 408 where HTTP/1.1 can say it
    #[arg(
        long,
        env = "TOLLGATE_NODE_HEADER_TIMEOUT_MS",
        value_name = "MILLISECONDS",
        default_value = "10000",
        value_parser = clap::value_parser!(u32).range(100..=600_000)
    )]
    pub(crate) node_header_timeout_ms: u32,
    /// How long a caller may take nothing of its answer before it is cut off
    #[arg(
        long,
        env = "TOLLGATE_NODE_WRITE_TIMEOUT_MS",
        value_name = "MILLISECONDS",
        default_value = "60000",
        value_parser = clap::value_parser!(u32).range(100..=600_000)
    )]
    pub(crate) node_write_timeout_ms: u32,
    /// What reads callers' HTTP/1.1: Tollgate's own server, which refuses each ambiguous request by name, or hyper's, the
    /// way back. HTTP/2 is always hyper's
    #[arg(
        long,
        env = "TOLLGATE_NODE_HTTP1_SERVER",
        value_name = "SERVER",
        value_parser = ["tollgate", "hyper"],
        default_value = "tollgate"
    )]
    pub(crate) node_http1_server: String,
    /// The Redis to count in: redis://, rediss:// or redis+unix://; a Redis Cluster is named by some of its nodes, as in
    /// redis-cluster://login:password@one:6379,two:6379 or rediss-cluster://
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) redis_url: Option<String>,
    /// How long one call waits for Redis before `limiter_outage` applies
    #[arg(
        long,
        env = "TOLLGATE_REDIS_TIMEOUT_MS",
        value_name = "MILLISECONDS",
        default_value = "5"
    )]
    pub(crate) redis_timeout_ms: u64,
    /// How throttles are counted: by asking Redis for each call, by tokens taken in advance, or by each node's share
    /// (the limit ÷ live nodes). The first two keep the limit over all nodes
    #[arg(
        long,
        env = "TOLLGATE_LIMITER_MODE",
        value_name = "MODE",
        value_parser = ["exact", "leased", "local"],
        default_value = "leased"
    )]
    pub(crate) limiter_mode: String,
    /// What becomes of throttles and quotas while Redis is away: each node allows its share (the limit ÷ live nodes),
    /// every call passes, or calls with a limit are answered 503
    #[arg(
        long,
        env = "TOLLGATE_LIMITER_OUTAGE",
        value_name = "MODE",
        value_parser = ["local_fallback", "fail_open", "fail_closed"],
        default_value = "local_fallback"
    )]
    pub(crate) limiter_outage: String,
    /// A file with the Redis URL
    #[arg(long, env = "REDIS_URL_FILE", value_name = "FILE", conflicts_with = "redis_url")]
    pub(crate) redis_url_file: Option<PathBuf>,
    /// The authority that Redis' certificate over TLS must be from, in PEM. Default: the public ones
    #[arg(long, env = "TOLLGATE_REDIS_CA_FILE", value_name = "FILE")]
    pub(crate) redis_ca_file: Option<PathBuf>,
    /// Authorities in PEM that may have signed the certificate of a backend over https, beside the public ones
    #[arg(long, env = "TOLLGATE_NODE_BACKEND_CA_FILE", value_name = "FILE")]
    pub(crate) node_backend_ca_file: Option<PathBuf>,
}

/// An address to listen on, or the word `off`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OrOff(pub(crate) Option<SocketAddr>);

impl FromStr for OrOff {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            address => match address.parse() {
                Ok(address) => Ok(Self(Some(address))),
                Err(_) => Err("give an address with a port, such as 127.0.0.1:9443, or off".into()),
            },
        }
    }
}

/// One place for records of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AccessLogSink {
    Off,
    Stdout,
    File(PathBuf),
    Otlp,
}

impl FromStr for AccessLogSink {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match (text, text.strip_prefix("file:")) {
            ("off", _) => Ok(Self::Off),
            ("stdout", _) => Ok(Self::Stdout),
            ("otlp", _) => Ok(Self::Otlp),
            (_, Some(path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err("give stdout, otlp, file: and a path, several with commas, or off".into()),
        }
    }
}

/// The value itself, or the contents of the file that holds it, without the line's end.
pub(crate) fn secret(value: Option<&String>, file: Option<&PathBuf>) -> Result<Option<String>> {
    match (value, file) {
        (Some(value), _) => Ok(Some(value.clone())),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            Ok(Some(text.trim_end().to_owned()))
        }
        (None, None) => Ok(None),
    }
}

impl Database {
    pub(crate) fn url(&self) -> Result<Option<String>> {
        secret(self.database_url.as_ref(), self.database_url_file.as_ref())
    }

    pub(crate) fn required_url(&self) -> Result<String> {
        self.url()?
            .context("DATABASE_URL is not set; only `tollgate up` starts a PostgreSQL of its own")
    }
}

impl ControlPlane {
    /// The mail server, checked; none where none was set.
    pub(crate) fn mail(&self) -> Result<Option<control_plane::mail::Settings>> {
        let url = secret(self.smtp_url.as_ref(), self.smtp_url_file.as_ref())?;
        let from = self.mail_from.as_deref().unwrap_or_default();
        let authority = read_bytes(self.smtp_ca_file.as_deref())?;
        let settings =
            |url: String| control_plane::mail::Settings::new(&url, from, authority.as_deref());
        Ok(url.map(settings).transpose()?)
    }
}

impl DataPlane {
    pub(crate) fn redis_url(&self) -> Result<Option<String>> {
        secret(self.redis_url.as_ref(), self.redis_url_file.as_ref())
    }

    pub(crate) fn redis_authority(&self) -> Result<Option<Vec<u8>>> {
        read_bytes(self.redis_ca_file.as_deref())
    }

    pub(crate) fn backend_authorities(&self) -> Result<Vec<CertificateDer<'static>>> {
        let Some(file) = &self.node_backend_ca_file else { return Ok(Vec::new()) };
        let cannot = || {
            let file = file.display();
            format!("TOLLGATE_NODE_BACKEND_CA_FILE: cannot read certificates in PEM from {file}")
        };
        let authorities = CertificateDer::pem_file_iter(file).with_context(cannot)?;
        let authorities = authorities.collect::<Result<Vec<_>, _>>().with_context(cannot)?;
        ensure!(
            !authorities.is_empty(),
            "TOLLGATE_NODE_BACKEND_CA_FILE: {} holds no certificate in PEM",
            file.display()
        );
        Ok(authorities)
    }

    pub(crate) fn join_token(&self) -> Result<Option<String>> {
        secret(self.join_token.as_ref(), self.join_token_file.as_ref())
    }
}

fn read_bytes(path: Option<&Path>) -> Result<Option<Vec<u8>>> {
    let read = |path: &Path| {
        std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
    };
    path.map(read).transpose()
}

/// Gives the file's values to the command as defaults, so that flags and environment keep beating them.
pub(crate) fn with_file(command: Command, path: &Path) -> Result<Command> {
    let values = read_file(path)?;
    let known = keys(&command);
    if let Some(unknown) = values.keys().find(|key| !known.contains(*key)) {
        bail!(
            "{}: unknown setting `{unknown}`; `tollgate up --help` lists them all",
            path.display()
        );
    }
    Ok(command.mut_subcommands(|subcommand| with_values(subcommand, &values)))
}

/// The command and those below it, with these defaults.
fn with_values(command: Command, values: &BTreeMap<String, String>) -> Command {
    command
        .mut_args(|argument| match values.get(argument.get_id().as_str()) {
            // Lives as long as the process, as clap wants its defaults to.
            Some(value) => argument.default_value(&*value.clone().leak()),
            None => argument,
        })
        .mut_subcommands(|subcommand| with_values(subcommand, values))
}

/// Refuses variables named `TOLLGATE_…` that no command reads.
pub(crate) fn refuse_unknown_variables(command: &Command) -> Result<()> {
    let known: BTreeSet<String> = command
        .get_subcommands()
        .flat_map(Command::get_arguments)
        .filter_map(|argument| Some(argument.get_env()?.to_string_lossy().into_owned()))
        .collect();
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("TOLLGATE_") && !known.contains(&*name) {
            bail!("unknown setting {name} in the environment; `tollgate up --help` lists them all");
        }
    }
    Ok(())
}

fn keys(command: &Command) -> BTreeSet<String> {
    command
        .get_subcommands()
        .flat_map(Command::get_arguments)
        .filter(|argument| argument.get_env().is_some() && argument.get_id() != "config")
        .map(|argument| argument.get_id().as_str().to_owned())
        .collect()
}

/// The file's keys and their values as text: lists become comma-separated, as on the command line.
fn read_file(path: &Path) -> Result<BTreeMap<String, String>> {
    let cannot_read = || format!("cannot read the settings file {}", path.display());
    let text = std::fs::read_to_string(path).with_context(cannot_read)?;
    let table: BTreeMap<String, serde_json::Value> = config::Config::builder()
        .add_source(config::File::from_str(&text, config::FileFormat::Toml))
        .build()
        .and_then(config::Config::try_deserialize)
        .with_context(cannot_read)?;
    table.into_iter().map(|(key, value)| Ok((key.clone(), as_text(&key, value)?))).collect()
}

fn as_text(key: &str, value: serde_json::Value) -> Result<String> {
    use serde_json::Value;
    Ok(match value {
        Value::String(text) => text,
        Value::Bool(on) if matches!(key, "path_addressing" | "proxy_protocol") => {
            if on { "on" } else { "off" }.to_owned()
        }
        Value::Number(number) => number.to_string(),
        Value::Array(items) => {
            items.into_iter().map(|item| as_text(key, item)).collect::<Result<Vec<_>>>()?.join(",")
        }
        other => bail!("the setting `{key}` cannot be {other}"),
    })
}

/// The variables by which a command with the arguments `A` finds the settings that were given here.
pub(crate) fn environment<A: Args>(given: &clap::ArgMatches) -> Vec<(String, String)> {
    let command = A::augment_args(Command::new("child"));
    let set = command.get_arguments().filter_map(|argument| {
        let name = argument.get_env()?.to_str()?;
        let values = given.try_get_raw(argument.get_id().as_str()).ok()??;
        let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
        Some((name.to_owned(), values.join(",")))
    });
    set.filter(|(name, _)| name != "TOLLGATE_CONFIG").collect()
}

/// Variables as the lines of a settings file: `TOLLGATE_HTTP_LISTEN` is the key `http_listen`.
pub(crate) fn as_file(variables: &[(String, String)]) -> String {
    let lines = variables.iter().map(|(name, value)| {
        let key = name.trim_start_matches("TOLLGATE_").to_lowercase();
        format!("{key} = {}\n", serde_json::Value::from(value.as_str()))
    });
    lines.collect()
}

#[cfg(test)]
mod tests;
