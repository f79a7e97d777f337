-- Whom the operator invited to sign up, and who has not done so yet.
create table tenant_invitation (
    id uuid primary key,
    token_hash bytea not null,                 -- SHA-256
    email text not null check (char_length(email) between 3 and 254),
    tenant_name text check (char_length(tenant_name) between 1 and 128),   -- null: theirs to choose
    mailed boolean not null,                   -- whether the link went to that address, and to nobody else
    created_at timestamptz not null,
    expires_at timestamptz not null,
    constraint tenant_invitation_token_hash_key unique (token_hash)
);
create index tenant_invitation_expires_idx on tenant_invitation (expires_at);

alter table tenant_invitation enable row level security;
alter table tenant_invitation force row level security;
create policy system on tenant_invitation to tollgate_system using (true) with check (true);
grant select, insert, update, delete on tenant_invitation to tollgate_system;
