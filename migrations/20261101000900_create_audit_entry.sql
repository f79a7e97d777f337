-- Who changed what: written in the transaction of the change, never updated, never deleted.
create table audit_entry (
    id uuid primary key,                       -- UUIDv7: in order of time
    tenant_id uuid references tenant (id),     -- null: an operator's act on the installation
    user_id uuid,
    action text not null,                      -- 'usage_plan.create'
    noun text not null,
    noun_id text not null,
    before jsonb,
    after jsonb,
    request_id text not null default '',
    address text not null default '',
    created_at timestamptz not null default now()
);
create index audit_entry_tenant_idx on audit_entry (tenant_id, id);

alter table audit_entry enable row level security;
alter table audit_entry force row level security;
create policy own_tenant on audit_entry to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id());
create policy system on audit_entry to tollgate_system using (true) with check (true);
grant select, insert on audit_entry to tollgate_app, tollgate_system;
