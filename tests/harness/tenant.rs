//! A tenant's owner at work, through GraphQL.

use crate::client::{Answer, Call, Client};
use crate::{Origin, World, eventually};
use serde_json::{Value, json};

pub const PASSWORD: &str = "seven quiet otters sailing";

/// A tenant and its owner's access token.
pub struct Tenant<'w> {
    pub world: &'w World,
    pub id: String,
    pub email: String,
    pub token: String,
}

/// An API of a tenant, seen by its consumers too.
pub struct Api<'w> {
    pub world: &'w World,
    /// GraphQL's opaque id.
    pub id: String,
    /// The ten characters in its host name.
    pub api_id: String,
    /// The stage that was last deployed to.
    pub stage: String,
    /// GraphQL's opaque id of that stage.
    pub stage_id: String,
    token: String,
}

/// A usage plan being put together.
pub struct UsagePlan<'a> {
    api: &'a Api<'a>,
    input: Value,
}

/// A key just made: its value is known only now.
#[derive(Debug, Clone)]
pub struct Key {
    /// GraphQL's opaque id.
    pub id: String,
    pub value: String,
}

impl<'w> Tenant<'w> {
    pub(crate) async fn sign_up(world: &'w World, name: &str) -> Self {
        let email = format!("{name}@example.com");
        let input = json!({ "email": email, "password": PASSWORD, "tenant": name });
        let data =
            mutate(world, None, "signUp", "SignUpInput!", input, "accessToken tenant { id }").await;
        Self { world, id: text(&data["tenant"]["id"]), email, token: text(&data["accessToken"]) }
    }

    pub(crate) async fn operator(world: &'w World) -> Self {
        let link: url::Url =
            world.run(&["operator-link"]).parse().expect("the operator's link is a URL");
        let (_, token) =
            link.query_pairs().find(|(name, _)| name == "token").expect("the link has a token");
        let email = "operator@example.com".to_owned();
        let who = json!({ "token": token, "email": email, "password": PASSWORD });
        let answer = world.management().post("/v1/operator/session").json(&who).await;
        assert_eq!(answer.status() / 100, 2, "{}", answer.text());
        Self { world, id: String::new(), email, token: text(&answer.json()["accessToken"]) }
    }

    /// The tenant's id as REST and the database know it.
    pub async fn plain_id(&self) -> String {
        text(&self.rest("GET", "/v1/session").await.expect(200).json()["tenant"]["id"])
    }

    /// What `data` holds; a failed test where the answer has errors.
    pub async fn graphql(&self, query: &str, variables: Value) -> Value {
        data(&graphql(self.world, Some(&self.token), query, variables).await)
    }

    /// The whole answer, errors and all.
    pub async fn try_graphql(&self, query: &str, variables: Value) -> Answer {
        graphql(self.world, Some(&self.token), query, variables).await
    }

    /// One mutation's payload, without user errors; `fields` are what to ask of it.
    pub async fn mutate(&self, name: &str, input_type: &str, input: Value, fields: &str) -> Value {
        mutate(self.world, Some(&self.token), name, input_type, input, fields).await
    }

    /// A REST call as this tenant's owner.
    pub fn rest(&self, method: &str, path: &str) -> Call {
        self.world.management().call(method, path).bearer(&self.token)
    }

    /// A new API without routes.
    pub async fn api(&self, name: &str) -> Api<'w> {
        self.api_in("NATIVE", name).await
    }

    /// The same in another dialect.
    pub async fn api_in(&self, dialect: &str, name: &str) -> Api<'w> {
        let input = json!({ "name": name, "dialect": dialect });
        let data = self.mutate("createApi", "CreateApiInput!", input, "api { id apiId }").await;
        Api {
            world: self.world,
            id: text(&data["api"]["id"]),
            api_id: text(&data["api"]["apiId"]),
            stage: String::new(),
            stage_id: String::new(),
            token: self.token.clone(),
        }
    }

    /// Everything of the ledger so far, in this tenant's eyes: counted and billed requests.
    pub async fn requests(&self) -> (u64, u64) {
        let query = "query($filter: UsageFilter!) { usage(filter: $filter, first: 100) \
                     { nodes { requests billedRequests } } }";
        let since = since();
        let data = self.graphql(query, json!({ "filter": { "since": since } })).await;
        let rows = data["usage"]["nodes"].as_array().expect("usage is a list").clone();
        let sum = |field: &str| rows.iter().filter_map(|row| row[field].as_u64()).sum();
        (sum("requests"), sum("billedRequests"))
    }

    /// Until so many requests are in the ledger. Waits for more only if there are fewer.
    pub async fn counted(&self, requests: u64) {
        let what = format!("{requests} requests in the ledger");
        eventually(&what, async || (self.requests().await.0 >= requests).then_some(())).await;
        assert_eq!(self.requests().await.0, requests);
    }
}

impl Api<'_> {
    /// A route by GET that needs no key.
    #[must_use]
    pub async fn get_route(self, path: &str, origin: &Origin) -> Self {
        self.route("GET", path, false, &format!("{}{path}", origin.url())).await
    }

    /// A route by GET for holders of a key.
    #[must_use]
    pub async fn get_route_with_key(self, path: &str, origin: &Origin) -> Self {
        self.route("GET", path, true, &format!("{}{path}", origin.url())).await
    }

    #[must_use]
    pub async fn route(self, method: &str, path: &str, key_required: bool, uri: &str) -> Self {
        let integration = json!({ "type": "HTTP_PROXY", "uri": uri, "method": "ANY" });
        self.route_of(json!({
            "method": method, "path": path,
            "apiKeyRequired": key_required, "integration": integration,
        }))
        .await
    }

    /// A route by all that `CreateRouteInput` says of one beside its API.
    #[must_use]
    pub async fn route_of(self, mut input: Value) -> Self {
        input["apiId"] = json!(self.id);
        mutate(
            self.world,
            Some(&self.token),
            "createRoute",
            "CreateRouteInput!",
            input,
            "route { id }",
        )
        .await;
        self
    }

    /// Freezes the draft, points the stage at it, and waits until the node serves it.
    #[must_use]
    pub async fn deploy(mut self, stage: &str) -> Self {
        let input = json!({ "apiId": self.id, "stage": stage });
        let fields = "deployment { id } stage { id name }";
        let token = Some(self.token.as_str());
        let data =
            mutate(self.world, token, "createDeployment", "CreateDeploymentInput!", input, fields)
                .await;
        self.stage = text(&data["stage"]["name"]);
        self.stage_id = text(&data["stage"]["id"]);
        self.world.settled().await;
        self
    }

    /// Starts a plan for the stage that was last deployed to.
    pub fn usage_plan(&self, name: &str) -> UsagePlan<'_> {
        UsagePlan { api: self, input: json!({ "name": name, "stageIds": [self.stage_id] }) }
    }

    /// The API's own host name, with the port.
    pub fn host(&self) -> String {
        format!("{}.execute-api.localhost:{}", self.api_id, self.world.endpoint_address().port())
    }

    /// The consumers' client, by host name.
    pub fn client(&self) -> Client {
        self.world.endpoint().host(&self.host())
    }

    /// A call of the last stage, by host name.
    pub fn call(&self, method: &str, path: &str) -> Call {
        self.client().call(method, &format!("/{}{path}", self.stage))
    }

    pub fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    /// The same through path addressing.
    pub fn get_by_path(&self, path: &str) -> Call {
        self.world.endpoint().get(&format!("/_api/{}/{}{path}", self.api_id, self.stage))
    }
}

impl UsagePlan<'_> {
    /// Requests a second in the long run, and at once.
    #[must_use]
    pub fn throttle(mut self, rate: f64, burst: u32) -> Self {
        self.input["throttle"] = json!({ "rateLimit": rate, "burstLimit": burst });
        self
    }

    /// Requests of each key in progress at once.
    #[must_use]
    pub fn in_flight(mut self, most: u32) -> Self {
        self.input["concurrencyLimit"] = json!({ "maxInFlight": most });
        self
    }

    /// `period`: DAY, WEEK or MONTH.
    #[must_use]
    pub fn quota(mut self, limit: u32, period: &str) -> Self {
        self.input["quota"] = json!({ "limit": limit, "period": period });
        self
    }

    /// Other parts of its quota than limit and period.
    #[must_use]
    pub fn terms(mut self, terms: &Value) -> Self {
        for (name, value) in terms.as_object().into_iter().flatten() {
            self.input["quota"][name] = value.clone();
        }
        self
    }

    /// Makes the plan and a key on it, and waits until the node knows both.
    pub async fn key(self) -> Key {
        self.key_with(&json!({})).await
    }

    /// The same with more of `CreateApiKeyInput` than a name.
    pub async fn key_with(self, terms: &Value) -> Key {
        let (world, token) = (self.api.world, Some(self.api.token.as_str()));
        let fields = "usagePlan { id }";
        let plan =
            mutate(world, token, "createUsagePlan", "CreateUsagePlanInput!", self.input, fields)
                .await;
        let mut input = json!({ "name": "first", "usagePlanIds": [plan["usagePlan"]["id"]] });
        for (name, value) in terms.as_object().into_iter().flatten() {
            input[name] = value.clone();
        }
        let fields = "apiKey { id } value";
        let data = mutate(world, token, "createApiKey", "CreateApiKeyInput!", input, fields).await;
        world.settled().await;
        Key { id: text(&data["apiKey"]["id"]), value: text(&data["value"]) }
    }
}

/// A GraphQL request, as anyone or as the token's holder.
pub async fn graphql(world: &World, token: Option<&str>, query: &str, variables: Value) -> Answer {
    let call = world
        .management()
        .post("/graphql")
        .json(&json!({ "query": query, "variables": variables }));
    match token {
        Some(token) => call.bearer(token).await,
        None => call.await,
    }
}

async fn mutate(
    world: &World,
    token: Option<&str>,
    name: &str,
    input_type: &str,
    input: Value,
    fields: &str,
) -> Value {
    let query = format!(
        "mutation($input: {input_type}) {{ {name}(input: $input) {{ {fields} userErrors {{ code message param }} }} }}"
    );
    let mut data = data(&graphql(world, token, &query, json!({ "input": input })).await);
    let payload = data[name].take();
    assert_eq!(payload["userErrors"], json!([]), "{name} was refused");
    payload
}

fn data(answer: &Answer) -> Value {
    let mut body = answer.clone().expect(200).json();
    assert!(body.get("errors").is_none(), "{body}");
    body["data"].take()
}

/// A JSON string's text.
///
/// # Panics
/// Where it is something else.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a string")).to_owned()
}

/// An hour ago: before everything that a story does.
pub fn since() -> String {
    (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1)).to_string()
}

/// The present month, as the bill wants it: `2026-11`.
pub fn month() -> String {
    jiff::Timestamp::now().strftime("%Y-%m").to_string()
}
