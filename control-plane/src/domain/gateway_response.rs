//! What an Api's tenant has the gateway say by itself, by AWS's types: status, headers and body of refusals. Part of the
//! draft, frozen with a deployment; a type that nobody changed is as the gateway has it.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use plan::ResponseType;
use plan::gateway_response::GatewayResponseError;
use serde::{Serialize, Serializer};

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::app::App;
use crate::domain::api::{Api, Dialect};
use crate::domain::{audit, auto_deployment};
use crate::error::{Error, Result};
use crate::ids::ApiId;
use crate::store;

/// How an Api answers what is of one type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayResponse {
    #[serde(skip)]
    pub api: ApiId,
    #[serde(serialize_with = "name")]
    pub response_type: ResponseType,
    #[serde(flatten)]
    pub settings: Settings,
    /// Whether it is as the gateway has it, which one that says nothing is not: it stands before the default of its class.
    pub default_response: bool,
    /// When it was first changed; none where it is as the gateway has it.
    #[serde(skip)]
    pub created_at: Option<DateTime<Utc>>,
    #[serde(skip)]
    pub updated_at: Option<DateTime<Utc>>,
    /// Of [`Versioned`].
    #[serde(skip)]
    pub revision: i64,
}

/// What of a gateway response its tenant says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// None: that of the default for its class where that has one, else the gateway's.
    pub status_code: Option<u16>,
    /// `gatewayresponse.header.NAME` to `'constant'` or a variable.
    pub response_parameters: BTreeMap<String, String>,
    /// A media type to a template; without any the gateway's own body.
    pub response_templates: BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn name<S: Serializer>(kind: &ResponseType, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(kind.as_str())
}

impl GatewayResponse {
    /// As the gateway has it.
    fn unchanged(api: ApiId, response_type: ResponseType) -> Self {
        Self {
            api,
            response_type,
            settings: Settings::default(),
            default_response: true,
            created_at: None,
            updated_at: None,
            revision: 0,
        }
    }
}

impl Versioned for GatewayResponse {
    fn created_at(&self) -> DateTime<Utc> {
        self.created_at.unwrap_or_default()
    }

    fn number(&self) -> i64 {
        self.revision
    }
}

/// The type of that name.
pub fn response_type(name: &str) -> Result<ResponseType> {
    ResponseType::parse(name).ok_or(Error::NotFound("gateway response"))
}

impl Settings {
    fn check(&self, api: &Api, response_type: ResponseType) -> Result<()> {
        let wrong = |GatewayResponseError { field, rule }| Error::bad_request(field, rule);
        plan::gateway_response::GatewayResponse::new(
            self.status_code,
            &self.response_parameters,
            &self.response_templates,
        )
        .map_err(wrong)?;
        if api.dialect == Dialect::AwsRest && response_type == ResponseType::RequestTooLarge {
            let rule =
                "is AWS's own in the dialect aws-rest; the headers of DEFAULT_4XX stand in it";
            return Err(Error::bad_request("responseType", rule));
        }
        Ok(())
    }
}

pub async fn get(
    app: &App,
    actor: &Actor,
    api: ApiId,
    of: ResponseType,
) -> Result<GatewayResponse> {
    let all = list(app, actor, api).await?;
    all.into_iter().find(|it| it.response_type == of).ok_or(Error::NotFound("gateway response"))
}

/// One of each type, in the order of their names.
pub async fn list(app: &App, actor: &Actor, api: ApiId) -> Result<Vec<GatewayResponse>> {
    find(app, actor, &[api]).await?.remove(&api).ok_or(Error::NotFound("api"))
}

/// The same of each of these Apis that is the tenant's.
pub async fn find(
    app: &App,
    actor: &Actor,
    apis: &[ApiId],
) -> Result<HashMap<ApiId, Vec<GatewayResponse>>> {
    let mut tx = app.begin(actor).await?;
    let known = store::api::find(&mut tx, actor.tenant, apis).await?;
    let all = |api| ResponseType::ALL.map(|of| GatewayResponse::unchanged(api, of)).to_vec();
    let mut found: HashMap<_, _> = known.iter().map(|api| (api.id, all(api.id))).collect();
    for changed in store::gateway_response::find(&mut tx, actor.tenant, apis).await? {
        if let Some(all) = found.get_mut(&changed.api) {
            let at = changed.response_type.index();
            all[at] = changed;
        }
    }
    Ok(found)
}

/// Has an Api answer so; what is not said here is not kept from before.
pub async fn update(
    app: &App,
    actor: &Actor,
    api: ApiId,
    of: ResponseType,
    settings: Settings,
) -> Result<GatewayResponse> {
    actor.may(Action::ManageApis)?;

    let mut tx = app.begin(actor).await?;
    let tenant = actor.tenant;
    let locked = store::api::lock(&mut tx, tenant, api).await?;
    settings.check(&locked, of)?;
    let before = store::gateway_response::get(&mut tx, tenant, api, of).await?;
    let before = before.unwrap_or_else(|| GatewayResponse::unchanged(api, of));
    actor.expects(&before)?;
    let after = store::gateway_response::put(&mut tx, tenant, api, of, &settings).await?;
    let (id, old, new) = (noun_id(api, of), Some(&before), Some(&after));
    audit::record(app, &mut tx, actor, "gateway_response.update", &id, old, new).await?;
    auto_deployment::draft_changed(&mut tx, actor, api).await?;
    tx.commit().await?;
    Ok(after)
}

/// Has an Api answer as the gateway does.
pub async fn delete(
    app: &App,
    actor: &Actor,
    api: ApiId,
    of: ResponseType,
) -> Result<GatewayResponse> {
    actor.may(Action::ManageApis)?;

    let mut tx = app.begin(actor).await?;
    let tenant = actor.tenant;
    store::api::lock(&mut tx, tenant, api).await?;
    let before = store::gateway_response::get(&mut tx, tenant, api, of).await?;
    let before = before.ok_or(Error::NotFound("gateway response"))?;
    actor.expects(&before)?;
    store::gateway_response::delete(&mut tx, tenant, api, of).await?;
    let id = noun_id(api, of);
    audit::record(app, &mut tx, actor, "gateway_response.delete", &id, Some(&before), None).await?;
    auto_deployment::draft_changed(&mut tx, actor, api).await?;
    tx.commit().await?;
    Ok(GatewayResponse::unchanged(api, of))
}

fn noun_id(api: ApiId, of: ResponseType) -> String {
    format!("{api}/{}", of.as_str())
}

#[cfg(test)]
mod tests {
    use proto::config::v1::resource::Kind;
    use sqlx::PgPool;

    use super::*;
    use crate::domain::pending_changes;
    use crate::snapshot::compile;
    use crate::testing;

    fn settings(status: u16) -> Settings {
        let one = |name: &str, text: &str| BTreeMap::from([(name.to_owned(), text.to_owned())]);
        Settings {
            status_code: Some(status),
            response_parameters: one("gatewayresponse.header.X-A", "'a'"),
            response_templates: one("application/json", "{\"m\":$context.error.messageString}"),
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn every_type_is_listed_and_what_is_changed_goes_with_a_deployment(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = testing::new_api(&app, &alice, Dialect::Native).await;
        testing::new_route(&app, &alice, api, "GET /open", testing::mock("")).await;
        let deployed = async || {
            let id = testing::deploy(&app, &alice, api, "prod").await.unwrap().id;
            let mut tx = app.begin(&alice).await.unwrap();
            match compile::deployment(&mut tx, alice.tenant, id).await.unwrap().kind {
                Some(Kind::Deployment(it)) => it.api.unwrap().gateway_responses,
                other => panic!("{other:?}"),
            }
        };
        let pending = async || pending_changes::of_apis(&app, &alice, &[api]).await.unwrap()[&api];
        assert!(deployed().await.is_empty());
        let all = list(&app, &alice, api).await.unwrap();
        assert_eq!(all.len(), 21);
        assert!(all.iter().all(|it| it.default_response));

        let throttled = ResponseType::Throttled;
        let kept = update(&app, &alice, api, throttled, settings(503)).await.unwrap();
        assert_eq!(get(&app, &alice, api, throttled).await.unwrap(), kept);
        assert!(!kept.default_response && pending().await);
        let default = ResponseType::Default4xx;
        update(&app, &alice, api, default, Settings::default()).await.unwrap();
        let told = deployed().await;
        let of: Vec<_> = told.iter().map(|it| (&*it.response_type, it.status_code)).collect();
        assert_eq!(of, [("DEFAULT_4XX", 0), ("THROTTLED", 503)]);
        assert_eq!(told[1].response_parameters["gatewayresponse.header.X-A"], "'a'");
        assert!(!pending().await);

        let again = update(&app, &alice, api, throttled, settings(429)).await.unwrap();
        assert_ne!(again.version(), kept.version());
        assert!(delete(&app, &alice, api, throttled).await.unwrap().default_response);
        let gone = delete(&app, &alice, api, throttled).await.unwrap_err();
        assert!(matches!(gone, Error::NotFound(_)));
        assert_eq!(deployed().await.len(), 1);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_breaks_a_rule_is_named_and_strangers_find_nothing(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let mallory = testing::owner(&app).await;
        let api = testing::new_api(&app, &alice, Dialect::AwsRest).await;
        let param = async |of, settings| {
            let told = update(&app, &alice, api, of, settings).await;
            told.err().and_then(|error| error.param().map(str::to_owned))
        };
        let throttled = ResponseType::Throttled;
        assert_eq!(param(throttled, settings(101)).await.as_deref(), Some("statusCode"));
        let mut bad = settings(429);
        bad.response_parameters.insert("gatewayresponse.header.te".to_owned(), "'a'".to_owned());
        assert_eq!(param(throttled, bad).await.as_deref(), Some("responseParameters"));
        let mut bad = settings(429);
        bad.response_templates.insert("text/plain".to_owned(), "$context.no".to_owned());
        assert_eq!(param(throttled, bad).await.as_deref(), Some("responseTemplates"));
        let large = ResponseType::RequestTooLarge;
        assert_eq!(param(large, settings(413)).await.as_deref(), Some("responseType"));
        assert!(matches!(response_type("TOO_LATE"), Err(Error::NotFound(_))));

        update(&app, &alice, api, throttled, settings(429)).await.unwrap();
        let not_found = |error| assert!(matches!(error, Error::NotFound(_)), "{error:?}");
        not_found(list(&app, &mallory, api).await.unwrap_err());
        not_found(update(&app, &mallory, api, throttled, settings(429)).await.unwrap_err());
        not_found(delete(&app, &mallory, api, throttled).await.unwrap_err());
    }
}
