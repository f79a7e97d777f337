//! Whether a draft differs from what is served: told by the digests of frozen drafts, without looking into them.

use std::collections::HashMap;

use crate::access::actor::Actor;
use crate::app::App;
use crate::error::Result;
use crate::ids::{ApiId, StageId};
use crate::snapshot::document::Document;
use crate::store;

/// Whether each of these Apis' drafts differs from what one of its stages serves, or from nothing at all
/// where it has no stage.
pub async fn of_apis(app: &App, actor: &Actor, ids: &[ApiId]) -> Result<HashMap<ApiId, bool>> {
    let drafts = draft_digests(app, actor, ids).await?;
    let mut tx = app.begin(actor).await?;
    let served = store::stage::served_digests(&mut tx, actor.tenant, ids).await?;
    Ok(drafts
        .into_iter()
        .map(|(api, draft)| {
            let mut stages = served.iter().filter(|(stage, _)| stage.api == api).peekable();
            let pending = match stages.peek() {
                None => draft.is_some(),
                Some(_) => stages.any(|(_, digest)| *digest != draft),
            };
            (api, pending)
        })
        .collect())
}

/// Whether the draft of each stage's Api differs from what the stage serves.
pub async fn of_stages(
    app: &App,
    actor: &Actor,
    stages: &[StageId],
) -> Result<HashMap<StageId, bool>> {
    let apis: Vec<ApiId> = stages.iter().map(|stage| stage.api).collect();
    let drafts = draft_digests(app, actor, &apis).await?;
    let mut tx = app.begin(actor).await?;
    let served = store::stage::served_digests(&mut tx, actor.tenant, &apis).await?;
    Ok(served
        .into_iter()
        .map(|(stage, digest)| {
            let pending = drafts.get(&stage.api).is_some_and(|draft| *draft != digest);
            (stage, pending)
        })
        .collect())
}

/// What deploying each of these Apis' drafts now would give: its digest, or nothing where there is nothing to
/// deploy yet. A stage whose deployment has another digest is behind its draft.
async fn draft_digests(
    app: &App,
    actor: &Actor,
    ids: &[ApiId],
) -> Result<HashMap<ApiId, Option<[u8; 32]>>> {
    let mut tx = app.begin(actor).await?;
    let mut digests = HashMap::with_capacity(ids.len());
    for id in ids {
        // One at a time: a draft may have megabytes.
        for draft in store::draft::load(&mut tx, actor.tenant, &[*id]).await? {
            let digest = (!draft.routes.is_empty()).then(|| Document::of(&draft).digest());
            digests.insert(draft.id, digest);
        }
    }
    Ok(digests)
}
