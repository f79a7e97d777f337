-- Consumers, their keys, and the plans that say how much may pass.
create table consumer (
    id uuid primary key,
    tenant_id uuid not null references tenant (id),
    name text not null check (char_length(name) between 1 and 128),
    external_id text not null default '' check (char_length(external_id) <= 256),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (tenant_id, id),
    constraint consumer_name_key unique (tenant_id, name)
);

create table usage_plan (
    id text primary key check (id ~ '^[a-z0-9]{10}$'),
    tenant_id uuid not null references tenant (id),
    name text not null check (char_length(name) between 1 and 128),
    description text not null default '' check (char_length(description) <= 1024),
    throttle_rate_limit double precision,
    throttle_burst_limit integer,
    quota_limit bigint,
    quota_period text check (quota_period in ('DAY', 'WEEK', 'MONTH')),
    quota_offset integer not null default 0,
    product_code text not null default '',
    tags jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (tenant_id, id),
    constraint usage_plan_name_key unique (tenant_id, name),
    check ((throttle_rate_limit is null) = (throttle_burst_limit is null)),
    check ((quota_limit is null) = (quota_period is null))
);
create index usage_plan_tenant_idx on usage_plan (tenant_id, created_at, id);

create table usage_plan_stage (
    tenant_id uuid not null,
    usage_plan_id text not null,
    api_id text not null,
    stage_name text not null,
    route_throttles jsonb not null default '{}', -- {"/path/METHOD": {rateLimit, burstLimit}}
    primary key (usage_plan_id, api_id, stage_name),
    foreign key (tenant_id, usage_plan_id) references usage_plan (tenant_id, id) on delete cascade,
    constraint usage_plan_stage_stage_fkey foreign key (tenant_id, api_id, stage_name) references stage (tenant_id, api_id, name)
);
create index usage_plan_stage_stage_idx on usage_plan_stage (tenant_id, api_id, stage_name);

create table api_key (
    id text primary key check (id ~ '^[a-z0-9]{10}$'),
    tenant_id uuid not null references tenant (id),
    name text not null default '' check (char_length(name) <= 1024),
    description text not null default '' check (char_length(description) <= 1024),
    digest bytea not null,                     -- HMAC-SHA-256(tenant's pepper, value)
    value bytea,                               -- wrapped by the tenant's data key; null: shown once
    hint text not null,                        -- the value's last four characters
    mode text not null default 'live' check (mode in ('live', 'test')),
    enabled boolean not null default true,
    customer_id text not null default '',
    consumer_id uuid,
    expires_at timestamptz,
    last_used_at timestamptz,
    tags jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (tenant_id, id),
    constraint api_key_digest_key unique (tenant_id, digest),
    constraint api_key_consumer_fkey foreign key (tenant_id, consumer_id) references consumer (tenant_id, id)
);
create index api_key_tenant_idx on api_key (tenant_id, created_at, id);

create table usage_plan_key (
    tenant_id uuid not null,
    usage_plan_id text not null,
    api_key_id text not null,
    created_at timestamptz not null default now(),
    primary key (usage_plan_id, api_key_id),
    foreign key (tenant_id, usage_plan_id) references usage_plan (tenant_id, id) on delete cascade,
    foreign key (tenant_id, api_key_id) references api_key (tenant_id, id) on delete cascade
);
create index usage_plan_key_key_idx on usage_plan_key (tenant_id, api_key_id);

-- Which one plan rules a key on a stage: the primary key refuses a second (FEATURES O4).
create table usage_plan_key_stage (
    tenant_id uuid not null,
    usage_plan_id text not null,
    api_key_id text not null,
    api_id text not null,
    stage_name text not null,
    constraint usage_plan_key_stage_key primary key (api_key_id, api_id, stage_name),
    foreign key (usage_plan_id, api_key_id) references usage_plan_key (usage_plan_id, api_key_id) on delete cascade,
    foreign key (usage_plan_id, api_id, stage_name) references usage_plan_stage (usage_plan_id, api_id, stage_name) on delete cascade
);
create index usage_plan_key_stage_plan_idx on usage_plan_key_stage (usage_plan_id);

do $$
declare name text;
begin
    foreach name in array array['consumer', 'usage_plan', 'usage_plan_stage', 'api_key', 'usage_plan_key', 'usage_plan_key_stage'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy own_tenant on %I to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id())', name);
        execute format('create policy system on %I for select to tollgate_system using (true)', name);
        execute format('grant select, insert, update, delete on %I to tollgate_app', name);
        execute format('grant select on %I to tollgate_system', name);
    end loop;
end $$;
