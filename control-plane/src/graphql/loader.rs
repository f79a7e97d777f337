//! Children in batches: a list's items ask one by one, PostgreSQL is asked once.
//!
//! Each noun implements [`async_graphql::dataloader::Loader`] of its id for [`Batches`], in its own file; a
//! resolver then says `loader::one(ctx, id)`. What is not the caller's is simply absent.

use std::hash::Hash;
use std::sync::Arc;

use async_graphql::Context;
use async_graphql::dataloader::{DataLoader, Loader};

use crate::access::actor::Actor;
use crate::app::App;
use crate::error::{Error, Result};

/// What every batch needs. Errors are shared by all who wait for the batch.
pub struct Batches {
    pub app: App,
    pub actor: Actor,
}

/// One request's batches; the HTTP handler makes one for each member's request.
pub fn batches(app: &App, actor: &Actor) -> DataLoader<Batches> {
    DataLoader::new(Batches { app: app.clone(), actor: actor.clone() }, tokio::spawn)
}

/// The noun with this key, if it is in the caller's tenant.
pub async fn one<K>(ctx: &Context<'_>, key: K) -> Result<Option<<Batches as Loader<K>>::Value>>
where
    K: Send + Sync + Hash + Eq + Clone + 'static,
    Batches: Loader<K, Error = Arc<Error>>,
{
    // Without a member there are no batches; this says why.
    super::caller(ctx)?;
    ctx.data_unchecked::<DataLoader<Batches>>().load_one(key).await.map_err(shared)
}

/// The nouns with these keys, in their order, without those that are not in the caller's tenant.
pub async fn many<K>(ctx: &Context<'_>, keys: Vec<K>) -> Result<Vec<<Batches as Loader<K>>::Value>>
where
    K: Send + Sync + Hash + Eq + Clone + 'static,
    Batches: Loader<K, Error = Arc<Error>>,
{
    super::caller(ctx)?;
    let batches = ctx.data_unchecked::<DataLoader<Batches>>();
    let mut found = batches.load_many(keys.iter().cloned()).await.map_err(shared)?;
    Ok(keys.iter().filter_map(|key| found.remove(key)).collect())
}

/// One waiter's copy of the batch's error: what the caller can act on stays what it is.
fn shared(error: Arc<Error>) -> Error {
    match &*error {
        Error::Unauthenticated(what) => Error::Unauthenticated(what),
        Error::Forbidden(what) => Error::Forbidden(what),
        Error::NotFound(what) => Error::NotFound(what),
        Error::NotKept(message) => Error::NotKept(message.clone()),
        Error::TooManyRequests { retry_after_seconds } => {
            Error::TooManyRequests { retry_after_seconds: *retry_after_seconds }
        }
        Error::BadRequest { param, message } => Error::bad_request(param, message),
        Error::Conflict { param, message } => Error::conflict(param, message),
        Error::LimitExceeded { param, message } => Error::limit_exceeded(param, message),
        Error::Timeout => Error::Timeout,
        _ => Error::internal(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_batch_was_refused_for_is_what_each_who_waits_is_told() {
        for error in [
            Error::Forbidden("not yours to see"),
            Error::NotFound("api"),
            Error::TooManyRequests { retry_after_seconds: 7 },
            Error::bad_request("after", "this is no cursor"),
            Error::limit_exceeded("", "too many"),
            Error::internal("the database is gone"),
        ] {
            let (code, text) = (error.code(), error.to_string());
            let told = shared(Arc::new(error));
            assert_eq!((told.code(), told.to_string()), (code, text));
        }
    }
}
