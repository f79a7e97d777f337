-- SigV4 credentials for the AWS-compatible face and tools.
create table access_key (
    id text primary key check (id ~ '^[A-Z0-9]{20}$'),
    tenant_id uuid not null references tenant (id),
    user_id uuid not null references user_account (id),
    name text not null check (char_length(name) between 1 and 128),
    secret bytea not null,                     -- wrapped by the tenant's data key: SigV4 needs it back
    enabled boolean not null default true,
    created_at timestamptz not null default now(),
    last_used_at timestamptz
);
create index access_key_tenant_idx on access_key (tenant_id, created_at);

alter table access_key enable row level security;
alter table access_key force row level security;
create policy own_tenant on access_key to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id());
create policy system on access_key for select to tollgate_system using (true);
grant select, insert, update, delete on access_key to tollgate_app;
grant select on access_key to tollgate_system;
