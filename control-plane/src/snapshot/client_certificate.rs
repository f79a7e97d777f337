//! What nodes get of a client certificate: its chain, and its private key.

use proto::config::v1::{ClientCertificate, Resource, resource::Kind};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::access::sealed::WrappingKey;
use crate::domain::client_certificate as noun;
use crate::error::{Error, Result};
use crate::ids::TenantId;
use crate::store::snapshot::ClientCertificateRow;

pub(super) fn client_certificate_message(
    master: &WrappingKey,
    row: &ClientCertificateRow,
) -> Result<Resource> {
    let tenant = TenantId(row.tenant_id);
    let data_key = master.unwrap_key(&format!("tenant:{tenant}:data_key"), &row.data_key)?;
    let private_key = noun::open(&data_key, tenant, row.id.parse()?, &row.private_key)?;
    let chain = CertificateDer::pem_slice_iter(row.chain.as_bytes())
        .map(|der| der.map(|der| der.to_vec()))
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| Error::corrupt("client certificate", "no PEM"))?;
    Ok(Kind::ClientCertificate(ClientCertificate {
        id: row.id.clone(),
        tenant_id: tenant.to_string(),
        chain,
        private_key: private_key.to_vec(),
    })
    .into())
}
