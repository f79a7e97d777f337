//! Requests as they end: what a tenant watches of its Apis, as nodes send it.

use proto::tail::v1::Tail;

use crate::access::actor::Actor;
use crate::app::App;
use crate::domain::{api, stage};
use crate::error::{Error, Result};
use crate::ids::ApiId;
use crate::live::Watching;
use crate::store;

/// Which requests of the tenant; all where nothing is named.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub api: Option<ApiId>,
    pub stage: Option<String>,
    /// 1 to 5: 2 for 2xx.
    pub status_class: Option<u8>,
}

/// Watches such requests, on every node of the tenant's cell, from now on.
pub async fn follow(app: &App, actor: &Actor, wanted: Wanted) -> Result<Watching> {
    if let Some(stage) = &wanted.stage {
        stage::check_name("stage", stage)?;
    }
    if wanted.status_class.is_some_and(|class| !(1..=5).contains(&class)) {
        return Err(Error::bad_request("statusClass", "must be 1 to 5: 2 for 2xx"));
    }
    if let Some(id) = wanted.api {
        api::get(app, actor, id).await?;
    }
    let mut tx = app.begin(actor).await?;
    let cell = store::cell::of_current_tenant(&mut tx).await?;
    drop(tx);
    let tail = Tail {
        api_id: wanted.api.map(|id| id.to_string()).unwrap_or_default(),
        stage: wanted.stage.unwrap_or_default(),
        status_class: wanted.status_class.unwrap_or_default().into(),
        ..Tail::default()
    };
    app.live.tails.watch(actor.tenant, cell, tail).ok_or_else(|| {
        Error::limit_exceeded("", "requests are watched in as many places as may be; close one")
    })
}
