//! A log-in: its access tokens, its refreshing, its end.

use crate::access::actor::{Actor, Caller, Operator, Origin};
use crate::app::{App, Job};
use crate::error::{Error, Result};
use crate::store;

/// Who sent this access token. A revoked session, a member who left and a suspended operator are nobody.
pub async fn authenticate(app: &App, token: &str, origin: Origin) -> Result<Caller> {
    let bearer = app.tokens.verify(&app.clock, token)?;
    if app.revoked.borrow().contains(&bearer.session) {
        return Err(Error::Unauthenticated("the session was ended"));
    }
    let nobody = Error::Unauthenticated("the access token is not valid");
    let mut tx = app.system(Job::Sessions).await?;
    match bearer.tenant {
        Some(tenant) => {
            let role = store::member::role(&mut tx, tenant, bearer.user).await?.ok_or(nobody)?;
            Ok(Caller::Member(Actor {
                tenant,
                user: bearer.user,
                session: bearer.session,
                role,
                origin,
            }))
        }
        None if store::user::is_operator(&mut tx, bearer.user).await? => {
            Ok(Caller::Operator(Operator { user: bearer.user, session: bearer.session, origin }))
        }
        None => Err(nobody),
    }
}
