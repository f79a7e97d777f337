//! Who may do what, operation by operation: the one table that the tests ask. An operation that it
//! does not know fails them, so that a new one is judged on its first day.
//!
//! The rules behind it: reading what the tenant has is everybody's; what it costs, who changed it and who is in it
//! is not. Nothing here says whose row it is: that is asked after the role.

use crate::access::role::Role;

/// Who may call an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// No access token is asked for.
    Anybody,
    /// Members with one of these roles.
    Members(&'static [Role]),
    /// Members with one of these roles, and the operator of what is the installation's own.
    MembersAndOperator(&'static [Role]),
    /// The operator of the installation, and no member.
    Operator,
}

use Role::{Admin, Billing, Developer, Owner, Viewer};

/// Every logged-in user, the operator too.
const USERS: Who = Who::MembersAndOperator(&[Owner, Admin, Developer, Billing, Viewer]);
const EVERYBODY: Who = Who::Members(&[Owner, Admin, Developer, Billing, Viewer]);
const BUILDERS: Who = Who::Members(&[Owner, Admin, Developer]);
const MANAGERS: Who = Who::Members(&[Owner, Admin]);
const PAYERS: Who = Who::Members(&[Owner, Admin, Billing, Viewer]);
const AUDITORS: Who = Who::MembersAndOperator(&[Owner, Admin, Developer, Viewer]);

/// GraphQL's fields and REST's operation ids; those that are named alike do the same.
const TABLE: &[(Who, &[&str])] = &[
    (
        Who::Anybody,
        &[
            "acceptInvitation",
            "endSession",
            "getDownload",
            "getOpenApi",
            "installation",
            "invitationPreview",
            "logIn",
            "openOperatorSession",
            "previewInvitation",
            "rateLimit",
            "refreshSession",
            "requestPasswordReset",
            "resetPassword",
            "signUp",
            "verifyEmail",
        ],
    ),
    (
        USERS,
        &[
            // One's own.
            "changeEmail",
            "changePassword",
            "deleteAccount",
            "resendVerification",
            "getSession",
            "getTenant",
            "listSessions",
            "listTenantLimits",
            "revokeOtherSessions",
            "revokeSession",
            "sessions",
            "viewer",
            "price",
        ],
    ),
    (
        EVERYBODY,
        &[
            // Whoever reads the usage may take it away.
            "createDownload",
            "createUsageDownload",
            "createUsageExport",
            "getUsageProof",
            "getUsageStatement",
            "keyUsage",
            "listKeyUsage",
            "listReconciliations",
            "listUsage",
            "listUsageGroups",
            "reconciliations",
            "usage",
            "usageGroupSeries",
            "usageGroups",
            "usageProof",
            "usageSeries",
            "usageStatement",
            // As it happens.
            "deploymentStatus",
            "explanation",
            "getExplanation",
            "getLimitState",
            "limitState",
            "requests",
            "accessKeys",
            "apiKeys",
            "apis",
            "clientCertificates",
            "consumers",
            "getAccessKey",
            "getApi",
            "getApiKey",
            "getClientCertificate",
            "getConsumer",
            "getDeployment",
            "getDeploymentChanges",
            "getGatewayResponse",
            "getIntegration",
            "getKeyQuota",
            "getMember",
            "getResource",
            "getRoute",
            "getSecret",
            "getVpcLink",
            "getStage",
            "getStageChanges",
            "getUsagePlan",
            "listAccessKeys",
            "listApiKeys",
            "listApis",
            "listClientCertificates",
            "listConsumers",
            "listDeployments",
            "listGatewayResponses",
            "listIntegrations",
            "listMembers",
            "listResources",
            "listRoutes",
            "listSecrets",
            "listVpcLinks",
            "listStages",
            "listUsagePlans",
            "members",
            "node",
            "nodes",
            "secrets",
            "vpcLinks",
            "usagePlans",
        ],
    ),
    (
        BUILDERS,
        &[
            "createAccessKey",
            "createApi",
            "createApiKey",
            "createConsumer",
            "createDeployment",
            "createIntegration",
            "createResource",
            "createRoute",
            "createSecret",
            "createVpcLink",
            "createStage",
            "createUsagePlan",
            "deleteAccessKey",
            "deleteApi",
            "deleteApiKey",
            "deleteClientCertificate",
            "deleteConsumer",
            "deleteDeployment",
            "deleteGatewayResponse",
            "deleteIntegration",
            "deleteResource",
            "deleteRoute",
            "deleteSecret",
            "deleteVpcLink",
            "deleteStage",
            "deleteUsagePlan",
            "endApiKeyOverlap",
            "generateClientCertificate",
            "promoteCanary",
            "putIntegration",
            "rotateApiKey",
            "updateAccessKey",
            "updateApi",
            "updateApiKey",
            "updateClientCertificate",
            "updateDeployment",
            "updateGatewayResponse",
            "updateIntegration",
            "updateKeyQuota",
            "updateRoute",
            "updateSecret",
            "updateVpcLink",
            "updateStage",
            "updateUsagePlan",
            "uploadClientCertificate",
        ],
    ),
    (
        MANAGERS,
        &[
            "createInvitation",
            "createTenantExport",
            "deleteInvitation",
            // Oneself too: that is to leave, which every member may.
            "deleteMember",
            "getInvitation",
            "invitations",
            "listInvitations",
            "resendInvitation",
            "updateMember",
        ],
    ),
    (PAYERS, &["bill", "getBill"]),
    (
        AUDITORS,
        &[
            "auditEntries",
            "createAuditDownload",
            "getManagementRequest",
            "listAuditEntries",
            "listManagementRequests",
            "managementRequest",
            "managementRequests",
            "verifyAuditLog",
        ],
    ),
    (
        Who::Operator,
        &[
            "closeTenant",
            "createJoinToken",
            "createQuarantinedSegmentDownload",
            "deleteJoinToken",
            "deleteTenantInvitation",
            "exportTenant",
            "fleetNode",
            "fleetNodes",
            "getFleetNode",
            "getPrice",
            "getQuarantinedSegment",
            "getTenantAccount",
            "getTenantAccountLimits",
            "inviteTenant",
            "joinTokens",
            "listFleetNodes",
            "listJoinTokens",
            "listQuarantinedSegments",
            "listReplicas",
            "listTenantInvitations",
            "listTenantReconciliations",
            "listTenants",
            "quarantinedSegment",
            "quarantinedSegments",
            "reopenTenant",
            "replicas",
            "resumeTenant",
            "revokeNode",
            "setPrice",
            "settleQuarantinedSegment",
            "suspendTenant",
            "tenant",
            "tenantInvitations",
            "tenantReconciliations",
            "tenants",
            "updateTenantLimits",
        ],
    ),
];

/// Who may call the operation; none for one that the table does not know.
pub fn who(operation: &str) -> Option<Who> {
    TABLE.iter().find(|(_, operations)| operations.contains(&operation)).map(|(who, _)| *who)
}

/// Every line, of both faces.
pub fn operations() -> Vec<&'static str> {
    TABLE.iter().flat_map(|(_, operations)| *operations).copied().collect()
}

/// Those of these that have no line.
pub fn unknown(operations: &[String]) -> Vec<String> {
    operations
        .iter()
        .filter(|operation| who(operation).is_none())
        .map(|operation| format!("{operation} has no line in access/matrix.rs"))
        .collect()
}

impl Who {
    /// Whether a member with this role is let through.
    pub fn lets(self, role: Role) -> bool {
        match self {
            Self::Anybody => true,
            Self::Members(roles) | Self::MembersAndOperator(roles) => roles.contains(&role),
            Self::Operator => false,
        }
    }
}
