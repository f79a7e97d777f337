-- A log-in. Access tokens carry its id; the refresh cookie's hash rotates with each refresh.
create table session (
    id uuid primary key,
    user_id uuid not null references user_account (id),
    tenant_id uuid references tenant (id),     -- null: an operator's
    refresh_hash bytea not null,               -- SHA-256 of the cookie's value
    previous_refresh_hash bytea,               -- forgiven for some seconds after rotation: two tabs
    rotated_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    last_used_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    user_agent text not null default '',
    address text not null default ''
);
create unique index session_refresh_hash_key on session (refresh_hash);
create index session_previous_refresh_hash_idx on session (previous_refresh_hash);
create index session_user_idx on session (user_id, created_at);
create index session_revoked_idx on session (revoked_at) where revoked_at is not null;

-- Failed log-ins, counted by email and by address; kept here so that every replica counts together.
create table login_failure (
    subject text primary key,                  -- 'email:…' or 'address:…'
    failures integer not null,
    first_failed_at timestamptz not null,
    last_failed_at timestamptz not null
);

-- A link that works once: the operator's first visit.
create table one_time_link (
    token_hash bytea primary key,              -- SHA-256
    purpose text not null check (purpose in ('operator')),
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    used_at timestamptz
);

alter table session enable row level security;
alter table session force row level security;
alter table login_failure enable row level security;
alter table login_failure force row level security;
alter table one_time_link enable row level security;
alter table one_time_link force row level security;
create policy system on session to tollgate_system using (true) with check (true);
create policy system on login_failure to tollgate_system using (true) with check (true);
create policy system on one_time_link to tollgate_system using (true) with check (true);
grant select, insert, update, delete on session, login_failure, one_time_link to tollgate_system;
