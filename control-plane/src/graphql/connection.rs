//! Pages in GraphQL: Relay connections with opaque cursors.

use async_graphql::OutputType;
use async_graphql::connection::{Connection, CursorType, Edge};

use crate::domain::page::{Key, Keyed, LIMIT_MAX, Page, Paged};
use crate::error::{Error, Result};

impl CursorType for Key {
    type Error = Error;

    fn decode_cursor(cursor: &str) -> Result<Self> {
        Self::from_cursor(cursor, "after")
    }

    fn encode_cursor(&self) -> String {
        self.to_cursor()
    }
}

/// The page that a connection's arguments ask for: they have exactly one of `first` and `last`, as GitHub's.
pub fn page(
    first: Option<i32>,
    after: Option<String>,
    last: Option<i32>,
    before: Option<String>,
) -> Result<Page> {
    let after = after.map(|cursor| Key::from_cursor(&cursor, "after")).transpose()?;
    let before = before.map(|cursor| Key::from_cursor(&cursor, "before")).transpose()?;
    match (first, last) {
        (Some(_), Some(_)) => Err(Error::bad_request("last", "give first or last, not both")),
        (None, Some(last)) => Page::last(u32::try_from(last).unwrap_or(0), after, before),
        (Some(first), None) => Page::first(u32::try_from(first).unwrap_or(0), after, before),
        // Where the document shows it, nothing has run: `limits` refused it. This is a variable that was not given.
        (None, None) => Err(Error::PageSizeRequired {
            message: format!(
                "a connection is asked for by pages: give it first or last, from 1 to {LIMIT_MAX}"
            ),
            place: None,
        }),
    }
}

/// The page in GraphQL's form of its items.
pub fn connection<D: Keyed + Into<T>, T: OutputType>(paged: Paged<D>) -> Connection<Key, T> {
    connection_of(paged, Into::into)
}

/// The same where the form needs more than the item.
pub fn connection_of<D: Keyed, T: OutputType>(
    paged: Paged<D>,
    mut form: impl FnMut(D) -> T,
) -> Connection<Key, T> {
    let mut connection = Connection::new(paged.has_previous, paged.has_next);
    connection.edges = paged
        .items
        .into_iter()
        .map(|item| {
            let key = item.key();
            Edge::new(key, form(item))
        })
        .collect();
    connection
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_schema;
    use async_graphql::parser::types::{BaseType, FieldDefinition, TypeKind, TypeSystemDefinition};
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use serde_json::{Value, json};
    use sqlx::PgPool;
    use tower::ServiceExt;

    use super::*;
    use crate::access::matrix::{self, Who};
    use crate::app::App;
    use crate::graphql::node::Kind;
    use crate::graphql::schema_sdl;
    use crate::testing;

    /// Each field of the schema that is a connection: its parent's type and itself.
    fn connections() -> Vec<(String, FieldDefinition)> {
        let mut all = Vec::new();
        for definition in parse_schema(schema_sdl()).unwrap().definitions {
            let TypeSystemDefinition::Type(definition) = definition else { continue };
            let TypeKind::Object(object) = definition.node.kind else { continue };
            for field in object.fields {
                let BaseType::Named(of) = &field.node.ty.node.base else { continue };
                if of.ends_with("Connection") {
                    all.push((definition.node.name.node.to_string(), field.node));
                }
            }
        }
        all
    }

    async fn ask(app: &App, token: &str, query: &str) -> Value {
        let request = Request::post("/graphql")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Body::from(json!({ "query": query }).to_string()))
            .unwrap();
        let response = crate::http::router(app).oneshot(request).await.unwrap();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn every_connection_is_paged_whole_from_both_ends_and_takes_no_other_cursor(db: PgPool) {
        let app = testing::app(db).await;
        let of = testing::furnished(&app).await;
        let alice = testing::token(&app, &of.owner);
        let operator = testing::operator(&app).await;
        testing::invite_tenants(&app, &operator).await;
        testing::quarantine_segments(&app).await;
        testing::count_quotas(&app, of.owner.tenant).await;
        let operator = testing::operator_token(&app, &operator);
        let (api, plan) = (Kind::Api.id(of.api), Kind::UsagePlan.id(of.plan));
        let connections = connections();
        assert!(connections.len() >= 19, "{connections:?}");
        for (parent, field) in connections {
            let name = field.name.node.as_str();
            let token = match matrix::who(name) {
                Some(Who::Operator) => &operator,
                _ => &alice,
            };
            // Every argument but those of the page that must be there.
            let since = "since: \"2026-11-20T11:00:00Z\"";
            let required = match name {
                "keyUsage" => format!("usagePlanId: \"{}\", {since}, ", plan.as_str()),
                "usage" => format!("filter: {{ {since} }}, "),
                "usageGroups" => format!("filter: {{ {since} }}, groupBy: [ROUTE], "),
                _ => String::new(),
            };
            let get = async |arguments: &str| {
                let page = format!(
                    "page: {name}({required}{arguments}) {{ edges {{ cursor node {{ __typename }} }}
                     pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }}"
                );
                let id = match parent.as_str() {
                    "Query" => return ask(&app, token, &format!("{{ {page} }}")).await,
                    "Api" => &api,
                    "UsagePlan" => &plan,
                    other => panic!("an id of {other} is needed"),
                };
                let id = id.as_str();
                let query = format!("{{ node(id: \"{id}\") {{ ... on {parent} {{ {page} }} }} }}");
                let mut answer = ask(&app, token, &query).await;
                if answer["data"]["node"].is_object() {
                    answer["data"] = answer["data"]["node"].take();
                }
                answer
            };
            let cursors = |answer: &Value| -> Vec<String> {
                let edges = answer["data"]["page"]["edges"].as_array();
                let edges = edges.unwrap_or_else(|| panic!("{parent}.{name}: {answer}"));
                edges.iter().map(|edge| edge["cursor"].as_str().unwrap().to_owned()).collect()
            };
            let whole = cursors(&get("first: 100").await);
            // Nobody called this tenant's Apis.
            let uncalled = ["usage", "usageGroups"].contains(&name);
            assert_eq!(whole.len() < 3, uncalled, "{parent}.{name}: {whole:?}");
            for (count, from, more, end) in [
                ("first: 1", "after", "hasNextPage", "endCursor"),
                ("last: 1", "before", "hasPreviousPage", "startCursor"),
            ] {
                let (mut paged, mut place) = (Vec::new(), String::new());
                loop {
                    let answer = get(&format!("{count}{place}")).await;
                    paged.extend(cursors(&answer));
                    assert!(paged.len() <= whole.len(), "{parent}.{name} goes round");
                    let info = &answer["data"]["page"]["pageInfo"];
                    if info[more] != true {
                        break;
                    }
                    place = format!(", {from}: {}", info[end]);
                }
                if from == "before" {
                    paged.reverse();
                }
                assert_eq!(paged, whole, "{parent}.{name}({count})");
            }

            let other = if name == "apis" { "members" } else { "apis" };
            let other = ask(
                &app,
                &alice,
                &format!("{{ page: {other}(first: 1) {{ edges {{ cursor }} }} }}"),
            )
            .await;
            let foreign = cursors(&other).remove(0);
            for (arguments, param) in [
                ("first: 0", "first"),
                ("first: 101", "first"),
                ("last: -1", "last"),
                ("first: 1, last: 1", "last"),
                ("first: 1, after: \"nonsense\"", "after"),
                ("first: 1, before: \"\"", "before"),
                (&format!("first: 1, after: \"{foreign}\""), "after"),
                (&format!("last: 1, before: \"{foreign}\""), "before"),
            ] {
                let answer = get(arguments).await;
                let error = &answer["errors"][0]["extensions"];
                let told = (&error["code"], &error["param"]);
                let right = (&json!("bad_request"), &json!(param));
                assert_eq!(told, right, "{parent}.{name}({arguments}): {answer}");
            }
            let answer = get("after: null").await;
            let error = &answer["errors"][0];
            assert_eq!(answer.get("data"), None, "{parent}.{name} is refused before it runs");
            let told = (&error["extensions"]["code"], &error["extensions"]["param"]);
            assert_eq!(told, (&json!("page_size_required"), &json!("first")), "{answer}");
            let path = if parent == "Query" { "page" } else { "node.page" };
            let message = error["message"].as_str().unwrap();
            assert!(message.starts_with(&format!("{path} is a connection")), "{message}");
            assert!(message.ends_with(&format!("{name}(first: 20)")), "{message}");
            assert_eq!(error["locations"][0]["line"], 1, "{answer}");
        }
    }

    #[test]
    fn a_connection_is_paged_from_one_end_and_by_at_most_100() {
        assert_eq!(page(Some(20), None, None, None).unwrap().rows_max(), 21);
        assert!(page(None, None, Some(5), None).unwrap().backward());
        for (first, last, param) in [
            (Some(0), None, "first"),
            (Some(-1), None, "first"),
            (Some(101), None, "first"),
            (None, Some(101), "last"),
            (Some(1), Some(1), "last"),
            (None, None, "first"),
        ] {
            assert_eq!(page(first, None, last, None).unwrap_err().param(), Some(param));
        }
        assert_eq!(
            page(Some(1), None, None, Some("x".into())).unwrap_err().param(),
            Some("before")
        );
    }
}
