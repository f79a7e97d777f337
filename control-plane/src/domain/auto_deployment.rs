//! Stages that serve the draft (`autoDeploy`, a word of AWS's): a job deploys it to them within moments of each change, however many
//! changes came until then. A change notes in its own transaction that it waits, so none is forgotten.

use std::collections::HashMap;

use crate::access::actor::Actor;
use crate::app::{App, Job, Tx};
use crate::domain::deployment;
use crate::domain::stage::{self, Stage};
use crate::error::{Error, Result};
use crate::ids::{ApiId, DeploymentId, TenantId};
use crate::snapshot::document::Document;
use crate::snapshot::{compile, validate};
use crate::store;

/// What AWS says of them.
pub const DESCRIPTION: &str = "Automatic deployment triggered by changes to the Api configuration";
/// In hand in one run of the job.
const AT_ONCE: i64 = 64;

/// Notes that the draft of an Api, which the transaction has locked, changed.
pub(crate) async fn draft_changed(tx: &mut Tx, actor: &Actor, api: ApiId) -> Result<()> {
    store::auto_deployment::note(tx, actor, api).await
}

/// Nobody deploys to a stage that deploys by itself.
pub(crate) fn refuse_deployment(stage: &Stage, param: &str) -> Result<()> {
    if stage.auto_deploy {
        let rule = format!(
            "the stage {} has autoDeploy, so it serves the draft as it is; turn that off to choose its deployment",
            stage.name
        );
        return Err(Error::conflict(param, rule));
    }
    Ok(())
}

/// What a stage with `autoDeploy` must be.
pub(crate) fn check_stage(stage: &Stage) -> Result<()> {
    if stage.auto_deploy && stage.canary.is_some() {
        let rule =
            "a stage with a canary takes no other deployment: promote or end the canary first";
        return Err(Error::conflict("autoDeploy", rule));
    }
    Ok(())
}

/// Deploys the drafts that wait for it.
pub(crate) async fn run(app: &App) -> Result<()> {
    let mut tx = app.system(Job::AutoDeploy).await?;
    let waiting = store::auto_deployment::waiting(&mut tx, AT_ONCE).await?;
    drop(tx);
    let mut failed = None;
    for (tenant, api) in waiting {
        // One that fails for a fault of ours must not keep others waiting.
        if let Err(error) = deploy(app, tenant, api).await {
            failed = Some(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn deploy(app: &App, tenant: TenantId, api: ApiId) -> Result<()> {
    match attempt(app, tenant, api).await {
        // The Api went, and what waited of it; or its tenant was suspended just now, and it waits until that may change
        // something.
        Ok(()) | Err(Error::NotFound("api") | Error::TenantSuspended { .. }) => Ok(()),
        Err(error) if is_ours(&error) => Err(error),
        Err(refused) => give_up(app, tenant, api, &refused).await,
    }
}

/// All in one transaction: what waits is gone when it is deployed, and not before.
async fn attempt(app: &App, tenant: TenantId, api: ApiId) -> Result<()> {
    let mut tx = app.begin_in(tenant).await?;
    store::api::lock(&mut tx, tenant, api).await?;
    let Some(actor) = store::auto_deployment::take(&mut tx, tenant, api).await? else {
        return Ok(());
    };
    let behind = behind(&mut tx, &actor, api).await?;
    if !behind.is_empty() {
        let made = deployment::freeze(app, &mut tx, &actor, api, DESCRIPTION, true).await?;
        let mut refusals = Vec::new();
        for stage in &behind {
            match check_fit(app, &mut tx, &actor, stage, made.id).await {
                Ok(()) => go_live(app, &mut tx, &actor, stage, made.id).await?,
                Err(error) if is_ours(&error) => return Err(error),
                Err(refusal) => refusals.push((stage, refusal)),
            }
        }
        if refusals.len() == behind.len()
            && let Some((_, refusal)) = refusals.pop()
        {
            return Err(refusal); // a deployment that no stage takes is not kept
        }
        for (stage, refusal) in refusals {
            store::auto_deployment::tell(&mut tx, stage, &refusal.to_string()).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}

/// The Api's stages that deploy by themselves and serve something else than its draft.
async fn behind(tx: &mut Tx, actor: &Actor, api: ApiId) -> Result<Vec<Stage>> {
    let mut stages = store::stage::of_api(tx, actor.tenant, api).await?;
    stages.retain(|stage| stage.auto_deploy);
    let Some(draft) = store::draft::load(tx, actor.tenant, &[api]).await?.pop() else {
        return Ok(Vec::new());
    };
    let digest = Some(Document::of(&draft).digest());
    let served = store::stage::served_digests(tx, actor.tenant, &[api]).await?;
    let served: HashMap<_, _> = served.into_iter().collect();
    stages.retain(|stage| served.get(&stage.id()) != Some(&digest));
    Ok(stages)
}

async fn check_fit(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    stage: &Stage,
    id: DeploymentId,
) -> Result<()> {
    validate::stage_enforced(&compile::stage(tx, actor.tenant, stage.api, &stage.name).await?)?;
    deployment::check_fit(app, tx, actor, stage.api, id, &stage.variables).await
}

async fn go_live(
    app: &App,
    tx: &mut Tx,
    actor: &Actor,
    before: &Stage,
    id: DeploymentId,
) -> Result<()> {
    let after = Stage {
        deployment: Some(id),
        last_deployment_status_message: Some(format!(
            "Successfully deployed stage with deployment ID '{id}'"
        )),
        ..before.clone()
    };
    stage::put(app, tx, actor, before.clone(), after).await?;
    Ok(())
}

/// What waits is done with: its stages say why they do not serve the draft, until it changes again.
async fn give_up(app: &App, tenant: TenantId, api: ApiId, refusal: &Error) -> Result<()> {
    let mut tx = app.begin_in(tenant).await?;
    store::api::lock(&mut tx, tenant, api).await?;
    let Some(actor) = store::auto_deployment::take(&mut tx, tenant, api).await? else {
        return Ok(());
    };
    let message = refusal.to_string();
    for stage in behind(&mut tx, &actor, api).await? {
        store::auto_deployment::tell(&mut tx, &stage, &message).await?;
    }
    tx.commit().await?;
    Ok(())
}

/// A fault that time may mend: what waits goes on waiting.
fn is_ours(error: &Error) -> bool {
    matches!(error, Error::Internal(_) | Error::Timeout)
}

#[cfg(test)]
mod tests;
