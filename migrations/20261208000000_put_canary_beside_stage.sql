-- A stage's canary: another deployment that a part of its calls goes to. What it is lies in the settings; its
-- deployment stands in a column of its own, so that it is one of the Api's, and nobody clears it away.
alter table stage
    add column canary_deployment_id text,
    add constraint stage_canary_check check ((canary_deployment_id is null) = (canary_settings is null)),
    add constraint stage_canary_deployment_fkey foreign key (tenant_id, api_id, canary_deployment_id)
        references deployment (tenant_id, api_id, id);
