-- An Api and its draft: what people edit. Columns take every field of AWS's RestApi and Api.
create table api (
    id text primary key check (id ~ '^[a-z0-9]{10}$'),
    tenant_id uuid not null references tenant (id),
    name text not null check (char_length(name) between 1 and 128),
    description text not null default '' check (char_length(description) <= 1024),
    version text not null default '' check (char_length(version) <= 64),
    protocol text not null check (protocol in ('HTTP', 'WEBSOCKET')),
    dialect text not null check (dialect in ('native', 'aws-rest', 'aws-http')),
    route_selection_expression text not null default '${request.method} ${request.path}',
    api_key_selection_expression text not null default '$request.header.x-api-key',
    api_key_source text not null default 'HEADER' check (api_key_source in ('HEADER', 'AUTHORIZER')),
    binary_media_types text[] not null default '{}',
    minimum_compression_size integer,
    endpoint_configuration jsonb not null default '{"types": ["REGIONAL"]}',
    endpoint_access_mode text not null default '',
    ip_address_type text not null default 'ipv4',
    security_policy text not null default '',
    policy jsonb,
    cors_configuration jsonb,
    disable_execute_api_endpoint boolean not null default false,
    disable_schema_validation boolean not null default false,
    trailing_slash text not null default '' check (trailing_slash in ('', 'strict', 'ignore', 'redirect')),
    path_normalization text not null default '' check (path_normalization in ('', 'reject', 'normalize', 'pass')),
    tags jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (tenant_id, id)
);
create index api_tenant_idx on api (tenant_id, created_at, id);

alter table api enable row level security;
alter table api force row level security;
create policy own_tenant on api to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id());
create policy system on api for select to tollgate_system using (true);
grant select, insert, update, delete on api to tollgate_app;
grant select on api to tollgate_system;
