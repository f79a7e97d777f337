//! What each role of a tenant may do: the one table.

use crate::error::Error;

/// A member's role in a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Owner,
    Admin,
    Developer,
    Billing,
    Viewer,
}

/// Something an operation asks permission for. Reading what a tenant has is open to every role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    ManageApis,
    Deploy,
    ManageUsagePlans,
    ManageApiKeys,
    /// One's own; everyone's with `ManageMembers` too.
    ManageAccessKeys,
    ManageMembers,
    /// Makes an owner, or touches what is an owner's: role, membership, invitation, access keys.
    ManageOwners,
    ReadBilling,
    ReadAudit,
}

impl Role {
    pub const ALL: [Self; 5] =
        [Self::Owner, Self::Admin, Self::Developer, Self::Billing, Self::Viewer];

    pub fn may(self, action: Action) -> bool {
        match self {
            Self::Owner => true,
            Self::Admin => action != Action::ManageOwners,
            Self::Developer => !matches!(
                action,
                Action::ManageMembers | Action::ManageOwners | Action::ReadBilling
            ),
            Self::Billing => matches!(action, Action::ReadBilling),
            Self::Viewer => matches!(action, Action::ReadBilling | Action::ReadAudit),
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Developer => "developer",
            Self::Billing => "billing",
            Self::Viewer => "viewer",
        }
    }
}

impl TryFrom<&str> for Role {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| Error::corrupt("role", text))
    }
}
