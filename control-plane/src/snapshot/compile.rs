//! Rows to messages. One noun is one message, read whole from its rows inside the transaction that changed
//! them, so that what nodes are sent is what was committed:
//!
//! ```ignore
//! tx.upsert(compile::usage_plan(&mut tx, actor.tenant, plan.id).await?);
//! tx.commit().await?;
//! ```

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use prost::Message;
use proto::config::v1::{
    ApiKey, ApiStage, Canary as Beside, CanaryStickiness as Sticky, ClientKey,
    ClientThrottle as OfClients, ConcurrencyLimit, Deployment, KeyRestrictions, PreviousValue,
    Quota, QuotaEnforcement, QuotaExtension, QuotaPeriod, QuotaTerms, Resource, ResourceName,
    SamplingRule as Rule, Stage, StageName, Tenant, Throttle, ThrottleMode as Mode,
    ThrottleOutage as Outage, Tracing, UsagePlan, resource::Kind, resource_name::Kind as Name,
};

use crate::access::sealed::WrappingKey;
use crate::app::Tx;
use crate::domain::canary::{Canary, CanaryStickiness};
use crate::domain::client_throttle::{ClientThrottle, ClientThrottleKey};
use crate::domain::concurrency::{ConcurrencyLimit as InFlight, RouteConcurrencyLimit};
use crate::domain::limit;
use crate::domain::sampling::SamplingRule;
use crate::domain::throttle::{
    RouteThrottle, Throttle as Given, ThrottleEnforcement, ThrottleMode, ThrottleOutage,
};
use crate::error::{Error, Result};
use crate::ids::{
    ApiId, ApiKeyId, ClientCertificateId, DeploymentId, SecretId, TenantId, UsagePlanId, VpcLinkId,
};
use crate::snapshot::balancing::vpc_link_message;
use crate::snapshot::client_certificate::client_certificate_message;
use crate::snapshot::signing::secret_message;
use crate::store::snapshot::{self as rows, Scope};

/// All that the nodes of `cell` hold. The caller's transaction must read one moment (`repeatable read`, with
/// the cell's version read inside it), or the version would not say what is in here.
pub async fn load_cell(tx: &mut Tx, master: &WrappingKey, cell: &str) -> Result<Vec<Resource>> {
    let mut resources = Vec::new();
    for row in rows::tenants(tx, Scope::Cell(cell)).await? {
        resources.push(tenant_message(master, row)?);
    }
    for row in rows::deployments(tx, Scope::Cell(cell)).await? {
        resources.push(deployment_message(row)?);
    }
    for row in rows::stages(tx, Scope::Cell(cell)).await? {
        resources.push(stage_message(row)?);
    }
    for row in rows::usage_plans(tx, Scope::Cell(cell)).await? {
        resources.push(usage_plan_message(row)?);
    }
    for row in rows::api_keys(tx, Scope::Cell(cell)).await? {
        resources.push(api_key_message(row)?);
    }
    for row in rows::secrets(tx, Scope::Cell(cell)).await? {
        resources.push(secret_message(master, &row)?);
    }
    for row in rows::vpc_links(tx, Scope::Cell(cell)).await? {
        resources.push(vpc_link_message(&row));
    }
    for row in rows::client_certificates(tx, Scope::Cell(cell)).await? {
        resources.push(client_certificate_message(master, &row)?);
    }
    Ok(resources)
}

pub async fn tenant(tx: &mut Tx, master: &WrappingKey, id: TenantId) -> Result<Resource> {
    tenant_message(master, only("tenant", rows::tenants(tx, Scope::One(id, ())).await?)?)
}

pub async fn deployment(tx: &mut Tx, tenant: TenantId, id: DeploymentId) -> Result<Resource> {
    deployment_message(only("deployment", rows::deployments(tx, Scope::One(tenant, id)).await?)?)
}

pub async fn stage(tx: &mut Tx, tenant: TenantId, api: ApiId, name: &str) -> Result<Resource> {
    stage_message(only("stage", rows::stages(tx, Scope::One(tenant, (api, name))).await?)?)
}

pub async fn usage_plan(tx: &mut Tx, tenant: TenantId, id: UsagePlanId) -> Result<Resource> {
    usage_plan_message(only("usage plan", rows::usage_plans(tx, Scope::One(tenant, id)).await?)?)
}

pub async fn api_key(tx: &mut Tx, tenant: TenantId, id: ApiKeyId) -> Result<Resource> {
    api_key_message(only("api key", rows::api_keys(tx, Scope::One(tenant, id)).await?)?)
}

/// None where no deployment needs it.
pub async fn secret(
    tx: &mut Tx,
    master: &WrappingKey,
    tenant: TenantId,
    id: SecretId,
) -> Result<Option<Resource>> {
    let row = rows::secrets(tx, Scope::One(tenant, id)).await?.pop();
    row.map(|row| secret_message(master, &row)).transpose()
}

/// None where no deployment needs it.
pub async fn vpc_link(tx: &mut Tx, tenant: TenantId, id: VpcLinkId) -> Result<Option<Resource>> {
    let row = rows::vpc_links(tx, Scope::One(tenant, id)).await?.pop();
    Ok(row.map(|row| vpc_link_message(&row)))
}

/// None where neither a stage nor a deployment needs it.
pub async fn client_certificate(
    tx: &mut Tx,
    master: &WrappingKey,
    tenant: TenantId,
    id: ClientCertificateId,
) -> Result<Option<Resource>> {
    let row = rows::client_certificates(tx, Scope::One(tenant, id)).await?.pop();
    row.map(|row| client_certificate_message(master, &row)).transpose()
}

/// What nodes forget a client certificate by.
pub fn client_certificate_name(id: ClientCertificateId) -> ResourceName {
    Name::ClientCertificateId(id.to_string()).into()
}

/// What nodes forget a VPC link by.
pub fn vpc_link_name(id: VpcLinkId) -> ResourceName {
    Name::VpcLinkId(id.to_string()).into()
}

/// What nodes forget a secret by.
pub fn secret_name(id: SecretId) -> ResourceName {
    Name::SecretId(id.to_string()).into()
}

/// What nodes forget a deployment by.
pub fn deployment_name(id: DeploymentId) -> ResourceName {
    Name::DeploymentId(id.to_string()).into()
}

/// What nodes forget a stage by.
pub fn stage_name(api: ApiId, name: &str) -> ResourceName {
    Name::Stage(StageName { api_id: api.to_string(), name: name.to_owned() }).into()
}

fn only<T>(what: &'static str, mut rows: Vec<T>) -> Result<T> {
    rows.pop().ok_or(Error::NotFound(what))
}

fn tenant_message(master: &WrappingKey, row: rows::TenantRow) -> Result<Resource> {
    let id = row.id;
    let data_key = master.unwrap_key(&format!("tenant:{id}:data_key"), &row.data_key)?;
    let pepper = data_key.unwrap(&format!("tenant:{id}:key_pepper"), &row.key_pepper)?;
    Ok(Kind::Tenant(Tenant {
        id: id.to_string(),
        suspended: row.status != "active",
        key_pepper: pepper.to_vec(),
        egress_allow: row.egress_allow,
        throttle: limit::throttle(&row.limits).map(|(rate, burst_limit)| Throttle {
            rate_limit: rate.into(),
            burst_limit,
            ..Throttle::default()
        }),
        integration_timeout_s: limit::integration_timeout(&row.limits).unwrap_or_default(),
    })
    .into())
}

fn deployment_message(row: rows::DeploymentRow) -> Result<Resource> {
    let document = Deployment::decode(row.document.as_slice())
        .map_err(|cause| Error::corrupt("deployment", cause))?;
    Ok(Kind::Deployment(Deployment { id: row.id, ..document }).into())
}

fn stage_message(row: rows::StageRow) -> Result<Resource> {
    let in_flight = InFlight::from_columns(row.max_in_flight, &row.concurrency_enforcement)?;
    let of_routes = row.route_concurrency_limits.0;
    let limited = in_flight
        .into_iter()
        .chain(of_routes.iter().map(RouteConcurrencyLimit::limit))
        .any(is_enforced);
    let of_clients: Vec<ClientThrottle> =
        row.client_throttles.0.into_iter().map(Into::into).collect();
    let refuses = |it: &ClientThrottle| it.enforcement == ThrottleEnforcement::Hard;
    let variables: BTreeMap<String, String> = serde_json::from_value(row.variables)
        .map_err(|cause| Error::corrupt("stage variables", cause))?;
    let beside = row.canary_deployment_id.zip(row.canary_settings);
    let beside = beside
        .map(|(id, settings)| {
            Ok::<_, Error>(canary(
                Canary { deployment: id.parse()?, settings: settings.0 },
                &variables,
            ))
        })
        .transpose()?;
    let restrictions = [
        // Nodes of the release before would serve none of the calls by it, and all by what it stands beside.
        ("canarySettings", beside.as_ref().is_some_and(|canary| canary.percent_traffic >= 100.0)),
        // Nodes of the release before refuse the stage's calls rather than let any number in.
        ("concurrencyLimit", limited),
        // Nodes of the release before refuse the stage's calls rather than come to its backends as strangers.
        ("clientCertificateId", !row.client_certificate_id.is_empty()),
        ("webAclArn", !row.web_acl_arn.is_empty()),
        ("methodSettings", row.method_settings.as_object().is_none_or(|set| !set.is_empty())),
        ("clientThrottles", of_clients.iter().any(refuses)),
    ];
    Ok(Kind::Stage(Stage {
        api_id: row.api_id,
        tenant_id: row.tenant_id.to_string(),
        name: row.name,
        deployment_id: row.deployment_id.unwrap_or_default(),
        variables,
        canary: beside,
        throttle: Given::from_columns(
            row.throttle_rate_limit,
            row.throttle_burst_limit,
            &row.throttle_enforcement,
            row.throttle_mode.as_deref(),
            row.throttle_outage.as_deref(),
        )?
        .map(throttle)
        .transpose()?,
        route_throttles: row
            .route_throttles
            .0
            .into_iter()
            .map(|stored| {
                let of_route = RouteThrottle::from(stored);
                let message = throttle(of_route.throttle())?;
                Ok((of_route.route_key, message))
            })
            .collect::<Result<_>>()?,
        concurrency_limit: in_flight.map(concurrency_limit).transpose()?,
        route_concurrency_limits: of_routes
            .into_iter()
            .map(|of_route| {
                let message = concurrency_limit(of_route.limit())?;
                Ok((of_route.route_key, message))
            })
            .collect::<Result<_>>()?,
        rate_limit_headers: row.rate_limit_headers.unwrap_or(row.dialect == "native"),
        restrictions: restrictions
            .into_iter()
            .filter(|(_, set)| *set)
            .map(|(field, _)| field.to_owned())
            .collect(),
        tracing: row.tracing_enabled.then(|| tracing(row.sampling_rules.0)).transpose()?,
        client_throttles: of_clients.into_iter().map(client_throttle).collect::<Result<_>>()?,
        client_certificate_id: row.client_certificate_id,
    })
    .into())
}

fn canary(given: Canary, of_stage: &BTreeMap<String, String>) -> Beside {
    Beside {
        deployment_id: given.deployment.to_string(),
        percent_traffic: given.settings.percent_traffic,
        variables: given.variables(of_stage),
        stickiness: match given.settings.stickiness {
            CanaryStickiness::None => Sticky::Unspecified,
            CanaryStickiness::ApiKey => Sticky::ApiKey,
            CanaryStickiness::Header => Sticky::Header,
            CanaryStickiness::Cookie => Sticky::Cookie,
        }
        .into(),
        stickiness_name: given.settings.stickiness_name.unwrap_or_default(),
    }
}

fn client_throttle(given: ClientThrottle) -> Result<OfClients> {
    let key = match given.key {
        ClientThrottleKey::Ip => ClientKey::Ip,
        ClientThrottleKey::Header => ClientKey::Header,
    };
    Ok(OfClients {
        throttle: Some(throttle(given.throttle())?),
        name: given.name,
        key: key.into(),
        header_name: given.header_name.unwrap_or_default(),
        route_key: given.route_key.unwrap_or_default(),
    })
}

fn tracing(rules: Vec<SamplingRule>) -> Result<Tracing> {
    let count = |field: &'static str, value: i32| {
        u32::try_from(value).map_err(|cause| Error::corrupt(field, cause))
    };
    let rules = rules.into_iter().map(|rule| {
        let slower = rule.keep_slower_than_millis;
        Ok(Rule {
            route_key: rule.route_key,
            reservoir_per_second: count("reservoir", rule.reservoir_per_second)?,
            rate: rule.rate,
            keep_errors: rule.keep_errors,
            keep_slower_than_ms: slower.map(|bound| count("latency bound", bound)).transpose()?,
        })
    });
    Ok(Tracing { rules: rules.collect::<Result<_>>()? })
}

fn usage_plan_message(row: rows::UsagePlanRow) -> Result<Resource> {
    let quota = quota(&row)?;
    let in_flight = InFlight::from_columns(row.max_in_flight, &row.concurrency_enforcement)?;
    let api_stages = row.stages.0.into_iter().map(|stage| {
        let route_throttles = stage.route_throttles.into_iter();
        let route_throttles =
            route_throttles.map(|(route, stored)| Ok((route, throttle(stored.into())?)));
        Ok(ApiStage {
            api_id: stage.api_id,
            stage: stage.stage_name,
            route_throttles: route_throttles.collect::<Result<_>>()?,
        })
    });
    let stages = api_stages.collect::<Result<_>>()?;
    // Nodes of the release before find the plan on no stage, and let none of its keys in.
    let (api_stages, limited_stages) = if in_flight.is_some_and(is_enforced) {
        (Vec::new(), stages)
    } else {
        (stages, Vec::new())
    };
    Ok(Kind::UsagePlan(UsagePlan {
        id: row.id,
        tenant_id: row.tenant_id.to_string(),
        name: row.name,
        throttle: Given::from_columns(
            row.throttle_rate_limit,
            row.throttle_burst_limit,
            &row.throttle_enforcement,
            row.throttle_mode.as_deref(),
            row.throttle_outage.as_deref(),
        )?
        .map(throttle)
        .transpose()?,
        quota,
        api_stages,
        concurrency_limit: in_flight.map(concurrency_limit).transpose()?,
        limited_stages,
    })
    .into())
}

fn quota(row: &rows::UsagePlanRow) -> Result<Option<Quota>> {
    let (Some(limit), Some(period)) = (row.quota_limit, row.quota_period.as_deref()) else {
        return Ok(None);
    };
    let limit = u64::try_from(limit).map_err(|cause| Error::corrupt("quota", cause))?;
    let period = match period {
        "DAY" => QuotaPeriod::Day,
        "WEEK" => QuotaPeriod::Week,
        "MONTH" => QuotaPeriod::Month,
        unknown => return Err(Error::corrupt("quota period", unknown)),
    };
    let enforcement = match row.quota_enforcement.as_str() {
        "HARD" => QuotaEnforcement::Hard,
        "SOFT" => QuotaEnforcement::Soft,
        unknown => return Err(Error::corrupt("quota enforcement", unknown)),
    };
    let terms = QuotaTerms {
        period: period.into(),
        time_zone: row.quota_time_zone.clone(),
        anniversary_s: row.quota_starts_at.map(|start| start.timestamp()),
        enforcement: enforcement.into(),
        initial_used: u64::try_from(row.quota_offset)
            .map_err(|cause| Error::corrupt("quota offset", cause))?,
    };
    let plain = QuotaTerms {
        period: period.into(),
        time_zone: "UTC".to_owned(),
        enforcement: QuotaEnforcement::Hard.into(),
        ..QuotaTerms::default()
    };
    Ok(Some(if terms == plain {
        Quota { limit, period: period.into(), terms: None }
    } else {
        // Nodes of the release before find no period, and refuse the plan.
        Quota { limit, period: QuotaPeriod::Unspecified.into(), terms: Some(terms) }
    }))
}

fn api_key_message(row: rows::ApiKeyRow) -> Result<Resource> {
    let ms = |time: DateTime<Utc>| {
        u64::try_from(time.timestamp_millis())
            .map_err(|cause| Error::corrupt("API key's time", cause))
    };
    let previous = row.previous_digest.zip(row.overlap_ends_at);
    let restricted = !row.client_networks.is_empty() || !row.origins.is_empty();
    let restrictions = restricted.then(|| KeyRestrictions {
        enabled: row.enabled,
        client_networks: row.client_networks,
        origins: row.origins,
        others: Vec::new(),
    });
    let bounds = row.quota_extra_from_s.iter().zip(&row.quota_extra_until_s);
    let granted = row.usage_plan_ids.iter().zip(row.quota_extra_calls.iter().zip(bounds));
    let granted = granted.filter(|(_, (calls, _))| **calls > 0);
    let quota_extensions = granted.map(|(plan, (calls, (from_s, until_s)))| {
        let calls =
            u64::try_from(*calls).map_err(|cause| Error::corrupt("quota extension", cause))?;
        let (from_s, until_s) = (*from_s, *until_s);
        Ok(QuotaExtension { usage_plan_id: plan.clone(), from_s, until_s, calls })
    });
    let quota_extensions = quota_extensions.collect::<Result<_>>()?;
    Ok(Kind::ApiKey(ApiKey {
        id: row.id,
        tenant_id: row.tenant_id.to_string(),
        digest: row.digest,
        enabled: row.enabled && !restricted, // nodes that do not know restrictions refuse the key
        test: row.mode == "test",
        usage_plan_ids: row.usage_plan_ids,
        usage_plan_joined_s: row.usage_plan_joined_s,
        quota_extensions,
        consumer_id: row.consumer_id.map(|id| id.to_string()).unwrap_or_default(),
        expires_at_ms: row.expires_at.map_or(Ok(0), ms)?,
        previous: previous
            .map(|(digest, end)| Ok::<_, Error>(PreviousValue { digest, until_ms: ms(end)? }))
            .transpose()?,
        restrictions,
    })
    .into())
}

fn concurrency_limit(given: InFlight) -> Result<ConcurrencyLimit> {
    let max_in_flight = u32::try_from(given.max_in_flight)
        .map_err(|cause| Error::corrupt("concurrency limit", cause))?;
    Ok(ConcurrencyLimit { max_in_flight, shadow: !is_enforced(given) })
}

fn is_enforced(limit: InFlight) -> bool {
    limit.enforcement == ThrottleEnforcement::Hard
}

fn throttle(given: Given) -> Result<Throttle> {
    let burst_limit =
        u32::try_from(given.burst_limit).map_err(|cause| Error::corrupt("burst limit", cause))?;
    let mode = given.mode.map_or(Mode::Unspecified, |mode| match mode {
        ThrottleMode::Leased => Mode::Leased,
        ThrottleMode::Exact => Mode::Exact,
        ThrottleMode::Local => Mode::Local,
    });
    let outage = given.outage.map_or(Outage::Unspecified, |outage| match outage {
        ThrottleOutage::LocalFallback => Outage::LocalFallback,
        ThrottleOutage::FailOpen => Outage::FailOpen,
        ThrottleOutage::FailClosed => Outage::FailClosed,
    });
    Ok(Throttle {
        rate_limit: given.rate_limit,
        burst_limit,
        shadow: given.enforcement == ThrottleEnforcement::Shadow,
        mode: mode.into(),
        outage: outage.into(),
    })
}

#[cfg(test)]
mod tests {
    use sqlx::{AssertSqlSafe, PgPool};

    use super::*;
    use crate::app::Job;
    use crate::testing;

    /// A tenant with one of everything, and a deployment that no stage points at.
    async fn seed(db: &PgPool, tenant: TenantId, mark: &str) {
        let document = Deployment { routes: Vec::new(), ..Deployment::default() }.encode_to_vec();
        let rows = format!(
            "insert into api (id, tenant_id, name, protocol, dialect)
                 values ('api0000{mark}', '{tenant}', 'pets', 'HTTP', 'native');
             insert into deployment (id, tenant_id, api_id, document, digest) values
                 ('old0000{mark}', '{tenant}', 'api0000{mark}', '\\x{document}', ''),
                 ('new0000{mark}', '{tenant}', 'api0000{mark}', '\\x{document}', '');
             insert into stage (tenant_id, api_id, name, deployment_id, variables, web_acl_arn)
                 values ('{tenant}', 'api0000{mark}', 'prod', 'new0000{mark}', '{{\"a\": \"b\"}}', 'arn:x');
             insert into usage_plan
                 (id, tenant_id, name, throttle_rate_limit, throttle_burst_limit, quota_limit, quota_period)
                 values ('plan000{mark}', '{tenant}', 'gold', 1.5, 3, 100, 'WEEK');
             insert into usage_plan_stage values
                 ('{tenant}', 'plan000{mark}', 'api0000{mark}', 'prod',
                  '{{\"/pets/GET\": {{\"rateLimit\": 2, \"burstLimit\": 4}}}}');
             insert into api_key (id, tenant_id, digest, hint, mode, expires_at)
                 values ('key0000{mark}', '{tenant}', '\\x01', 'abcd', 'test', 'epoch');
             insert into usage_plan_key (tenant_id, usage_plan_id, api_key_id)
                 values ('{tenant}', 'plan000{mark}', 'key0000{mark}');",
            document = hex::encode(document),
        );
        sqlx::raw_sql(AssertSqlSafe(rows)).execute(db).await.unwrap();
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_cell_is_every_noun_of_its_tenants_and_each_deployment_in_use(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let (alice, elsewhere) = (testing::owner(&app).await, testing::owner(&app).await);
        seed(&db, alice.tenant, "aaa").await;
        seed(&db, elsewhere.tenant, "bbb").await;
        sqlx::raw_sql("insert into cell (id) values ('far')").execute(&db).await.unwrap();
        sqlx::query("update tenant set cell_id = 'far' where id = $1")
            .bind(elsewhere.tenant.0)
            .execute(&db)
            .await
            .unwrap();

        let mut tx = app.system(Job::Publisher).await.unwrap();
        let cell = load_cell(&mut tx, &app.master, "default").await.unwrap();

        let mut tx = app.begin(&alice).await.unwrap();
        let api: ApiId = "api0000aaa".parse().unwrap();
        let one_by_one = vec![
            tenant(&mut tx, &app.master, alice.tenant).await.unwrap(),
            deployment(&mut tx, alice.tenant, "new0000aaa".parse().unwrap()).await.unwrap(),
            stage(&mut tx, alice.tenant, api, "prod").await.unwrap(),
            usage_plan(&mut tx, alice.tenant, "plan000aaa".parse().unwrap()).await.unwrap(),
            api_key(&mut tx, alice.tenant, "key0000aaa".parse().unwrap()).await.unwrap(),
        ];
        assert_eq!(cell, one_by_one);
        let names: Vec<Name> =
            cell.iter().map(|resource| resource.kind.as_ref().unwrap().name()).collect();
        assert_eq!(names[0], Name::TenantId(alice.tenant.to_string()));
        assert_eq!(names[1], Name::DeploymentId("new0000aaa".to_owned()));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_message_carries_the_whole_noun(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        seed(&db, alice.tenant, "aaa").await;
        let mut tx = app.begin(&alice).await.unwrap();

        let Some(Kind::Tenant(tenant)) =
            super::tenant(&mut tx, &app.master, alice.tenant).await.unwrap().kind
        else {
            panic!("not a tenant");
        };
        assert_eq!((tenant.suspended, tenant.key_pepper.len()), (false, 32));

        let stage = stage(&mut tx, alice.tenant, "api0000aaa".parse().unwrap(), "prod").await;
        let Some(Kind::Stage(stage)) = stage.unwrap().kind else { panic!("not a stage") };
        assert_eq!(stage.deployment_id, "new0000aaa");
        assert_eq!(stage.variables["a"], "b");
        assert!(stage.rate_limit_headers, "native sends them unless told otherwise");
        assert_eq!(stage.restrictions, ["webAclArn"]);

        let plan = usage_plan(&mut tx, alice.tenant, "plan000aaa".parse().unwrap()).await.unwrap();
        let Some(Kind::UsagePlan(plan)) = plan.kind else { panic!("not a plan") };
        assert_eq!(
            plan.throttle,
            Some(Throttle { rate_limit: 1.5, burst_limit: 3, ..Throttle::default() })
        );
        assert_eq!(
            plan.quota,
            Some(Quota { limit: 100, period: QuotaPeriod::Week.into(), terms: None })
        );
        let route_throttle = plan.api_stages[0].route_throttles["/pets/GET"];
        let hard = Throttle { rate_limit: 2.0, burst_limit: 4, ..Throttle::default() };
        assert_eq!(route_throttle, hard, "a row of before is enforced");

        let key = api_key(&mut tx, alice.tenant, "key0000aaa".parse().unwrap()).await.unwrap();
        let Some(Kind::ApiKey(key)) = key.kind else { panic!("not a key") };
        assert_eq!((key.test, key.enabled), (true, true));
        assert_eq!(key.usage_plan_ids, ["plan000aaa"]);
    }
}
