-- Requests to the management API, for thirty days: where an error's `logUrl` leads. A row says who asked for what and
-- how it ended, never what was in it.
create table management_request (
    id uuid primary key,                       -- UUIDv7, drawn by us: `x-request-id` of the answer
    client_request_id text check (client_request_id ~ '^[A-Za-z0-9._:=+/-]{1,128}$'), -- the caller's own
    tenant_id uuid references tenant (id),     -- null: the operator's
    user_id uuid not null,
    started_at timestamptz not null,
    duration_ms integer not null check (duration_ms >= 0),
    method text not null,
    path text not null,                        -- '/v1/apis/{apiId}': the template
    operations text[] not null,                -- what a GraphQL request asked for: {createApi}
    status smallint,                           -- null: the caller went away before the answer
    codes text[] not null,                     -- of its errors
    address text not null,
    api_version date                           -- null where there is no status
);

-- Lists are by time, the newest first, of one tenant or of the operator; a tenant's export and its erasure take all of
-- its own; the last index is for what is too old.
create index management_request_tenant_idx on management_request
    (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid), started_at, id);
create index management_request_client_idx on management_request
    (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid), client_request_id)
    where client_request_id is not null;
create index management_request_own_idx on management_request (tenant_id, id);
create index management_request_started_idx on management_request (started_at);

alter table management_request enable row level security;
alter table management_request force row level security;
create policy own_tenant on management_request for select to tollgate_app using (tenant_id = current_tenant_id());
create policy system on management_request to tollgate_system using (true) with check (true);
grant select on management_request to tollgate_app;
-- One writer takes what every tenant asked; no tenant's transaction waits for it.
grant select, insert, delete on management_request to tollgate_system;
