-- Who was invited into a tenant and has not answered yet: one invitation for each address, gone when it is accepted
-- or revoked.
create table invitation (
    id uuid primary key,
    tenant_id uuid not null references tenant (id),
    email text not null check (char_length(email) between 3 and 254),
    role text not null check (role in ('owner', 'admin', 'developer', 'billing', 'viewer')),
    token_hash bytea not null,                 -- SHA-256 of what the newest link carries
    mailed boolean not null default false,     -- whether that link went to the address itself, and to nobody else
    invited_by uuid,
    created_at timestamptz not null default now(),
    sent_at timestamptz not null,
    expires_at timestamptz not null,
    constraint invitation_token_hash_key unique (token_hash)
);
create unique index invitation_email_key on invitation (tenant_id, lower(email));
create index invitation_tenant_idx on invitation (tenant_id, created_at, id);

alter table invitation enable row level security;
alter table invitation force row level security;
create policy own_tenant on invitation to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id());
create policy system on invitation to tollgate_system using (true) with check (true);
grant select, insert, update, delete on invitation to tollgate_app;
grant select, delete on invitation to tollgate_system;

-- Whom a tenant removes, it also logs out: it sees no more of a session than that takes.
create policy own_tenant on session to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id());
grant select (id, user_id, tenant_id, revoked_at), update (revoked_at) on session to tollgate_app;
