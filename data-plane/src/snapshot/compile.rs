//! Resources to the immutable tables that requests are answered from.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use http::HeaderName;
use proto::config::v1::{self as message, resource::Kind};

use super::{
    client_certificate::{Showing, client_certificate},
    messages::{
        Compiled, ENFORCED_OF_STAGES, api_key, client_throttles, concurrency_limit, deployment,
        route_concurrency_limits, route_throttles, tenant, throttle, usage_plan,
    },
    resources::{Held, ResourceName, Resources},
    secret::secret,
    served::{Api, ApiKey, Canary, Deployment, Snapshot, Stage, Stickiness},
    vpc_link::vpc_link,
};
use crate::trace::sampling::Sampling;

/// A resource that did not compile. Its previous version, if any, keeps serving.
#[derive(Debug)]
pub struct Refusal {
    pub resource: ResourceName,
    pub reason: String,
}

/// Compiles what changed upon what was served before, which it shares the rest with. `changed` may name what
/// is held no longer; that is taken away.
pub fn compile(
    resources: &Resources,
    changed: &[ResourceName],
    previous: &Snapshot,
) -> (Snapshot, Vec<Refusal>) {
    compile_by(Snapshot::put, resources, changed, previous)
}

/// `put` is contained: a resource that makes it panic is refused by its name, and the others are served.
fn compile_by(
    put: impl Fn(&mut Snapshot, &ResourceName, Option<&Held>) -> Compiled<()>,
    resources: &Resources,
    changed: &[ResourceName],
    previous: &Snapshot,
) -> (Snapshot, Vec<Refusal>) {
    // A resource is compiled before anything of it is put in its place, so that a panic leaves nothing half done.
    let put = |next: &mut Snapshot, name: &ResourceName, held| {
        catch_unwind(AssertUnwindSafe(|| put(next, name, held)))
            .unwrap_or_else(|_| Err("this node failed while compiling it".to_owned()))
    };
    let mut next = previous.clone();
    next.loaded = true;
    next.versions = resources.versions().map(|(cell, version)| (cell.into(), version)).collect();
    let mut refusals = Vec::new();

    let is_key = |name: &&ResourceName| matches!(name, ResourceName::ApiKeyId(_));
    let is_stage = |name: &&ResourceName| matches!(name, ResourceName::Stage(_));
    let first = changed.iter().filter(|name| !is_key(name) && !is_stage(name));
    // Keys share the ids of their tenants and plans; stages, which come last, need the rest.
    for name in first.chain(changed.iter().filter(is_key)) {
        let outcome = put(&mut next, name, resources.get(name));
        refusals.extend(outcome.err().map(|reason| Refusal { resource: name.clone(), reason }));
    }
    let mut stages: Vec<ResourceName> = changed.iter().filter(is_stage).cloned().collect();
    stages.extend(stages_of_what_changed(resources, changed));
    for name in stages {
        let held = resources.get(&name);
        if let Err(reason) = put(&mut next, &name, held)
            && !refusals.iter().any(|refusal| refusal.resource == name)
        {
            refusals.push(Refusal { resource: name, reason });
        }
    }
    (next, refusals)
}

/// Stages that point at a deployment that came only now, and those of a tenant of which a client certificate did.
fn stages_of_what_changed(resources: &Resources, changed: &[ResourceName]) -> Vec<ResourceName> {
    let deployments: Vec<&str> = changed
        .iter()
        .filter_map(|name| match name {
            ResourceName::DeploymentId(id) => resources.deployment(id).map(|_| id.as_str()),
            _ => None,
        })
        .collect();
    let tenants: Vec<&str> = changed
        .iter()
        .filter(|name| matches!(name, ResourceName::ClientCertificateId(_)))
        .filter_map(|name| match &resources.get(name)?.resource {
            Kind::ClientCertificate(certificate) => Some(certificate.tenant_id.as_str()),
            _ => None,
        })
        .collect();
    if deployments.is_empty() && tenants.is_empty() {
        return Vec::new();
    }
    let points_at_one = |held: &Held| match &held.resource {
        Kind::Stage(stage) => {
            let canary = stage.canary.as_ref().map(|canary| canary.deployment_id.as_str());
            tenants.contains(&stage.tenant_id.as_str())
                || deployments.contains(&stage.deployment_id.as_str())
                || canary.is_some_and(|canary| deployments.contains(&canary))
        }
        _ => false,
    };
    let stages =
        resources.iter().filter(|(name, held)| points_at_one(held) && !changed.contains(name));
    stages.map(|(name, _)| name.clone()).collect()
}

impl Snapshot {
    /// Puts one resource in its place, or takes it away.
    fn put(&mut self, name: &ResourceName, held: Option<&Held>) -> Compiled<()> {
        let Some(held) = held else {
            self.take_away(name);
            return Ok(());
        };
        match &held.resource {
            Kind::Tenant(message) => {
                let tenant = tenant(message, &self.egress_allow)?;
                self.tenants.insert(tenant.id.clone(), Arc::new(tenant));
            }
            Kind::Deployment(message) => {
                let deployment = deployment(message)?;
                self.deployments.insert(deployment.id.clone(), Arc::new(deployment));
            }
            Kind::UsagePlan(message) => {
                let plan = usage_plan(message)?;
                self.usage_plans.insert(plan.id.clone(), Arc::new(plan));
            }
            Kind::Secret(message) => {
                let secret = secret(message)?;
                self.secrets.insert(secret.id.clone(), Arc::new(secret));
            }
            Kind::VpcLink(message) => {
                let before = self.vpc_links.get(&*message.id).map(|before| &**before);
                let link = vpc_link(message, before)?;
                self.vpc_links.insert(link.id.clone(), Arc::new(link));
            }
            Kind::ClientCertificate(message) => {
                let certificate = client_certificate(message)?;
                self.client_certificates.insert(certificate.id.clone(), Arc::new(certificate));
            }
            Kind::ApiKey(message) => {
                let key = Arc::new(self.sharing(api_key(message)?));
                if let Some(before) = self.api_keys_by_id.insert(key.id.clone(), key.clone()) {
                    self.forget_values(&before);
                }
                for digest in key.digests() {
                    self.api_keys.insert((key.tenant_id.clone(), digest), key.clone());
                }
            }
            Kind::Stage(message) => {
                let stage = self.stage(message, &held.cell)?;
                let mut api =
                    self.apis.get(&*stage.api_id).map(|api| Api::clone(api)).unwrap_or_default();
                api.stages.retain(|other| other.name != stage.name);
                let api_id = stage.api_id.clone();
                api.stages.push(Arc::new(stage));
                self.apis.insert(api_id, Arc::new(api));
            }
        }
        Ok(())
    }

    /// The key, with the ids of its tenant and its plans where they are: a million keys name few.
    fn sharing(&self, mut key: ApiKey) -> ApiKey {
        if let Some(tenant) = self.tenants.get(&*key.tenant_id) {
            key.tenant_id = tenant.id.clone();
        }
        for id in &mut key.usage_plan_ids {
            if let Some(plan) = self.usage_plans.get(&**id) {
                *id = plan.id.clone();
            }
        }
        key
    }

    /// A value may be given to another key once its first key is gone, and the new key may be read first.
    fn forget_values(&mut self, key: &ApiKey) {
        for digest in key.digests() {
            let place = (key.tenant_id.clone(), digest);
            if self.api_keys.get(&place).is_some_and(|there| there.id == key.id) {
                self.api_keys.remove(&place);
            }
        }
    }

    fn take_away(&mut self, name: &ResourceName) {
        match name {
            ResourceName::TenantId(id) => drop(self.tenants.remove(id.as_str())),
            ResourceName::DeploymentId(id) => drop(self.deployments.remove(id.as_str())),
            ResourceName::SecretId(id) => drop(self.secrets.remove(id.as_str())),
            ResourceName::VpcLinkId(id) => drop(self.vpc_links.remove(id.as_str())),
            ResourceName::ClientCertificateId(id) => {
                drop(self.client_certificates.remove(id.as_str()));
            }
            ResourceName::UsagePlanId(id) => drop(self.usage_plans.remove(id.as_str())),
            ResourceName::ApiKeyId(id) => {
                if let Some(key) = self.api_keys_by_id.remove(id.as_str()) {
                    self.forget_values(&key);
                }
            }
            ResourceName::Stage(name) => {
                let Some(api) = self.apis.get(name.api_id.as_str()) else { return };
                let mut api = Api::clone(api);
                api.stages.retain(|stage| *stage.name != *name.name);
                if api.stages.is_empty() {
                    self.apis.remove(name.api_id.as_str());
                } else {
                    self.apis.insert(name.api_id.as_str().into(), Arc::new(api));
                }
            }
        }
    }

    fn stage(&self, message: &message::Stage, cell: &Arc<str>) -> Compiled<Stage> {
        let previous = self.api(&message.api_id).and_then(|api| api.stage(&message.name));
        let canary = message.canary.as_ref().map(|canary| {
            let as_canary = message::Stage {
                deployment_id: canary.deployment_id.clone(),
                variables: canary.variables.clone(),
                ..message.clone()
            };
            let previous = previous.and_then(|stage| stage.canary.as_ref());
            let previous = previous.map(|canary| &*canary.stage);
            let stage = Stage { is_canary: true, ..self.plain_stage(&as_canary, cell, previous)? };
            Ok::<_, String>(Canary {
                stage: Arc::new(stage),
                percent_traffic: canary.percent_traffic,
                stickiness: stickiness(canary)?,
            })
        });
        let stage = self.plain_stage(message, cell, previous.map(|stage| &**stage))?;
        Ok(Stage { canary: canary.transpose()?, ..stage })
    }

    /// Without its canary.
    fn plain_stage(
        &self,
        message: &message::Stage,
        cell: &Arc<str>,
        previous: Option<&Stage>,
    ) -> Compiled<Stage> {
        let deployment = match message.deployment_id.as_str() {
            "" => None,
            id => Some(
                self.deployments.get(id).ok_or_else(|| format!("deployment {id} is not here"))?,
            ),
        };
        let mut integrations = Vec::new();
        if let Some(deployment) = deployment {
            if *deployment.api_id != *message.api_id || *deployment.tenant_id != *message.tenant_id
            {
                return Err(format!("deployment {} is another Api's", deployment.id));
            }
            let showing = Showing {
                snapshot: self,
                tenant_id: &message.tenant_id,
                of_stage: &message.client_certificate_id,
            };
            for template in &deployment.templates {
                integrations.push(template.bind(&message.variables, &showing)?);
            }
        }
        let previous = previous.and_then(|stage| stage.sampling.as_ref());
        let sampling = message.tracing.as_ref().map(|tracing| {
            Sampling::compile(tracing, deployment.map(|deployment| &**deployment), previous)
        });
        let (client_throttles, unknown_throttle) = client_throttles(&message.client_throttles)?;
        let enforced = |restriction: &String| ENFORCED_OF_STAGES.contains(&restriction.as_str());
        Ok(Stage {
            cell: cell.clone(),
            tenant_id: message.tenant_id.as_str().into(),
            api_id: message.api_id.as_str().into(),
            name: message.name.as_str().into(),
            deployment: deployment.cloned(),
            integrations,
            throttle: message.throttle.as_ref().map(throttle).transpose()?,
            route_throttles: route_throttles(&message.route_throttles)?,
            concurrency_limit: message.concurrency_limit.map(concurrency_limit).transpose()?,
            route_concurrency_limits: route_concurrency_limits(&message.route_concurrency_limits)?,
            client_throttles,
            rate_limit_headers: message.rate_limit_headers,
            told_variables: told_variables(deployment, &message.variables),
            sampling: sampling.transpose()?,
            unknown_restriction: unknown_throttle || !message.restrictions.iter().all(enforced),
            canary: None,
            is_canary: false,
        })
    }
}

/// By what a canary's callers stay on one side.
fn stickiness(canary: &message::Canary) -> Compiled<Stickiness> {
    use message::CanaryStickiness as Told;
    let told = Told::try_from(canary.stickiness)
        .map_err(|_| "the canary's stickiness is unknown to this node".to_owned())?;
    let name = &canary.stickiness_name;
    Ok(match told {
        Told::Unspecified => Stickiness::None,
        Told::ApiKey => Stickiness::ApiKey,
        Told::Header => Stickiness::Header(
            HeaderName::try_from(name).map_err(|_| format!("{name:?} is no header's name"))?,
        ),
        Told::Cookie => Stickiness::Cookie(name.as_str().into()),
    })
}

/// Those of a stage's variables that the gateway responses of its deployment tell.
fn told_variables(
    deployment: Option<&Arc<Deployment>>,
    variables: &BTreeMap<String, String>,
) -> Box<[(Box<str>, Box<str>)]> {
    let Some(restyled) = deployment.and_then(|it| it.restyled.as_deref()) else {
        return Box::default();
    };
    let mut told: Vec<(Box<str>, Box<str>)> = Vec::new();
    for name in restyled.stage_variables() {
        if let Some(value) = variables.get(name)
            && !told.iter().any(|(known, _)| **known == *name)
        {
            told.push((name.into(), value.as_str().into()));
        }
    }
    told.into()
}

#[cfg(test)]
mod tests {
    use proto::config::v1::{Resource, Tenant, resource_name};

    use super::*;

    fn tenant(id: &str) -> Resource {
        Resource { kind: Some(Kind::Tenant(Tenant { id: id.to_owned(), ..Tenant::default() })) }
    }

    #[test]
    fn a_resource_that_makes_the_compiler_panic_is_refused_alone() {
        let name = |id: &str| resource_name::Kind::TenantId(id.to_owned());
        let mut resources = Resources::default();
        let all = ["a", "guilty", "b"].map(tenant).into();
        resources.replace("default", 1, all).unwrap();
        let put = |next: &mut Snapshot, of: &ResourceName, held: Option<&Held>| {
            assert!(*of != name("guilty"), "a bug in the compiler");
            next.put(of, held)
        };

        let changed = ["a", "guilty", "b"].map(name);
        let (next, refusals) = compile_by(put, &resources, &changed, &Snapshot::default());

        let refused: Vec<String> =
            refusals.iter().map(|refusal| refusal.resource.to_string()).collect();
        assert_eq!(refused, ["tenant guilty"]);
        assert!(next.tenant("a").is_some() && next.tenant("b").is_some());
        assert!(next.tenant("guilty").is_none());
    }
}
