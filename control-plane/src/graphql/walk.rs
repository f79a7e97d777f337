//! Every question, change and subscription of the schema, asked as nobody, in each role and as a stranger. The list is
//! the schema's own, so that a new operation is in it from its first day; who may ask is in `access::matrix`.

use std::collections::HashMap;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, FieldDefinition, InputValueDefinition, Type, TypeKind, TypeSystemDefinition,
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::access::actor::{Actor, Caller, Origin};
use crate::access::matrix::{self, Who};
use crate::access::role::Role;
use crate::app::App;
use crate::graphql::node::Kind;
use crate::graphql::rate_limit::Spent;
use crate::graphql::{GatewaySchema, Identity, error, loader, schema, schema_sdl};
use crate::testing;

/// Fields of inputs that may be left out, but not in what the walk makes.
const FILLED: [&str; 3] = ["method", "path", "uri"];

/// The schema as data, to make a call of each operation.
pub(super) struct Operations {
    pub inputs: HashMap<String, Vec<InputValueDefinition>>,
    enums: HashMap<String, String>,
    composite: Vec<String>,
    /// (`query`, `mutation` or `subscription`, the field).
    pub fields: Vec<(&'static str, FieldDefinition)>,
}

/// A text of the caller's own among an operation's variables.
pub(super) struct Text {
    /// Its JSON pointer.
    pub at: String,
    pub name: String,
    pub is_id: bool,
}

impl Operations {
    pub(super) fn of_schema() -> Self {
        let mut all = Self {
            inputs: HashMap::new(),
            enums: HashMap::new(),
            composite: Vec::new(),
            fields: Vec::new(),
        };
        for definition in parse_schema(schema_sdl()).unwrap().definitions {
            let TypeSystemDefinition::Type(definition) = definition else { continue };
            let name = definition.node.name.node.to_string();
            match definition.node.kind {
                TypeKind::InputObject(input) => {
                    let fields = input.fields.into_iter().map(|field| field.node).collect();
                    all.inputs.insert(name, fields);
                }
                TypeKind::Enum(values) => {
                    all.enums.insert(name, values.values[0].node.value.node.to_string());
                }
                TypeKind::Object(object) => {
                    let kind = match name.as_str() {
                        "Query" => Some("query"),
                        "Mutation" => Some("mutation"),
                        "Subscription" => Some("subscription"),
                        _ => None,
                    };
                    if let Some(kind) = kind {
                        let fields = object.fields.into_iter().map(|field| (kind, field.node));
                        all.fields.extend(fields);
                    }
                    all.composite.push(name);
                }
                TypeKind::Interface(_) | TypeKind::Union(_) => all.composite.push(name),
                TypeKind::Scalar => {}
            }
        }
        all
    }

    /// A request with the operation alone, its required arguments filled with what could be right.
    fn request(&self, kind: &str, field: &FieldDefinition) -> async_graphql::Request {
        self.request_with(kind, field, self.variables(field))
    }

    /// The required arguments, filled with what could be right.
    pub(super) fn variables(&self, field: &FieldDefinition) -> Value {
        let operation = field.name.node.as_str();
        // A connection takes `first` or `last`, which no type can say.
        let required = field.arguments.iter().filter(|argument| {
            !argument.node.ty.node.nullable || argument.node.name.node == "first"
        });
        let filled = required.map(|argument| {
            let name = argument.node.name.node.to_string();
            let value = self.value(&argument.node.ty.node, &name, operation);
            (name, value)
        });
        Value::Object(filled.collect())
    }

    /// A request with the operation alone.
    pub(super) fn request_with(
        &self,
        kind: &str,
        field: &FieldDefinition,
        variables: Value,
    ) -> async_graphql::Request {
        let name = field.name.node.as_str();
        let (mut definitions, mut arguments) = (Vec::new(), Vec::new());
        for argument in field.arguments.iter().map(|argument| &argument.node) {
            let (of, argument) = (&argument.ty.node, argument.name.node.as_str());
            if variables.get(argument).is_some() {
                definitions.push(format!("${argument}: {of}"));
                arguments.push(format!("{argument}: ${argument}"));
            }
        }
        let list = |items: Vec<String>| match items.len() {
            0 => String::new(),
            _ => format!("({})", items.join(", ")),
        };
        let selection = match named(&field.ty.node) {
            name if name.ends_with("Payload") => "{ userErrors { code param message } }",
            name if self.composite.iter().any(|known| known == name) => "{ __typename }",
            _ => "",
        };
        let (definitions, arguments) = (list(definitions), list(arguments));
        let query = format!("{kind}{definitions} {{ {name}{arguments} {selection} }}");
        let variables = async_graphql::Variables::from_json(variables);
        async_graphql::Request::new(query).variables(variables)
    }

    /// The ids and the texts in these variables.
    pub(super) fn texts(&self, field: &FieldDefinition, variables: &Value) -> Vec<Text> {
        let mut found = Vec::new();
        for argument in field.arguments.iter().map(|argument| &argument.node) {
            let name = argument.name.node.as_str();
            if let Some(value) = variables.get(name) {
                self.collect(&argument.ty.node, name, value, format!("/{name}"), &mut found);
            }
        }
        found
    }

    fn collect(&self, of: &Type, name: &str, value: &Value, at: String, found: &mut Vec<Text>) {
        let type_name = match &of.base {
            BaseType::List(inner) => {
                for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                    self.collect(inner, name, value, format!("{at}/{index}"), found);
                }
                return;
            }
            BaseType::Named(name) => name.as_str(),
        };
        for field in self.inputs.get(type_name).into_iter().flatten() {
            let name = field.name.node.as_str();
            if let Some(value) = value.get(name) {
                self.collect(&field.ty.node, name, value, format!("{at}/{name}"), found);
            }
        }
        if value.is_string() && ["ID", "String"].contains(&type_name) {
            found.push(Text { at, name: name.to_owned(), is_id: type_name == "ID" });
        }
    }

    /// A value of this type. An id is of the noun that its name, or else the operation, speaks of.
    fn value(&self, of: &Type, name: &str, operation: &str) -> Value {
        let type_name = match &of.base {
            BaseType::List(inner) => return json!([self.value(inner, name, operation)]),
            BaseType::Named(name) => name.as_str(),
        };
        if let Some(fields) = self.inputs.get(type_name) {
            let required = fields.iter().filter(|field| {
                let required = !field.ty.node.nullable && field.default_value.is_none();
                required || FILLED.contains(&field.name.node.as_str())
            });
            let filled = required.map(|field| {
                let name = field.name.node.to_string();
                let value = self.value(&field.ty.node, &name, operation);
                (name, value)
            });
            return Value::Object(filled.collect());
        }
        if type_name == "Role" {
            return json!("VIEWER"); // the one that everybody who invites may give
        }
        if let Some(first) = self.enums.get(type_name) {
            return json!(first);
        }
        match type_name {
            "ID" => json!(*id(name, operation)),
            "Int" | "Count" => json!(1),
            "Float" => json!(1.5),
            "Boolean" => json!(true),
            "DateTime" => json!("2026-11-20T00:00:00Z"),
            "Decimal" => json!("1.5"),
            "String" => match name {
                "month" => json!("2026-11"),
                "day" => json!("2026-11-16"),
                "currency" => json!("EUR"),
                "method" => json!("GET"),
                "path" => json!("/pets"),
                "uri" => json!("http://example.com/"),
                _ => json!("some"),
            },
            other => panic!("what is a value of {other}? The walk has to know"),
        }
    }
}

/// The noun that `name`, or else `operation`, is about.
pub(super) fn kind(name: &str, operation: &str) -> Kind {
    let noun = name.strip_suffix("Id").filter(|noun| !noun.is_empty()).map_or_else(
        || operation.trim_start_matches(|c: char| c.is_ascii_lowercase()).to_owned(),
        |noun| noun[..1].to_uppercase() + &noun[1..],
    );
    match noun.as_str() {
        "AccessKey" => Kind::AccessKey,
        "Api" => Kind::Api,
        "ApiKey" | "ApiKeyOverlap" => Kind::ApiKey,
        "ClientCertificate" => Kind::ClientCertificate,
        "Consumer" => Kind::Consumer,
        "Deployment" => Kind::Deployment,
        "Integration" => Kind::Integration,
        "Invitation" => Kind::Invitation,
        "Member" => Kind::Member,
        "Parent" | "Resource" => Kind::Resource,
        "Route" => Kind::Route,
        "Secret" => Kind::Secret,
        "Session" => Kind::Session,
        "Canary" | "Stage" => Kind::Stage,
        "VpcLink" => Kind::VpcLink,
        "Tenant" | "TenantLimits" => Kind::Tenant,
        _ => Kind::UsagePlan, // also for `node`, which takes any
    }
}

/// A global id of that noun, which is nobody's.
pub(super) fn id(name: &str, operation: &str) -> async_graphql::ID {
    let kind = kind(name, operation);
    match kind {
        Kind::Stage => kind.id("abc123xyz0/prod"),
        Kind::AccessKey => kind.id("TGAKABCDEFGHIJKLMNOP"),
        Kind::Consumer
        | Kind::Invitation
        | Kind::Member
        | Kind::Secret
        | Kind::Session
        | Kind::Tenant => kind.id("0198f2a0-0000-7000-8000-000000000000"),
        _ => kind.id("abc123xyz0"),
    }
}

fn named(of: &Type) -> &str {
    match &of.base {
        BaseType::Named(name) => name,
        BaseType::List(inner) => named(inner),
    }
}

/// The name of every question and every change.
pub(crate) fn operations() -> Vec<String> {
    let fields = Operations::of_schema().fields;
    fields.into_iter().map(|(_, field)| field.name.node.to_string()).collect()
}

async fn run(
    schema: &GatewaySchema,
    app: &App,
    actor: Option<&Actor>,
    request: async_graphql::Request,
) -> async_graphql::Response {
    let caller = actor.map(|actor| Caller::Member(actor.clone()));
    run_as(schema, app, caller.as_ref(), &Origin::default(), request).await
}

/// The answer to this caller, whose call comes from `origin`.
pub(super) async fn run_as(
    schema: &GatewaySchema,
    app: &App,
    caller: Option<&Caller>,
    origin: &Origin,
    request: async_graphql::Request,
) -> async_graphql::Response {
    let request = match caller {
        Some(Caller::Member(actor)) => request.data(loader::batches(app, actor)),
        _ => request,
    };
    let identity =
        caller.map_or(Identity::Nobody("nobody"), |caller| Identity::Known(caller.clone()));
    let request = request.data(identity).data(origin.clone()).data(Spent::default());
    // A question and a change have one answer; of a subscription the first says who may ask.
    let mut answer = schema.execute_stream(request).next().await.expect("an answer");
    error::complete(&mut answer);
    answer
}

pub(super) fn codes(answer: &async_graphql::Response) -> Vec<&str> {
    answer.errors.iter().filter_map(error::code).collect()
}

#[sqlx::test(migrations = "../migrations")]
async fn nobody_is_told_to_log_in(db: PgPool) {
    let app = testing::app(db).await;
    let schema = schema().data(app.clone()).finish();
    let operations = Operations::of_schema();
    assert!(operations.fields.len() > 20, "the walk sees the schema");
    let mut wrong = Vec::new();
    for (kind, field) in &operations.fields {
        let name = field.name.node.as_str();
        let answer = run(&schema, &app, None, operations.request(kind, field)).await;
        let told = codes(&answer) == ["unauthenticated"];
        if told == (matrix::who(name) == Some(Who::Anybody)) {
            wrong.push(format!("{name}: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[sqlx::test(migrations = "../migrations")]
async fn each_role_may_what_the_table_says(db: PgPool) {
    let app = testing::app(db).await;
    let schema = schema().data(app.clone()).finish();
    let known = Operations::of_schema();
    let mut wrong = matrix::unknown(&operations());
    for role in Role::ALL {
        let member = testing::member(&app, role).await;
        for (kind, field) in &known.fields {
            let name = field.name.node.as_str();
            let Some(who) = matrix::who(name) else { continue };
            let answer = run(&schema, &app, Some(&member), known.request(kind, field)).await;
            let refused = codes(&answer) == ["forbidden"];
            let broken =
                ["unauthenticated", "internal"].iter().any(|code| codes(&answer).contains(code));
            if broken || refused == who.lets(role) {
                wrong.push(format!("{name} as {role:?}: {answer:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[sqlx::test(migrations = "../migrations")]
async fn a_strangers_ids_are_not_found_and_nothing_breaks(db: PgPool) {
    let app = testing::app(db).await;
    let owner = testing::owner(&app).await;
    let schema = schema().data(app.clone()).finish();
    let operations = Operations::of_schema();
    let mut wrong = Vec::new();
    for (kind, field) in &operations.fields {
        let name = field.name.node.as_str();
        let request = operations.request(kind, field);
        let text = json!(request.variables).to_string();
        let takes_an_id = text.contains("Id\":\"") || text.contains("\"id\":\"");
        let answer = run(&schema, &app, Some(&owner), request).await;
        let data = json!(answer.data);
        let right = if matrix::who(name) == Some(Who::Operator) {
            codes(&answer) == ["forbidden"]
        } else if *kind == "mutation" && takes_an_id {
            data[name]["userErrors"][0]["code"] == "NOT_FOUND"
        } else {
            !codes(&answer).contains(&"internal")
        };
        if !right {
            wrong.push(format!("{name}: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
