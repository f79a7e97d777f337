//! Members: users in tenants.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::access::role::Role;
use crate::app::Tx;
use crate::domain::member::Member;
use crate::domain::page::Page;
use crate::domain::user::{Email, User};
use crate::error::{Error, OnConstraint, Result};
use crate::ids::{TenantId, UserId};

pub async fn insert(tx: &mut Tx, tenant: TenantId, user: UserId, role: Role) -> Result<()> {
    sqlx::query!(
        "insert into member (tenant_id, user_id, role) values ($1, $2, $3)",
        tenant.0,
        user.0,
        role.as_str(),
    )
    .execute(&mut **tx)
    .await
    .on_constraint("member_pkey", || Error::conflict("", "this user is a member already"))?;
    Ok(())
}

pub async fn set_role(tx: &mut Tx, tenant: TenantId, user: UserId, role: Role) -> Result<()> {
    sqlx::query!(
        "update member set role = $3 where tenant_id = $1 and user_id = $2",
        tenant.0,
        user.0,
        role.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub async fn delete(tx: &mut Tx, tenant: TenantId, user: UserId) -> Result<()> {
    sqlx::query!("delete from member where tenant_id = $1 and user_id = $2", tenant.0, user.0)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The tenants that the user is in, and as what; in the order of their ids, by which they may be locked.
pub async fn of_user(tx: &mut Tx, user: UserId) -> Result<Vec<(TenantId, Role)>> {
    let rows = sqlx::query!(
        "select tenant_id, role from member where user_id = $1 order by tenant_id",
        user.0,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter()
        .map(|row| Ok((TenantId(row.tenant_id), Role::try_from(row.role.as_str())?)))
        .collect()
}

/// How many members the tenant has, with those who were invited and have not answered: at one instant, since who
/// answers goes from the one to the other.
pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<u32> {
    let count = sqlx::query_scalar!(
        r#"select (select count(*) from member where tenant_id = $1)
             + (select count(*) from invitation where tenant_id = $1) as "count!""#,
        tenant.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// How many owners the tenant has.
pub async fn owners(tx: &mut Tx, tenant: TenantId) -> Result<u32> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from member where tenant_id = $1 and role = 'owner'"#,
        tenant.0,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Whether this address is a member's.
pub async fn has_email(tx: &mut Tx, tenant: TenantId, email: &Email) -> Result<bool> {
    let found = sqlx::query_scalar!(
        r#"select exists (
               select 1 from member join user_account on user_account.id = member.user_id
               where member.tenant_id = $1 and lower(user_account.email) = lower($2)
           ) as "found!""#,
        tenant.0,
        email.as_str(),
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(found)
}

/// The user's role in the tenant, if a member of it, and unless it is closed.
pub async fn role(tx: &mut Tx, tenant: TenantId, user: UserId) -> Result<Option<Role>> {
    let role = sqlx::query_scalar!(
        "select role from member where tenant_id = $1 and user_id = $2
             and exists (select from tenant where id = $1 and status <> 'closed')",
        tenant.0,
        user.0
    )
    .fetch_optional(&mut **tx)
    .await?;
    role.map(|role| Role::try_from(role.as_str())).transpose()
}

/// The tenant that a log-in is for: the one with this name or id, else the one that the user joined first. No
/// name has a NUL, which PostgreSQL would not even take.
pub async fn tenant(
    tx: &mut Tx,
    user: UserId,
    name_or_id: Option<&str>,
) -> Result<Option<(TenantId, Role)>> {
    if name_or_id.is_some_and(|name| name.contains('\0')) {
        return Ok(None);
    }
    let row = sqlx::query!(
        "select tenant.id, member.role from member join tenant on tenant.id = member.tenant_id
         where member.user_id = $1 and tenant.status <> 'closed'
           and ($2::text is null or tenant.name = $2 or tenant.id::text = lower($2))
         order by member.created_at, tenant.id limit 1",
        user.0,
        name_or_id,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| Ok((TenantId(row.id), Role::try_from(row.role.as_str())?))).transpose()
}

pub async fn list(tx: &mut Tx, tenant: TenantId, page: &Page) -> Result<Vec<Member>> {
    let rows = sqlx::query_as!(
        Row,
        "select user_account.id, user_account.email, user_account.email_verified_at,
                user_account.created_at as user_created_at,
                member.role, member.created_at, member.revision
         from member join user_account on user_account.id = member.user_id
         where member.tenant_id = $1
           and ($2::timestamptz is null or (member.created_at, member.user_id) > ($2, $3))
           and ($4::timestamptz is null or (member.created_at, member.user_id) < ($4, $5))
         order by case when $6 then member.created_at end desc, case when $6 then member.user_id end desc,
                  member.created_at, member.user_id
         limit $7",
        tenant.0,
        page.after_at(),
        page.after_uuid()?,
        page.before_at(),
        page.before_uuid()?,
        page.backward(),
        page.rows_max(),
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(Member::try_from).collect()
}

/// Those of `ids` that are members of the tenant, in no order.
pub async fn find(tx: &mut Tx, tenant: TenantId, ids: &[UserId]) -> Result<Vec<Member>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        Row,
        "select user_account.id, user_account.email, user_account.email_verified_at,
                user_account.created_at as user_created_at,
                member.role, member.created_at, member.revision
         from member join user_account on user_account.id = member.user_id
         where member.tenant_id = $1 and member.user_id = any($2)",
        tenant.0,
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    rows.into_iter().map(Member::try_from).collect()
}

struct Row {
    id: Uuid,
    email: String,
    email_verified_at: Option<DateTime<Utc>>,
    user_created_at: DateTime<Utc>,
    role: String,
    created_at: DateTime<Utc>,
    revision: i64,
}

impl TryFrom<Row> for Member {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            user: User {
                id: UserId(row.id),
                email: row.email,
                email_verified: row.email_verified_at.is_some(),
                created_at: row.user_created_at,
            },
            role: Role::try_from(row.role.as_str())?,
            created_at: row.created_at,
            revision: row.revision,
        })
    }
}
