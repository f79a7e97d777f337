//! The one guarded way out, for both planes: every connection that is made on a tenant's behalf.
//!
//! - [`Target`]: where a URI points, read strictly: no userinfo, no numeric disguises of an address.
//! - [`Policy`]: which addresses a tenant may reach. Public ones, and the ranges opened by name.
//! - [`Own`]: Tollgate's own listeners and stores, which nobody may reach, whatever is opened.
//! - [`Identity`]: how a backend is known over TLS, where an integration says so itself.
//! - [`ClientIdentity`]: who a node is to a backend that asks for a certificate.
//! - [`Connector`]: resolves, checks every address, connects to a checked address and to no other.
//!
//! Deliberately absent: redirects (a redirect is an answer, the caller's to read) and proxy variables.
#![forbid(unsafe_code)]

mod client;
mod connector;
mod identity;
mod own;
mod policy;
mod stream;
mod target;

pub use client::{
    CHAIN_BYTES_MAX, CHAIN_MAX, ClientError, ClientIdentity, ClientPem, PRIVATE_KEY_BYTES_MAX,
};
pub use connector::{BuildError, Checked, ConnectError, Connector, Protocol};
pub use identity::{AUTHORITIES_BYTES_MAX, AUTHORITIES_MAX, Identity, IdentityError, TlsSettings};
pub use own::Own;
pub use policy::{Policy, Range};
pub use stream::Stream;
pub use target::{Host, Scheme, Target, UriError};

/// Whether a tenant may name this URI at all, checked when it is written: its form, and any address that it
/// spells out. What its name resolves to is checked at each connection.
pub fn check_uri(uri: &str, policy: &Policy) -> Result<Target, UriError> {
    let target = Target::parse(uri)?;
    let literal = target.host.literal_addresses();
    match literal.iter().map(|ip| policy.check(*ip)).find_map(Result::err) {
        // A name such as `localhost` has two addresses; one that may be reached is enough.
        Some(range) if literal.iter().all(|ip| policy.check(*ip).is_err()) => {
            Err(UriError::Forbidden(range))
        }
        _ => Ok(target),
    }
}
