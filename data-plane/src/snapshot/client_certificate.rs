//! Client certificates, as nodes hold them: who a node is to the backends of a stage, where they ask.

use std::sync::Arc;

use egress::{ClientIdentity, Identity, Scheme, Target};
use proto::config::v1 as message;
use rustls_pki_types::PrivateKeyDer;

use super::{
    messages::Compiled,
    served::{ProxyTemplate, Snapshot},
};

/// Without `Debug`. It never changes: another one has another id.
pub struct ClientCertificate {
    pub id: Arc<str>,
    pub tenant_id: Arc<str>,
    client: Arc<ClientIdentity>,
    /// To backends whose integrations say nothing else of TLS, which are most: connections and sessions are theirs in common.
    usual: Arc<Identity>,
}

/// What the integrations of one stage show.
pub(super) struct Showing<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) tenant_id: &'a str,
    /// Where an integration has none of its own; empty: none.
    pub(super) of_stage: &'a str,
}

/// How a backend is reached over TLS.
pub(super) struct Shown {
    pub(super) identity: Option<Arc<Identity>>,
    /// Which certificate should be shown, and is not on this node.
    pub(super) lacking: Option<Box<str>>,
}

pub(super) fn client_certificate(
    message: &message::ClientCertificate,
) -> Compiled<ClientCertificate> {
    let chain = message.chain.iter().map(|der| der.clone().into()).collect();
    let key = PrivateKeyDer::try_from(message.private_key.clone());
    let key = key.map_err(|_| "its private key is unknown to this node".to_owned())?;
    let client = ClientIdentity::new(chain, &key).map_err(|error| format!("its chain: {error}"))?;
    let client = Arc::new(client);
    Ok(ClientCertificate {
        id: message.id.as_str().into(),
        tenant_id: message.tenant_id.as_str().into(),
        usual: Arc::new(Identity::showing(None, client.clone())),
        client,
    })
}

impl Showing<'_> {
    /// `signs`: the call proves by its signature who it is of.
    pub(super) fn to(&self, template: &ProxyTemplate, target: &Target, signs: bool) -> Shown {
        let identity = template.identity.clone();
        let own = template.client_certificate_id.as_deref();
        let of_stage = (!self.of_stage.is_empty() && !signs).then_some(self.of_stage);
        let Some(id) = own.or(of_stage).filter(|_| target.scheme == Scheme::Https) else {
            return Shown { identity, lacking: None };
        };
        let Some(certificate) = self.snapshot.client_certificate(self.tenant_id, id) else {
            return Shown { identity, lacking: Some(id.into()) };
        };
        let shown = match identity {
            None => certificate.usual.clone(),
            Some(to) => Arc::new(Identity::showing(Some(&to), certificate.client.clone())),
        };
        Shown { identity: Some(shown), lacking: None }
    }
}

impl Snapshot {
    fn client_certificate(&self, tenant_id: &str, id: &str) -> Option<&Arc<ClientCertificate>> {
        self.client_certificates.get(id).filter(|it| *it.tenant_id == *tenant_id)
    }
}
