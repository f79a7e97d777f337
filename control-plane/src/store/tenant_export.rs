//! What a tenant has, line by line, without what is secret. Usage is by hour: its minutes are kept for weeks only, and its
//! days are the sums of its hours.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::app::Tx;
use crate::error::Result;
use crate::ids::TenantId;

/// A kind of line. In the order in which a reader can put them in: a noun comes after what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Member,
    Invitation,
    AccessKey,
    Consumer,
    Secret,
    VpcLink,
    ClientCertificate,
    Api,
    Resource,
    Integration,
    Route,
    GatewayResponse,
    Deployment,
    Stage,
    UsagePlan,
    UsagePlanStage,
    ApiKey,
    UsagePlanKey,
    AuditEntry,
    ManagementRequest,
    UsageRoot,
}

impl Part {
    pub const ALL: [Self; 21] = [
        Self::Member,
        Self::Invitation,
        Self::AccessKey,
        Self::Consumer,
        Self::Secret,
        Self::VpcLink,
        Self::ClientCertificate,
        Self::Api,
        Self::Resource,
        Self::Integration,
        Self::Route,
        Self::GatewayResponse,
        Self::Deployment,
        Self::Stage,
        Self::UsagePlan,
        Self::UsagePlanStage,
        Self::ApiKey,
        Self::UsagePlanKey,
        Self::AuditEntry,
        Self::ManagementRequest,
        Self::UsageRoot,
    ];

    /// As lines say it: the table's name.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Invitation => "invitation",
            Self::AccessKey => "access_key",
            Self::Consumer => "consumer",
            Self::Secret => "secret",
            Self::VpcLink => "vpc_link",
            Self::ClientCertificate => "client_certificate",
            Self::Api => "api",
            Self::Resource => "resource",
            Self::Integration => "integration",
            Self::Route => "route",
            Self::GatewayResponse => "gateway_response",
            Self::Deployment => "deployment",
            Self::Stage => "stage",
            Self::UsagePlan => "usage_plan",
            Self::UsagePlanStage => "usage_plan_stage",
            Self::ApiKey => "api_key",
            Self::UsagePlanKey => "usage_plan_key",
            Self::AuditEntry => "audit_entry",
            Self::ManagementRequest => "management_request",
            Self::UsageRoot => "usage_root",
        }
    }
}

/// The tenant itself, and how many it has of each kind.
pub async fn tenant(tx: &mut Tx, id: TenantId) -> Result<(Value, BTreeMap<String, i64>)> {
    let value = sqlx::query_scalar!(
        r#"select jsonb_build_object('id', id, 'name', name, 'status', status, 'limits', limits,
             'egress_allow', egress_allow, 'created_at', created_at) as "value!" from tenant where id = $1"#,
        id.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    let counts = sqlx::query!(
        r#"select 'member' as "kind!", count(*) as "count!" from member where tenant_id = $1
         union all select 'invitation', count(*) from invitation where tenant_id = $1
         union all select 'access_key', count(*) from access_key where tenant_id = $1
         union all select 'consumer', count(*) from consumer where tenant_id = $1
         union all select 'secret', count(*) from secret where tenant_id = $1
         union all select 'vpc_link', count(*) from vpc_link where tenant_id = $1
         union all select 'client_certificate', count(*) from client_certificate where tenant_id = $1
         union all select 'api', count(*) from api where tenant_id = $1
         union all select 'resource', count(*) from resource where tenant_id = $1
         union all select 'integration', count(*) from integration where tenant_id = $1
         union all select 'route', count(*) from route where tenant_id = $1
         union all select 'gateway_response', count(*) from gateway_response where tenant_id = $1
         union all select 'deployment', count(*) from deployment where tenant_id = $1
         union all select 'stage', count(*) from stage where tenant_id = $1
         union all select 'usage_plan', count(*) from usage_plan where tenant_id = $1
         union all select 'usage_plan_stage', count(*) from usage_plan_stage where tenant_id = $1
         union all select 'api_key', count(*) from api_key where tenant_id = $1
         union all select 'usage_plan_key', count(*) from usage_plan_key where tenant_id = $1
         union all select 'audit_entry', count(*) from audit_entry where tenant_id = $1
         union all select 'management_request', count(*) from management_request where tenant_id = $1
         union all select 'usage_root', count(*) from usage_root where tenant_id = $1
         union all select 'usage_hour', count(*) from usage_hour where tenant_id = $1"#,
        id.0,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok((value, counts.into_iter().map(|row| (row.kind, row.count)).collect()))
}

/// At most so many lines of a kind after this key, with their keys.
#[expect(clippy::too_many_lines, reason = "a query for each table")]
pub async fn page(
    tx: &mut Tx,
    tenant: TenantId,
    part: Part,
    after: &str,
    most: i64,
) -> Result<Vec<(String, Value)>> {
    macro_rules! lines {
        ($sql:literal) => {
            sqlx::query_as!(Line, $sql, tenant.0, after, most).fetch_all(&mut **tx).await?
        };
    }
    let lines: Vec<Line> = match part {
        Part::Member => lines!(
            r#"select m.user_id::text as "key!", jsonb_build_object('user_id', m.user_id, 'email', u.email,
                 'role', m.role, 'created_at', m.created_at) as "value!"
             from member m join user_account u on u.id = m.user_id
             where m.tenant_id = $1 and m.user_id::text > $2 order by m.user_id::text limit $3"#
        ),
        Part::Invitation => lines!(
            r#"select id::text as "key!", jsonb_build_object('id', id, 'email', email, 'role', role,
                 'invited_by', invited_by, 'created_at', created_at, 'expires_at', expires_at) as "value!"
             from invitation where tenant_id = $1 and id::text > $2 order by id::text limit $3"#
        ),
        Part::AccessKey => lines!(
            r#"select id as "key!", jsonb_build_object('id', id, 'user_id', user_id, 'name', name, 'enabled', enabled,
                 'created_at', created_at, 'last_used_at', last_used_at) as "value!"
             from access_key where tenant_id = $1 and id > $2 order by id limit $3"#
        ),
        Part::Consumer => lines!(
            r#"select id::text as "key!", to_jsonb(consumer) - 'tenant_id' as "value!"
             from consumer where tenant_id = $1 and id::text > $2 order by id::text limit $3"#
        ),
        Part::Secret => lines!(
            r#"select id::text as "key!", jsonb_build_object('id', id, 'name', name, 'kind', kind,
                 'value_updated_at', value_updated_at, 'created_at', created_at) as "value!"
             from secret where tenant_id = $1 and id::text > $2 order by id::text limit $3"#
        ),
        Part::VpcLink => lines!(
            r#"select id as "key!", to_jsonb(vpc_link) - 'tenant_id' as "value!"
             from vpc_link where tenant_id = $1 and id > $2 order by id limit $3"#
        ),
        Part::ClientCertificate => lines!(
            r#"select id as "key!", to_jsonb(client_certificate) - 'tenant_id' - 'private_key' as "value!"
             from client_certificate where tenant_id = $1 and id > $2 order by id limit $3"#
        ),
        Part::Api => lines!(
            r#"select id as "key!", to_jsonb(api) - 'tenant_id' as "value!"
             from api where tenant_id = $1 and id > $2 order by id limit $3"#
        ),
        Part::Resource => lines!(
            r#"select id as "key!", to_jsonb(resource) - 'tenant_id' as "value!"
             from resource where tenant_id = $1 and id > $2 order by id limit $3"#
        ),
        Part::Integration => lines!(
            r#"select id as "key!", to_jsonb(integration) - 'tenant_id' as "value!"
             from integration where tenant_id = $1 and id > $2 order by id limit $3"#
        ),
        Part::Route => lines!(
            r#"select id as "key!", to_jsonb(route) - 'tenant_id' as "value!"
             from route where tenant_id = $1 and id > $2 order by id limit $3"#
        ),
        Part::GatewayResponse => lines!(
            r#"select api_id || '/' || response_type as "key!", to_jsonb(gateway_response) - 'tenant_id' as "value!"
             from gateway_response where tenant_id = $1 and api_id || '/' || response_type > $2
             order by api_id || '/' || response_type limit $3"#
        ),
        Part::Deployment => lines!(
            r#"select id as "key!", jsonb_build_object('id', id, 'api_id', api_id, 'description', description,
                 'version', version, 'created_by', created_by, 'created_at', created_at,
                 'sha256', encode(digest, 'hex'), 'document', encode(document, 'base64')) as "value!"
             from deployment where tenant_id = $1 and id > $2 order by id limit $3"#
        ),
        Part::Stage => lines!(
            r#"select api_id || '/' || name as "key!", to_jsonb(stage) - 'tenant_id' as "value!"
             from stage where tenant_id = $1 and api_id || '/' || name > $2 order by api_id || '/' || name limit $3"#
        ),
        Part::UsagePlan => lines!(
            r#"select id as "key!", to_jsonb(usage_plan) - 'tenant_id' as "value!"
             from usage_plan where tenant_id = $1 and id > $2 order by id limit $3"#
        ),
        Part::UsagePlanStage => lines!(
            r#"select usage_plan_id || '/' || api_id || '/' || stage_name as "key!",
                 to_jsonb(usage_plan_stage) - 'tenant_id' as "value!"
             from usage_plan_stage
             where tenant_id = $1 and usage_plan_id || '/' || api_id || '/' || stage_name > $2
             order by usage_plan_id || '/' || api_id || '/' || stage_name limit $3"#
        ),
        Part::ApiKey => lines!(
            r#"select id as "key!", jsonb_build_object('id', id, 'name', name, 'description', description,
                 'hint', hint, 'mode', mode, 'enabled', enabled, 'customer_id', customer_id, 'consumer_id', consumer_id,
                 'expires_at', expires_at, 'previous_hint', previous_hint, 'overlap_ends_at', overlap_ends_at,
                 'client_networks', client_networks, 'origins', origins, 'last_used_at',
                 (select u.last_used_at from api_key_use u
                     where u.tenant_id = api_key.tenant_id and u.api_key_id = api_key.id),
                 'tags', tags, 'created_at', created_at, 'updated_at', updated_at) as "value!"
             from api_key where tenant_id = $1 and id > $2 order by id limit $3"#
        ),
        Part::UsagePlanKey => lines!(
            r#"select usage_plan_id || '/' || api_key_id as "key!",
                 to_jsonb(usage_plan_key) - 'tenant_id' as "value!"
             from usage_plan_key where tenant_id = $1 and usage_plan_id || '/' || api_key_id > $2
             order by usage_plan_id || '/' || api_key_id limit $3"#
        ),
        Part::AuditEntry => lines!(
            r#"select id::text as "key!", to_jsonb(audit_entry) - 'tenant_id' as "value!"
             from audit_entry where tenant_id = $1 and id::text > $2 order by id::text limit $3"#
        ),
        // By key, since these may be many.
        Part::ManagementRequest => lines!(
            r#"select id::text as "key!", to_jsonb(management_request) - 'tenant_id' as "value!"
             from management_request where tenant_id = $1 and ($2 = '' or id > nullif($2, '')::uuid) order by id limit $3"#
        ),
        Part::UsageRoot => lines!(
            r#"select to_char(hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24') as "key!",
                 jsonb_build_object('hour', hour, 'rows', rows, 'root', encode(root, 'hex'),
                 'signature', encode(signature, 'hex'), 'sealed_at', sealed_at) as "value!"
             from usage_root
             where tenant_id = $1 and to_char(hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24') > $2
             order by to_char(hour at time zone 'UTC', 'YYYY-MM-DD"T"HH24') limit $3"#
        ),
    };
    Ok(lines.into_iter().map(|line| (line.key, line.value)).collect())
}

struct Line {
    key: String,
    value: Value,
}
