//! A route: which calls go to which integration.

use chrono::{DateTime, Utc};
use plan::{MethodMatch, RouteError, RouteKey};
use serde::Serialize;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::app::{App, Tx};
use crate::domain::api::{Api, Dialect};
use crate::domain::cors::CorsConfiguration;
use crate::domain::integration::{self, Integration, Settings};
use crate::domain::limit::{self, LimitName};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::patch::Patch;
use crate::domain::{audit, auto_deployment, resource, text};
use crate::error::{Error, Result};
use crate::ids::{ApiId, IntegrationId, ResourceId, RouteId};
use crate::store;

/// How many routes an Api has at most, unless the tenant's own limits say otherwise.
pub const ROUTES_MAX: u32 = 300;
/// The longest operation name, in characters.
pub const OPERATION_NAME_CHARS_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    #[serde(skip)]
    pub id: RouteId,
    #[serde(skip)]
    pub api: ApiId,
    /// Set where the route is a method of a resource, whose path it has.
    #[serde(skip)]
    pub resource: Option<ResourceId>,
    /// `GET`, …, or `ANY`; empty on `$default`.
    pub method: String,
    /// `/pets/{id}`, `/files/{proxy+}`, or `$default`.
    pub path: String,
    #[serde(skip)]
    pub integration: Option<IntegrationId>,
    pub api_key_required: bool,
    pub operation_name: String,
    /// In the place of the Api's; without origins it is off here.
    pub cors_configuration: Option<CorsConfiguration>,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
    #[serde(skip)]
    pub updated_at: DateTime<Utc>,
    /// Of [`Versioned`].
    #[serde(skip)]
    pub revision: i64,
}

impl Versioned for Route {
    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    fn number(&self) -> i64 {
        self.revision
    }
}

impl Keyed for Route {
    const LIST: &'static str = "routes";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

impl Route {
    /// `GET /pets/{id}` or `$default`, as AWS writes it.
    pub fn route_key(&self) -> String {
        route_key(&self.method, &self.path)
    }

    /// As the planes read it.
    pub fn parsed(&self) -> Result<RouteKey> {
        RouteKey::parse(&self.method, &self.path).map_err(|cause| Error::corrupt("route", cause))
    }
}

pub fn route_key(method: &str, path: &str) -> String {
    if method.is_empty() { path.to_owned() } else { format!("{method} {path}") }
}

/// A route to be made, with an integration that exists, with one to be made, or for now with none.
#[derive(Clone, Debug)]
pub struct NewRoute {
    pub method: String,
    pub place: RoutePlace,
    pub api_key_required: bool,
    pub operation_name: String,
    pub integration: RouteIntegration,
    pub cors_configuration: Option<CorsConfiguration>,
}

/// Where a route stands: at a path of its own, or on a resource.
#[derive(Clone, Debug)]
pub enum RoutePlace {
    Path(String),
    Resource(ResourceId),
}

impl RoutePlace {
    /// From the two fields of which exactly one is given.
    pub fn new(path: Option<String>, resource: Option<ResourceId>) -> Result<Self> {
        match (path, resource) {
            (Some(path), None) => Ok(Self::Path(path)),
            (None, Some(id)) => Ok(Self::Resource(id)),
            (None, None) => Err(Error::bad_request("path", "give path or resourceId")),
            (Some(_), Some(_)) => {
                Err(Error::bad_request("path", "give path or resourceId, not both"))
            }
        }
    }

    /// The place, looked up where it is a resource. The method has been checked.
    async fn find(&self, tx: &mut Tx, actor: &Actor, api: ApiId, method: &str) -> Result<Placed> {
        let (path, resource) = match self {
            Self::Path(path) => (path.clone(), None),
            Self::Resource(id) => (resource::of_api(tx, actor, api, *id).await?.path, Some(*id)),
        };
        Ok(Placed { key: parse(method, &path)?, path, resource })
    }
}

impl From<&str> for RoutePlace {
    fn from(path: &str) -> Self {
        Self::Path(path.to_owned())
    }
}

/// A place that was found, and what a route there answers to.
pub struct Placed {
    pub key: RouteKey,
    pub path: String,
    pub resource: Option<ResourceId>,
}

/// The two fields as the planes read them, or which of them is wrong.
fn parse(method: &str, path: &str) -> Result<RouteKey> {
    RouteKey::parse(method, path).map_err(|reason| {
        let of_method = matches!(reason, RouteError::Method(_) | RouteError::DefaultMethod);
        Error::bad_request(if of_method { "method" } else { "path" }, reason.to_string())
    })
}

/// What a route is given to answer its calls.
#[derive(Clone, Debug, Default)]
pub enum RouteIntegration {
    #[default]
    None,
    Existing(IntegrationId),
    New(Box<Settings>),
}

impl RouteIntegration {
    /// From the two fields of which at most one may be given.
    pub fn new(existing: Option<IntegrationId>, new: Option<Settings>) -> Result<Self> {
        match (existing, new) {
            (None, None) => Ok(Self::None),
            (Some(id), None) => Ok(Self::Existing(id)),
            (None, Some(settings)) => Ok(Self::New(Box::new(settings))),
            (Some(_), Some(_)) => Err(Error::bad_request(
                "integration",
                "give integration or integrationId, not both",
            )),
        }
    }
}

impl RouteIntegration {
    /// From the same two fields of a change.
    pub fn change(existing: Patch<IntegrationId>, new: Option<Settings>) -> Result<Patch<Self>> {
        match (existing, new) {
            (Patch::Keep, None) => Ok(Patch::Keep),
            (Patch::Clear, None) => Ok(Patch::Clear),
            (Patch::Set(id), new) => Self::new(Some(id), new).map(Patch::Set),
            (Patch::Keep | Patch::Clear, new) => Self::new(None, new).map(Patch::Set),
        }
    }
}

impl NewRoute {
    pub fn new(
        method: &str,
        place: impl Into<RoutePlace>,
        api_key_required: bool,
        operation_name: &str,
        integration: RouteIntegration,
    ) -> Result<Self> {
        let place = place.into();
        match &place {
            RoutePlace::Path(path) => parse(method, path).map(drop)?,
            RoutePlace::Resource(_) => {
                let method = MethodMatch::parse(method);
                method.map_err(|reason| Error::bad_request("method", reason.to_string()))?;
            }
        }
        Ok(Self {
            method: method.to_owned(),
            place,
            api_key_required,
            operation_name: operation_name_checked(operation_name)?,
            integration,
            cors_configuration: None,
        })
    }

    /// With its own word on which pages may read its answers, where one is given.
    pub fn shared(mut self, cors: Option<CorsConfiguration>) -> Result<Self> {
        self.cors_configuration = cors.map(CorsConfiguration::of_route).transpose()?;
        Ok(self)
    }
}

/// A change of a route; its key stays what it is.
#[derive(Clone, Debug, Default)]
pub struct UpdateRoute {
    pub api_key_required: Option<bool>,
    pub operation_name: Option<String>,
    pub integration: Patch<RouteIntegration>,
    pub cors_configuration: Patch<CorsConfiguration>,
}

fn operation_name_checked(text: &str) -> Result<String> {
    text::line("operationName", text, OPERATION_NAME_CHARS_MAX)
}

/// SDKs, documents and logs know an operation by its name, so no two routes of an Api have one. The Api is locked.
async fn check_operation(
    tx: &mut Tx,
    actor: &Actor,
    api: ApiId,
    name: &str,
    except: Option<RouteId>,
) -> Result<()> {
    if name.is_empty() {
        return Ok(());
    }
    match store::route::of_operation(tx, actor.tenant, api, name, except).await? {
        Some((method, path)) => {
            let key = route_key(&method, &path);
            let rule = format!("the route {key} of this API has this name already");
            Err(Error::conflict("operationName", rule))
        }
        None => Ok(()),
    }
}

pub async fn create(app: &App, actor: &Actor, api: ApiId, new: NewRoute) -> Result<Route> {
    actor.may(Action::ManageApis)?;

    let mut tx = app.begin(actor).await?;
    let api = store::api::lock(&mut tx, actor.tenant, api).await?;
    let place = new.place.find(&mut tx, actor, api.id, &new.method).await?;
    suits(&api, &place.key)?;
    check_operation(&mut tx, actor, api.id, &new.operation_name, None).await?;
    let limit = limit::of(&mut tx, actor.tenant, LimitName::RoutesPerApi).await?;
    if store::route::count(&mut tx, actor.tenant, api.id).await? >= limit {
        return Err(LimitName::RoutesPerApi.exceeded(limit));
    }
    let integration =
        given(app, &mut tx, actor, api.id, &place.key, &new.integration, None).await?;
    let id = app.rng.id();
    let route =
        store::route::insert(&mut tx, actor.tenant, api.id, id, &new, &place, integration).await?;
    let id = route.id.as_str();
    audit::record(app, &mut tx, actor, "route.create", id, None, Some(&route)).await?;
    auto_deployment::draft_changed(&mut tx, actor, api.id).await?;
    tx.commit().await?;
    Ok(route)
}

/// A REST API of AWS's kind has no catch-all.
fn suits(api: &Api, key: &RouteKey) -> Result<()> {
    if api.dialect == Dialect::AwsRest && matches!(key, RouteKey::Default) {
        return Err(Error::bad_request("path", "an aws-rest API has no $default route"));
    }
    Ok(())
}

/// The integration that a route is given, made or changed where it must be. `present` is the one it has.
async fn given(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    api: ApiId,
    key: &RouteKey,
    wish: &RouteIntegration,
    present: Option<&Integration>,
) -> Result<Option<IntegrationId>> {
    match wish {
        RouteIntegration::None => Ok(None),
        RouteIntegration::Existing(id) => {
            let found = store::integration::find(tx, actor.tenant, &[*id]).await?.pop();
            let found = found.filter(|integration| integration.api == api);
            let integration = found.ok_or(Error::NotFound("integration"))?;
            let fit = integration.settings.check_fit(key);
            fit.map_err(|error| Error::bad_request("integrationId", error.to_string()))?;
            Ok(Some(*id))
        }
        RouteIntegration::New(settings) => {
            let within = |error: Error| error.within("integration");
            // One that only this route has is changed; one that others share is left to them.
            if let Some(present) = present
                && store::route::of_integration(tx, actor.tenant, api, present.id).await?.len() <= 1
            {
                let settings = settings.as_ref().clone();
                let changed = integration::replace(app, tx, actor, present.id, settings).await;
                return Ok(Some(changed.map_err(within)?.id));
            }
            let settings = settings.as_ref().clone();
            let made = integration::insert(app, tx, actor, api, settings).await.map_err(within)?;
            made.settings.check_fit(key).map_err(within)?;
            Ok(Some(made.id))
        }
    }
}

pub async fn get(app: &App, actor: &Actor, id: RouteId) -> Result<Route> {
    find(app, actor, &[id]).await?.pop().ok_or(Error::NotFound("route"))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(app: &App, actor: &Actor, ids: &[RouteId]) -> Result<Vec<Route>> {
    let mut tx = app.begin(actor).await?;
    store::route::find(&mut tx, actor.tenant, ids).await
}

/// Oldest first.
pub async fn list(app: &App, actor: &Actor, api: ApiId, page: &Page) -> Result<Paged<Route>> {
    let mut tx = app.begin(actor).await?;
    store::api::must_exist(&mut tx, actor.tenant, api).await?;
    page.cut(store::route::list(&mut tx, actor.tenant, api, page).await?)
}

pub async fn update(app: &App, actor: &Actor, id: RouteId, change: UpdateRoute) -> Result<Route> {
    actor.may(Action::ManageApis)?;
    let operation_name =
        change.operation_name.map(|text| operation_name_checked(&text)).transpose()?;
    let cors = change.cors_configuration.try_map(CorsConfiguration::of_route)?;

    let mut tx = app.begin(actor).await?;
    let before = lock(&mut tx, actor, id).await?;
    actor.expects(&before)?;
    if let Some(name) = operation_name.as_ref().filter(|name| **name != before.operation_name) {
        check_operation(&mut tx, actor, before.api, name, Some(id)).await?;
    }
    let integration = match change.integration {
        Patch::Keep => before.integration,
        Patch::Clear => None,
        Patch::Set(wish) => {
            let present = match before.integration {
                Some(id) => store::integration::find(&mut tx, actor.tenant, &[id]).await?.pop(),
                None => None,
            };
            let key = before.parsed()?;
            given(app, &mut tx, actor, before.api, &key, &wish, present.as_ref()).await?
        }
    };
    let route = Route {
        api_key_required: change.api_key_required.unwrap_or(before.api_key_required),
        operation_name: operation_name.unwrap_or_else(|| before.operation_name.clone()),
        integration,
        cors_configuration: cors.apply(before.cors_configuration.clone()),
        ..before.clone()
    };
    let route = store::route::update(&mut tx, actor.tenant, &route).await?;
    audit::record(app, &mut tx, actor, "route.update", id.as_str(), Some(&before), Some(&route))
        .await?;
    auto_deployment::draft_changed(&mut tx, actor, before.api).await?;
    tx.commit().await?;
    Ok(route)
}

/// Its integration stays, for other routes.
pub async fn delete(app: &App, actor: &Actor, id: RouteId) -> Result<()> {
    actor.may(Action::ManageApis)?;

    let mut tx = app.begin(actor).await?;
    let before = lock(&mut tx, actor, id).await?;
    actor.expects(&before)?;
    store::route::delete(&mut tx, actor.tenant, id).await?;
    audit::record(app, &mut tx, actor, "route.delete", id.as_str(), Some(&before), None).await?;
    auto_deployment::draft_changed(&mut tx, actor, before.api).await?;
    tx.commit().await?;
    Ok(())
}

/// The route as it is once its Api is locked.
async fn lock(tx: &mut Tx, actor: &Actor, id: RouteId) -> Result<Route> {
    let missing = || Error::NotFound("route");
    let seen = store::route::find(tx, actor.tenant, &[id]).await?.pop().ok_or_else(missing)?;
    store::api::lock(tx, actor.tenant, seen.api).await?;
    store::route::find(tx, actor.tenant, &[id]).await?.pop().ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::testing::{self, mock, new_api, new_route};

    fn bare(key: &str) -> Result<NewRoute> {
        let (method, path) = key.split_once(' ').unwrap_or(("", key));
        NewRoute::new(method, path, false, "", RouteIntegration::None)
    }

    #[test]
    fn a_wrong_method_or_path_is_named() {
        for good in ["GET /", "ANY /a/{id}/b", "PUT /files/{proxy+}", "$default"] {
            assert!(bare(good).is_ok(), "{good}");
        }
        for (bad, param) in [
            ("FETCH /a", "method"),
            ("get /a", "method"),
            ("/a", "method"),
            ("GET $default", "method"),
            ("GET a", "path"),
            ("GET /a//b", "path"),
            ("GET /a/", "path"),
            ("GET /a{id}", "path"),
            ("GET /{a+}/b", "path"),
            ("GET /{a}/{a}", "path"),
            ("GET /a\0", "path"),
            ("GET /../a", "path"),
        ] {
            assert_eq!(bare(bad).unwrap_err().param(), Some(param), "{bad}");
        }
        let long = "x".repeat(OPERATION_NAME_CHARS_MAX + 1);
        let error = NewRoute::new("GET", "/", false, &long, RouteIntegration::None).unwrap_err();
        assert_eq!(error.param(), Some("operationName"));
        let both = RouteIntegration::new(Some("abc123xyz0".parse().unwrap()), Some(mock("x")));
        assert_eq!(both.unwrap_err().param(), Some("integration"));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_route_is_one_of_its_key_in_its_api(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::Native).await;
        let other = new_api(&app, &alice, Dialect::Native).await;

        create(&app, &alice, api, bare("GET /a").unwrap()).await.unwrap();
        create(&app, &alice, api, bare("PUT /a").unwrap()).await.unwrap();
        create(&app, &alice, other, bare("GET /a").unwrap()).await.unwrap();
        let twice = create(&app, &alice, api, bare("GET /a").unwrap()).await.unwrap_err();

        assert_eq!((twice.code(), twice.param()), ("conflict", Some("path")));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_refused_route_leaves_no_integration_behind(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::Native).await;
        let with = |uri: &str| RouteIntegration::New(Box::new(Settings::http_proxy(uri)));
        new_route(&app, &alice, api, "GET /a", mock("a")).await;

        for (key, uri, param) in [
            ("GET /b", "http://10.0.0.1/", "integration.uri"),
            ("GET /b", "http://h.test/{id}", "integration.uri"),
            ("GET /a", "http://h.test/", "path"),
        ] {
            let new = NewRoute { integration: with(uri), ..bare(key).unwrap() };
            let error = create(&app, &alice, api, new).await.unwrap_err();
            assert_eq!(error.param(), Some(param));
        }

        let page = Page::default();
        assert_eq!(integration::list(&app, &alice, api, &page).await.unwrap().items.len(), 1);
        assert_eq!(list(&app, &alice, api, &page).await.unwrap().items.len(), 1);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn changing_a_shared_integration_through_one_route_leaves_the_others_alone(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::Native).await;
        let first = new_route(&app, &alice, api, "GET /a", mock("a")).await;
        let own = first.integration.unwrap();
        let to = |body: &str| UpdateRoute {
            integration: Patch::Set(RouteIntegration::New(Box::new(mock(body)))),
            ..UpdateRoute::default()
        };

        let changed = update(&app, &alice, first.id, to("b")).await.unwrap();
        assert_eq!(changed.integration, Some(own), "its only route's");

        let shared = RouteIntegration::Existing(own);
        let new = NewRoute { integration: shared, ..bare("GET /c").unwrap() };
        create(&app, &alice, api, new).await.unwrap();
        let changed = update(&app, &alice, first.id, to("c")).await.unwrap();
        assert_ne!(changed.integration, Some(own));
        let kept = integration::get(&app, &alice, own).await.unwrap();
        assert_eq!(kept.settings.mock_response.unwrap().body, "b");

        let off = UpdateRoute { integration: Patch::Clear, ..UpdateRoute::default() };
        assert_eq!(update(&app, &alice, first.id, off).await.unwrap().integration, None);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_api_has_at_most_as_many_routes_as_its_tenant_may(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::Native).await;
        sqlx::query("update tenant set limits = '{\"routesPerApi\": 1}'")
            .execute(&db)
            .await
            .unwrap();

        create(&app, &alice, api, bare("GET /a").unwrap()).await.unwrap();
        let over = create(&app, &alice, api, bare("GET /b").unwrap()).await.unwrap_err();

        assert_eq!(over.code(), "limit_exceeded");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_operations_name_is_one_routes_of_its_api(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::Native).await;
        let other = new_api(&app, &alice, Dialect::Native).await;
        let named = |key: &str, name: &str| {
            let (method, path) = key.split_once(' ').unwrap();
            NewRoute::new(method, path, false, name, RouteIntegration::None).unwrap()
        };
        let list = create(&app, &alice, api, named("GET /pets", "listPets")).await.unwrap();
        let get = create(&app, &alice, api, named("GET /pets/{id}", "")).await.unwrap();
        create(&app, &alice, api, named("GET /bare", "")).await.unwrap();
        create(&app, &alice, other, named("GET /pets", "listPets")).await.unwrap();

        let refused = |error: Error| {
            assert_eq!((error.code(), error.param()), ("conflict", Some("operationName")));
            assert!(error.to_string().contains("GET /pets"), "{error}");
        };
        refused(create(&app, &alice, api, named("POST /pets", "listPets")).await.unwrap_err());
        let name = |name: &str| UpdateRoute {
            operation_name: Some(name.to_owned()),
            ..UpdateRoute::default()
        };
        refused(update(&app, &alice, get.id, name("listPets")).await.unwrap_err());
        update(&app, &alice, list.id, name("listPets")).await.unwrap();
        update(&app, &alice, list.id, name("pets")).await.unwrap();
        update(&app, &alice, get.id, name("listPets")).await.unwrap();
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_route_takes_only_integrations_of_its_own_api(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let api = new_api(&app, &alice, Dialect::Native).await;
        let hers = new_route(&app, &alice, api, "GET /a", mock("a")).await;
        let taken = RouteIntegration::Existing(hers.integration.unwrap());

        for actor in [&alice, &mallory] {
            let own = new_api(&app, actor, Dialect::Native).await;
            let new = NewRoute { integration: taken.clone(), ..bare("GET /b").unwrap() };
            let error = create(&app, actor, own, new).await.unwrap_err();
            assert!(matches!(error, Error::NotFound("integration")), "{error:?}");
        }
        for error in [
            get(&app, &mallory, hers.id).await.unwrap_err(),
            list(&app, &mallory, api, &Page::default()).await.unwrap_err(),
            create(&app, &mallory, api, bare("GET /b").unwrap()).await.unwrap_err(),
            update(&app, &mallory, hers.id, UpdateRoute::default()).await.unwrap_err(),
            delete(&app, &mallory, hers.id).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::NotFound(_)), "{error:?}");
        }
        assert_eq!(get(&app, &alice, hers.id).await.unwrap(), hers);
    }
}
