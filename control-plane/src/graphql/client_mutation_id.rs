//! `clientMutationId`: what a caller calls a change of theirs, given back with its answer; Relay's convention, in
//! GitHub's shape.
//!
//! No mutation has it of its own, so none can forget it: [`GivesBack`] is around all of them. It adds the field to what
//! each takes and gives, and fills it in over the finished payload, whether or not that has `userErrors`.

use std::borrow::Cow;

use async_graphql::parser::types::Field;
use async_graphql::registry::{MetaInputValue, MetaType, MetaTypeName, Registry};
use async_graphql::resolver_utils::resolve_container_serial;
use async_graphql::{
    ContainerType, Context, ContextSelectionSet, InputObject, Name, ObjectType, OutputType,
    Positioned, ServerResult, SimpleObject, Value,
};

use crate::error::Error;

/// The longest one, in characters.
pub const CLIENT_MUTATION_ID_CHARS_MAX: usize = 255;

const INPUT: &str = "input";
const FIELD: &str = "clientMutationId";

/// What a change takes that needs to be told nothing.
#[derive(InputObject)]
struct MutationInput {
    /// What the caller calls this change, given back in the payload; at most 255 characters.
    client_mutation_id: Option<String>,
}

/// What every change gives.
#[derive(SimpleObject)]
struct MutationPayload {
    /// As the input had it.
    client_mutation_id: Option<String>,
}

/// The mutations of `M`, each with a `clientMutationId`.
#[derive(Default)]
pub struct GivesBack<M>(M);

impl<M: ObjectType> ContainerType for GivesBack<M> {
    async fn resolve_field(&self, ctx: &Context<'_>) -> ServerResult<Option<Value>> {
        let id = given(ctx)?;
        let mut answer = self.0.resolve_field(ctx).await?;
        if let (Some(id), Some(Value::Object(payload))) = (id, &mut answer) {
            for asked in ctx.field().selection_set().filter(|asked| asked.name() == FIELD) {
                let key = Name::new(asked.alias().unwrap_or(FIELD));
                payload.insert(key, Value::String(id.clone()));
            }
        }
        Ok(answer)
    }
}

impl<M: ObjectType> OutputType for GivesBack<M> {
    fn type_name() -> Cow<'static, str> {
        M::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        let name = M::create_type_info(registry);
        extend(registry, &M::type_name());
        name
    }

    async fn resolve(
        &self,
        ctx: &ContextSelectionSet<'_>,
        _: &Positioned<Field>,
    ) -> ServerResult<Value> {
        resolve_container_serial(ctx, self).await
    }
}

impl<M: ObjectType> ObjectType for GivesBack<M> {}

/// The one in this mutation's input.
fn given(ctx: &Context<'_>) -> ServerResult<Option<String>> {
    let (_, input) = ctx.param_value::<Option<MutationInput>>(INPUT, None)?;
    let id = input.and_then(|input| input.client_mutation_id);
    if id.as_ref().is_some_and(|id| id.chars().count() > CLIENT_MUTATION_ID_CHARS_MAX) {
        let rule = format!("has at most {CLIENT_MUTATION_ID_CHARS_MAX} characters");
        let error: async_graphql::Error =
            Error::bad_request(format!("{INPUT}.{FIELD}"), rule).into();
        return Err(ctx.set_error_path(error.into_server_error(ctx.item.pos)));
    }
    Ok(id)
}

/// Adds the field to every input and payload. A mutation that takes nothing gets an input that may be left out.
fn extend(registry: &mut Registry, mutations: &str) {
    let sample = registry.create_fake_input_type::<MutationInput>();
    let payload = registry.create_fake_output_type::<MutationPayload>();
    let (MetaType::InputObject { input_fields, .. }, MetaType::Object { fields, .. }) =
        (&sample, &payload)
    else {
        return;
    };
    let (Some(taken), Some(gives)) = (input_fields.get(FIELD), fields.get(FIELD)) else { return };

    let Some(MetaType::Object { fields: mutations, .. }) = registry.types.get_mut(mutations) else {
        return;
    };
    let (mut inputs, mut payloads) = (Vec::new(), Vec::new());
    for (operation, mutation) in mutations {
        payloads.push(MetaTypeName::concrete_typename(&mutation.ty).to_owned());
        let input = mutation.args.entry(INPUT.to_owned()).or_insert_with(|| MetaInputValue {
            name: INPUT.to_owned(),
            description: None,
            ty: input_name(operation),
            ..taken.clone()
        });
        inputs.push(MetaTypeName::concrete_typename(&input.ty).to_owned());
    }
    for name in inputs {
        let input = registry.types.entry(name.clone()).or_insert_with(|| {
            let mut input = sample.clone();
            if let MetaType::InputObject { name: own, .. } = &mut input {
                *own = name;
            }
            input
        });
        if let MetaType::InputObject { input_fields, .. } = input {
            input_fields.insert(FIELD.to_owned(), taken.clone());
        }
    }
    for name in payloads {
        if let Some(MetaType::Object { fields, .. }) = registry.types.get_mut(&name) {
            fields.insert(FIELD.to_owned(), gives.clone());
        }
    }
}

/// `RevokeOtherSessionsInput` of `revokeOtherSessions`.
fn input_name(operation: &str) -> String {
    let (first, rest) = operation.split_at(1);
    format!("{}{rest}Input", first.to_uppercase())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use async_graphql::parser::parse_schema;
    use async_graphql::parser::types::{BaseType, TypeKind, TypeSystemDefinition};
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use serde_json::{Value, json};
    use sqlx::PgPool;
    use tower::ServiceExt;

    use super::*;
    use crate::access::role::Role;
    use crate::app::App;
    use crate::graphql::schema_sdl;
    use crate::testing;

    /// The types of each object's and each input's fields, and of the arguments of Mutation's.
    #[derive(Default)]
    struct Types {
        objects: BTreeMap<String, BTreeMap<String, String>>,
        inputs: BTreeMap<String, BTreeMap<String, String>>,
        mutations: BTreeMap<String, (Vec<(String, String)>, String)>,
    }

    fn types() -> Types {
        let mut types = Types::default();
        for definition in parse_schema(schema_sdl()).unwrap().definitions {
            let TypeSystemDefinition::Type(definition) = definition else { continue };
            let name = definition.node.name.node.to_string();
            match definition.node.kind {
                TypeKind::Object(object) => {
                    let mut fields = BTreeMap::new();
                    for field in object.fields.into_iter().map(|field| field.node) {
                        let field_name = field.name.node.to_string();
                        if name == "Mutation" {
                            let arguments = field.arguments.iter().map(|argument| {
                                let (name, of) = (&argument.node.name.node, &argument.node.ty.node);
                                (name.to_string(), named(&of.base))
                            });
                            let taken = (arguments.collect(), named(&field.ty.node.base));
                            types.mutations.insert(field_name.clone(), taken);
                        }
                        fields.insert(field_name, field.ty.node.to_string());
                    }
                    types.objects.insert(name, fields);
                }
                TypeKind::InputObject(input) => {
                    let fields = input.fields.into_iter().map(|field| field.node);
                    let fields = fields
                        .map(|field| (field.name.node.to_string(), field.ty.node.to_string()));
                    types.inputs.insert(name, fields.collect());
                }
                _ => {}
            }
        }
        types
    }

    fn named(base: &BaseType) -> String {
        match base {
            BaseType::Named(name) => name.to_string(),
            BaseType::List(inner) => named(&inner.base),
        }
    }

    #[test]
    fn every_mutation_takes_one_input_with_it_and_gives_a_payload_with_it_and_user_errors() {
        let types = types();
        assert!(types.mutations.len() > 50, "the schema is read");
        let optional = Some("String".to_owned());
        for (mutation, (arguments, payload)) in &types.mutations {
            let [(argument, input)] = &arguments[..] else { panic!("{mutation}: {arguments:?}") };
            assert_eq!(argument, "input", "{mutation}");
            assert_eq!(types.inputs[input].get(FIELD), optional.as_ref(), "{mutation}: {input}");
            let gives = &types.objects[payload];
            assert_eq!(gives.get(FIELD), optional.as_ref(), "{mutation}: {payload}");
            let errors = gives.get("userErrors").map(String::as_str);
            assert_eq!(errors, Some("[UserError!]!"), "{mutation}: {payload}");
        }
        // And nothing else has it: below an input it would be taken and given back by nobody.
        let has = |types: &BTreeMap<String, BTreeMap<String, String>>, name: &str| {
            types[name].contains_key(FIELD)
        };
        for input in types.inputs.keys().filter(|name| has(&types.inputs, name)) {
            let mut takes = types.mutations.values();
            assert!(takes.any(|(arguments, _)| arguments[0].1 == *input), "{input}");
        }
        for object in types.objects.keys().filter(|name| has(&types.objects, name)) {
            assert!(types.mutations.values().any(|(_, payload)| payload == object), "{object}");
        }
    }

    async fn ask(app: &App, token: &str, query: &str, variables: Value) -> Value {
        let request = Request::post("/graphql")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Body::from(json!({ "query": query, "variables": variables }).to_string()))
            .unwrap();
        let response = crate::http::router(app).oneshot(request).await.unwrap();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn what_a_caller_calls_a_change_comes_back_made_or_refused(db: PgPool) {
        let app = testing::app(db).await;
        let token = testing::token(&app, &testing::owner(&app).await);
        let query = r#"mutation($made: String, $plan: CreateUsagePlanInput!) {
            createConsumer(input: { name: "acme", clientMutationId: $made }) {
                consumer { name } clientMutationId userErrors { code }
            }
            createUsagePlan(input: $plan) { userErrors { code param } ...Named usagePlan { id }
                gone: clientMutationId @skip(if: true) }
            taken: createConsumer(input: { name: "acme", clientMutationId: "" }) {
                clientMutationId userErrors { code }
            }
            createApi(input: { name: "pets" }) { clientMutationId api { name } }
            deleteApi(input: { id: "x", clientMutationId: "not asked for" }) { deletedId }
            bare: revokeOtherSessions { clientMutationId revoked }
            revokeOtherSessions(input: { clientMutationId: "5" }) { clientMutationId revoked }
        } fragment Named on UsagePlanPayload { called: clientMutationId ... @include(if: true) { clientMutationId } }"#;
        let plan = json!({ "name": "", "clientMutationId": "a plan of mine" });

        let answer = ask(&app, &token, query, json!({ "made": "né 1", "plan": plan })).await;

        let expected = json!({
            "createConsumer": {
                "consumer": { "name": "acme" }, "clientMutationId": "né 1", "userErrors": [],
            },
            "createUsagePlan": {
                "userErrors": [{ "code": "BAD_REQUEST", "param": "name" }],
                "called": "a plan of mine", "clientMutationId": "a plan of mine", "usagePlan": null,
            },
            "taken": { "clientMutationId": "", "userErrors": [{ "code": "CONFLICT" }] },
            "createApi": { "clientMutationId": null, "api": { "name": "pets" } },
            "deleteApi": { "deletedId": null },
            "bare": { "clientMutationId": null, "revoked": 0 },
            "revokeOtherSessions": { "clientMutationId": "5", "revoked": 0 },
        });
        assert_eq!(answer["data"], expected, "{answer}");
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn one_that_is_too_long_is_refused_and_nothing_is_changed(db: PgPool) {
        let app = testing::app(db).await;
        let token = testing::token(&app, &testing::owner(&app).await);
        let query = "mutation($input: CreateConsumerInput!) {
            createConsumer(input: $input) { clientMutationId consumer { name } } }";
        let create = async |name: &str, id: Value| {
            let input = json!({ "name": name, "clientMutationId": id });
            ask(&app, &token, query, json!({ "input": input })).await
        };

        let longest = "é".repeat(CLIENT_MUTATION_ID_CHARS_MAX);
        let made = create("longest", json!(longest)).await;
        assert_eq!(made["data"]["createConsumer"]["clientMutationId"], longest);
        for wrong in [json!(format!("{longest}x")), json!(7), json!(["a"])] {
            let refused = create("wrong", wrong).await;
            let error = &refused["errors"][0]["extensions"];
            let told = (&error["code"], &error["param"]);
            let right = (&json!("bad_request"), &json!("input.clientMutationId"));
            assert_eq!(told, right, "{refused}");
        }
        let consumers = "{ consumers(first: 9) { nodes { name } } }";
        let there = ask(&app, &token, consumers, json!({})).await;
        assert_eq!(there["data"]["consumers"]["nodes"], json!([{ "name": "longest" }]));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn it_opens_nothing_to_who_may_not(db: PgPool) {
        let app = testing::app(db).await;
        let token = testing::token(&app, &testing::member(&app, Role::Viewer).await);
        let query = r#"mutation { createConsumer(input: { name: "a", clientMutationId: "1" }) {
            clientMutationId } }"#;

        let refused = ask(&app, &token, query, json!({})).await;

        assert_eq!(refused["errors"][0]["extensions"]["code"], "forbidden", "{refused}");
        assert_eq!(refused["data"], Value::Null);
    }
}
