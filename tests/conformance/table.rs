//! The shape of a behaviour table.

use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A definition, and what calls of it get: once in each of `dialects`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// The row of the feature list, such as `B4`.
    pub(crate) row: String,
    /// The row in one sentence, or the part of it that this table is about.
    pub(crate) rule: String,
    pub(crate) dialects: Vec<String>,
    /// What `updateApi` is told beside the Api's id.
    #[serde(default)]
    pub(crate) api: Map<String, Value>,
    /// What `updateGatewayResponse` is told, by type.
    #[serde(default)]
    pub(crate) gateway_responses: BTreeMap<String, Map<String, Value>>,
    #[serde(default)]
    pub(crate) routes: Vec<String>,
    /// What `createRoute` is told beside, or in the place of, what it is told anyway; by the route's key.
    #[serde(default)]
    pub(crate) route_settings: BTreeMap<String, Map<String, Value>>,
    #[serde(default = "prod")]
    pub(crate) stages: Vec<String>,
    #[serde(default)]
    pub(crate) cases: Vec<Case>,
    #[serde(default)]
    pub(crate) refusals: Vec<Refusal>,
    #[serde(default)]
    pub(crate) refused_settings: Vec<SettingsRefusal>,
    #[serde(default)]
    pub(crate) refused_gateway_responses: Vec<ResponseRefusal>,
}

impl Table {
    pub(crate) fn has_cases(&self) -> bool {
        !(self.cases.is_empty()
            && self.refusals.is_empty()
            && self.refused_settings.is_empty()
            && self.refused_gateway_responses.is_empty())
    }
}

fn prod() -> Vec<String> {
    vec!["prod".to_owned()]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Method and target, byte for byte.
    pub(crate) request: String,
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, String>,
    gets: Expected,
    /// Where a dialect's answer is another one.
    #[serde(default, rename = "in")]
    others: BTreeMap<String, Expected>,
}

impl Case {
    pub(crate) fn expected(&self, dialect: &str) -> &Expected {
        self.others.get(dialect).unwrap_or(&self.gets)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    #[serde(default = "ok")]
    pub(crate) status: u16,
    /// The key of the route that answers; none where the node does.
    pub(crate) route: Option<String>,
    #[serde(default)]
    /// Null: the answer has none.
    pub(crate) headers: BTreeMap<String, Option<String>>,
    /// Fields of the answer's JSON; others may be beside them.
    #[serde(default)]
    pub(crate) body: Map<String, Value>,
}

fn ok() -> u16 {
    200
}

/// A route that the definition does not take, and the field that is named for it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Refusal {
    pub(crate) route: String,
    pub(crate) param: String,
}

/// Settings that no Api takes, and the field that is named for it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettingsRefusal {
    pub(crate) api: Map<String, Value>,
    pub(crate) param: String,
}

/// A gateway response that no Api takes, and the field that is named for it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResponseRefusal {
    pub(crate) response: Map<String, Value>,
    pub(crate) param: String,
}
