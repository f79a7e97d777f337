//! Which pages may read an Api's answers, as their browsers enforce it: a setting of it, and of a route in its place,
//! both frozen with a deployment.

use plan::{CorsError, CorsSettings};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Result};

/// Preflights are answered by the node, before keys and limits; the backend's own fields are dropped; refusals tell the
/// page too. Fields and bounds are those of AWS's `corsConfiguration`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CorsConfiguration {
    /// `https://app.example.com`, `https://*.example.com` for one label, `https://*`, `http://*`, or `*`.
    #[serde(default)]
    #[schema(max_items = 100)]
    pub allow_origins: Vec<String>,
    /// Methods or `*`. Empty: in `native` what a preflight asks for, where a route takes it; else none is told, which
    /// leaves GET, HEAD and POST.
    #[serde(default)]
    #[schema(max_items = 100)]
    pub allow_methods: Vec<String>,
    /// Names of fields that pages may send, or `*`, which does not stand for `authorization`.
    #[serde(default)]
    #[schema(max_items = 100)]
    pub allow_headers: Vec<String>,
    /// Names of fields that pages may read, or `*`.
    #[serde(default)]
    #[schema(max_items = 100)]
    pub expose_headers: Vec<String>,
    /// Whether pages may send cookies and the like; not beside `*` in any list.
    #[serde(default)]
    pub allow_credentials: bool,
    /// Seconds that a browser keeps what a preflight told it, -1 to keep nothing.
    #[schema(minimum = -1, maximum = 86_400)]
    pub max_age: Option<i32>,
}

impl CorsConfiguration {
    /// An Api's, in its one spelling.
    pub fn of_api(self) -> Result<Self> {
        if self.allow_origins.is_empty() {
            let rule =
                "must have at least one; null in the place of corsConfiguration turns it off";
            return Err(Error::bad_request("corsConfiguration.allowOrigins", rule));
        }
        self.of_route()
    }

    /// A route's, in its one spelling: without origins it is off there.
    pub fn of_route(self) -> Result<Self> {
        let wrong = |CorsError { field, rule }| {
            Error::bad_request(format!("corsConfiguration.{field}"), rule)
        };
        Ok(CorsSettings::from(self).checked().map_err(wrong)?.into())
    }
}

impl From<CorsConfiguration> for CorsSettings {
    fn from(cors: CorsConfiguration) -> Self {
        Self {
            allow_origins: cors.allow_origins,
            allow_methods: cors.allow_methods,
            allow_headers: cors.allow_headers,
            expose_headers: cors.expose_headers,
            allow_credentials: cors.allow_credentials,
            max_age_s: cors.max_age,
        }
    }
}

impl From<CorsSettings> for CorsConfiguration {
    fn from(cors: CorsSettings) -> Self {
        Self {
            allow_origins: cors.allow_origins,
            allow_methods: cors.allow_methods,
            allow_headers: cors.allow_headers,
            expose_headers: cors.expose_headers,
            allow_credentials: cors.allow_credentials,
            max_age: cors.max_age_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::config::v1::resource::Kind;
    use sqlx::PgPool;

    use super::*;
    use crate::domain::api::{self, Dialect, UpdateApi};
    use crate::domain::patch::Patch;
    use crate::domain::pending_changes;
    use crate::domain::route::{self, UpdateRoute};
    use crate::snapshot::compile;
    use crate::testing;

    fn cors(origins: &[&str]) -> CorsConfiguration {
        let allow_origins = origins.iter().map(|&origin| origin.to_owned()).collect();
        CorsConfiguration { allow_origins, ..CorsConfiguration::default() }
    }

    #[test]
    fn only_a_route_may_have_no_origin() {
        let none = cors(&[]).of_api().unwrap_err();
        assert_eq!(none.param(), Some("corsConfiguration.allowOrigins"));
        assert_eq!(cors(&[]).of_route().unwrap(), cors(&[]));
        let any = CorsConfiguration { allow_credentials: true, ..cors(&["*"]) }.of_api();
        assert_eq!(any.unwrap_err().param(), Some("corsConfiguration.allowOrigins"));
        let age = CorsConfiguration { max_age: Some(86_401), ..cors(&["*"]) }.of_route();
        assert_eq!(age.unwrap_err().param(), Some("corsConfiguration.maxAge"));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn it_is_of_the_draft_of_an_api_and_of_a_route_and_a_deployment_takes_it_along(
        db: PgPool,
    ) {
        let app = testing::app(db.clone()).await;
        let alice = testing::owner(&app).await;
        let api = testing::new_api(&app, &alice, Dialect::Native).await;
        let id = testing::new_route(&app, &alice, api, "GET /open", testing::mock("")).await.id;
        let deployed = async || {
            let id = testing::deploy(&app, &alice, api, "prod").await.unwrap().id;
            let mut tx = app.begin(&alice).await.unwrap();
            match compile::deployment(&mut tx, alice.tenant, id).await.unwrap().kind {
                Some(Kind::Deployment(it)) => (it.api.unwrap().cors, it.routes[0].cors.clone()),
                other => panic!("{other:?}"),
            }
        };
        let pending = async || pending_changes::of_apis(&app, &alice, &[api]).await.unwrap()[&api];
        assert_eq!(deployed().await, (None, None));

        let set = |cors| UpdateApi { cors_configuration: cors, ..UpdateApi::default() };
        let change = set(Patch::Set(cors(&["https://A.example:443"])));
        let kept = api::update(&app, &alice, api, change).await.unwrap();
        assert_eq!(kept.cors_configuration, Some(cors(&["https://a.example"])));
        assert_eq!(api::get(&app, &alice, api).await.unwrap(), kept);
        assert!(pending().await);
        assert_eq!(deployed().await.0.unwrap().allow_origins, ["https://a.example"]);
        assert!(!pending().await);
        let wrong = api::update(&app, &alice, api, set(Patch::Set(cors(&["a"])))).await;
        assert_eq!(wrong.unwrap_err().param(), Some("corsConfiguration.allowOrigins"));

        let of_route = |cors| UpdateRoute { cors_configuration: cors, ..UpdateRoute::default() };
        let own = CorsConfiguration { max_age: Some(-1), ..cors(&["*"]) };
        let change = of_route(Patch::Set(own.clone()));
        let kept = route::update(&app, &alice, id, change).await.unwrap();
        assert_eq!(kept.cors_configuration, Some(own));
        assert_eq!(route::get(&app, &alice, id).await.unwrap(), kept);
        assert!(pending().await);
        assert_eq!(deployed().await.1.unwrap().max_age_s, Some(-1));
        route::update(&app, &alice, id, of_route(Patch::Set(cors(&[])))).await.unwrap();
        assert!(deployed().await.1.unwrap().allow_origins.is_empty(), "off is not absent");

        api::update(&app, &alice, api, set(Patch::Clear)).await.unwrap();
        route::update(&app, &alice, id, of_route(Patch::Clear)).await.unwrap();
        assert_eq!(deployed().await, (None, None));
        let told: Vec<Option<String>> = sqlx::query_scalar(
            "select after #>> '{corsConfiguration,allowOrigins,0}' from audit_entry
             where action in ('api.update', 'route.update') order by id",
        )
        .fetch_all(&db)
        .await
        .unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(told, [text("https://a.example"), text("*"), None, None, None]);
    }
}
