//! Where a URI points: read strictly, so that what is checked is what is reached.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::Range;

/// The longest URI that is looked at, in bytes.
const URI_BYTES_MAX: usize = 16 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

/// A host in one canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    Ip(IpAddr),
    /// Lower case, without a trailing dot.
    Name(Box<str>),
}

/// The scheme, host and port of a URI.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub scheme: Scheme,
    pub host: Host,
    pub port: u16,
}

/// What is wrong with a URI, said to the one who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UriError {
    #[error("must start with http:// or https://")]
    Scheme,
    #[error("must not hold a user name or password")]
    Userinfo,
    #[error("must have a host: a name or an IP address")]
    Host,
    #[error("must write an IPv4 address as four decimal numbers")]
    NumericHost,
    #[error("must have a port between 1 and 65535, or none")]
    Port,
    #[error("must not hold {0:?}")]
    Character(char),
    #[error("must be at most {URI_BYTES_MAX} bytes")]
    TooLong,
    #[error("points at {0}, which this installation does not reach")]
    Forbidden(Range),
}

impl Target {
    /// Reads the start of a URI. The path and query may be a template; only their characters are checked.
    pub fn parse(uri: &str) -> Result<Self, UriError> {
        if uri.len() > URI_BYTES_MAX {
            return Err(UriError::TooLong);
        }
        // Parsers disagree about all of these; a URI that needs them spells them percent-encoded.
        if let Some(bad) = uri.chars().find(|c| !c.is_ascii_graphic() || "\\#\"<>^`|".contains(*c))
        {
            return Err(UriError::Character(bad));
        }
        let (scheme, rest) = uri.split_once("://").ok_or(UriError::Scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(UriError::Scheme),
        };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        Self::from_authority(scheme, authority)
    }

    /// Reads `host` or `host:port`.
    pub fn from_authority(scheme: Scheme, authority: &str) -> Result<Self, UriError> {
        if authority.contains('@') {
            return Err(UriError::Userinfo);
        }
        let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
            let (v6, port) = rest.split_once(']').ok_or(UriError::Host)?;
            // No zone id: an interface of this machine is no business of a tenant.
            let v6: Ipv6Addr = v6.parse().map_err(|_| UriError::Host)?;
            (Host::Ip(IpAddr::V6(v6)), port)
        } else {
            let end = authority.find(':').unwrap_or(authority.len());
            (Host::parse(&authority[..end])?, &authority[end..])
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => scheme.default_port(),
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port != 0).ok_or(UriError::Port)?
            }
            _ => return Err(UriError::Port),
        };
        Ok(Self { scheme, host, port })
    }

    /// `host`, with `:port` where it is not the scheme's own: the `Host` field of a request to it.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl Scheme {
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Host {
    fn parse(host: &str) -> Result<Self, UriError> {
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if let Ok(v4) = name.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(IpAddr::V4(v4)));
        }
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.len() > 253 || !name.split('.').all(label_ok) {
            return Err(UriError::Host);
        }
        // Where the last label is a number, resolvers read the whole as an address: `2130706433`, `0x7f.1`.
        let last = name.rsplit('.').next().unwrap_or_default();
        let hexadecimal =
            last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        if hexadecimal || last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(UriError::NumericHost);
        }
        Ok(Self::Name(name.into()))
    }

    /// The addresses that are known without asking anyone: of an address itself, and of `localhost` and the
    /// names under it (RFC 6761).
    pub fn literal_addresses(&self) -> Vec<IpAddr> {
        match self {
            Self::Ip(ip) => vec![*ip],
            Self::Name(name) if &**name == "localhost" || name.ends_with(".localhost") => {
                vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
            }
            Self::Name(_) => Vec::new(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}
