//! A stage and a plan whose limits no other test has.

use proto::config::v1::{
    ApiStage, Dialect::Native, Resource, Stage, UsagePlan, integration::Kind as Integration,
};

use super::{
    limits::plan,
    world::{API, api_with, key},
};

pub(super) struct Limited {
    pub(super) stage: String,
    pub(super) plan: String,
}

impl Limited {
    pub(super) fn new() -> Self {
        let plan = plan(|_| {}).id;
        Self { stage: format!("stage-{plan}"), plan }
    }

    /// Routes, and whether each needs a key; [`super::limits::KEY`] is on the plan.
    pub(super) fn with(
        &self,
        routes: Vec<(&str, Integration, bool)>,
        change: impl FnOnce(&mut Stage, &mut UsagePlan),
    ) -> Vec<Resource> {
        let mut plan = UsagePlan { id: self.plan.clone(), ..UsagePlan::default() };
        let on_it =
            ApiStage { api_id: API.into(), stage: self.stage.clone(), ..ApiStage::default() };
        plan.api_stages.push(on_it);
        let mut resources = api_with(Native, routes, |(_, _, stage)| {
            stage.name.clone_from(&self.stage);
            change(stage, &mut plan);
        });
        resources.extend(key("tg_live_1", plan, |_| {}));
        resources
    }
}
