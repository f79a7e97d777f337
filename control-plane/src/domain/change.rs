//! What differs between two frozen drafts, field by field.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, Value as Field};
use serde_json::{Map, Value};

use crate::access::actor::Actor;
use crate::app::{App, Tx};
use crate::domain::route::route_key;
use crate::error::{Error, Result};
use crate::ids::{ApiId, DeploymentId, StageId};
use crate::snapshot::document::Document;
use crate::store;

/// So many are told one by one.
pub const CHANGES_MAX: usize = 500;

/// A field, or a part with all that is in it, that is another in the later draft.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Where it is: `["api", "name"]`, `["routes", "GET /pets", "integration", "httpProxy", "uri"]`. Names are those of the
    /// configuration that nodes get.
    pub path: Vec<String>,
    /// Absent where it was not there, or had its default.
    pub before: Option<Value>,
    /// Absent where it is gone, or has its default now.
    pub after: Option<Value>,
}

/// In the order of their paths.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    pub total: usize,
    /// The first [`CHANGES_MAX`] of them.
    pub changes: Vec<Change>,
}

/// What deploying the Api's draft to the stage would change. Everything is new where nothing is deployed to it.
pub async fn of_stage(app: &App, actor: &Actor, id: &StageId) -> Result<Changes> {
    let mut tx = app.begin(actor).await?;
    let stage = store::stage::get(&mut tx, actor.tenant, id.api, &id.name).await?;
    let stage = stage.ok_or(Error::NotFound("stage"))?;
    let served = match stage.deployment {
        Some(deployment) => tree_of(&mut tx, actor, id.api, deployment).await?,
        None => Value::Null,
    };
    let mut drafts = store::draft::load(&mut tx, actor.tenant, &[id.api]).await?;
    let draft = drafts.pop().ok_or(Error::NotFound("api"))?;
    // What has no route cannot be deployed.
    let draft =
        if draft.routes.is_empty() { Value::Null } else { tree(&Document::of(&draft).bytes)? };
    Ok(between(served, draft))
}

/// What a deployment changed since another of its Api: the one before it, unless that is named. Everything is new in the
/// first that is kept.
pub async fn of_deployment(
    app: &App,
    actor: &Actor,
    id: DeploymentId,
    since: Option<DeploymentId>,
) -> Result<Changes> {
    let mut tx = app.begin(actor).await?;
    let found = store::deployment::find(&mut tx, actor.tenant, &[id]).await?.pop();
    let deployment = found.ok_or(Error::NotFound("deployment"))?;
    let since = match since {
        Some(since) => Some(since),
        None => store::deployment::before(&mut tx, actor.tenant, &deployment).await?,
    };
    let before = match since {
        Some(since) => match tree_of(&mut tx, actor, deployment.api, since).await {
            Err(Error::NotFound(_)) => {
                return Err(Error::bad_request("since", "is no deployment of the same API"));
            }
            tree => tree?,
        },
        None => Value::Null,
    };
    Ok(between(before, tree_of(&mut tx, actor, deployment.api, id).await?))
}

async fn tree_of(tx: &mut Tx, actor: &Actor, api: ApiId, id: DeploymentId) -> Result<Value> {
    tree(&store::deployment::document(tx, actor.tenant, api, id).await?)
}

fn between(before: Value, after: Value) -> Changes {
    let mut changes = Changes::default();
    compare(Some(before), Some(after), &mut Vec::new(), &mut changes);
    changes
}

/// Objects are compared name by name; lists and all else as wholes.
fn compare(
    before: Option<Value>,
    after: Option<Value>,
    path: &mut Vec<String>,
    found: &mut Changes,
) {
    let there = |side: Option<Value>| side.filter(|value| !value.is_null());
    match (there(before), there(after)) {
        (Some(Value::Object(mut before)), Some(Value::Object(mut after))) => {
            let names: BTreeSet<_> = before.keys().chain(after.keys()).cloned().collect();
            for name in names {
                let sides = (before.remove(&name), after.remove(&name));
                path.push(name);
                compare(sides.0, sides.1, path, found);
                path.pop();
            }
        }
        // The Api and its routes one by one, where one side has nothing at all.
        (Some(Value::Object(parts)), None) if path.len() < 2 => {
            compare(Some(parts.into()), Some(Map::new().into()), path, found);
        }
        (None, Some(Value::Object(parts))) if path.len() < 2 => {
            compare(Some(Map::new().into()), Some(parts.into()), path, found);
        }
        (before, after) if before != after => {
            found.total += 1;
            if found.changes.len() < CHANGES_MAX {
                found.changes.push(Change { path: path.clone(), before, after });
            }
        }
        _ => {}
    }
}

/// A frozen draft with its routes by their keys, and in each its integration: what has its default is left out, so that
/// two that encode to other bytes differ here too.
fn tree(document: &[u8]) -> Result<Value> {
    static DEPLOYMENT: LazyLock<Option<MessageDescriptor>> = LazyLock::new(|| {
        DescriptorPool::decode(proto::DESCRIPTORS)
            .ok()?
            .get_message_by_name("tollgate.config.v1.Deployment")
    });
    let corrupt =
        |cause: &str| Error::corrupt("deployment", std::io::Error::other(cause.to_owned()));
    let descriptor = DEPLOYMENT.clone().ok_or_else(|| corrupt("its message is not described"))?;
    let message = DynamicMessage::decode(descriptor, document)
        .map_err(|cause| Error::corrupt("deployment", cause))?;
    let mut tree = object(&message);
    let parts = |tree: &mut Map<String, Value>, name: &str| match tree.remove(name) {
        Some(Value::Array(parts)) => parts,
        _ => Vec::new(),
    };
    let text = |part: &Value, name: &str| part[name].as_str().unwrap_or_default().to_owned();
    let integrations: BTreeMap<String, Value> = parts(&mut tree, "integrations")
        .into_iter()
        .map(|integration| (text(&integration, "id"), integration))
        .collect();
    let mut routes = Map::new();
    for mut route in parts(&mut tree, "routes") {
        let key = route_key(&text(&route, "method"), &text(&route, "path"));
        if let Some(integration) = integrations.get(&text(&route, "integrationId"))
            && let Value::Object(fields) = &mut route
        {
            fields.remove("integrationId");
            fields.insert("integration".to_owned(), integration.clone());
        }
        routes.insert(key, route);
    }
    tree.insert("routes".to_owned(), routes.into());
    if let Some(Value::Object(api)) = tree.get_mut("api") {
        let answers = parts(api, "gatewayResponses").into_iter();
        let by_type: Map<_, _> = answers.map(|it| (text(&it, "responseType"), it)).collect();
        if !by_type.is_empty() {
            api.insert("gatewayResponses".to_owned(), by_type.into());
        }
    }
    Ok(tree.into())
}

fn object(message: &DynamicMessage) -> Map<String, Value> {
    let fields = message
        .fields()
        .map(|(field, value)| (field.json_name().to_owned(), read(value, &field.kind())));
    fields.collect()
}

fn read(value: &Field, kind: &Kind) -> Value {
    match value {
        Field::Bool(value) => (*value).into(),
        Field::I32(value) => (*value).into(),
        Field::I64(value) => (*value).into(),
        Field::U32(value) => (*value).into(),
        Field::U64(value) => (*value).into(),
        Field::F32(value) => (*value).into(),
        Field::F64(value) => (*value).into(),
        Field::String(value) => value.as_str().into(),
        Field::Bytes(bytes) => match str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => BASE64_STANDARD.encode(bytes).into(),
        },
        Field::EnumNumber(number) => word(*number, kind),
        Field::Message(message) => object(message).into(),
        Field::List(values) => values.iter().map(|value| read(value, kind)).collect(),
        Field::Map(entries) => {
            let value_kind = kind.as_message().map(|entry| entry.map_entry_value_field().kind());
            let entries = entries.iter().map(|(key, value)| {
                let key = match key {
                    prost_reflect::MapKey::String(key) => key.clone(),
                    key => format!("{key:?}"),
                };
                (key, value_kind.as_ref().map_or(Value::Null, |kind| read(value, kind)))
            });
            Value::Object(entries.collect())
        }
    }
}

/// A value's own name, as `HTTP2` of `PROTOCOL_VERSION_HTTP2`.
fn word(number: i32, kind: &Kind) -> Value {
    let name = kind.as_enum().and_then(|kind| {
        let value = kind.get_value(number)?;
        // Every value of an enumeration begins as the one for nothing said does.
        let prefix = kind.default_value().name().trim_end_matches("UNSPECIFIED").to_owned();
        Some(value.name().strip_prefix(&prefix).unwrap_or(value.name()).to_owned())
    });
    name.map_or(number.into(), Value::from)
}

#[cfg(test)]
mod tests;
