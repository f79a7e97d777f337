//! Join tokens.

use async_graphql::connection::Connection;
use async_graphql::{Context, ID, InputObject, Object, SimpleObject};
use chrono::{DateTime, Utc};

use crate::domain;
use crate::domain::join_token::NewJoinToken;
use crate::domain::page::Key;
use crate::error::{Error, Result};
use crate::graphql::connection::{connection, page};
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::operator;
use crate::ids::JoinTokenId;

#[derive(Default)]
pub struct JoinTokenQuery;

#[derive(Default)]
pub struct JoinTokenMutation;

/// With a join token's secret nodes join the fleet, until it expires or is deleted.
#[derive(SimpleObject)]
pub struct JoinToken {
    id: ID,
    /// What it is for; may be empty.
    name: String,
    /// What the nodes may serve.
    cells: Vec<String>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// How many nodes joined by it.
    uses: i32,
    last_used_at: Option<DateTime<Utc>>,
}

impl From<domain::join_token::JoinToken> for JoinToken {
    fn from(token: domain::join_token::JoinToken) -> Self {
        Self {
            id: token.id.to_string().into(),
            name: token.name,
            cells: token.cells,
            created_at: token.created_at,
            expires_at: token.expires_at,
            uses: token.uses,
            last_used_at: token.last_used_at,
        }
    }
}

#[derive(InputObject)]
pub struct CreateJoinTokenInput {
    /// What it is for, at most 128 characters.
    #[graphql(default)]
    name: String,
    /// What the nodes may serve.
    #[graphql(default_with = "vec![\"default\".to_owned()]")]
    cells: Vec<String>,
    /// From a minute to 30 days.
    #[graphql(default = 3600)]
    expires_in_seconds: i32,
}

#[derive(SimpleObject)]
pub struct CreateJoinTokenPayload {
    join_token: Option<JoinToken>,
    /// What `TOLLGATE_JOIN_TOKEN` of a node takes. Shown this once.
    token: Option<String>,
    user_errors: Vec<UserError>,
}

#[derive(InputObject)]
pub struct DeleteJoinTokenInput {
    join_token_id: String,
}

#[derive(SimpleObject)]
pub struct DeleteJoinTokenPayload {
    join_token: Option<JoinToken>,
    user_errors: Vec<UserError>,
}

#[Object]
impl JoinTokenQuery {
    /// The tokens by which nodes may join now, the newest first; the operator's.
    async fn join_tokens(
        &self,
        ctx: &Context<'_>,
        first: Option<i32>,
        after: Option<String>,
        last: Option<i32>,
        before: Option<String>,
    ) -> async_graphql::Result<Connection<Key, JoinToken>> {
        let (app, operator) = operator(ctx)?;
        let page = page(first, after, last, before)?;
        Ok(connection(domain::join_token::list(app, operator, &page).await?))
    }
}

#[Object]
impl JoinTokenMutation {
    /// Makes a token by which any number of nodes may join until it expires; the operator's.
    async fn create_join_token(
        &self,
        ctx: &Context<'_>,
        input: CreateJoinTokenInput,
    ) -> async_graphql::Result<CreateJoinTokenPayload> {
        let (app, operator) = operator(ctx)?;
        let made = async {
            let life = Some(i64::from(input.expires_in_seconds));
            let new = NewJoinToken::new(&input.name, input.cells, life)?;
            domain::join_token::create(app, operator, new).await
        };
        let (made, user_errors) = user_errors(made.await)?;
        let (join_token, token) = made.unzip();
        Ok(CreateJoinTokenPayload { join_token: join_token.map(Into::into), token, user_errors })
    }

    /// Nobody joins by the token any more; who did stays. The operator's.
    async fn delete_join_token(
        &self,
        ctx: &Context<'_>,
        input: DeleteJoinTokenInput,
    ) -> async_graphql::Result<DeleteJoinTokenPayload> {
        let (app, operator) = operator(ctx)?;
        let gone = async {
            let id = join_token(&input.join_token_id)?;
            domain::join_token::delete(app, operator, id).await
        };
        let (gone, user_errors) = user_errors(gone.await)?;
        Ok(DeleteJoinTokenPayload { join_token: gone.map(Into::into), user_errors })
    }
}

fn join_token(text: &str) -> Result<JoinTokenId> {
    text.parse().map_err(|_| Error::NotFound("join token"))
}
