//! Who may do what, as the product's own table says it.

use super::catalog::Operation;
use control_plane::access::matrix::{Who, who};
use control_plane::access::role::Role;

/// Roles below the owner's.
pub(super) const ROLES: [Role; 4] = [Role::Admin, Role::Developer, Role::Billing, Role::Viewer];

fn line(operation: &Operation) -> Who {
    let name = operation.name.as_str();
    who(name).unwrap_or_else(|| panic!("who may do {name}? access/matrix.rs has to say"))
}

pub(super) fn is_public(operation: &Operation) -> bool {
    line(operation) == Who::Anybody
}

pub(super) fn is_operators(operation: &Operation) -> bool {
    line(operation) == Who::Operator
}

pub(super) fn is_operators_too(operation: &Operation) -> bool {
    matches!(line(operation), Who::MembersAndOperator(_))
}

pub(super) fn may(role: Role, operation: &Operation) -> bool {
    line(operation).lets(role)
}
