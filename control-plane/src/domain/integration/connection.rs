//! Which way an integration's calls go to its backend.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{IntegrationType, Settings};
use crate::access::actor::Actor;
use crate::app::Tx;
use crate::error::{Error, Result};
use crate::store;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConnectionType {
    /// To the host of its URI.
    #[default]
    Internet,
    /// To the targets of a VPC link; `Host` and TLS name the host of its URI.
    VpcLink,
}

impl ConnectionType {
    pub const ALL: [Self; 2] = [Self::Internet, Self::VpcLink];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Internet => "INTERNET",
            Self::VpcLink => "VPC_LINK",
        }
    }
}

impl Settings {
    /// Whether its fields fit each other and the type.
    pub(super) fn check_connection(&self) -> Result<()> {
        match (self.connection_type, &self.connection_id) {
            (ConnectionType::VpcLink, _)
                if !matches!(self.kind, IntegrationType::HttpProxy | IntegrationType::Http) =>
            {
                let rule = "VPC_LINK belongs to types HTTP_PROXY and HTTP";
                Err(Error::bad_request("connectionType", rule))
            }
            (ConnectionType::VpcLink, None) => {
                let rule = "connectionType VPC_LINK needs a connectionId: the id of a VPC link";
                Err(Error::bad_request("connectionId", rule))
            }
            (ConnectionType::Internet, Some(_)) => {
                Err(Error::bad_request("connectionId", "belongs to connectionType VPC_LINK"))
            }
            (ConnectionType::VpcLink, Some(_)) | (ConnectionType::Internet, None) => Ok(()),
        }
    }
}

/// Whether the VPC link and the client certificate are the tenant's. They stay until the transaction ends.
pub(super) async fn check_named(tx: &mut Tx, actor: &Actor, settings: &Settings) -> Result<()> {
    if let Some(id) = settings.connection_id {
        store::vpc_link::lock(tx, actor.tenant, id).await?;
    }
    if let Some(id) = settings.tls_config.as_ref().and_then(|tls| tls.client_certificate_id) {
        store::client_certificate::lock(tx, actor.tenant, id).await?;
    }
    Ok(())
}
