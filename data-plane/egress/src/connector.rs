//! Resolve, check, connect: the only place that opens a socket on a tenant's behalf.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use crate::{Host, Identity, Own, Policy, Range, Scheme, Stream, Target, identity::Configs};

const ALPN_HTTP2: &[u8] = b"h2";

/// The guarded connector. Cheap to clone; make one for each runtime, since its resolver's tasks live there.
#[derive(Clone)]
pub struct Connector {
    resolver: TokioResolver,
    own: Own,
    usual: Configs,
}

/// What is spoken on a connection: over TLS what is offered by ALPN (RFC 7301), else prior knowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, also with a host that chooses nothing.
    Http1,
    /// HTTP/2, which the host must choose.
    Http2,
}

/// An address that a policy let through. Nothing else can be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Checked(SocketAddr);

/// Why there is no connection. The texts name no address: a tenant must not map a network by them.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the host is {0}, which this installation does not reach")]
    Forbidden(Range),
    #[error("the host is a part of this installation")]
    Own,
    #[error("the host's name does not resolve")]
    Resolve(#[source] Option<NetError>),
    #[error("no connection within the time allowed")]
    Timeout,
    #[error("the host refuses the connection")]
    Connect(#[source] io::Error),
    #[error("the TLS handshake failed{}", fault(.0))]
    Tls(#[source] io::Error),
    #[error("the host does not choose HTTP/2 (h2 by ALPN)")]
    NotHttp2,
}

/// Why a connector could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("the TLS settings are not usable")]
    Tls(#[from] rustls::Error),
    #[error("the resolver's settings are not usable")]
    Resolver(#[from] NetError),
}

impl Checked {
    pub fn address(&self) -> SocketAddr {
        self.0
    }
}

impl Connector {
    /// Trusts the public roots and `extra_roots`. Resolves as the machine does (its configuration and hosts
    /// file), or by the hosts file alone where there is no configuration.
    pub fn new(own: Own, extra_roots: &[CertificateDer<'static>]) -> Result<Self, BuildError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for root in extra_roots {
            roots.add(root.clone())?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut http2 = tls.clone();
        http2.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        Ok(Self { resolver: resolver()?, own, usual: [tls, http2].map(Arc::new) })
    }

    /// The addresses of a target that `policy` lets through, in the order to try them; never none.
    pub async fn resolve(
        &self,
        target: &Target,
        policy: &Policy,
        limit: Duration,
    ) -> Result<Vec<Checked>, ConnectError> {
        let mut addresses = target.host.literal_addresses();
        if let (true, Host::Name(name)) = (addresses.is_empty(), &target.host) {
            let found = tokio::time::timeout(limit, self.resolver.lookup_ip(&**name))
                .await
                .map_err(|_| ConnectError::Timeout)?
                .map_err(|source| ConnectError::Resolve(Some(source)))?;
            addresses = found.iter().collect();
        }
        let mut refused = ConnectError::Resolve(None);
        let mut checked = Vec::with_capacity(addresses.len());
        for ip in addresses {
            let address = SocketAddr::new(ip, target.port);
            match policy.check(ip) {
                Err(range) => refused = ConnectError::Forbidden(range),
                Ok(()) if self.own.holds(address) => refused = ConnectError::Own,
                Ok(()) => checked.push(Checked(address)),
            }
        }
        if checked.is_empty() { Err(refused) } else { Ok(checked) }
    }

    /// Connects to one checked address of `target`, with TLS where its scheme says so, within `limit`. The other side must
    /// have `identity`; `None`: the target's name, by an authority that this connector trusts.
    pub async fn connect(
        &self,
        target: &Target,
        identity: Option<&Identity>,
        address: Checked,
        protocol: Protocol,
        limit: Duration,
    ) -> Result<Stream, ConnectError> {
        let deadline = Instant::now() + limit;
        let tcp = timeout_at(deadline, TcpStream::connect(address.0))
            .await
            .map_err(|_| ConnectError::Timeout)?
            .map_err(ConnectError::Connect)?;
        tcp.set_nodelay(true).map_err(ConnectError::Connect)?;
        if target.scheme == Scheme::Http {
            return Ok(Stream::Plain(tcp));
        }
        let name = match (identity.and_then(|it| it.name.clone()), &target.host) {
            (Some(name), _) => name,
            (None, Host::Ip(ip)) => ServerName::IpAddress((*ip).into()),
            (None, Host::Name(name)) => ServerName::try_from(name.to_string())
                .map_err(|error| ConnectError::Tls(io::Error::other(error)))?,
        };
        let [http1, http2] = identity.map_or(&self.usual, |it| it.configs(&self.usual));
        let config = match protocol {
            Protocol::Http1 => http1,
            Protocol::Http2 => http2,
        };
        let tls = timeout_at(deadline, TlsConnector::from(config.clone()).connect(name, tcp))
            .await
            .map_err(|_| ConnectError::Timeout)?
            .map_err(|error| {
                if has_no_choice(&error) {
                    ConnectError::NotHttp2
                } else {
                    ConnectError::Tls(error)
                }
            })?;
        if protocol == Protocol::Http2 && tls.get_ref().1.alpn_protocol() != Some(ALPN_HTTP2) {
            return Err(ConnectError::NotHttp2);
        }
        Ok(Stream::Tls(Box::new(tls)))
    }

    /// Resolves and connects to the first address that answers, for HTTP/1.1; the time is shared between them.
    pub async fn dial(
        &self,
        target: &Target,
        policy: &Policy,
        limit: Duration,
    ) -> Result<Stream, ConnectError> {
        let deadline = Instant::now() + limit;
        let addresses = self.resolve(target, policy, limit).await?;
        let mut last = ConnectError::Timeout;
        for (tried, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            match self.connect(target, None, *address, Protocol::Http1, share).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn resolver() -> Result<TokioResolver, NetError> {
    let provider = TokioRuntimeProvider::default;
    let mut builder = TokioResolver::builder(provider()).unwrap_or_else(|error| {
        tracing::warn!(error = %error, "no resolver configuration; only the hosts file is used");
        TokioResolver::builder_with_config(ResolverConfig::default(), provider())
    });
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // A name may move at any time, but not so often that each request asks.
    options.positive_min_ttl = Some(Duration::from_secs(1));
    options.positive_max_ttl = Some(Duration::from_mins(5));
    options.negative_max_ttl = Some(Duration::from_secs(10));
    builder.build()
}

/// What is wrong with the host's certificate, where that is why a handshake failed; a sentence's end.
fn fault(error: &io::Error) -> &'static str {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let fault = match error {
        Some(rustls::Error::InvalidCertificate(fault)) => fault,
        // Over TLS 1.3 a host says so after the handshake, if it does.
        Some(rustls::Error::AlertReceived(alert)) => return refused_for(*alert),
        _ => return "",
    };
    match fault {
        // A signature is bad where an authority of the issuer's name is trusted, and another signed.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            ": the issuer of its certificate is not trusted"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            ": its certificate is for another name"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            ": its certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ": its certificate is not valid yet"
        }
        _ => ": its certificate is not acceptable",
    }
}

/// What the host has against the certificate that it was shown, or was not.
fn refused_for(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            ": the host asks for a client certificate"
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        // Its signature is not that of the authority of its issuer's name.
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => ": the host does not accept the client certificate",
        _ => "",
    }
}

/// Whether the host knows nothing of what ALPN offered. HTTP/1.1 is offered to whoever knows no other.
fn has_no_choice(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    matches!(error, Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)))
}
