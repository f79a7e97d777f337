//! What every deletion takes and gives.

use async_graphql::{ID, InputObject, SimpleObject};

use crate::error::Result;
use crate::graphql::error::{UserError, user_errors};

#[derive(InputObject)]
pub struct DeleteInput {
    pub id: ID,
    /// Refused with `VERSION_CONFLICT` where it is not the present one.
    pub expected_version: Option<String>,
}

#[derive(SimpleObject)]
pub struct DeletePayload {
    pub deleted_id: Option<ID>,
    pub user_errors: Vec<UserError>,
}

impl DeletePayload {
    /// The id is given back once nothing has it any more.
    pub fn of(id: ID, result: Result<()>) -> async_graphql::Result<Self> {
        let (done, user_errors) = user_errors(result)?;
        Ok(Self { deleted_id: done.map(|()| id), user_errors })
    }
}
