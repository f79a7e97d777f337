-- VPC links: the targets that integrations with connectionType VPC_LINK connect to, and which deployments need them: nodes get
-- those that a deployment needs, and no other.
create table vpc_link (
    id text primary key,
    tenant_id uuid not null references tenant (id),
    name text not null check (char_length(name) between 1 and 128),
    description text not null default '' check (char_length(description) <= 1024),
    status text not null default 'AVAILABLE'
        constraint vpc_link_status_check check (status in ('AVAILABLE', 'PENDING', 'DELETING', 'FAILED')),
    balancing jsonb not null check (jsonb_typeof(balancing) = 'object'), -- as the API writes it
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    revision bigint not null default 1,
    unique (tenant_id, id),
    constraint vpc_link_name_key unique (tenant_id, name)
);
create index vpc_link_tenant_idx on vpc_link (tenant_id, created_at, id);
create trigger count_change before update of name, description, balancing on vpc_link for each row execute function count_change();

create table vpc_link_use (
    tenant_id uuid not null,
    vpc_link_id text not null,
    api_id text not null,
    deployment_id text not null,
    primary key (deployment_id, vpc_link_id),
    foreign key (tenant_id, vpc_link_id) references vpc_link (tenant_id, id) on delete cascade,
    foreign key (tenant_id, api_id, deployment_id) references deployment (tenant_id, api_id, id) on delete cascade
);
create index vpc_link_use_link_idx on vpc_link_use (tenant_id, vpc_link_id);

-- A link stays while an integration names it.
alter table integration
    add column vpc_link_id text generated always as (nullif(connection_id, '')) stored,
    add constraint integration_vpc_link_fkey foreign key (tenant_id, vpc_link_id) references vpc_link (tenant_id, id);
create index integration_vpc_link_idx on integration (tenant_id, vpc_link_id) where vpc_link_id is not null;

do $$
declare name text;
begin
    foreach name in array array['vpc_link', 'vpc_link_use'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy own_tenant on %I to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id())', name);
        execute format('create policy system on %I for select to tollgate_system using (true)', name);
        execute format('grant select, insert, update, delete on %I to tollgate_app', name);
        execute format('grant select on %I to tollgate_system', name);
    end loop;
end $$;
