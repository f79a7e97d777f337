//! Users: people, one per email.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::app::Tx;
use crate::domain::user::{Account, Email, NewUser, User};
use crate::error::{Error, OnConstraint, Result};
use crate::ids::UserId;

pub async fn insert(tx: &mut Tx, new: &NewUser) -> Result<User> {
    let row = sqlx::query_as!(
        Row,
        "insert into user_account (id, email, password_hash, operator) values ($1, $2, $3, $4)
         returning id, email, email_verified_at, created_at",
        new.id.0,
        new.email.as_str(),
        new.password_hash,
        new.operator,
    )
    .fetch_one(&mut **tx)
    .await
    .on_constraint("user_account_email_key", || {
        Error::conflict("email", "an account with this email exists; log in instead")
    })?;
    Ok(row.into())
}

pub async fn get(tx: &mut Tx, id: UserId) -> Result<User> {
    let row = sqlx::query_as!(
        Row,
        "select id, email, email_verified_at, created_at from user_account where id = $1",
        id.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(User::from).ok_or(Error::NotFound("user"))
}

/// What a log-in with this email is checked against.
pub async fn account(tx: &mut Tx, email: &Email) -> Result<Option<Account>> {
    let row = sqlx::query_as!(
        AccountRow,
        "select id, email, email_verified_at, created_at, password_hash, operator from user_account
         where lower(email) = lower($1)",
        email.as_str(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(row.map(Account::from))
}

/// What this user's password is checked against.
pub async fn account_of(tx: &mut Tx, id: UserId) -> Result<Account> {
    let row = sqlx::query_as!(
        AccountRow,
        "select id, email, email_verified_at, created_at, password_hash, operator from user_account
         where id = $1",
        id.0,
    )
    .fetch_optional(&mut **tx)
    .await?;
    row.map(Account::from).ok_or(Error::NotFound("user"))
}

/// Somebody has shown that they read this address's mail, if it is still the user's.
pub async fn verify(tx: &mut Tx, id: UserId, email: &str, now: DateTime<Utc>) -> Result<()> {
    sqlx::query!(
        "update user_account set email_verified_at = coalesce(email_verified_at, $3)
         where id = $1 and lower(email) = lower($2)",
        id.0,
        email,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Gives the user another address, which is not verified.
pub async fn set_email(tx: &mut Tx, id: UserId, email: &str) -> Result<()> {
    sqlx::query!(
        "update user_account set email = $2, email_verified_at = null, updated_at = now() where id = $1",
        id.0,
        email,
    )
    .execute(&mut **tx)
    .await
    .on_constraint("user_account_email_key", || {
        Error::conflict("email", "another account has this address")
    })?;
    Ok(())
}

/// Deletes a user whom nothing names any more.
pub async fn delete(tx: &mut Tx, id: UserId) -> Result<()> {
    sqlx::query!("delete from user_account where id = $1", id.0).execute(&mut **tx).await?;
    Ok(())
}

pub async fn set_password(tx: &mut Tx, id: UserId, password_hash: &str) -> Result<()> {
    sqlx::query!(
        "update user_account set password_hash = $2, updated_at = now() where id = $1",
        id.0,
        password_hash,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Whether the user's password still has this hash; if so it keeps it until the transaction ends.
pub async fn keep_password(tx: &mut Tx, id: UserId, password_hash: &str) -> Result<bool> {
    let kept = sqlx::query_scalar!(
        "select id from user_account where id = $1 and password_hash = $2 for share",
        id.0,
        password_hash,
    )
    .fetch_optional(&mut **tx)
    .await?;
    Ok(kept.is_some())
}

pub async fn is_operator(tx: &mut Tx, user: UserId) -> Result<bool> {
    let operator = sqlx::query_scalar!("select operator from user_account where id = $1", user.0)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(operator.unwrap_or(false))
}

struct Row {
    id: Uuid,
    email: String,
    email_verified_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl From<Row> for User {
    fn from(row: Row) -> Self {
        Self {
            id: UserId(row.id),
            email: row.email,
            email_verified: row.email_verified_at.is_some(),
            created_at: row.created_at,
        }
    }
}

struct AccountRow {
    id: Uuid,
    email: String,
    email_verified_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    password_hash: String,
    operator: bool,
}

impl From<AccountRow> for Account {
    fn from(row: AccountRow) -> Self {
        let AccountRow { id, email, email_verified_at, created_at, .. } = row;
        Self {
            user: Row { id, email, email_verified_at, created_at }.into(),
            password_hash: row.password_hash,
            operator: row.operator,
        }
    }
}
