-- The account of one customer of this installation. Every tenant table names it and is fenced by it.
create table tenant (
    id uuid primary key,
    cell_id text not null default 'default' references cell (id),
    name text not null check (char_length(name) between 1 and 128),
    status text not null default 'active' check (status in ('active', 'suspended', 'closed')),
    data_key bytea not null,          -- wrapped by the master key; wraps this tenant's secrets
    key_pepper bytea not null,        -- wrapped by data_key; keys the digests of this tenant's API keys
    egress_allow text[] not null default '{}',
    limits jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint tenant_name_key unique (name)
);

-- The tenant of the transaction; null, and so equal to nothing, where none was set.
create function current_tenant_id() returns uuid
    language sql stable parallel safe
    as $$ select nullif(current_setting('app.tenant_id', true), '')::uuid $$;

alter table tenant enable row level security;
alter table tenant force row level security;
create policy own_tenant on tenant to tollgate_app using (id = current_tenant_id());
create policy system on tenant to tollgate_system using (true) with check (true);

-- A tenant moves the version of its own cell, and no other, and writes what its change means to that cell's nodes.
create policy own_cell on cell to tollgate_app
    using (id = (select cell_id from tenant where id = current_tenant_id()));
create policy own_cell on outbox for insert to tollgate_app
    with check (cell_id = (select cell_id from tenant where id = current_tenant_id()));

grant select on tenant to tollgate_app;
grant update (updated_at) on tenant to tollgate_app;      -- what locking its row takes, and nothing it could set
grant select, insert, update on tenant to tollgate_system;
