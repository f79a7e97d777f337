-- The ledger: what nodes counted, each segment once, summed by minute and rolled up by hour.
create table node_epoch (
    epoch bytea primary key check (octet_length(epoch) = 16),
    node_id uuid not null references node (id),
    opened_at timestamptz not null default now()
);

create table usage_segment (
    node_id uuid not null references node (id),
    epoch bytea not null,
    thread integer not null,
    counter bigint not null,
    sha256 bytea not null,
    records integer not null,
    received_at timestamptz not null default now(),
    primary key (node_id, epoch, thread, counter, sha256)
);

-- Up to which counter the ledger has every segment: where a node whose kept segments outlived a restore resumes.
create table usage_high_water (
    node_id uuid not null references node (id),
    epoch bytea not null,
    thread integer not null,
    counter bigint not null,
    primary key (node_id, epoch, thread)
);

create table usage_quarantine (
    node_id uuid not null references node (id),
    epoch bytea not null,
    thread integer not null,
    counter bigint not null,
    sha256 bytea not null,
    reason text not null,
    content bytea not null,
    received_at timestamptz not null default now(),
    primary key (node_id, epoch, thread, counter, sha256)
);

-- Absent dimensions are '', so that a row's name is never null. route: 'GET /pets/{id}', or '-' where none matched.
create table usage_minute (
    cell_id text not null,
    tenant_id uuid not null,
    consumer_id text not null,
    api_id text not null,
    stage text not null,
    route text not null,
    api_key_id text not null,
    usage_plan_id text not null,
    status_class smallint not null,            -- 1 to 5; 0: cut off before a status was sent
    cache smallint not null,                   -- 0: not cached, 1: miss, 2: hit
    minute timestamptz not null,
    requests bigint not null,
    billed_requests bigint not null,
    bytes_in bigint not null,
    bytes_out bigint not null,
    billed_bytes_out bigint not null,
    duration_ms bigint not null,               -- the sum over the requests
    primary key (tenant_id, minute, api_id, stage, route, api_key_id, usage_plan_id, consumer_id, status_class, cache, cell_id)
) partition by range (minute);
create table usage_minute_default partition of usage_minute default;

create table usage_hour (
    cell_id text not null,
    tenant_id uuid not null,
    consumer_id text not null,
    api_id text not null,
    stage text not null,
    route text not null,
    api_key_id text not null,
    usage_plan_id text not null,
    status_class smallint not null,
    cache smallint not null,
    hour timestamptz not null,
    requests bigint not null,
    billed_requests bigint not null,
    bytes_in bigint not null,
    bytes_out bigint not null,
    billed_bytes_out bigint not null,
    duration_ms bigint not null,
    primary key (tenant_id, hour, api_id, stage, route, api_key_id, usage_plan_id, consumer_id, status_class, cache, cell_id)
) partition by range (hour);
create table usage_hour_default partition of usage_hour default;

-- Hours whose minutes changed since they were rolled up.
create table usage_hour_due (
    tenant_id uuid not null,
    hour timestamptz not null,
    primary key (tenant_id, hour)
);

-- What the operator charges. The newest row whose time has come is in force.
create table price (
    id uuid primary key,
    currency text not null check (currency ~ '^[A-Z]{3}$'),
    per_million_requests numeric(20, 9) not null check (per_million_requests >= 0),
    per_gb_out numeric(20, 9) not null check (per_gb_out >= 0),
    free_requests bigint not null check (free_requests >= 0),
    effective_from timestamptz not null default now(),
    set_by uuid references user_account (id)
);

-- Downloads leave the console by a link that works once, within a minute.
create table download_token (
    token_hash bytea primary key,              -- SHA-256
    tenant_id uuid not null references tenant (id),
    document text not null check (document in ('usage_csv')),
    parameters jsonb not null,
    expires_at timestamptz not null,
    used_at timestamptz
);

do $$
declare name text;
begin
    foreach name in array array['node_epoch', 'usage_segment', 'usage_high_water', 'usage_quarantine', 'usage_hour_due', 'price', 'download_token', 'usage_minute', 'usage_minute_default', 'usage_hour', 'usage_hour_default'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy system on %I to tollgate_system using (true) with check (true)', name);
        execute format('grant select, insert, update, delete on %I to tollgate_system', name);
    end loop;
    foreach name in array array['usage_minute', 'usage_hour', 'download_token'] loop
        execute format('create policy own_tenant on %I to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id())', name);
    end loop;
end $$;
grant select on usage_minute, usage_hour to tollgate_app;
grant insert on download_token to tollgate_app;
-- Prices are the installation's, not a tenant's: every tenant may read what it pays.
create policy everyone on price for select to tollgate_app using (true);
grant select on price to tollgate_app;
