-- Stages that serve the draft: a job deploys it to them after each change. What waits for that job, by Api, with the member whose change
-- it was, the last one where there were several.
alter table stage
    add column last_deployment_status_message text, -- of an automatic deployment
    add constraint stage_auto_deploy_check check (not auto_deploy or canary_deployment_id is null);
alter table deployment
    add column auto_deployed boolean not null default false;

create table pending_auto_deployment (
    tenant_id uuid not null,
    api_id text not null,
    user_id uuid not null references user_account (id) on delete cascade,
    session_id uuid not null,
    request_id text not null,
    address text not null,
    primary key (tenant_id, api_id),
    foreign key (tenant_id, api_id) references api (tenant_id, id) on delete cascade
);

alter table pending_auto_deployment enable row level security;
alter table pending_auto_deployment force row level security;
create policy own_tenant on pending_auto_deployment to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id());
create policy system on pending_auto_deployment for select to tollgate_system using (true);
grant select, insert, update, delete on pending_auto_deployment to tollgate_app;
grant select on pending_auto_deployment to tollgate_system;
