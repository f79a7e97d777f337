//! How an operation is filled in: ids by what they are called, texts by what they mean, the rest by its type.

use super::catalog::{Catalog, Door, Operation, Request, is_required, named};
use async_graphql::parser::types::{BaseType, Type};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// Fields that may be left out, but not if the call shall succeed.
const FILLED: [&str; 4] = ["method", "path", "text", "uri"];
/// Fields that stand in the place of another.
const INSTEAD: [(&str, &str); 1] = [("resourceId", "path")];
/// What operations begin with.
const VERBS: [&str; 26] = [
    "create", "get", "list", "update", "put", "set", "delete", "revoke", "add", "remove", "accept",
    "resend", "suspend", "resume", "close", "export", "verify", "change", "rotate", "request",
    "end", "reopen", "settle", "promote", "generate", "upload",
];
/// What ends like an id and is free text, or stands in what fits no other choice that the walk makes: the own tests of
/// secrets, integrations, canaries, VPC links and client certificates name ids of strangers there.
const NO_IDS: [&str; 7] = [
    "aws",
    "awsCredentials",
    "canarySettings",
    "connectionId",
    "externalId",
    "nounId",
    "tlsConfig",
];

/// A text that is given back and kept nowhere: a change that is right but for it is made, also one that deletes.
const NOT_KEPT: &str = "clientMutationId";

/// Nouns of which no tenant has one: the id is refused before it is looked up.
const OPERATORS: [&str; 4] = ["Node", "JoinToken", "TenantInvitation", "QuarantinedSegment"];
const NOBODYS_UUID: &str = "0198f2a0-0000-7000-8000-000000000000";

/// One id of every noun that somebody has.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    /// GraphQL's, by type.
    pub global: BTreeMap<String, String>,
}

impl Ids {
    /// REST's id of a noun.
    fn plain(&self, noun: &str) -> Option<String> {
        let global = self.global.get(noun)?;
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(global).ok()?).ok()?;
        let plain = text.split_once(':')?.1;
        // A stage's holds its Api's, which REST has in the path.
        Some(plain.rsplit('/').next()?.to_owned())
    }

    /// REST's id for a path's parameter of this name.
    pub(super) fn of_parameter(&self, name: &str) -> Option<String> {
        self.plain(&id_noun(name, name))
    }

    /// Ids of the same forms that nobody has.
    pub(super) fn nobodys(&self) -> Self {
        let other = |c: char| match c {
            '0'..='9' => '7',
            'a'..='f' => 'a',
            'g'..='z' => 'z',
            'A'..='Z' => 'Z',
            c => c,
        };
        let global = self.global.iter().map(|(noun, id)| {
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(id).unwrap()).unwrap();
            let (tag, plain) = text.split_once(':').unwrap();
            let plain: String = plain.chars().map(other).collect();
            (noun.clone(), URL_SAFE_NO_PAD.encode(format!("{tag}:{plain}")))
        });
        Self { global: global.collect() }
    }
}

/// What one call is made of.
pub(super) struct Fill<'a> {
    catalog: &'a Catalog,
    own: &'a Ids,
    /// The place, counted from 0, whose id is somebody else's.
    foreign: Option<(usize, &'a Ids)>,
    /// One field that could be left out, and is not.
    extra: Option<&'a str>,
    /// A text for every field that takes any.
    planted: Option<&'a str>,
    /// Every field that takes any text is filled, whether or not it could be left out.
    everywhere: bool,
    places: Cell<usize>,
    operation: RefCell<String>,
}

impl<'a> Fill<'a> {
    pub(super) fn with(catalog: &'a Catalog, own: &'a Ids) -> Self {
        let (places, operation) = (Cell::new(0), RefCell::default());
        Self {
            catalog,
            own,
            foreign: None,
            extra: None,
            planted: None,
            everywhere: false,
            places,
            operation,
        }
    }

    #[must_use]
    pub(super) fn extra(mut self, field: Option<&'a str>) -> Self {
        self.extra = field;
        self
    }

    #[must_use]
    pub(super) fn foreign(mut self, place: usize, whose: &'a Ids) -> Self {
        self.foreign = Some((place, whose));
        self
    }

    #[must_use]
    pub(super) fn planted(mut self, text: &'a str) -> Self {
        self.planted = Some(text);
        self
    }

    #[must_use]
    pub(super) fn everywhere(mut self) -> Self {
        self.everywhere = true;
        self
    }

    /// How many ids the last request took.
    pub(super) fn places(&self) -> usize {
        self.places.get()
    }

    pub(super) fn request(&self, operation: &Operation) -> Request {
        self.places.set(0);
        self.operation.replace(operation.name.clone());
        match &operation.door {
            Door::Rest { method, path, parameters, body } => {
                let mut query = url::form_urlencoded::Serializer::new(String::new());
                let mut path = format!("/v1{path}");
                for parameter in parameters {
                    let name = parameter["name"].as_str().unwrap_or_default();
                    if parameter["in"] == "header" {
                        continue;
                    }
                    let wanted = parameter["required"] == true || self.extra == Some(name);
                    if !wanted {
                        continue;
                    }
                    let value = match self.json(&parameter["schema"], name, true) {
                        Value::String(text) => text,
                        other => other.to_string(),
                    };
                    if parameter["in"] == "path" {
                        path = path.replace(&format!("{{{name}}}"), &escaped(&value));
                    } else {
                        query.append_pair(name, &value);
                    }
                }
                let query = query.finish();
                if !query.is_empty() {
                    path = format!("{path}?{query}");
                }
                let body = body.as_ref().map(|schema| self.json(schema, "", false));
                Request::Rest { method: method.clone(), path, body }
            }
            Door::Graphql { kind, field } => {
                let name = field.name.node.as_str();
                let (mut definitions, mut arguments) = (Vec::new(), Vec::new());
                let mut variables = Map::new();
                for argument in field.arguments.iter().map(|argument| &argument.node) {
                    let (of, argument_name) = (&argument.ty.node, argument.name.node.as_str());
                    // A connection takes `first` or `last`, which no type can say.
                    let wanted = is_required(argument)
                        || argument_name == "first"
                        || self.extra == Some(argument_name);
                    if !wanted {
                        continue;
                    }
                    definitions.push(format!("${argument_name}: {of}"));
                    arguments.push(format!("{argument_name}: ${argument_name}"));
                    variables.insert(argument_name.to_owned(), self.input(of, argument_name));
                }
                let list = |items: Vec<String>| match items.len() {
                    0 => String::new(),
                    _ => format!("({})", items.join(", ")),
                };
                let selection = self.catalog.selection(&field.ty.node, 2);
                let (definitions, arguments) = (list(definitions), list(arguments));
                Request::Graphql {
                    field: name.to_owned(),
                    query: format!("{kind}{definitions} {{ {name}{arguments} {selection} }}"),
                    variables: Value::Object(variables),
                }
            }
        }
    }

    /// Fields of an operation that may be left out and hold ids.
    pub(super) fn optional_ids(&self, operation: &Operation) -> Vec<String> {
        let mut found = Vec::new();
        match &operation.door {
            Door::Rest { parameters, body, .. } => {
                for parameter in parameters {
                    let name = parameter["name"].as_str().unwrap_or_default();
                    if parameter["required"] != true && is_id(name, true) {
                        found.push(name.to_owned());
                    }
                }
                let schema = body.as_ref().map(|schema| self.resolved(schema));
                let properties = schema.and_then(|schema| schema["properties"].as_object());
                for (name, property) in properties.into_iter().flatten() {
                    if self.holds_ids(property, name) {
                        found.push(name.clone());
                    }
                }
            }
            Door::Graphql { field, .. } => {
                for argument in &field.arguments {
                    let fields = self.catalog.inputs.get(named(&argument.node.ty.node));
                    let optional = fields.into_iter().flatten().filter(|field| !is_required(field));
                    let ids = optional.filter(|field| named(&field.ty.node) == "ID");
                    found.extend(ids.map(|field| field.name.node.to_string()));
                }
            }
        }
        found
    }

    /// Fields of an operation, at any depth, that take any text.
    pub(super) fn texts(&self, operation: &Operation) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        match &operation.door {
            Door::Rest { body, .. } => {
                if let Some(schema) = body {
                    self.texts_of(schema, &mut found);
                }
            }
            Door::Graphql { field, .. } => {
                for argument in &field.arguments {
                    self.texts_of_input(named(&argument.node.ty.node), &mut found);
                }
            }
        }
        found
    }

    fn texts_of(&self, schema: &Value, found: &mut BTreeSet<String>) {
        let schema = self.resolved(schema);
        if let Some(items) = schema.get("items") {
            self.texts_of(items, found);
        }
        for (name, of) in schema["properties"].as_object().into_iter().flatten() {
            if self.takes_text(of) && !is_id(name, false) {
                found.insert(name.clone());
            }
            self.texts_of(of, found);
        }
    }

    fn texts_of_input(&self, name: &str, found: &mut BTreeSet<String>) {
        for field in self.catalog.inputs.get(name).into_iter().flatten() {
            let of = named(&field.ty.node);
            if of == "String" && field.name.node != NOT_KEPT {
                found.insert(field.name.node.to_string());
            }
            self.texts_of_input(of, found);
        }
    }

    fn holds_ids(&self, schema: &Value, name: &str) -> bool {
        if NO_IDS.contains(&name) {
            return false;
        }
        let schema = self.resolved(schema);
        if let Some(items) = schema.get("items") {
            return self.holds_ids(items, name);
        }
        let properties = schema["properties"].as_object();
        is_id(name, false)
            || properties.is_some_and(|all| all.iter().any(|(name, of)| self.holds_ids(of, name)))
    }

    /// Through references, and past null.
    fn resolved<'s>(&'s self, schema: &'s Value) -> &'s Value {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap_or_default();
            return self.resolved(&self.catalog.components["schemas"][name]);
        }
        for choice in ["oneOf", "anyOf", "allOf"] {
            if let Some(choices) = schema[choice].as_array() {
                let first = choices.iter().find(|one| one["type"] != "null");
                return self.resolved(first.unwrap_or(&Value::Null));
            }
        }
        schema
    }

    /// A value that fits a JSON schema. `beside_an_api`: a `stage` here is one that exists.
    fn json(&self, schema: &Value, name: &str, beside_an_api: bool) -> Value {
        let schema = self.resolved(schema);
        if let Some(first) = schema["enum"].get(0) {
            return first.clone();
        }
        let of = match &schema["type"] {
            Value::String(of) => of.as_str(),
            Value::Array(all) => {
                all.iter().filter_map(Value::as_str).find(|of| *of != "null").unwrap_or_default()
            }
            _ => "",
        };
        match of {
            "object" => self.object(schema),
            "array" => json!([self.json(&schema["items"], name, beside_an_api)]),
            "string" if is_id(name, beside_an_api) => json!(self.id(name, Ids::plain)),
            "string" => json!(match schema["format"].as_str() {
                Some("date-time") => time(name),
                Some("uuid") => panic!("{}: whose id is {name}?", self.operation.borrow()),
                _ => self.text(name, schema["minLength"].as_u64().unwrap_or(0)),
            }),
            "integer" | "number" => number(name, schema["minimum"].as_i64()),
            "boolean" => json!(true),
            _ => panic!(
                "{}: what is a value of {name}, {schema}? The walk has to know",
                self.operation.borrow()
            ),
        }
    }

    fn object(&self, schema: &Value) -> Value {
        let Some(properties) = schema["properties"].as_object() else {
            return json!({ "some": self.text("value", 0) });
        };
        let has_api = properties.contains_key("apiId");
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let wanted = properties.iter().filter(|(name, of)| {
            let name = name.as_str();
            required.iter().any(|one| one == name) || self.wants(name, || self.takes_text(of))
        });
        let filled = wanted.map(|(name, of)| (name.clone(), self.json(of, name, has_api)));
        Value::Object(filled.collect())
    }

    /// Whether a field that may be left out is filled all the same.
    fn wants(&self, name: &str, takes_text: impl Fn() -> bool) -> bool {
        if INSTEAD.iter().any(|(with, without)| self.extra == Some(*with) && *without == name) {
            return false;
        }
        let everywhere = self.everywhere && !is_id(name, false) && takes_text();
        FILLED.contains(&name) || self.extra == Some(name) || everywhere
    }

    fn takes_text(&self, schema: &Value) -> bool {
        let schema = self.resolved(schema);
        let of = &schema["type"];
        let is_text =
            of == "string" || of.as_array().is_some_and(|all| all.contains(&json!("string")));
        is_text && schema.get("enum").is_none() && schema.get("format").is_none()
    }

    /// A value of a GraphQL type.
    fn input(&self, of: &Type, name: &str) -> Value {
        let type_name = match &of.base {
            BaseType::List(inner) => return json!([self.input(inner, name)]),
            BaseType::Named(name) => name.as_str(),
        };
        if let Some(fields) = self.catalog.inputs.get(type_name) {
            let wanted = fields.iter().filter(|field| {
                let takes_text = || named(&field.ty.node) == "String";
                is_required(field) || self.wants(field.name.node.as_str(), takes_text)
            });
            let filled = wanted.map(|field| {
                let name = field.name.node.to_string();
                let value = self.input(&field.ty.node, &name);
                (name, value)
            });
            return Value::Object(filled.collect());
        }
        if type_name == "Role" {
            return json!("VIEWER"); // the one that whoever gives roles may give
        }
        if let Some(first) = self.catalog.enums.get(type_name) {
            return json!(first);
        }
        match type_name {
            "ID" => json!(self.id(name, |ids, noun| ids.global.get(noun).cloned())),
            "Int" | "Count" => number(name, None),
            "Float" => json!(1.5),
            "Boolean" => json!(true),
            "DateTime" => json!(time(name)),
            "Decimal" => json!("1.5"),
            "String" if name == "requestId" => json!(self.id(name, Ids::plain)),
            "String" => json!(self.text(name, 0)),
            other => panic!(
                "{}: what is a value of {other}? The walk has to know",
                self.operation.borrow()
            ),
        }
    }

    /// An id of the noun that `name`, or else the operation, speaks of.
    fn id(&self, name: &str, of: impl Fn(&Ids, &str) -> Option<String>) -> String {
        let place = self.places.replace(self.places.get() + 1);
        let ids = match self.foreign {
            Some((foreign, ids)) if foreign == place => ids,
            _ => self.own,
        };
        let operation = self.operation.borrow();
        let noun = id_noun(name, &operation);
        let nobodys = || OPERATORS.contains(&noun.as_str()).then(|| NOBODYS_UUID.to_owned());
        of(ids, &noun).or_else(nobodys).unwrap_or_else(|| {
            panic!("{operation}: `{name}` is an id of which {noun}? The walk has to have one")
        })
    }

    /// A text that is right for a field of this name.
    fn text(&self, name: &str, length_min: u64) -> String {
        let some = || format!("some-{}", hex::encode(rand::random::<[u8; 4]>()));
        let text = match name {
            "month" => harness::tenant::month(),
            "day" => Timestamp::now().strftime("%Y-%m-%d").to_string(),
            "ledgerRow" => "0".repeat(32),
            "allowMethods" => "PUT".to_owned(),
            "apiKeyLocations" => "$request.querystring.key".to_owned(),
            "certificateChain" => own_certificate().0.clone(),
            "privateKey" => own_certificate().1.clone(),
            "clientNetworks" => "203.0.113.0/24".to_owned(),
            "currency" => "EUR".to_owned(),
            "method" => "GET".to_owned(),
            "origins" | "allowOrigins" => "https://example.com".to_owned(),
            "responseType" => "THROTTLED".to_owned(),
            "path" => format!("/{}", some()),
            "host" => "example.com".to_owned(),
            "uri" | "url" => "http://example.com/".to_owned(),
            "email" => format!("{}@example.com", some()),
            "role" => "viewer".to_owned(),
            "password" | "newPassword" | "currentPassword" => harness::tenant::PASSWORD.to_owned(),
            "perMillionRequests" | "perGbOut" => "1.5".to_owned(),
            _ => self.planted.map_or_else(some, |planted| {
                format!("{planted}{}", hex::encode(rand::random::<[u8; 3]>()))
            }),
        };
        let length = usize::try_from(length_min).unwrap_or_default();
        format!("{text:x<length$}")
    }
}

/// In PEM, with its private key.
fn own_certificate() -> &'static (String, String) {
    static MADE: OnceLock<(String, String)> = OnceLock::new();
    MADE.get_or_init(|| {
        let key = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        (own.pem(), key.serialize_pem())
    })
}

/// `apiId`, `usagePlanIds`, `id`, `api`, `parentId`, or `userId` of `removeMember`: of which noun.
fn id_noun(name: &str, operation: &str) -> String {
    let stem = name.strip_suffix("Ids").or_else(|| name.strip_suffix("Id"));
    let stem = match name {
        "id" | "ids" => "",
        _ => stem.unwrap_or(name),
    };
    match stem {
        "" => noun(operation),
        "parent" => "Resource".to_owned(),
        stem => stem[..1].to_uppercase() + &stem[1..],
    }
}

/// The noun that an operation is about: `ApiKey` of `deleteApiKey`, `listApiKeys` and `apiKeys`.
pub(super) fn noun(operation: &str) -> String {
    let verb_end = operation.find(|c: char| c.is_ascii_uppercase()).unwrap_or(0);
    let noun =
        if VERBS.contains(&&operation[..verb_end]) { &operation[verb_end..] } else { operation };
    let noun = noun[..1].to_uppercase() + &noun[1..];
    if noun == "ApiKeyOverlap" {
        return "ApiKey".to_owned();
    }
    if noun == "Canary" {
        return "Stage".to_owned();
    }
    match noun.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => noun.strip_suffix('s').map_or(noun.clone(), str::to_owned),
    }
}

fn is_id(name: &str, beside_an_api: bool) -> bool {
    let ends = name == "id" || name.ends_with("Id") || name.ends_with("Ids");
    ends && !NO_IDS.contains(&name) || beside_an_api && name == "stage"
}

fn time(name: &str) -> String {
    match name {
        "since" => harness::tenant::since(),
        "hour" => Timestamp::now().strftime("%Y-%m-%dT00:00:00Z").to_string(),
        _ => (Timestamp::now() + SignedDuration::from_hours(1)).to_string(),
    }
}

fn number(name: &str, least: Option<i64>) -> Value {
    match name {
        "status" => json!(200),
        "first" => json!(20),
        _ => json!(least.unwrap_or(1).max(1)),
    }
}

/// One segment of a path.
fn escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}
