//! A running data plane, as the installation knows it: how it joins, how far it is, and how it is cut off.

use chrono::TimeDelta;

use crate::access::authority::Issued;
use crate::app::{App, Job, Tx};
use crate::domain::join_token::{self, NewJoinToken};
use crate::error::{Error, Result};
use crate::ids::NodeId;
use crate::store;

/// A node that was not heard of for this long does not count. It sends a heartbeat every 5 s.
pub const LIVE: TimeDelta = TimeDelta::seconds(20);

const NAME_CHARS_MAX: usize = 128;
const REASON_CHARS_MAX: usize = 1000;

/// A join token for the machine's administrator: see [`crate::domain::join_token`].
pub async fn create_join_token(app: &App, cells: &[String], life: TimeDelta) -> Result<String> {
    let new = NewJoinToken { name: String::new(), cells: cells.to_vec(), life };
    join_token::create_here(app, new).await
}

/// Admits a node that shows a token's secret, with the certificate that `certify` issues to it.
pub async fn join(
    app: &App,
    secret: &str,
    name: &str,
    certify: impl FnOnce(NodeId) -> Result<Issued>,
) -> Result<(NodeId, Issued)> {
    let now = app.clock.now();
    let mut tx = app.system(Job::Nodes).await?;
    let cells = store::join_token::spend(&mut tx, &join_token::hash(secret), now)
        .await?
        .ok_or(Error::Unauthenticated("the join token is unknown or has expired"))?;
    let id = app.rng.id();
    let issued = certify(id)?;
    let name = printable(name, NAME_CHARS_MAX);
    store::node::insert(&mut tx, id, &name, &cells, issued.expires_at, now).await?;
    tx.commit().await?;
    Ok((id, issued))
}

/// A fresh certificate for a node that called over its present one.
pub async fn renew(
    app: &App,
    id: NodeId,
    certify: impl FnOnce(NodeId) -> Result<Issued>,
) -> Result<Issued> {
    let mut tx = app.system(Job::Nodes).await?;
    let issued = certify(id)?;
    known(store::node::renew(&mut tx, id, issued.expires_at).await?)?;
    tx.commit().await?;
    Ok(issued)
}

/// A node asks for the streams of `cells`; each must be one that its token allowed.
pub async fn subscribe(
    app: &App,
    id: NodeId,
    cells: &[String],
    software_version: &str,
) -> Result<()> {
    let version = printable(software_version, NAME_CHARS_MAX);
    let now = app.clock.now();
    let mut tx = app.system(Job::Nodes).await?;
    let allowed = store::node::subscribed(&mut tx, id, &version, now, now - LIVE)
        .await?
        .ok_or(Error::Forbidden(UNKNOWN))?;
    if cells.iter().any(|cell| !allowed.contains(cell)) {
        return Err(Error::Forbidden("this node may not serve one of these cells"));
    }
    tx.commit().await?;
    Ok(())
}

/// The cells that a node may serve.
pub async fn cells(app: &App, id: NodeId) -> Result<Vec<String>> {
    let mut tx = app.system(Job::Nodes).await?;
    store::node::cells(&mut tx, id).await?.ok_or(Error::Forbidden(UNKNOWN))
}

/// Notes that a node is alive.
pub async fn heartbeat(app: &App, id: NodeId) -> Result<()> {
    let mut tx = app.system(Job::Nodes).await?;
    known(store::node::seen(&mut tx, id, app.clock.now()).await?)?;
    tx.commit().await?;
    Ok(())
}

/// Notes that everything up to and with `version` is live on a node.
pub async fn acknowledge(app: &App, id: NodeId, cell: &str, version: u64) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.system(Job::Nodes).await?;
    store::node::acknowledge(&mut tx, id, cell, version, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Notes what a node could not compile, and why.
pub async fn refuse(
    app: &App,
    id: NodeId,
    cell: &str,
    version: u64,
    resource: &str,
    reason: &str,
) -> Result<()> {
    let resource = printable(resource, REASON_CHARS_MAX);
    let reason = printable(reason, REASON_CHARS_MAX);
    let now = app.clock.now();
    let mut tx = app.system(Job::Nodes).await?;
    store::node::refuse(&mut tx, id, cell, version, &resource, &reason, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Ends a node's right to call. Every replica cuts its connections off.
pub async fn revoke(app: &App, id: NodeId) -> Result<()> {
    let mut tx = app.system(Job::Nodes).await?;
    revoke_in(app, &mut tx, id).await?;
    tx.commit().await?;
    Ok(())
}

/// The same as a part of something larger.
pub(super) async fn revoke_in(app: &App, tx: &mut Tx, id: NodeId) -> Result<()> {
    if !store::node::revoke(tx, id, app.clock.now()).await? {
        return Err(Error::NotFound("node"));
    }
    Ok(())
}

const UNKNOWN: &str = "this node is not of this installation, or was revoked";

fn known(found: bool) -> Result<()> {
    found.then_some(()).ok_or(Error::Forbidden(UNKNOWN))
}

/// What a node says of itself goes to people: one line of bounded length.
fn printable(text: &str, chars_max: usize) -> String {
    text.chars().filter(|char| !char.is_control()).take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;
    use crate::access::authority::Authority;
    use crate::domain::convergence;
    use crate::testing;

    fn cells() -> Vec<String> {
        vec!["default".to_owned()]
    }

    async fn admit(app: &App, secret: &str) -> Result<NodeId> {
        let issued =
            Issued { certificate: vec![], expires_at: app.clock.now() + TimeDelta::days(1) };
        Ok(join(app, secret, "node\n1", |_| Ok(issued)).await?.0)
    }

    async fn node(app: &App) -> NodeId {
        let token = create_join_token(app, &cells(), TimeDelta::hours(1)).await.unwrap();
        admit(app, token.split('.').next().unwrap()).await.unwrap()
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_join_token_admits_until_it_expires_and_no_other_does(db: PgPool) {
        let app = testing::app(db).await;
        let token = create_join_token(&app, &cells(), TimeDelta::hours(1)).await.unwrap();
        let (secret, fingerprint) = token.split_once('.').unwrap();

        assert_eq!(fingerprint, hex::encode(Authority::open(&app).await.unwrap().fingerprint()));
        assert!(admit(&app, secret).await.is_ok());
        assert!(matches!(admit(&app, &secret[1..]).await, Err(Error::Unauthenticated(_))));
        assert!(matches!(admit(&app, "").await, Err(Error::Unauthenticated(_))));
        app.clock.advance(TimeDelta::hours(1));
        assert!(matches!(admit(&app, secret).await, Err(Error::Unauthenticated(_))));
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_token_for_a_cell_that_is_not_there_is_refused(db: PgPool) {
        let app = testing::app(db).await;
        for wrong in [vec![], vec!["default".to_owned(), "nowhere".to_owned()]] {
            let refused = create_join_token(&app, &wrong, TimeDelta::hours(1)).await;
            assert!(matches!(refused, Err(Error::BadRequest { .. })), "{refused:?}");
        }
    }

    #[sqlx::test(migrations = "../migrations")]
    async fn a_revoked_node_is_refused_everything_and_does_not_count(db: PgPool) {
        let app = testing::app(db).await;
        let a = node(&app).await;
        subscribe(&app, a, &cells(), "1").await.unwrap();
        let elsewhere = subscribe(&app, a, &["east".to_owned()], "1").await;
        assert!(matches!(elsewhere, Err(Error::Forbidden(_))));

        revoke(&app, a).await.unwrap();

        assert!(matches!(subscribe(&app, a, &cells(), "1").await, Err(Error::Forbidden(_))));
        assert!(matches!(heartbeat(&app, a).await, Err(Error::Forbidden(_))));
        let fresh = Issued { certificate: vec![], expires_at: app.clock.now() };
        assert!(matches!(renew(&app, a, |_| Ok(fresh)).await, Err(Error::Forbidden(_))));
        assert!(convergence::of_version(&app, "default", 0, &[]).await.unwrap().nodes.is_empty());
        assert!(matches!(revoke(&app, app.rng.id()).await, Err(Error::NotFound(_))));
    }
}
