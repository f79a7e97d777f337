//! A member: a user in a tenant, with a role.

use chrono::{DateTime, Utc};

use crate::access::actor::Actor;
use crate::access::role::Role;
use crate::app::App;
use crate::domain::page::{Key, Keyed, Page, Paged};
use crate::domain::user::User;
use crate::error::Result;
use crate::ids::UserId;
use crate::store;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub user: User,
    pub role: Role,
    pub created_at: DateTime<Utc>,
}

impl Keyed for Member {
    fn key(&self) -> Key {
        Key::new(self.created_at, &self.user.id)
    }
}

/// Longest member first.
pub async fn list(app: &App, actor: &Actor, page: &Page) -> Result<Paged<Member>> {
    let mut tx = app.begin(actor).await?;
    Ok(page.cut(store::member::list(&mut tx, actor.tenant, page).await?))
}

/// Those of `ids` that are members of the tenant, in no order.
pub async fn find(app: &App, actor: &Actor, ids: &[UserId]) -> Result<Vec<Member>> {
    let mut tx = app.begin(actor).await?;
    store::member::find(&mut tx, actor.tenant, ids).await
}
