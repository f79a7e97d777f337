-- The installation's own keys, and the nodes that joined it.
create table installation_key (
    name text primary key check (name in ('session_signing', 'config_signing', 'certificate_authority')),
    public bytea not null,                     -- a public key, or the CA certificate
    private bytea not null,                    -- wrapped by the master key
    created_at timestamptz not null default now()
);

create table join_token (
    secret_hash bytea primary key,             -- SHA-256
    cells text[] not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);

create table node (
    id uuid primary key,
    name text not null default '',
    cells text[] not null,
    software_version text not null default '',
    certificate_expires_at timestamptz not null,
    created_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    revoked_at timestamptz
);

-- How far each node is with each cell, and what it refused.
create table node_cell (
    node_id uuid not null references node (id) on delete cascade,
    cell_id text not null references cell (id),
    version bigint not null,
    acknowledged_at timestamptz not null default now(),
    primary key (node_id, cell_id)
);

create table node_refusal (
    node_id uuid not null references node (id) on delete cascade,
    cell_id text not null references cell (id),
    version bigint not null,
    resource text not null,
    reason text not null,
    created_at timestamptz not null default now(),
    primary key (node_id, cell_id, version, resource)
);

do $$
declare name text;
begin
    foreach name in array array['installation_key', 'join_token', 'node', 'node_cell', 'node_refusal'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy system on %I to tollgate_system using (true) with check (true)', name);
        execute format('grant select, insert, update, delete on %I to tollgate_system', name);
    end loop;
end $$;
