//! An Api: what a tenant publishes. Its routes and integrations are a draft until they are deployed.

use chrono::{DateTime, Utc};
use plan::KeyLocation;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::app::App;
use crate::domain::cors::CorsConfiguration;
use crate::domain::limit::{self, LimitName};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::patch::Patch;
use crate::domain::paths::{PathNormalization, TrailingSlash};
use crate::domain::{audit, auto_deployment, media, stage, text};
use crate::error::{Error, Result};
use crate::ids::ApiId;
use crate::snapshot::compile;
use crate::store;

/// How many Apis a tenant has at most, unless its own limits say otherwise.
pub const APIS_MAX: u32 = 1000;
/// An Api looks for keys in at most so many places.
pub const LOCATIONS_MAX: usize = 5;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Api {
    #[serde(skip)]
    pub id: ApiId,
    pub name: String,
    pub description: String,
    pub protocol: Protocol,
    pub dialect: Dialect,
    /// Where callers put their API key, such as `$request.header.x-api-key`; the first that a call has decides.
    pub api_key_locations: Vec<String>,
    /// None: as its dialect has it, which is `strict`, and `ignore` in `aws-rest`.
    pub trailing_slash: Option<TrailingSlash>,
    /// None: `reject`, in each dialect.
    pub path_normalization: Option<PathNormalization>,
    /// How many bytes an answer has at least that is compressed; none: nothing is.
    pub minimum_compression_size: Option<u32>,
    /// Whether the codings of requests' bodies are undone before they go on. None: as its dialect has it.
    pub decompress_requests: Option<bool>,
    /// Which payloads are binary, such as `image/*`.
    pub binary_media_types: Vec<String>,
    /// None: preflights are calls like others, and backends speak for themselves.
    pub cors_configuration: Option<CorsConfiguration>,
    /// Whether callers may name another method by `X-HTTP-Method-Override`. None: as its dialect has it, which is in
    /// `aws-rest` alone.
    pub method_override: Option<bool>,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
    #[serde(skip)]
    pub updated_at: DateTime<Utc>,
    /// Of [`Versioned`].
    #[serde(skip)]
    pub revision: i64,
}

/// What an Api speaks with its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    Http,
    Websocket,
}

/// Whose observable habits an Api has: our own, or those of one of AWS's two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    Native,
    AwsRest,
    AwsHttp,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Websocket => "WEBSOCKET",
        }
    }
}

impl TryFrom<&str> for Protocol {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        [Self::Http, Self::Websocket]
            .into_iter()
            .find(|protocol| protocol.as_str() == text)
            .ok_or_else(|| Error::corrupt("protocol", text))
    }
}

impl Dialect {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::AwsRest => "aws-rest",
            Self::AwsHttp => "aws-http",
        }
    }
}

impl TryFrom<&str> for Dialect {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        [Self::Native, Self::AwsRest, Self::AwsHttp]
            .into_iter()
            .find(|dialect| dialect.as_str() == text)
            .ok_or_else(|| Error::corrupt("dialect", text))
    }
}

impl Versioned for Api {
    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    fn number(&self) -> i64 {
        self.revision
    }
}

impl Keyed for Api {
    const LIST: &'static str = "apis";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

/// An Api to be made. Names need not be unique, as in AWS.
#[derive(Clone, Debug)]
pub struct NewApi {
    pub name: String,
    pub description: String,
    pub protocol: Protocol,
    pub dialect: Dialect,
    pub api_key_locations: Vec<String>,
    pub trailing_slash: Option<TrailingSlash>,
    pub path_normalization: Option<PathNormalization>,
    pub minimum_compression_size: Option<u32>,
    pub decompress_requests: Option<bool>,
    pub binary_media_types: Vec<String>,
    pub cors_configuration: Option<CorsConfiguration>,
    pub method_override: Option<bool>,
}

impl NewApi {
    pub fn new(
        name: &str,
        description: String,
        protocol: Protocol,
        dialect: Dialect,
    ) -> Result<Self> {
        if protocol == Protocol::Websocket {
            return Err(Error::bad_request("protocol", "WEBSOCKET is not supported yet; use HTTP"));
        }
        Ok(Self {
            name: text::name("name", name)?,
            description: text::description("description", description)?,
            protocol,
            dialect,
            api_key_locations: vec![KeyLocation::DEFAULT.to_owned()],
            trailing_slash: None,
            path_normalization: None,
            minimum_compression_size: None,
            decompress_requests: None,
            binary_media_types: Vec::new(),
            cors_configuration: None,
            method_override: None,
        })
    }

    /// With its own places for API keys, where any are given.
    pub fn located(mut self, api_key_locations: Option<Vec<String>>) -> Result<Self> {
        if let Some(locations) = api_key_locations {
            self.api_key_locations = checked_locations(&locations)?;
        }
        Ok(self)
    }

    /// With what it says of bodies, where it says anything.
    pub fn with_media(
        mut self,
        minimum_compression_size: Option<i64>,
        binary_media_types: Option<Vec<String>>,
    ) -> Result<Self> {
        self.minimum_compression_size =
            minimum_compression_size.map(media::compression_size).transpose()?;
        self.binary_media_types =
            media::binary_media_types(&binary_media_types.unwrap_or_default())?;
        Ok(self)
    }
}

/// A change of an Api; what is absent stays.
#[derive(Clone, Debug, Default)]
pub struct UpdateApi {
    pub name: Option<String>,
    pub description: Option<String>,
    pub api_key_locations: Option<Vec<String>>,
    pub trailing_slash: Patch<TrailingSlash>,
    pub path_normalization: Patch<PathNormalization>,
    pub minimum_compression_size: Patch<u32>,
    pub decompress_requests: Patch<bool>,
    pub binary_media_types: Option<Vec<String>>,
    pub cors_configuration: Patch<CorsConfiguration>,
    pub method_override: Patch<bool>,
}

/// Makes an Api, and the root of its resources with it.
pub async fn create(app: &App, actor: &Actor, new: NewApi) -> Result<Api> {
    actor.may(Action::ManageApis)?;
    let cors = new.cors_configuration.map(CorsConfiguration::of_api).transpose()?;
    let new = NewApi { cors_configuration: cors, ..new };

    let mut tx = app.begin(actor).await?;
    let limit = limit::of(&mut tx, actor.tenant, LimitName::Apis).await?;
    if store::api::count(&mut tx, actor.tenant).await? >= limit {
        return Err(LimitName::Apis.exceeded(limit));
    }
    let api = store::api::insert(&mut tx, actor.tenant, app.rng.id(), &new).await?;
    store::resource::insert_root(&mut tx, actor.tenant, api.id, app.rng.id()).await?;
    audit::record(app, &mut tx, actor, "api.create", api.id.as_str(), None, Some(&api)).await?;
    tx.commit().await?;
    Ok(api)
}

pub async fn get(app: &App, actor: &Actor, id: ApiId) -> Result<Api> {
    find(app, actor, &[id]).await?.pop().ok_or(Error::NotFound("api"))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(app: &App, actor: &Actor, ids: &[ApiId]) -> Result<Vec<Api>> {
    let mut tx = app.begin(actor).await?;
    store::api::find(&mut tx, actor.tenant, ids).await
}

/// Oldest first.
pub async fn list(app: &App, actor: &Actor, page: &Page) -> Result<Paged<Api>> {
    let mut tx = app.begin(actor).await?;
    page.cut(store::api::list(&mut tx, actor.tenant, page).await?)
}

pub async fn update(app: &App, actor: &Actor, id: ApiId, change: UpdateApi) -> Result<Api> {
    actor.may(Action::ManageApis)?;
    let name = change.name.map(|name| text::name("name", &name)).transpose()?;
    let description = change.description.map(|text| text::description("description", text));
    let description = description.transpose()?;
    let locations = change.api_key_locations.map(|locations| checked_locations(&locations));
    let locations = locations.transpose()?;
    let size =
        change.minimum_compression_size.try_map(|size| media::compression_size(size.into()))?;
    let binary = change.binary_media_types.map(|types| media::binary_media_types(&types));
    let binary = binary.transpose()?;
    let cors = change.cors_configuration.try_map(CorsConfiguration::of_api)?;

    let mut tx = app.begin(actor).await?;
    let before = store::api::lock(&mut tx, actor.tenant, id).await?;
    actor.expects(&before)?;
    let after = Api {
        name: name.unwrap_or_else(|| before.name.clone()),
        description: description.unwrap_or_else(|| before.description.clone()),
        api_key_locations: locations.unwrap_or_else(|| before.api_key_locations.clone()),
        trailing_slash: change.trailing_slash.apply(before.trailing_slash),
        path_normalization: change.path_normalization.apply(before.path_normalization),
        minimum_compression_size: size.apply(before.minimum_compression_size),
        decompress_requests: change.decompress_requests.apply(before.decompress_requests),
        binary_media_types: binary.unwrap_or_else(|| before.binary_media_types.clone()),
        cors_configuration: cors.apply(before.cors_configuration.clone()),
        method_override: change.method_override.apply(before.method_override),
        ..before.clone()
    };
    let api = store::api::update(&mut tx, actor.tenant, &after).await?;
    audit::record(app, &mut tx, actor, "api.update", id.as_str(), Some(&before), Some(&api))
        .await?;
    auto_deployment::draft_changed(&mut tx, actor, id).await?;
    tx.commit().await?;
    Ok(api)
}

/// Locations of keys in their one spelling, each once.
fn checked_locations(given: &[String]) -> Result<Vec<String>> {
    let wrong = |rule: String| Error::bad_request("apiKeyLocations", rule);
    if given.is_empty() {
        return Err(wrong(format!("must have at least one, such as {}", KeyLocation::DEFAULT)));
    }
    if given.len() > LOCATIONS_MAX {
        let rule = format!("an API has at most {LOCATIONS_MAX} places for keys");
        return Err(Error::limit_exceeded("apiKeyLocations", rule));
    }
    let mut locations = Vec::with_capacity(given.len());
    for text in given {
        let location =
            KeyLocation::parse(text).map_err(|error| wrong(format!("{text:?} {error}")))?;
        let location = location.to_string();
        if locations.contains(&location) {
            return Err(wrong(format!("{location} is there twice")));
        }
        locations.push(location);
    }
    Ok(locations)
}

/// Deletes the Api with its draft, its deployments and its stages. Refused while a usage plan holds a stage.
pub async fn delete(app: &App, actor: &Actor, id: ApiId) -> Result<()> {
    actor.may(Action::ManageApis)?;

    let mut tx = app.begin(actor).await?;
    let before = store::api::lock(&mut tx, actor.tenant, id).await?;
    actor.expects(&before)?;
    for stage in store::stage::of_api(&mut tx, actor.tenant, id).await? {
        stage::refuse_while_planned(&mut tx, actor, &stage).await?;
        stage::unpublish(&mut tx, &stage);
        for deployment in stage::deployments(&stage) {
            tx.remove(compile::deployment_name(deployment));
        }
    }
    store::api::delete(&mut tx, actor.tenant, id).await?;
    audit::record(app, &mut tx, actor, "api.delete", id.as_str(), Some(&before), None).await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::domain::pending_changes;
    use crate::testing::{self, new_api};

    #[test]
    fn an_api_has_a_name_and_a_protocol_that_is_served() {
        let new = |name: &str, protocol| {
            NewApi::new(name, String::new(), protocol, Dialect::Native).map(|new| new.name)
        };
        assert_eq!(new(" pets ", Protocol::Http).unwrap(), "pets");
        assert_eq!(new("", Protocol::Http).unwrap_err().param(), Some("name"));
        let websocket = new("pets", Protocol::Websocket).unwrap_err();
        assert_eq!(websocket.param(), Some("protocol"));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn keys_stand_in_the_places_that_an_api_names_and_a_deployment_takes_them_along(
        db: PgPool,
    ) {
        use proto::config::v1::{Deployment, resource::Kind};

        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::Native).await;
        testing::new_route(&app, &alice, api, "GET /open", testing::mock("")).await;
        let deployed = async || -> Deployment {
            let id = testing::deploy(&app, &alice, api, "prod").await.unwrap().id;
            let mut tx = app.begin(&alice).await.unwrap();
            match compile::deployment(&mut tx, alice.tenant, id).await.unwrap().kind {
                Some(Kind::Deployment(deployment)) => deployment,
                other => panic!("{other:?}"),
            }
        };
        let locate = async |locations: &[&str]| {
            let locations = locations.iter().map(|it| (*it).to_owned()).collect();
            let change = UpdateApi { api_key_locations: Some(locations), ..UpdateApi::default() };
            update(&app, &alice, api, change).await
        };
        assert_eq!(get(&app, &alice, api).await.unwrap().api_key_locations, [KeyLocation::DEFAULT]);
        let usual = deployed().await;
        assert!(usual.api.unwrap().api_key_locations.is_empty(), "as before there was a choice");
        assert!(usual.routes[0].restrictions.is_empty());

        let kept = locate(&["$request.header.X-Key", "$request.querystring.key"]).await.unwrap();
        let places = ["$request.header.x-key", "$request.querystring.key"];
        assert_eq!(kept.api_key_locations, places);
        assert!(pending_changes::of_apis(&app, &alice, &[api]).await.unwrap()[&api]);
        let moved = deployed().await;
        assert_eq!(moved.api.unwrap().api_key_locations, places);
        // Nodes that do not know it would tell backends of the key.
        assert_eq!(moved.routes[0].restrictions, ["apiKeyLocations"]);
        locate(&["$request.header.Authorization"]).await.unwrap();
        assert!(deployed().await.routes[0].restrictions.is_empty(), "it needs no key");

        for (wrong, code) in [
            (&[][..], "bad_request"),
            (&["x-key"], "bad_request"),
            (&["$request.header.a", "$request.header.A"], "bad_request"),
            (&["$request.header.a"; 6], "limit_exceeded"),
        ] {
            let refused = locate(wrong).await.unwrap_err();
            assert_eq!((refused.code(), refused.param()), (code, Some("apiKeyLocations")));
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn how_an_api_reads_paths_is_its_dialects_way_until_it_says_otherwise_and_goes_live_by_a_deployment(
        db: PgPool,
    ) {
        use PathNormalization::{Normalize, Pass, Reject};
        use TrailingSlash::{Ignore, Redirect, Strict};
        use proto::config::v1::{
            PathNormalization as Normalized, TrailingSlash as Slash, resource::Kind,
        };

        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::AwsRest).await;
        testing::new_route(&app, &alice, api, "GET /open", testing::mock("")).await;
        let deployed = async || {
            let id = testing::deploy(&app, &alice, api, "prod").await.unwrap().id;
            let mut tx = app.begin(&alice).await.unwrap();
            match compile::deployment(&mut tx, alice.tenant, id).await.unwrap().kind {
                Some(Kind::Deployment(deployment)) => {
                    let api = deployment.api.unwrap();
                    (api.trailing_slash(), api.path_normalization())
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(deployed().await, (Slash::Unspecified, Normalized::Unspecified));

        for (slash, normalization, expected) in [
            (Patch::Set(Strict), Patch::Set(Reject), (Slash::Strict, Normalized::Reject)),
            (Patch::Set(Ignore), Patch::Keep, (Slash::Ignore, Normalized::Reject)),
            (Patch::Keep, Patch::Set(Normalize), (Slash::Ignore, Normalized::Normalize)),
            (Patch::Set(Redirect), Patch::Set(Pass), (Slash::Redirect, Normalized::Pass)),
            (Patch::Clear, Patch::Keep, (Slash::Unspecified, Normalized::Pass)),
            (Patch::Keep, Patch::Clear, (Slash::Unspecified, Normalized::Unspecified)),
        ] {
            let before = get(&app, &alice, api).await.unwrap();
            let change = UpdateApi {
                trailing_slash: slash,
                path_normalization: normalization,
                ..UpdateApi::default()
            };
            let kept = update(&app, &alice, api, change).await.unwrap();
            assert_eq!(kept.trailing_slash, slash.apply(before.trailing_slash));
            assert_eq!(kept.path_normalization, normalization.apply(before.path_normalization));
            assert_eq!(get(&app, &alice, api).await.unwrap(), kept);
            assert!(
                pending_changes::of_apis(&app, &alice, &[api]).await.unwrap()[&api],
                "{expected:?}"
            );
            assert_eq!(deployed().await, expected);
            assert!(
                !pending_changes::of_apis(&app, &alice, &[api]).await.unwrap()[&api],
                "{expected:?}"
            );
        }
        let audited: Vec<(Option<String>, Option<String>)> = sqlx::query_as(
            "select after ->> 'trailingSlash', after ->> 'pathNormalization' from audit_entry
             where action = 'api.update' order by id",
        )
        .fetch_all(&db)
        .await
        .unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(audited[0], (text("strict"), text("reject")));
        assert_eq!(audited[3], (text("redirect"), text("pass")));
        assert_eq!(audited[5], (None, None));

        let form = NewApi {
            trailing_slash: Some(Redirect),
            path_normalization: Some(Normalize),
            ..testing::new_api_form(Dialect::Native)
        };
        let made = create(&app, &alice, form).await.unwrap();
        assert_eq!(
            (made.trailing_slash, made.path_normalization),
            (Some(Redirect), Some(Normalize))
        );
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_api_keeps_what_an_update_leaves_out(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::AwsHttp).await;

        let described = UpdateApi { description: Some("all pets".into()), ..UpdateApi::default() };
        let described = update(&app, &alice, api, described).await.unwrap();
        assert_eq!((described.name.as_str(), described.description.as_str()), ("pets", "all pets"));
        let renamed = UpdateApi { name: Some("cats".into()), ..UpdateApi::default() };
        let renamed = update(&app, &alice, api, renamed).await.unwrap();
        assert_eq!(renamed.description, "all pets");
        assert_eq!(get(&app, &alice, api).await.unwrap(), renamed);
        assert_eq!(renamed.dialect, Dialect::AwsHttp);

        let blank = UpdateApi { name: Some(" ".into()), ..UpdateApi::default() };
        assert_eq!(update(&app, &alice, api, blank).await.unwrap_err().param(), Some("name"));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_tenant_lists_its_own_apis_page_by_page_from_either_end(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let mut made = Vec::new();
        for _ in 0..3 {
            made.push(new_api(&app, &alice, Dialect::Native).await);
        }
        new_api(&app, &mallory, Dialect::Native).await;
        let ids = |page: &Paged<Api>| page.items.iter().map(|api| api.id).collect::<Vec<_>>();

        let first = list(&app, &alice, &Page::first(2, None, None).unwrap()).await.unwrap();
        assert_eq!(ids(&first), made[..2]);
        assert!(first.has_next);
        let after = first.items.last().map(Keyed::key);
        let rest = list(&app, &alice, &Page::first(2, after, None).unwrap()).await.unwrap();
        assert_eq!((ids(&rest), rest.has_next), (made[2..].to_vec(), false));
        let last = list(&app, &alice, &Page::last(2, None, None).unwrap()).await.unwrap();
        assert_eq!((ids(&last), last.has_previous), (made[1..].to_vec(), true));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn another_tenants_api_does_not_exist(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let id = new_api(&app, &alice, Dialect::Native).await;
        let api = get(&app, &alice, id).await.unwrap();

        for error in [
            get(&app, &mallory, id).await.unwrap_err(),
            update(&app, &mallory, id, UpdateApi::default()).await.unwrap_err(),
            delete(&app, &mallory, id).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::NotFound(_)), "{error:?}");
        }
        assert_eq!(get(&app, &alice, id).await.unwrap(), api);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_tenant_has_at_most_as_many_apis_as_it_may(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        sqlx::query("update tenant set limits = '{\"apis\": 1}'").execute(&db).await.unwrap();

        new_api(&app, &alice, Dialect::Native).await;
        let form = testing::new_api_form(Dialect::Native);
        let over = create(&app, &alice, form).await.unwrap_err();

        assert_eq!(over.code(), "limit_exceeded");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn every_change_is_in_the_audit_log_with_before_and_after(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::Native).await;
        let renamed = UpdateApi { name: Some("cats".into()), ..UpdateApi::default() };
        update(&app, &alice, api, renamed).await.unwrap();
        delete(&app, &alice, api).await.unwrap();

        let entries: Vec<(String, Option<String>, Option<String>)> = sqlx::query_as(
            "select action, before ->> 'name', after ->> 'name' from audit_entry order by id",
        )
        .fetch_all(&db)
        .await
        .unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            entries,
            [
                ("api.create".to_owned(), None, text("pets")),
                ("api.update".to_owned(), text("pets"), text("cats")),
                ("api.delete".to_owned(), text("cats"), None),
            ]
        );
    }
}
