-- What is counted beside the ledger, and how far the two are apart: the lines of the nodes' access logs, and where the
-- quotas stand in Redis. Nothing is billed by it.

-- A node from its start to its end.
create table access_log_run (
    run bytea primary key check (octet_length(run) = 16),
    node_id uuid not null references node (id),
    started_at timestamptz not null,
    until timestamptz not null,                -- each request that ended before is in its counts
    ended boolean not null,                    -- it said its last
    logs boolean not null                      -- it writes an access log
);
create index access_log_run_until_idx on access_log_run (until);

-- The requests of a tenant that ended within an hour, by the log of one run.
create table access_log_count (
    tenant_id uuid not null references tenant (id),
    hour timestamptz not null,
    run bytea not null references access_log_run (run) on delete cascade,
    written bigint not null check (written >= 0),
    lost bigint not null check (lost >= 0),    -- lines that the log had no room for
    primary key (tenant_id, hour, run)
);
create index access_log_count_run_idx on access_log_count (run);
create index access_log_count_hour_idx on access_log_count (hour);

-- A count beside the ledger's of the same calls. Those of the access log are of an hour, those of a quota of a key's period.
create table reconciliation (
    id uuid primary key default gen_random_uuid(),
    tenant_id uuid not null references tenant (id),
    kind text not null check (kind in ('ACCESS_LOG', 'QUOTA')),
    usage_plan_id text not null default '',    -- of a quota, as the next
    api_key_id text not null default '',
    from_at timestamptz not null,
    until_at timestamptz not null check (until_at > from_at),
    counted bigint not null check (counted >= 0),
    lost bigint not null default 0 check (lost >= 0), -- calls that are known to be in no log
    counted_at timestamptz not null,           -- when the count stood so
    complete boolean not null default true,    -- nothing of it is missing
    ledger_least bigint,                       -- the ledger has as many of these calls at least; null: not compared yet
    ledger_most bigint,
    drift bigint,                              -- how far the count is above (or, negative, below) what the ledger can have
    compared_at timestamptz,
    final boolean not null default false,      -- neither of the two changes any more
    constraint reconciliation_key unique (tenant_id, kind, from_at, until_at, usage_plan_id, api_key_id),
    check ((compared_at is null) = (drift is null))
);
create index reconciliation_tenant_idx on reconciliation (tenant_id, from_at, id);
create index reconciliation_time_idx on reconciliation (from_at, id);
create index reconciliation_drift_idx on reconciliation (from_at, id) where drift <> 0;
create index reconciliation_open_idx on reconciliation (kind, from_at) where not final;

do $$
declare name text;
begin
    foreach name in array array['access_log_run', 'access_log_count', 'reconciliation'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy system on %I to tollgate_system using (true) with check (true)', name);
        execute format('grant select, insert, update, delete on %I to tollgate_system', name);
    end loop;
end $$;
create policy own_tenant on reconciliation for select to tollgate_app using (tenant_id = current_tenant_id());
grant select on reconciliation to tollgate_app;
