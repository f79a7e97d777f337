-- Resources (AWS's tree), integrations and routes: the rest of an Api's draft. A Method is a route on a resource.
create table resource (
    id text primary key check (id ~ '^[a-z0-9]{10}$'),
    tenant_id uuid not null,
    api_id text not null,
    parent_id text,                            -- null: the root, `/`
    path_part text not null,
    created_at timestamptz not null default now(),
    unique (tenant_id, api_id, id),
    constraint resource_path_part_key unique nulls not distinct (api_id, parent_id, path_part),
    foreign key (tenant_id, api_id) references api (tenant_id, id) on delete cascade,
    foreign key (tenant_id, api_id, parent_id) references resource (tenant_id, api_id, id) on delete cascade
);

create table integration (
    id text primary key check (id ~ '^[a-z0-9]{10}$'),
    tenant_id uuid not null,
    api_id text not null,
    type text not null check (type in ('HTTP_PROXY', 'HTTP', 'MOCK', 'AWS', 'AWS_PROXY')),
    subtype text not null default '',
    description text not null default '' check (char_length(description) <= 1024),
    uri text not null default '' check (char_length(uri) <= 2048),
    http_method text not null default '',
    connection_type text not null default 'INTERNET' check (connection_type in ('INTERNET', 'VPC_LINK')),
    connection_id text not null default '',
    credentials text not null default '',
    payload_format_version text not null default '1.0',
    connect_timeout_ms integer not null default 0,
    first_byte_timeout_ms integer not null default 0,
    idle_timeout_ms integer not null default 0,
    timeout_ms integer not null default 0,     -- 0: the default of the plane
    preserve_host boolean not null default false,
    passthrough_behavior text not null default 'WHEN_NO_MATCH',
    content_handling text not null default '',
    request_parameters jsonb not null default '{}',
    request_templates jsonb not null default '{}',
    response_parameters jsonb not null default '{}',
    responses jsonb not null default '[]',     -- AWS's IntegrationResponses
    template_selection_expression text not null default '',
    response_transfer_mode text not null default 'STREAM' check (response_transfer_mode in ('BUFFERED', 'STREAM')),
    tls_config jsonb not null default '{}',
    cache_namespace text not null default '',
    cache_key_parameters text[] not null default '{}',
    mock_response jsonb,                       -- MOCK with a fixed answer: {status, headers: [{name, value}], body}
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (tenant_id, api_id, id),
    foreign key (tenant_id, api_id) references api (tenant_id, id) on delete cascade
);

create table route (
    id text primary key check (id ~ '^[a-z0-9]{10}$'),
    tenant_id uuid not null,
    api_id text not null,
    resource_id text,                          -- set where the route is a Method of a resource
    method text not null,                      -- '' on $default
    path text not null,
    integration_id text,
    api_key_required boolean not null default false,
    authorization_type text not null default 'NONE',
    authorizer_id text not null default '',
    authorization_scopes text[] not null default '{}',
    operation_name text not null default '' check (char_length(operation_name) <= 64),
    request_validator_id text not null default '',
    request_parameters jsonb not null default '{}',
    request_models jsonb not null default '{}',
    responses jsonb not null default '{}',     -- AWS's MethodResponses and RouteResponses
    model_selection_expression text not null default '',
    route_response_selection_expression text not null default '',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (tenant_id, api_id, id),
    constraint route_key_key unique (api_id, method, path),
    foreign key (tenant_id, api_id) references api (tenant_id, id) on delete cascade,
    foreign key (tenant_id, api_id, resource_id) references resource (tenant_id, api_id, id) on delete cascade,
    constraint route_integration_fkey foreign key (tenant_id, api_id, integration_id) references integration (tenant_id, api_id, id)
);

alter table resource enable row level security;
alter table resource force row level security;
alter table integration enable row level security;
alter table integration force row level security;
alter table route enable row level security;
alter table route force row level security;
create policy own_tenant on resource to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id());
create policy own_tenant on integration to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id());
create policy own_tenant on route to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id());
grant select, insert, update, delete on resource, integration, route to tollgate_app;
