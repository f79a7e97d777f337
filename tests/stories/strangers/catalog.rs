//! Every operation of both doors, read from the documents that the product gives of itself.

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, FieldDefinition, InputValueDefinition, Type, TypeKind, TypeSystemDefinition,
};
use harness::{Answer, World};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// One thing that can be asked for.
pub(super) struct Operation {
    /// REST's `operationId`, GraphQL's field.
    pub name: String,
    pub door: Door,
}

pub(super) enum Door {
    Rest {
        method: String,
        /// With `{parameters}`, under `/v1`.
        path: String,
        parameters: Vec<Value>,
        body: Option<Value>,
    },
    Graphql {
        /// `query` or `mutation`.
        kind: &'static str,
        field: FieldDefinition,
    },
}

/// The operations, and the types that they speak of.
pub(super) struct Catalog {
    pub operations: Vec<Operation>,
    /// The objects that have a global id.
    pub nodes: BTreeSet<String>,
    /// OpenAPI's `components`.
    pub components: Value,
    pub inputs: BTreeMap<String, Vec<InputValueDefinition>>,
    pub(super) enums: BTreeMap<String, String>,
    objects: BTreeMap<String, Vec<FieldDefinition>>,
}

/// A request that is ready to be sent.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Rest { method: String, path: String, body: Option<Value> },
    Graphql { field: String, query: String, variables: Value },
}

impl Operation {
    /// Whether it only reads.
    pub(super) fn reads(&self) -> bool {
        match &self.door {
            Door::Rest { method, .. } => method == "GET",
            Door::Graphql { kind, .. } => *kind == "query",
        }
    }
}

impl Catalog {
    pub(super) async fn of(world: &World) -> Self {
        let mut all = Self {
            operations: Vec::new(),
            nodes: BTreeSet::new(),
            components: Value::Null,
            inputs: BTreeMap::new(),
            enums: BTreeMap::new(),
            objects: BTreeMap::new(),
        };
        all.read_openapi(world.management().get("/v1/openapi.json").await.expect(200).json());
        let sdl = world.management().get("/graphql/schema.graphql").await.expect(200).text();
        assert_eq!(
            sdl.trim_end(),
            world.run(&["print-schema"]).trim_end(),
            "the schema is published as it is"
        );
        all.read_sdl(&sdl);
        assert!(all.operations.len() > 90, "the walk sees both documents");
        all
    }

    fn read_openapi(&mut self, mut document: Value) {
        self.components = document["components"].take();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let body = operation["requestBody"]["content"]["application/json"].get("schema");
                let door = Door::Rest {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    parameters: operation["parameters"].as_array().cloned().unwrap_or_default(),
                    body: body.cloned(),
                };
                let name = harness::tenant::text(&operation["operationId"]);
                self.operations.push(Operation { name, door });
            }
        }
    }

    fn read_sdl(&mut self, sdl: &str) {
        for definition in parse_schema(sdl).unwrap().definitions {
            let TypeSystemDefinition::Type(definition) = definition else { continue };
            let name = definition.node.name.node.to_string();
            match definition.node.kind {
                TypeKind::InputObject(input) => {
                    let fields = input.fields.into_iter().map(|field| field.node).collect();
                    self.inputs.insert(name, fields);
                }
                TypeKind::Enum(values) => {
                    self.enums.insert(name, values.values[0].node.value.node.to_string());
                }
                TypeKind::Object(object) => {
                    if object.implements.iter().any(|interface| interface.node == "Node") {
                        self.nodes.insert(name.clone());
                    }
                    let fields: Vec<_> =
                        object.fields.into_iter().map(|field| field.node).collect();
                    let kind = match name.as_str() {
                        "Query" => Some("query"),
                        "Mutation" => Some("mutation"),
                        _ => None,
                    };
                    for field in fields.iter().filter(|_| kind.is_some()) {
                        let door =
                            Door::Graphql { kind: kind.unwrap_or_default(), field: field.clone() };
                        let name = field.name.node.to_string();
                        self.operations.push(Operation { name, door });
                    }
                    self.objects.insert(name, fields);
                }
                TypeKind::Interface(_) | TypeKind::Union(_) | TypeKind::Scalar => {}
            }
        }
    }

    /// What to ask of a type: everything that needs no argument, so many objects deep.
    pub(super) fn selection(&self, of: &Type, depth: usize) -> String {
        let name = named(of);
        if name == "Node" {
            return "{ __typename id }".to_owned();
        }
        let Some(fields) = self.objects.get(name) else { return String::new() };
        let mut parts = vec!["__typename".to_owned()];
        for field in fields {
            if field.arguments.iter().any(|argument| is_required(&argument.node)) {
                continue;
            }
            let (of, name) = (&field.ty.node, field.name.node.as_str());
            let of_connection = named(of).ends_with("Connection");
            let is_object = self.objects.contains_key(named(of));
            if name == "edges" || is_object && !of_connection && depth == 0 {
                continue;
            }
            if of_connection && depth < 2 {
                continue;
            }
            let page = if field.arguments.iter().any(|argument| argument.node.name.node == "first")
            {
                "(first: 2)"
            } else {
                ""
            };
            let below =
                if is_object { self.selection(of, depth.saturating_sub(1)) } else { String::new() };
            parts.push(format!("{name}{page} {below}"));
        }
        format!("{{ {} }}", parts.join(" "))
    }

    /// The root questions that need nothing to be asked.
    pub(super) fn open_questions(&self) -> impl Iterator<Item = &FieldDefinition> {
        self.operations.iter().filter_map(|operation| match &operation.door {
            Door::Graphql { kind: "query", field } => {
                let bare = !field.arguments.iter().any(|argument| is_required(&argument.node));
                bare.then_some(field)
            }
            _ => None,
        })
    }
}

impl Request {
    /// Sends it, as nobody or with this token.
    pub(super) async fn send(&self, world: &World, token: Option<&str>) -> Answer {
        let management = world.management();
        let call = match self {
            Self::Rest { method, path, body } => {
                let call = management.call(method, path);
                match body {
                    Some(body) => call.json(body),
                    None => call,
                }
            }
            Self::Graphql { query, variables, .. } => {
                let body = json!({ "query": query, "variables": variables });
                management.post("/graphql").json(&body)
            }
        };
        match token {
            Some(token) => call.bearer(token).await,
            None => call.await,
        }
    }

    /// One word for what was answered: `done`, or the error's code.
    pub(super) fn outcome(&self, answer: &Answer) -> String {
        let status = answer.status();
        match self {
            Self::Rest { .. } if status < 300 => "done".to_owned(),
            Self::Rest { .. } => {
                let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
                let told = match status {
                    401 => "unauthenticated",
                    403 => "forbidden",
                    404 => "not_found",
                    _ => return code,
                };
                assert_eq!(code, told, "{self:?}: {}", answer.text());
                code
            }
            Self::Graphql { field, .. } => {
                let body = answer.json();
                if let Some(code) = body["errors"][0]["extensions"]["code"].as_str() {
                    assert!(code != "unauthenticated" || status == 401, "{self:?}: {body}");
                    return code.to_owned();
                }
                let data = &body["data"][field];
                let nothing = data.is_null() || *data == json!([null]);
                match data["userErrors"][0]["code"].as_str() {
                    Some(code) => code.to_lowercase(),
                    None if nothing => "not_found".to_owned(),
                    None => "done".to_owned(),
                }
            }
        }
    }
}

pub(super) fn is_required(argument: &InputValueDefinition) -> bool {
    !argument.ty.node.nullable && argument.default_value.is_none()
}

pub(super) fn named(of: &Type) -> &str {
    match &of.base {
        BaseType::Named(name) => name,
        BaseType::List(inner) => named(inner),
    }
}
