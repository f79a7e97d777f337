//! What Apis have the gateway say by itself.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use plan::ResponseType;
use sqlx::types::Json;

use crate::app::Tx;
use crate::domain::gateway_response::{GatewayResponse, Settings};
use crate::error::{Error, Result};
use crate::ids::{ApiId, TenantId};

/// Those of these Apis that their tenant changed.
pub async fn find(tx: &mut Tx, tenant: TenantId, apis: &[ApiId]) -> Result<Vec<GatewayResponse>> {
    let ids: Vec<String> = apis.iter().map(ToString::to_string).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"select api_id, response_type, status_code, response_parameters as "response_parameters: Json<Texts>",
             response_templates as "response_templates: Json<Texts>", created_at, updated_at, revision
         from gateway_response where tenant_id = $1 and api_id = any($2)
         order by api_id, response_type collate "C""#,
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// `None` where nobody changed it.
pub async fn get(
    tx: &mut Tx,
    tenant: TenantId,
    api: ApiId,
    of: ResponseType,
) -> Result<Option<GatewayResponse>> {
    let all = find(tx, tenant, &[api]).await?;
    Ok(all.into_iter().find(|it| it.response_type == of))
}

/// In the place of what was there.
pub async fn put(
    tx: &mut Tx,
    tenant: TenantId,
    api: ApiId,
    of: ResponseType,
    settings: &Settings,
) -> Result<GatewayResponse> {
    sqlx::query_as!(
        Row,
        r#"insert into gateway_response (tenant_id, api_id, response_type, status_code, response_parameters,
             response_templates)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (tenant_id, api_id, response_type) do update set status_code = excluded.status_code,
             response_parameters = excluded.response_parameters,
             response_templates = excluded.response_templates, updated_at = now()
         returning api_id, response_type, status_code,
             response_parameters as "response_parameters: Json<Texts>",
             response_templates as "response_templates: Json<Texts>", created_at, updated_at, revision"#,
        tenant.0,
        api.as_str(),
        of.as_str(),
        settings.status_code.and_then(|status| i16::try_from(status).ok()),
        Json(&settings.response_parameters) as Json<&Texts>,
        Json(&settings.response_templates) as Json<&Texts>,
    )
    .fetch_one(&mut **tx)
    .await?
    .try_into()
}

pub async fn delete(tx: &mut Tx, tenant: TenantId, api: ApiId, of: ResponseType) -> Result<()> {
    sqlx::query!(
        "delete from gateway_response where tenant_id = $1 and api_id = $2 and response_type = $3",
        tenant.0,
        api.as_str(),
        of.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

type Texts = BTreeMap<String, String>;

struct Row {
    api_id: String,
    response_type: String,
    status_code: Option<i16>,
    response_parameters: Json<Texts>,
    response_templates: Json<Texts>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    revision: i64,
}

impl TryFrom<Row> for GatewayResponse {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let status_code = row.status_code.map(u16::try_from).transpose();
        Ok(Self {
            api: row.api_id.parse()?,
            response_type: ResponseType::parse(&row.response_type)
                .ok_or_else(|| Error::corrupt("gateway response", row.response_type))?,
            settings: Settings {
                status_code: status_code
                    .map_err(|cause| Error::corrupt("gateway response", cause))?,
                response_parameters: row.response_parameters.0,
                response_templates: row.response_templates.0,
            },
            default_response: false,
            created_at: Some(row.created_at),
            updated_at: Some(row.updated_at),
            revision: row.revision,
        })
    }
}
