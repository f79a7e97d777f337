//! Apis whose draft waits to be deployed to the stages that serve it.

use crate::access::actor::{Actor, Origin};
use crate::access::precondition::Precondition;
use crate::access::role::Role;
use crate::app::Tx;
use crate::domain::stage::Stage;
use crate::error::Result;
use crate::ids::{ApiId, SessionId, TenantId, UserId};

/// Notes that the member changed the Api's draft, where one of its stages has `auto_deploy`.
pub async fn note(tx: &mut Tx, actor: &Actor, api: ApiId) -> Result<()> {
    sqlx::query!(
        "insert into pending_auto_deployment (tenant_id, api_id, user_id, session_id, request_id, address)
         select $1, $2, $3, $4, $5, $6
         where exists (select 1 from stage where tenant_id = $1 and api_id = $2 and auto_deploy)
         on conflict (tenant_id, api_id) do update set user_id = excluded.user_id,
             session_id = excluded.session_id, request_id = excluded.request_id, address = excluded.address",
        actor.tenant.0,
        api.as_str(),
        actor.user.0,
        actor.session.0,
        actor.origin.request_id,
        actor.origin.address,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Some that wait, of any tenant that may change something.
pub async fn waiting(tx: &mut Tx, most: i64) -> Result<Vec<(TenantId, ApiId)>> {
    let rows = sqlx::query!(
        "select p.tenant_id, p.api_id from pending_auto_deployment p join tenant t on t.id = p.tenant_id
         where t.suspended_at is null
         order by p.tenant_id, p.api_id limit $1",
        most,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(|row| Ok((TenantId(row.tenant_id), row.api_id.parse()?))).collect()
}

/// Takes what waits of an Api, for this transaction to do: who changed it last. None: another did it.
pub async fn take(tx: &mut Tx, tenant: TenantId, api: ApiId) -> Result<Option<Actor>> {
    let row = sqlx::query!(
        "delete from pending_auto_deployment where tenant_id = $1 and api_id = $2
         returning user_id, session_id, request_id, address",
        tenant.0,
        api.as_str(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(|row| Actor {
        tenant,
        user: UserId(row.user_id),
        session: SessionId(row.session_id),
        // Who had the stage deploy by itself could deploy.
        role: Role::Admin,
        precondition: Precondition::default(),
        origin: Origin {
            request_id: row.request_id,
            address: row.address,
            user_agent: String::new(),
        },
    }))
}

/// Has a stage say how its last deployment went.
pub async fn tell(tx: &mut Tx, stage: &Stage, message: &str) -> Result<()> {
    sqlx::query!(
        "update stage set last_deployment_status_message = $3 where api_id = $1 and name = $2",
        stage.api.as_str(),
        stage.name,
        message,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
