//! Who calls.

use async_graphql::{Context, ErrorExtensions, Object, SimpleObject};

use crate::access::actor::Caller;
use crate::graphql::identity;

#[derive(Default)]
pub struct ViewerQuery;

#[derive(Default)]
pub struct ViewerMutation;

/// Who calls, and as what.
#[derive(SimpleObject)]
pub struct Viewer {
    /// Whether this is the operator of the installation, who belongs to no tenant.
    operator: bool,
}

#[Object]
impl ViewerQuery {
    /// Who calls.
    async fn viewer(&self, ctx: &Context<'_>) -> async_graphql::Result<Viewer> {
        let caller = identity(ctx).map_err(|error| error.extend())?;
        Ok(Viewer { operator: matches!(caller, Caller::Operator(_)) })
    }
}

#[Object]
impl ViewerMutation {
    /// Does nothing: a way to see that changes get through.
    async fn ping(&self) -> bool {
        true
    }
}
