//! What nodes get of a secret: its text, or the keys that sign on the days that they are to serve.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sigv4::sign::v4::generate_signing_key;
use chrono::{Days, NaiveDate, NaiveTime};
use proto::config::v1::{AwsSigner, AwsSigningKey, Resource, Secret, resource::Kind, secret};
use secrecy::ExposeSecret;

use crate::access::sealed::WrappingKey;
use crate::domain::secret::{self as noun, AwsCredentials, DAYS, SecretKind, SecretValue};
use crate::error::{Error, Result};
use crate::ids::{SecretId, TenantId};
use crate::store::snapshot::SecretRow;

pub(super) fn secret_message(master: &WrappingKey, row: &SecretRow) -> Result<Resource> {
    let (tenant, id) = (TenantId(row.tenant_id), SecretId(row.id));
    let kind = SecretKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == row.kind)
        .ok_or_else(|| Error::corrupt("kind of a secret", &*row.kind))?;
    let data_key = master.unwrap_key(&format!("tenant:{tenant}:data_key"), &row.data_key)?;
    let value = match noun::open(&data_key, tenant, id, kind, &row.value)? {
        SecretValue::Text(text) => secret::Value::Text(text.expose_secret().to_owned()),
        SecretValue::AwsCredentials(credentials) => secret::Value::Aws(signer(&credentials, row)?),
    };
    Ok(Kind::Secret(Secret {
        id: id.to_string(),
        tenant_id: tenant.to_string(),
        value: Some(value),
    })
    .into())
}

fn signer(credentials: &AwsCredentials, row: &SecretRow) -> Result<AwsSigner> {
    let mut keys = Vec::new();
    for ahead in 0..DAYS {
        let day = row.derived_for.checked_add_days(Days::new(ahead));
        let day =
            day.ok_or_else(|| Error::corrupt("day of a secret", row.derived_for.to_string()))?;
        let scopes = row.regions.iter().zip(&row.services);
        for (region, service) in scopes.filter(|(_, service)| !service.is_empty()) {
            let secret = credentials.secret_access_key.expose_secret();
            let key = generate_signing_key(secret, noon(day)?, region, service);
            keys.push(AwsSigningKey {
                date: day.format("%Y%m%d").to_string(),
                region: region.clone(),
                service: service.clone(),
                key: key.as_ref().to_vec(),
            });
        }
    }
    let token = credentials.session_token.as_ref();
    Ok(AwsSigner {
        access_key_id: credentials.access_key_id.expose_secret().to_owned(),
        session_token: token.map(|token| token.expose_secret().to_owned()).unwrap_or_default(),
        keys,
    })
}

fn noon(day: NaiveDate) -> Result<SystemTime> {
    let midnight = day.and_time(NaiveTime::MIN).and_utc().timestamp();
    let midnight =
        u64::try_from(midnight).map_err(|cause| Error::corrupt("day of a secret", cause))?;
    Ok(UNIX_EPOCH + Duration::from_secs(midnight + 12 * 60 * 60))
}
