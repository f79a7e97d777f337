//! Who calls: a member of a tenant, or the operator of the installation.

use crate::access::precondition::{Precondition, Versioned};
use crate::access::role::{Action, Role};
use crate::error::{Error, Result};
use crate::ids::{SessionId, TenantId, UserId};

/// From where a call came, for the audit log and the limits of log-ins.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub request_id: String,
    pub address: String,
    /// As the client calls itself, at most 256 characters.
    pub user_agent: String,
}

/// A member acting in a tenant. Every tenant operation takes one; a handler without it is visibly public.
#[derive(Clone, Debug)]
pub struct Actor {
    pub tenant: TenantId,
    pub user: UserId,
    pub session: SessionId,
    pub role: Role,
    /// Of the noun that the call changes.
    pub precondition: Precondition,
    pub origin: Origin,
}

impl Actor {
    pub fn may(&self, action: Action) -> Result<()> {
        if self.role.may(action) {
            Ok(())
        } else {
            Err(Error::Forbidden("your role in this tenant does not allow this"))
        }
    }

    /// Refuses to change what is not in the state that the caller saw, where it says which.
    pub fn expects(&self, noun: &impl Versioned) -> Result<()> {
        self.precondition.check(noun)
    }

    /// The same member who wants to change this version only.
    #[must_use]
    pub fn expecting(&self, version: Option<String>) -> Self {
        let precondition = version.map(|version| Precondition::one_of(vec![version]));
        Self { precondition: precondition.unwrap_or_default(), ..self.clone() }
    }
}

/// The operator of the installation, who belongs to no tenant.
#[derive(Clone, Debug)]
pub struct Operator {
    pub user: UserId,
    pub session: SessionId,
    pub origin: Origin,
}

/// Whoever sent a valid access token.
#[derive(Clone, Debug)]
pub enum Caller {
    Member(Actor),
    Operator(Operator),
}

impl Caller {
    pub fn user(&self) -> UserId {
        match self {
            Self::Member(actor) => actor.user,
            Self::Operator(operator) => operator.user,
        }
    }

    /// None for the operator.
    pub fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::Member(actor) => Some(actor.tenant),
            Self::Operator(_) => None,
        }
    }

    pub fn session(&self) -> SessionId {
        match self {
            Self::Member(actor) => actor.session,
            Self::Operator(operator) => operator.session,
        }
    }

    pub fn origin(&self) -> &Origin {
        match self {
            Self::Member(actor) => &actor.origin,
            Self::Operator(operator) => &operator.origin,
        }
    }

    pub fn member(&self) -> Result<&Actor> {
        match self {
            Self::Member(actor) => Ok(actor),
            Self::Operator(_) => Err(Error::Forbidden("the operator belongs to no tenant")),
        }
    }

    pub fn operator(&self) -> Result<&Operator> {
        match self {
            Self::Operator(operator) => Ok(operator),
            Self::Member(_) => Err(Error::Forbidden("only the operator may do this")),
        }
    }
}
