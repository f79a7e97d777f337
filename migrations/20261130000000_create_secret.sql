-- Secrets of tenants, and which deployments need them for what: nodes get those that a deployment needs, and no other.
create table secret (
    id uuid primary key,
    tenant_id uuid not null references tenant (id),
    name text not null check (char_length(name) between 1 and 128),
    kind text not null constraint secret_kind_check check (kind in ('TEXT', 'AWS_CREDENTIALS')),
    value bytea not null,                      -- wrapped by the tenant's data key
    value_updated_at timestamptz not null default now(),
    derived_for date not null,                 -- the first of the days whose signing keys nodes have
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    revision bigint not null default 1,
    unique (tenant_id, id),
    constraint secret_name_key unique (tenant_id, name)
);
create index secret_tenant_idx on secret (tenant_id, created_at, id);
create index secret_derived_for_idx on secret (derived_for) where kind = 'AWS_CREDENTIALS';
create trigger count_change before update of name, value on secret for each row execute function count_change();

-- Region and service of AWS for which calls are signed; both empty: the value itself is needed.
create table secret_use (
    tenant_id uuid not null,
    secret_id uuid not null,
    api_id text not null,
    deployment_id text not null,
    region text not null default '' check (char_length(region) <= 64),
    service text not null default '' check (char_length(service) <= 64),
    primary key (deployment_id, secret_id, region, service),
    foreign key (tenant_id, secret_id) references secret (tenant_id, id) on delete cascade,
    foreign key (tenant_id, api_id, deployment_id) references deployment (tenant_id, api_id, id) on delete cascade
);
create index secret_use_secret_idx on secret_use (tenant_id, secret_id);

do $$
declare name text;
begin
    foreach name in array array['secret', 'secret_use'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy own_tenant on %I to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id())', name);
        execute format('create policy system on %I for select to tollgate_system using (true)', name);
        execute format('grant select, insert, update, delete on %I to tollgate_app', name);
        execute format('grant select on %I to tollgate_system', name);
    end loop;
end $$;
