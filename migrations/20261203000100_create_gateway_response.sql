-- What an Api's tenant has the gateway say by itself, by type: part of the draft. A type without a row is as the gateway has it.
create table gateway_response (
    tenant_id uuid not null,
    api_id text not null,
    response_type text not null check (response_type ~ '^[A-Z0-9_]{1,40}$'),
    status_code smallint check (status_code between 200 and 599), -- null: the default's
    response_parameters jsonb not null default '{}' check (jsonb_typeof(response_parameters) = 'object'),
    response_templates jsonb not null default '{}' check (jsonb_typeof(response_templates) = 'object'),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    revision bigint not null default 1,
    primary key (tenant_id, api_id, response_type),
    foreign key (tenant_id, api_id) references api (tenant_id, id) on delete cascade
);
create trigger count_change before update on gateway_response for each row execute function count_change();

alter table gateway_response enable row level security;
alter table gateway_response force row level security;
create policy own_tenant on gateway_response to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id());
create policy system on gateway_response for select to tollgate_system using (true);
grant select, insert, update, delete on gateway_response to tollgate_app;
grant select on gateway_response to tollgate_system;
