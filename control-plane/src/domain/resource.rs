//! A resource: a segment of an Api's tree of paths, as AWS's REST APIs have it. A method is a route on one.

use chrono::{DateTime, Utc};
use plan::{RouteError, RoutePath, Segment};
use serde::Serialize;

use crate::access::actor::Actor;
use crate::access::precondition::Versioned;
use crate::access::role::Action;
use crate::app::{App, Tx};
use crate::domain::limit::{self, LimitName};
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::{audit, auto_deployment};
use crate::error::{Error, Result};
use crate::ids::{ApiId, ResourceId};
use crate::store;

/// How many resources an Api has at most, its root among them, unless the tenant's own limits say otherwise.
pub const RESOURCES_MAX: u32 = 300;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    #[serde(skip)]
    pub id: ResourceId,
    #[serde(skip)]
    pub api: ApiId,
    /// None for the root, which every Api is made with.
    #[serde(skip)]
    pub parent: Option<ResourceId>,
    /// `pets`, `{id}` or `{proxy+}`; empty for the root.
    pub path_part: String,
    /// `/`, `/pets/{id}`.
    pub path: String,
    #[serde(skip)]
    pub created_at: DateTime<Utc>,
}

impl Versioned for Resource {
    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }
}

impl Keyed for Resource {
    const LIST: &'static str = "resources";

    fn key(&self) -> Key {
        Key::new(Self::LIST, self.created_at, &self.id)
    }
}

impl Resource {
    /// The path of a child with this part.
    fn below(&self, path_part: &str) -> String {
        format!("{}/{path_part}", self.path.trim_end_matches('/'))
    }
}

/// A resource to be made below another.
#[derive(Clone, Debug)]
pub struct NewResource {
    pub parent: ResourceId,
    pub path_part: String,
}

impl NewResource {
    pub fn new(parent: ResourceId, path_part: &str) -> Result<Self> {
        Segment::parse(path_part)
            .map_err(|reason| Error::bad_request("pathPart", reason.to_string()))?;
        Ok(Self { parent, path_part: path_part.to_owned() })
    }
}

pub async fn create(app: &App, actor: &Actor, api: ApiId, new: NewResource) -> Result<Resource> {
    actor.may(Action::ManageApis)?;

    let mut tx = app.begin(actor).await?;
    store::api::lock(&mut tx, actor.tenant, api).await?;
    let parent = of_api(&mut tx, actor, api, new.parent).await?;
    let path = parent.below(&new.path_part);
    RoutePath::parse(&path).map_err(|reason| {
        let of_parent = matches!(reason, RouteError::GreedyNotLast(_));
        Error::bad_request(if of_parent { "parentId" } else { "pathPart" }, reason.to_string())
    })?;
    let limit = limit::of(&mut tx, actor.tenant, LimitName::ResourcesPerApi).await?;
    if store::resource::count(&mut tx, actor.tenant, api).await? >= limit {
        return Err(LimitName::ResourcesPerApi.exceeded(limit));
    }
    let variable = store::resource::variable_below(&mut tx, actor.tenant, api, parent.id).await?;
    if let Some(variable) = variable.filter(|part| *part != new.path_part)
        && new.path_part.starts_with('{')
    {
        let rule = format!("{} has a sibling that is a variable: {variable}", new.path_part);
        return Err(Error::conflict("pathPart", rule));
    }
    let resource =
        store::resource::insert(&mut tx, actor.tenant, app.rng.id(), &parent, &new.path_part, path)
            .await?;
    let id = resource.id.as_str();
    audit::record(app, &mut tx, actor, "resource.create", id, None, Some(&resource)).await?;
    auto_deployment::draft_changed(&mut tx, actor, api).await?;
    tx.commit().await?;
    Ok(resource)
}

pub async fn get(app: &App, actor: &Actor, id: ResourceId) -> Result<Resource> {
    find(app, actor, &[id]).await?.pop().ok_or(Error::NotFound("resource"))
}

/// Those of `ids` that are the tenant's, in no order.
pub async fn find(app: &App, actor: &Actor, ids: &[ResourceId]) -> Result<Vec<Resource>> {
    let mut tx = app.begin(actor).await?;
    store::resource::find(&mut tx, actor.tenant, ids).await
}

/// The root, then the oldest first.
pub async fn list(app: &App, actor: &Actor, api: ApiId, page: &Page) -> Result<Paged<Resource>> {
    let mut tx = app.begin(actor).await?;
    store::api::must_exist(&mut tx, actor.tenant, api).await?;
    page.cut(store::resource::list(&mut tx, actor.tenant, api, page).await?)
}

/// The resource inside another operation, if it is of this Api.
pub(crate) async fn of_api(
    tx: &mut Tx,
    actor: &Actor,
    api: ApiId,
    id: ResourceId,
) -> Result<Resource> {
    let found = store::resource::find(tx, actor.tenant, &[id]).await?.pop();
    found.filter(|resource| resource.api == api).ok_or(Error::NotFound("resource"))
}

/// Deletes the resource, all below it and the routes on them; the routes' integrations stay. The root stays too.
pub async fn delete(app: &App, actor: &Actor, id: ResourceId) -> Result<()> {
    actor.may(Action::ManageApis)?;

    let mut tx = app.begin(actor).await?;
    let seen = store::resource::find(&mut tx, actor.tenant, &[id]).await?.pop();
    let api = seen.ok_or(Error::NotFound("resource"))?.api;
    store::api::lock(&mut tx, actor.tenant, api).await?;
    let resource = of_api(&mut tx, actor, api, id).await?;
    actor.expects(&resource)?;
    if resource.parent.is_none() {
        return Err(Error::conflict("id", "the root of an API stays as long as the API"));
    }
    let tree = store::resource::subtree(&mut tx, actor.tenant, id).await?;
    let ids: Vec<ResourceId> = tree.iter().map(|resource| resource.id).collect();
    for route in store::route::of_resources(&mut tx, actor.tenant, api, &ids).await? {
        store::route::delete(&mut tx, actor.tenant, route.id).await?;
        let id = route.id.as_str();
        audit::record(app, &mut tx, actor, "route.delete", id, Some(&route), None).await?;
    }
    store::resource::delete(&mut tx, actor.tenant, &ids).await?;
    for gone in &tree {
        let id = gone.id.as_str();
        audit::record(app, &mut tx, actor, "resource.delete", id, Some(gone), None).await?;
    }
    auto_deployment::draft_changed(&mut tx, actor, api).await?;
    tx.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::access::role::Role;
    use crate::domain::api::{self, Dialect};
    use crate::domain::integration::{self, Settings};
    use crate::domain::pending_changes;
    use crate::domain::route::{self, NewRoute, Route, RouteIntegration, RoutePlace};
    use crate::testing::{self, deploy, mock, new_api, new_route};

    async fn all(app: &App, actor: &Actor, api: ApiId) -> Vec<Resource> {
        list(app, actor, api, &Page::first(100, None, None).unwrap()).await.unwrap().items
    }

    async fn root(app: &App, actor: &Actor, api: ApiId) -> ResourceId {
        all(app, actor, api).await[0].id
    }

    /// A child of this resource.
    async fn below(app: &App, actor: &Actor, parent: ResourceId, part: &str) -> Result<Resource> {
        let api = get(app, actor, parent).await?.api;
        create(app, actor, api, NewResource::new(parent, part)?).await
    }

    async fn method(app: &App, actor: &Actor, on: &Resource, method: &str) -> Result<Route> {
        let integration = RouteIntegration::new(None, Some(mock("m"))).unwrap();
        let place = RoutePlace::Resource(on.id);
        let new = NewRoute::new(method, place, false, "", integration).unwrap();
        route::create(app, actor, on.api, new).await
    }

    #[test]
    fn a_path_part_is_fixed_text_or_one_whole_variable() {
        let parent: ResourceId = "abc123xyz0".parse().unwrap();
        for good in ["pets", "v1.2", "a-b_c,d:e", "{id}", "{proxy+}"] {
            assert_eq!(NewResource::new(parent, good).unwrap().path_part, good);
        }
        let long = format!("{{{}}}", "x".repeat(65));
        for bad in ["", "/", "a/b", "a b", "é", "a{id}", "{id", "{}", "{+}", "..", "a\0", &long] {
            let error = NewResource::new(parent, bad).unwrap_err();
            let told = (error.code(), error.param());
            assert_eq!(told, ("bad_request", Some("pathPart")), "{bad:?}");
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_api_is_made_with_a_root_that_stays(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        for dialect in [Dialect::Native, Dialect::AwsRest, Dialect::AwsHttp] {
            let api = new_api(&app, &alice, dialect).await;

            let made = all(&app, &alice, api).await;
            let [root] = made.as_slice() else { panic!("{made:?}") };
            assert_eq!((root.path.as_str(), root.path_part.as_str()), ("/", ""));
            assert_eq!(root.parent, None);
            let kept = delete(&app, &alice, root.id).await.unwrap_err();
            assert_eq!((kept.code(), kept.param()), ("conflict", Some("id")));
            assert_eq!(all(&app, &alice, api).await, made);

            below(&app, &alice, root.id, "pets").await.unwrap();
            api::delete(&app, &alice, api).await.unwrap();
            assert!(find(&app, &alice, &[root.id]).await.unwrap().is_empty());
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_resource_has_the_path_of_the_tree_above_it(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::AwsRest).await;
        new_api(&app, &alice, Dialect::AwsRest).await;
        let root = root(&app, &alice, api).await;
        let pets = below(&app, &alice, root, "pets").await.unwrap();
        let pet = below(&app, &alice, pets.id, "{id}").await.unwrap();
        let toys = below(&app, &alice, pet.id, "toys").await.unwrap();

        assert_eq!(toys.path, "/pets/{id}/toys");
        assert_eq!((toys.parent, get(&app, &alice, toys.id).await.unwrap()), (Some(pet.id), toys));
        let paths = |page: &Paged<Resource>| -> Vec<String> {
            page.items.iter().map(|resource| resource.path.clone()).collect()
        };
        let first = list(&app, &alice, api, &Page::first(2, None, None).unwrap()).await.unwrap();
        assert_eq!((paths(&first), first.has_next), (vec!["/".into(), "/pets".into()], true));
        let after = first.items.last().map(Keyed::key);
        let rest = list(&app, &alice, api, &Page::first(2, after, None).unwrap()).await.unwrap();
        assert_eq!(paths(&rest), ["/pets/{id}", "/pets/{id}/toys"]);
        assert!(!rest.has_next);
        let last = list(&app, &alice, api, &Page::last(3, None, None).unwrap()).await.unwrap();
        assert_eq!(paths(&last), ["/pets", "/pets/{id}", "/pets/{id}/toys"]);
        assert!(last.has_previous);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn siblings_differ_and_at_most_one_is_a_variable(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::AwsRest).await;
        let root = root(&app, &alice, api).await;
        let pets = below(&app, &alice, root, "pets").await.unwrap().id;
        let pet = below(&app, &alice, pets, "{id}").await.unwrap().id;
        let files = below(&app, &alice, root, "files").await.unwrap().id;
        let greedy = below(&app, &alice, files, "{proxy+}").await.unwrap().id;
        below(&app, &alice, files, "pets").await.unwrap(); // the same part, elsewhere
        below(&app, &alice, pets, "Pets").await.unwrap(); // paths have a case

        for (parent, part, code, param, says) in [
            (root, "pets", "conflict", "pathPart", "/pets"),
            (pets, "{id}", "conflict", "pathPart", "/pets/{id}"),
            (pets, "{other}", "conflict", "pathPart", "{id}"),
            (pets, "{rest+}", "conflict", "pathPart", "{id}"),
            (files, "{name}", "conflict", "pathPart", "{proxy+}"),
            (pet, "{id}", "bad_request", "pathPart", "twice"),
            (greedy, "more", "bad_request", "parentId", "{proxy+}"),
            (greedy, "{id}", "bad_request", "parentId", "{proxy+}"),
        ] {
            let error = below(&app, &alice, parent, part).await.unwrap_err();
            assert_eq!((error.code(), error.param()), (code, Some(param)), "{part}: {error}");
            assert!(error.to_string().contains(says), "{part}: {error}");
        }
        assert_eq!(all(&app, &alice, api).await.len(), 7);

        let mut deep = pet;
        for _ in 0..62 {
            deep = below(&app, &alice, deep, "a").await.unwrap().id;
        }
        let error = below(&app, &alice, deep, "a").await.unwrap_err();
        assert_eq!((error.code(), error.param()), ("bad_request", Some("pathPart")));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_resource_goes_with_all_below_it_and_their_routes(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::AwsRest).await;
        let root = root(&app, &alice, api).await;
        let pets = below(&app, &alice, root, "pets").await.unwrap();
        let pet = below(&app, &alice, pets.id, "{id}").await.unwrap();
        let toys = below(&app, &alice, pet.id, "toys").await.unwrap();
        let cats = below(&app, &alice, root, "cats").await.unwrap();
        for (on, verb) in [(&pets, "GET"), (&toys, "PUT"), (&toys, "GET"), (&cats, "GET")] {
            method(&app, &alice, on, verb).await.unwrap();
        }
        new_route(&app, &alice, api, "POST /pets", mock("by its path")).await;

        delete(&app, &alice, pets.id).await.unwrap();

        let left: Vec<String> =
            all(&app, &alice, api).await.into_iter().map(|one| one.path).collect();
        assert_eq!(left, ["/", "/cats"]);
        let page = Page::default();
        let routes = route::list(&app, &alice, api, &page).await.unwrap().items;
        let routes: Vec<String> = routes.iter().map(Route::route_key).collect();
        assert_eq!(routes, ["GET /cats", "POST /pets"]);
        assert_eq!(integration::list(&app, &alice, api, &page).await.unwrap().items.len(), 5);
        let gone: Vec<(String, String, bool)> = sqlx::query_as(
            "select action, before ->> 'path', after is null from audit_entry
             where action like '%.delete' order by id",
        )
        .fetch_all(&db)
        .await
        .unwrap();
        let entry = |action: &str, path: &str| (action.to_owned(), path.to_owned(), true);
        assert_eq!(
            gone,
            [
                entry("route.delete", "/pets"),
                entry("route.delete", "/pets/{id}/toys"),
                entry("route.delete", "/pets/{id}/toys"),
                entry("resource.delete", "/pets"),
                entry("resource.delete", "/pets/{id}"),
                entry("resource.delete", "/pets/{id}/toys"),
            ]
        );
        let made: Vec<String> = sqlx::query_scalar(
            "select after ->> 'path' from audit_entry where action = 'resource.create' order by id",
        )
        .fetch_all(&db)
        .await
        .unwrap();
        assert_eq!(made, ["/pets", "/pets/{id}", "/pets/{id}/toys", "/cats"]);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn an_api_has_at_most_as_many_resources_as_its_tenant_may(db: PgPool) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::Native).await;
        let root = root(&app, &alice, api).await;
        let limits = "update tenant set limits = '{\"resourcesPerApi\": 2}'";
        sqlx::query(limits).execute(&db).await.unwrap();

        below(&app, &alice, root, "pets").await.unwrap();
        let over = below(&app, &alice, root, "cats").await.unwrap_err();

        assert_eq!(over.code(), "limit_exceeded");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_method_has_its_resources_path(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::AwsRest).await;
        let root = root(&app, &alice, api).await;
        let pets = below(&app, &alice, root, "pets").await.unwrap();
        let pet = below(&app, &alice, pets.id, "{id}").await.unwrap();

        let made = method(&app, &alice, &pet, "GET").await.unwrap();
        assert_eq!((made.route_key().as_str(), made.resource), ("GET /pets/{id}", Some(pet.id)));
        assert_eq!(route::get(&app, &alice, made.id).await.unwrap(), made);
        let twice = method(&app, &alice, &pet, "GET").await.unwrap_err();
        assert_eq!((twice.code(), twice.param()), ("conflict", Some("resourceId")));
        let place = RoutePlace::Resource(pet.id);
        let wrong = NewRoute::new("FETCH", place, false, "", RouteIntegration::None).unwrap_err();
        assert_eq!(wrong.param(), Some("method"));
        for place in
            [RoutePlace::new(None, None), RoutePlace::new(Some("/pets".into()), Some(pet.id))]
        {
            let error = place.unwrap_err();
            assert_eq!((error.code(), error.param()), ("bad_request", Some("path")));
        }
        // Its integration is held against the resource's path.
        let to = |uri: &str| RouteIntegration::New(Box::new(Settings::http_proxy(uri)));
        for (uri, fits) in [("http://h.test/{id}", true), ("http://h.test/{name}", false)] {
            let place = RoutePlace::Resource(pet.id);
            let new = NewRoute::new("PUT", place, false, "", to(uri)).unwrap();
            let made = route::create(&app, &alice, api, new).await;
            assert_eq!(made.is_ok(), fits, "{uri}: {made:?}");
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_deployment_freezes_methods_and_not_the_tree(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let api = new_api(&app, &alice, Dialect::AwsRest).await;
        let root = root(&app, &alice, api).await;
        let pets = below(&app, &alice, root, "pets").await.unwrap();
        method(&app, &alice, &pets, "GET").await.unwrap();

        let first = deploy(&app, &alice, api, "prod").await.unwrap();
        let cats = below(&app, &alice, root, "cats").await.unwrap();
        assert!(!pending_changes::of_apis(&app, &alice, &[api]).await.unwrap()[&api]);
        assert_eq!(deploy(&app, &alice, api, "prod").await.unwrap().digest, first.digest);
        method(&app, &alice, &cats, "GET").await.unwrap();
        assert!(pending_changes::of_apis(&app, &alice, &[api]).await.unwrap()[&api]);
        delete(&app, &alice, cats.id).await.unwrap();
        assert_eq!(deploy(&app, &alice, api, "prod").await.unwrap().digest, first.digest);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn another_apis_or_tenants_resource_does_not_exist(db: PgPool) {
        let app = testing::app(db).await;
        let (alice, mallory) = (testing::owner(&app).await, testing::owner(&app).await);
        let api = new_api(&app, &alice, Dialect::Native).await;
        let root = root(&app, &alice, api).await;
        let pets = below(&app, &alice, root, "pets").await.unwrap();
        let before = all(&app, &alice, api).await;

        for actor in [&alice, &mallory] {
            let own = new_api(&app, actor, Dialect::Native).await;
            let new = NewResource::new(pets.id, "stolen").unwrap();
            let error = create(&app, actor, own, new).await.unwrap_err();
            assert!(matches!(error, Error::NotFound("resource")), "{error:?}");
            let on = Resource { api: own, ..pets.clone() };
            let error = method(&app, actor, &on, "GET").await.unwrap_err();
            assert!(matches!(error, Error::NotFound("resource")), "{error:?}");
        }
        let new = NewResource::new(pets.id, "stolen").unwrap();
        for error in [
            create(&app, &mallory, api, new).await.unwrap_err(),
            get(&app, &mallory, pets.id).await.unwrap_err(),
            list(&app, &mallory, api, &Page::default()).await.unwrap_err(),
            delete(&app, &mallory, pets.id).await.unwrap_err(),
            method(&app, &mallory, &pets, "GET").await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::NotFound(_)), "{error:?}");
        }
        assert_eq!(all(&app, &alice, api).await, before);
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_viewer_reads_the_tree_and_changes_nothing(db: PgPool) {
        let app = testing::app(db).await;
        let alice = testing::owner(&app).await;
        let viewer = testing::join(&app, alice.tenant, Role::Viewer).await;
        let api = new_api(&app, &alice, Dialect::Native).await;
        let root = root(&app, &alice, api).await;
        let pets = below(&app, &alice, root, "pets").await.unwrap();

        for error in [
            below(&app, &viewer, root, "cats").await.unwrap_err(),
            delete(&app, &viewer, pets.id).await.unwrap_err(),
        ] {
            assert_eq!(error.code(), "forbidden");
        }
        assert_eq!(get(&app, &viewer, pets.id).await.unwrap(), pets);
    }
}
