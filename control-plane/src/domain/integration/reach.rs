//! Where integrations may lead.

use egress::{Own, Policy};

use crate::app::{App, Tx};
use crate::error::Result;
use crate::ids::TenantId;
use crate::store;

/// Where a tenant's backends may lie: what is checked of a URI when it is written. What its name resolves to
/// is checked at each connection.
pub struct Reach {
    pub(super) policy: Policy,
    pub(super) own: Own,
}

impl Reach {
    /// Public addresses, what the installation opens, and what was opened for this tenant; never our own.
    pub async fn of(app: &App, tx: &mut Tx, tenant: TenantId) -> Result<Self> {
        let opened = store::tenant::egress_allow(tx, tenant).await?;
        Ok(Self {
            policy: Policy::new(app.config.egress_allow.iter().copied().chain(opened)),
            own: Own::new(app.config.egress_refuse.iter().copied()),
        })
    }

    pub(crate) fn check(&self, uri: &str) -> std::result::Result<(), String> {
        let target = egress::check_uri(&with_variables_filled(uri), &self.policy)
            .map_err(|error| error.to_string())?;
        let mut literal = target.host.literal_addresses().into_iter();
        if literal.any(|ip| self.own.holds((ip, target.port).into())) {
            return Err("points at a part of this installation".to_owned());
        }
        Ok(())
    }
}

/// The URI with a plain word, or a digit where a port stands, for each `${stageVariables.name}`.
fn with_variables_filled(uri: &str) -> String {
    let mut filled = String::with_capacity(uri.len());
    let mut rest = uri;
    while let Some((before, after)) = rest.split_once("${stageVariables.") {
        let Some((_, after)) = after.split_once('}') else { break };
        filled.push_str(before);
        filled.push(if before.ends_with(':') { '1' } else { 'v' });
        rest = after;
    }
    filled.push_str(rest);
    filled
}
