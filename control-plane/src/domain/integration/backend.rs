//! How a backend is spoken to: how long that may take, what it is told of callers, and how its answers reach them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{IntegrationType, Settings};
use crate::app::Tx;
use crate::domain::api::Dialect;
use crate::domain::limit::LimitName;
use crate::error::{Error, Result};
use crate::ids::{ApiId, TenantId};
use crate::store;

/// Each timeout is at least this, or 0: the default.
pub const TIMEOUT_MS_MIN: u32 = 50;
pub const CONNECT_TIMEOUT_MS_MAX: u32 = 600_000;
/// As many as GraphQL's Int holds: 24 days. A whole exchange without a limit is 0, in the dialect `native`.
pub const TIMEOUT_MS_MAX: u32 = i32::MAX.cast_unsigned();
/// AWS's longest exchange whose answer streams: 15 minutes.
pub const STREAM_TIMEOUT_MS_MAX: u32 = 900_000;

/// What a backend is told of where a call comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ForwardedPolicy {
    /// What trusted proxies say goes on, with the caller's address behind it. What others say is dropped.
    Append,
    /// The client's address alone.
    Replace,
    /// Nothing.
    Remove,
}

/// How a backend's answer reaches its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ResponseTransferMode {
    /// Whole, up to 10 MiB; a larger one is refused with 502, in the AWS dialects 500.
    Buffered,
    /// As it comes, of any length.
    Stream,
}

impl ForwardedPolicy {
    pub const ALL: [Self; 3] = [Self::Append, Self::Replace, Self::Remove];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Append => "APPEND",
            Self::Replace => "REPLACE",
            Self::Remove => "REMOVE",
        }
    }
}

impl ResponseTransferMode {
    pub const ALL: [Self; 2] = [Self::Buffered, Self::Stream];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Buffered => "BUFFERED",
            Self::Stream => "STREAM",
        }
    }
}

impl Settings {
    /// What of them lies in no dialect's bounds.
    pub(super) fn check_timeouts(&self) -> Result<()> {
        for (param, timeout, max) in [
            ("connectTimeoutMs", self.connect_timeout_ms, CONNECT_TIMEOUT_MS_MAX),
            ("firstByteTimeoutMs", self.first_byte_timeout_ms, TIMEOUT_MS_MAX),
            ("idleTimeoutMs", self.idle_timeout_ms, TIMEOUT_MS_MAX),
            ("timeoutMs", self.timeout_ms, TIMEOUT_MS_MAX),
        ] {
            if timeout != 0 && !(TIMEOUT_MS_MIN..=max).contains(&timeout) {
                let rule = format!("must be from {TIMEOUT_MS_MIN} to {max}, or 0 for the default");
                return Err(Error::bad_request(param, rule));
            }
        }
        Ok(())
    }
}

/// How long an exchange with a backend may take, by the Api's dialect and by what the operator allows its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    dialect: Dialect,
    /// What the operator set, in seconds.
    tenant_max_s: Option<u32>,
}

impl Bounds {
    pub async fn of(tx: &mut Tx, tenant: TenantId, api: ApiId) -> Result<Self> {
        let found = store::api::find(tx, tenant, &[api]).await?.pop();
        let dialect = found.ok_or(Error::NotFound("api"))?.dialect;
        let name = LimitName::IntegrationTimeoutSeconds.as_str();
        let tenant_max_s = store::tenant::limit(tx, tenant, name).await?;
        Ok(Self { dialect, tenant_max_s })
    }

    /// The longest `timeoutMs`. AWS's own bounds hold in its dialects; those of a REST API are raised on request, which is
    /// what the operator's limit is there.
    fn timeout_ms_max(self, mode: Option<ResponseTransferMode>) -> u32 {
        let tenant_max = self.tenant_max_s.map(|seconds| seconds.saturating_mul(1000));
        if self.dialect != Dialect::Native && mode == Some(ResponseTransferMode::Stream) {
            return STREAM_TIMEOUT_MS_MAX.min(tenant_max.unwrap_or(u32::MAX));
        }
        match self.dialect {
            Dialect::Native => tenant_max.unwrap_or(TIMEOUT_MS_MAX).min(TIMEOUT_MS_MAX),
            Dialect::AwsRest => tenant_max.unwrap_or(29_000).min(TIMEOUT_MS_MAX),
            Dialect::AwsHttp => tenant_max.unwrap_or(30_000).min(30_000),
        }
    }

    pub fn check(self, settings: &Settings) -> Result<()> {
        if settings.kind == IntegrationType::Mock || settings.timeout_ms == 0 {
            return Ok(());
        }
        let max = self.timeout_ms_max(settings.response_transfer_mode);
        if (TIMEOUT_MS_MIN..=max).contains(&settings.timeout_ms) {
            return Ok(());
        }
        let dialect = self.dialect.as_str();
        let whose = match self.tenant_max_s {
            Some(_) => "by the limit integrationTimeoutSeconds of this tenant",
            None => "in this dialect",
        };
        let rule = format!(
            "must be from {TIMEOUT_MS_MIN} to {max} in an {dialect} API, {whose}, or 0 for the default"
        );
        Err(Error::bad_request("timeoutMs", rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_within_its_dialects_and_its_tenants_bounds() {
        use Dialect::{AwsHttp, AwsRest, Native};
        use ResponseTransferMode::{Buffered, Stream};
        for (dialect, tenant_max_s, mode, max) in [
            (Native, None, None, TIMEOUT_MS_MAX),
            (Native, Some(60), None, 60_000),
            (Native, Some(60), Some(Stream), 60_000),
            (Native, Some(1_000_000), Some(Buffered), 1_000_000_000),
            (AwsRest, None, None, 29_000),
            (AwsRest, None, Some(Buffered), 29_000),
            (AwsRest, Some(120), None, 120_000),
            (AwsRest, Some(10), None, 10_000),
            (AwsRest, None, Some(Stream), 900_000),
            (AwsRest, Some(10), Some(Stream), 10_000),
            (AwsHttp, None, None, 30_000),
            (AwsHttp, Some(120), None, 30_000),
            (AwsHttp, None, Some(Stream), 900_000),
        ] {
            let bounds = Bounds { dialect, tenant_max_s };
            let with = |timeout_ms| Settings {
                timeout_ms,
                response_transfer_mode: mode,
                ..Settings::http_proxy("http://h.test/")
            };
            for good in [0, TIMEOUT_MS_MIN, max] {
                assert!(bounds.check(&with(good)).is_ok(), "{dialect:?} {good}");
            }
            for bad in [TIMEOUT_MS_MIN - 1, max + 1] {
                let error = bounds.check(&with(bad)).unwrap_err();
                assert_eq!(error.param(), Some("timeoutMs"), "{dialect:?} {bad}");
                assert!(error.to_string().contains(&max.to_string()), "{error}");
            }
        }
    }
}
