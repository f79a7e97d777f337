//! Tenants and users.

use async_graphql::{ID, Object};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::graphql::node::Kind;

/// The account of one customer of this installation.
pub struct Tenant(domain::tenant::Tenant);

/// A person; one per email in the whole installation.
pub struct User(domain::user::User);

impl From<domain::tenant::Tenant> for Tenant {
    fn from(tenant: domain::tenant::Tenant) -> Self {
        Self(tenant)
    }
}

impl From<domain::user::User> for User {
    fn from(user: domain::user::User) -> Self {
        Self(user)
    }
}

#[Object]
impl Tenant {
    pub async fn id(&self) -> ID {
        Kind::Tenant.id(self.0.id)
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }
}

#[Object]
impl User {
    pub async fn id(&self) -> ID {
        Kind::User.id(self.0.id)
    }

    async fn email(&self) -> &str {
        &self.0.email
    }

    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }
}
