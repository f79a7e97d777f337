//! Every resource that this node was sent, by name: the source from which snapshots are compiled.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::HashMap;
use proto::config::v1::{
    ApiKey, Delta, Deployment, Resource, Stage, StageName, Tenant, UsagePlan, resource::Kind,
};

/// The name of one resource, such as `StageName` or an `ApiKey`'s id.
pub use proto::config::v1::resource_name::Kind as ResourceName;

/// A resource and the cell that sent it last.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub cell: Arc<str>,
    pub resource: Kind,
}

/// What a node holds. A version of a cell is applied whole or not at all, and only upon the one before it.
///
/// A resource belongs to the cell that sent it last, so that a tenant can move between two cells of one
/// node: the old cell's removal does not take away what the new cell has sent.
#[derive(Clone, Debug, Default)]
pub struct Resources {
    held: HashMap<ResourceName, Held>,
    versions: BTreeMap<Arc<str>, u64>,
}

/// What a message did.
#[derive(Debug, PartialEq)]
pub enum Applied {
    /// These were put, replaced or removed, each named once.
    Changed(Vec<ResourceName>),
    /// The version was here already, from another replica. Nothing changed.
    Duplicate,
}

/// Why a message was not applied. Nothing changed.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error("version {version} of cell {cell} does not follow version {held}")]
    Gap { cell: String, held: u64, version: u64 },
    #[error("a snapshot of cell {cell} at version {version} is older than version {held}")]
    Older { cell: String, held: u64, version: u64 },
}

impl Resources {
    /// How far this node is with a cell; 0 while it holds nothing of it.
    pub fn version(&self, cell: &str) -> u64 {
        self.versions.get(cell).copied().unwrap_or(0)
    }

    /// Every cell that was received, with its version.
    pub fn versions(&self) -> impl Iterator<Item = (&str, u64)> {
        self.versions.iter().map(|(cell, version)| (&**cell, *version))
    }

    /// Applies one version upon the version before it.
    pub fn apply(&mut self, cell: &str, version: u64, delta: Delta) -> Result<Applied, Refused> {
        // A cell of which no snapshot came yet is at no version at all; a new cell's snapshot has version 0.
        let held = self.versions.get(cell).copied();
        if held.is_some_and(|held| version <= held) {
            return Ok(Applied::Duplicate);
        }
        if held.and_then(|held| held.checked_add(1)) != Some(version) {
            let held = held.unwrap_or(0);
            return Err(Refused::Gap { cell: cell.to_owned(), held, version });
        }
        let cell = self.advance(cell, version);
        let mut changed = Vec::with_capacity(delta.upserts.len() + delta.removals.len());
        for resource in known(delta.upserts) {
            let name = resource.name();
            self.held.insert(name.clone(), Held { cell: cell.clone(), resource });
            changed.push(name);
        }
        for name in delta.removals.into_iter().filter_map(|name| name.kind) {
            if self.held.get(&name).is_some_and(|held| held.cell == cell) {
                self.held.remove(&name);
                changed.push(name);
            }
        }
        Ok(Applied::Changed(unique(changed)))
    }

    /// Puts a whole snapshot in the place of all that this cell sent before. Names what differs.
    /// A snapshot of the version that is held already is applied too: it mends what may be wrong.
    pub fn replace(
        &mut self,
        cell: &str,
        version: u64,
        resources: Vec<Resource>,
    ) -> Result<Applied, Refused> {
        let held = self.version(cell);
        if version < held {
            return Err(Refused::Older { cell: cell.to_owned(), held, version });
        }
        let cell = self.advance(cell, version);
        let mut next: HashMap<ResourceName, Kind> =
            known(resources).map(|resource| (resource.name(), resource)).collect();
        let mut changed = Vec::new();
        self.held.retain(|name, held| {
            if held.cell != cell {
                return true;
            }
            match next.remove(name) {
                Some(resource) if resource == held.resource => {}
                Some(resource) => {
                    held.resource = resource;
                    changed.push(name.clone());
                }
                None => {
                    changed.push(name.clone());
                    return false;
                }
            }
            true
        });
        for (name, resource) in next {
            changed.push(name.clone());
            self.held.insert(name, Held { cell: cell.clone(), resource });
        }
        Ok(Applied::Changed(changed))
    }

    pub fn get(&self, name: &ResourceName) -> Option<&Held> {
        self.held.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ResourceName, &Held)> {
        self.held.iter()
    }

    pub fn tenant(&self, id: &str) -> Option<&Tenant> {
        match &self.get(&ResourceName::TenantId(id.to_owned()))?.resource {
            Kind::Tenant(tenant) => Some(tenant),
            _ => None,
        }
    }

    pub fn deployment(&self, id: &str) -> Option<&Deployment> {
        match &self.get(&ResourceName::DeploymentId(id.to_owned()))?.resource {
            Kind::Deployment(deployment) => Some(deployment),
            _ => None,
        }
    }

    pub fn stage(&self, api_id: &str, name: &str) -> Option<&Stage> {
        let name = StageName { api_id: api_id.to_owned(), name: name.to_owned() };
        match &self.get(&ResourceName::Stage(name))?.resource {
            Kind::Stage(stage) => Some(stage),
            _ => None,
        }
    }

    pub fn usage_plan(&self, id: &str) -> Option<&UsagePlan> {
        match &self.get(&ResourceName::UsagePlanId(id.to_owned()))?.resource {
            Kind::UsagePlan(plan) => Some(plan),
            _ => None,
        }
    }

    pub fn api_key(&self, id: &str) -> Option<&ApiKey> {
        match &self.get(&ResourceName::ApiKeyId(id.to_owned()))?.resource {
            Kind::ApiKey(key) => Some(key),
            _ => None,
        }
    }

    fn advance(&mut self, cell: &str, version: u64) -> Arc<str> {
        let cell = self
            .versions
            .get_key_value(cell)
            .map_or_else(|| Arc::from(cell), |(cell, _)| cell.clone());
        self.versions.insert(cell.clone(), version);
        cell
    }
}

/// A kind that this node does not know came from a newer control plane; the stream says so to it. What such a
/// resource would restrict is named by the stages and routes it is for, which this node then refuses to serve.
fn known(resources: Vec<Resource>) -> impl Iterator<Item = Kind> {
    resources.into_iter().filter_map(|resource| resource.kind)
}

/// Keeps the first of each name; a delta may upsert and remove the same resource.
fn unique(mut names: Vec<ResourceName>) -> Vec<ResourceName> {
    let mut seen = hashbrown::HashSet::with_capacity(names.len());
    names.retain(|name| seen.insert(name.clone()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(id: &str, suspended: bool) -> Resource {
        Kind::Tenant(Tenant { id: id.to_owned(), suspended, ..Tenant::default() }).into()
    }

    fn name(id: &str) -> ResourceName {
        ResourceName::TenantId(id.to_owned())
    }

    fn upsert(id: &str) -> Delta {
        Delta { upserts: vec![tenant(id, false)], removals: vec![] }
    }

    fn remove(id: &str) -> Delta {
        Delta { upserts: vec![], removals: vec![name(id).into()] }
    }

    fn at(version: u64, ids: &[&str]) -> Resources {
        let mut resources = Resources::default();
        let all = ids.iter().map(|id| tenant(id, false)).collect();
        resources.replace("default", version, all).unwrap();
        resources
    }

    #[test]
    fn the_next_version_is_applied_and_names_what_changed() {
        let mut resources = at(4, &["a"]);
        let applied = resources.apply("default", 5, upsert("b")).unwrap();
        assert_eq!(applied, Applied::Changed(vec![name("b")]));
        assert_eq!(resources.version("default"), 5);
        assert!(resources.tenant("a").is_some() && resources.tenant("b").is_some());

        let applied = resources.apply("default", 6, remove("a")).unwrap();
        assert_eq!(applied, Applied::Changed(vec![name("a")]));
        assert!(resources.tenant("a").is_none());
    }

    #[test]
    fn a_version_that_is_here_already_changes_nothing() {
        let mut resources = at(4, &["a"]);
        assert_eq!(resources.apply("default", 4, remove("a")), Ok(Applied::Duplicate));
        assert_eq!(resources.apply("default", 3, remove("a")), Ok(Applied::Duplicate));
        assert!(resources.tenant("a").is_some());
    }

    #[test]
    fn a_gap_is_refused_and_changes_nothing() {
        let mut resources = at(4, &["a"]);
        let gap = Refused::Gap { cell: "default".to_owned(), held: 4, version: 6 };
        assert_eq!(resources.apply("default", 6, upsert("b")), Err(gap));
        assert_eq!(resources.version("default"), 4);
        assert!(resources.tenant("b").is_none());
    }

    #[test]
    fn a_delta_upon_nothing_is_a_gap_even_for_version_1() {
        let gap = Refused::Gap { cell: "default".to_owned(), held: 0, version: 1 };
        assert_eq!(Resources::default().apply("default", 1, upsert("b")), Err(gap));
    }

    #[test]
    fn the_first_version_of_a_new_cell_follows_its_empty_snapshot() {
        let mut resources = at(0, &[]);
        let applied = resources.apply("default", 1, upsert("a"));
        assert_eq!(applied, Ok(Applied::Changed(vec![name("a")])));
    }

    #[test]
    fn a_snapshot_names_only_what_differs() {
        let mut resources = at(4, &["same", "changed", "gone"]);
        let next = vec![tenant("same", false), tenant("changed", true), tenant("new", false)];
        let Ok(Applied::Changed(mut changed)) = resources.replace("default", 9, next) else {
            panic!("the snapshot was not applied")
        };
        changed.sort_by_key(ToString::to_string);
        assert_eq!(changed, [name("changed"), name("gone"), name("new")]);
        assert!(resources.tenant("gone").is_none());
        assert!(resources.tenant("changed").unwrap().suspended);
        assert_eq!(resources.version("default"), 9);
    }

    #[test]
    fn a_snapshot_never_takes_a_node_back() {
        let mut resources = at(4, &["a"]);
        let older = Refused::Older { cell: "default".to_owned(), held: 4, version: 3 };
        assert_eq!(resources.replace("default", 3, vec![]), Err(older));
        assert!(resources.tenant("a").is_some());
    }

    #[test]
    fn a_resource_of_an_unknown_kind_is_left_out_and_the_rest_applied() {
        let mut resources = at(4, &["a"]);
        let upserts = vec![Resource { kind: None }, tenant("b", false)];
        let applied = resources.apply("default", 5, Delta { upserts, removals: vec![] });
        assert_eq!(applied, Ok(Applied::Changed(vec![name("b")])));
        assert_eq!(resources.version("default"), 5);
    }

    #[test]
    fn a_tenant_that_moved_stays_when_the_old_cell_lets_go_of_it() {
        let mut resources = at(4, &["a"]);
        resources.replace("east", 1, vec![tenant("a", true)]).unwrap();
        assert_eq!(
            resources.apply("default", 5, remove("a")),
            Ok(Applied::Changed(vec![])),
            "the removal of what another cell holds now"
        );
        assert!(resources.tenant("a").unwrap().suspended);
        resources.replace("default", 6, vec![]).unwrap();
        assert!(resources.tenant("a").is_some());
    }

    #[test]
    fn what_a_delta_puts_and_takes_away_is_gone_and_named_once() {
        let mut resources = at(4, &[]);
        let delta = Delta { upserts: vec![tenant("a", false)], removals: vec![name("a").into()] };
        assert_eq!(resources.apply("default", 5, delta), Ok(Applied::Changed(vec![name("a")])));
        assert!(resources.tenant("a").is_none());
    }
}
