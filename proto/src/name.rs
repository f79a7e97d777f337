//! What a resource is called: how a node indexes what it holds, and how people read a refusal.

use std::fmt;

use crate::config::v1::{Resource, ResourceName, StageName, resource, resource_name};

impl resource::Kind {
    /// The name under which a node holds this resource, and by which it is removed.
    pub fn name(&self) -> resource_name::Kind {
        use resource_name::Kind as Name;
        match self {
            Self::Tenant(tenant) => Name::TenantId(tenant.id.clone()),
            Self::Deployment(deployment) => Name::DeploymentId(deployment.id.clone()),
            Self::Stage(stage) => {
                Name::Stage(StageName { api_id: stage.api_id.clone(), name: stage.name.clone() })
            }
            Self::UsagePlan(plan) => Name::UsagePlanId(plan.id.clone()),
            Self::ApiKey(key) => Name::ApiKeyId(key.id.clone()),
            Self::VpcLink(link) => Name::VpcLinkId(link.id.clone()),
            Self::Secret(secret) => Name::SecretId(secret.id.clone()),
            Self::ClientCertificate(it) => Name::ClientCertificateId(it.id.clone()),
        }
    }
}

impl From<resource::Kind> for Resource {
    fn from(kind: resource::Kind) -> Self {
        Self { kind: Some(kind) }
    }
}

impl From<resource_name::Kind> for ResourceName {
    fn from(kind: resource_name::Kind) -> Self {
        Self { kind: Some(kind) }
    }
}

/// As AWS's consoles say it: the noun, then the id.
impl fmt::Display for resource_name::Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TenantId(id) => write!(f, "tenant {id}"),
            Self::DeploymentId(id) => write!(f, "deployment {id}"),
            Self::Stage(stage) => write!(f, "stage {}/{}", stage.api_id, stage.name),
            Self::UsagePlanId(id) => write!(f, "usage plan {id}"),
            Self::ApiKeyId(id) => write!(f, "api key {id}"),
            Self::VpcLinkId(id) => write!(f, "VPC link {id}"),
            Self::SecretId(id) => write!(f, "secret {id}"),
            Self::ClientCertificateId(id) => write!(f, "client certificate {id}"),
        }
    }
}
