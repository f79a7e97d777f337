-- A deployment is a frozen copy of a draft; a stage points at one and carries what is live at once.
create table deployment (
    id text primary key check (id ~ '^[a-z0-9]{10}$'),
    tenant_id uuid not null,
    api_id text not null,
    description text not null default '' check (char_length(description) <= 1024),
    document bytea not null,                   -- tollgate.config.v1.Deployment without its id
    digest bytea not null,                     -- SHA-256 of document: the same draft has the same digest
    version bigint,                            -- the cell's version that last brought it to nodes; null: none did
    created_by uuid references user_account (id),
    created_at timestamptz not null default now(),
    unique (tenant_id, api_id, id),
    foreign key (tenant_id, api_id) references api (tenant_id, id) on delete cascade
);
create index deployment_api_idx on deployment (tenant_id, api_id, created_at);

create table stage (
    tenant_id uuid not null,
    api_id text not null,
    name text not null check (name = '$default' or name ~ '^[A-Za-z0-9_-]{1,128}$'),
    deployment_id text,
    description text not null default '' check (char_length(description) <= 1024),
    variables jsonb not null default '{}',
    throttle_rate_limit double precision,
    throttle_burst_limit integer,
    rate_limit_headers boolean,                -- null: the dialect's default
    auto_deploy boolean not null default false,
    method_settings jsonb not null default '{}',
    canary_settings jsonb,
    access_log_settings jsonb,
    client_certificate_id text not null default '',
    documentation_version text not null default '',
    tracing_enabled boolean not null default false,
    cache_cluster_enabled boolean not null default false,
    cache_cluster_size text not null default '',
    web_acl_arn text not null default '',
    tags jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (api_id, name),
    unique (tenant_id, api_id, name),
    check ((throttle_rate_limit is null) = (throttle_burst_limit is null)),
    foreign key (tenant_id, api_id) references api (tenant_id, id) on delete cascade,
    constraint stage_deployment_fkey foreign key (tenant_id, api_id, deployment_id) references deployment (tenant_id, api_id, id)
);

alter table deployment enable row level security;
alter table deployment force row level security;
alter table stage enable row level security;
alter table stage force row level security;
create policy own_tenant on deployment to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id());
create policy own_tenant on stage to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id());
create policy system on deployment for select to tollgate_system using (true);
create policy system on stage for select to tollgate_system using (true);
grant select, insert, update, delete on deployment, stage to tollgate_app;
grant select on deployment, stage to tollgate_system;
