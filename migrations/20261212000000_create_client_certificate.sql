-- Client certificates: what nodes show to backends over TLS that ask for one, and which deployments need them. Nodes get those
-- that a stage or a deployment needs, and no other.
create table client_certificate (
    id text primary key,
    tenant_id uuid not null references tenant (id),
    description text not null default '' check (char_length(description) <= 1024),
    origin text not null constraint client_certificate_origin_check check (origin in ('GENERATED', 'UPLOADED')),
    chain text not null check (char_length(chain) between 1 and 32768), -- PEM, that of the private key first
    private_key bytea not null, -- DER, wrapped by the tenant's data key
    expires_at timestamptz not null, -- the first certificate's end
    tags jsonb not null default '{}' check (jsonb_typeof(tags) = 'object'),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    revision bigint not null default 1,
    unique (tenant_id, id)
);
create index client_certificate_tenant_idx on client_certificate (tenant_id, created_at, id);
create trigger count_change before update of description, tags on client_certificate for each row execute function count_change();

create table client_certificate_use (
    tenant_id uuid not null,
    client_certificate_id text not null,
    api_id text not null,
    deployment_id text not null,
    primary key (deployment_id, client_certificate_id),
    foreign key (tenant_id, client_certificate_id) references client_certificate (tenant_id, id) on delete cascade,
    foreign key (tenant_id, api_id, deployment_id) references deployment (tenant_id, api_id, id) on delete cascade
);
create index client_certificate_use_certificate_idx on client_certificate_use (tenant_id, client_certificate_id);

-- A certificate stays while a stage or an integration names it.
alter table stage
    add column shown_certificate_id text generated always as (nullif(client_certificate_id, '')) stored,
    add constraint stage_client_certificate_fkey foreign key (tenant_id, shown_certificate_id)
        references client_certificate (tenant_id, id);
create index stage_client_certificate_idx on stage (tenant_id, shown_certificate_id) where shown_certificate_id is not null;

alter table integration
    add column shown_certificate_id text generated always as (tls_config ->> 'clientCertificateId') stored,
    add constraint integration_client_certificate_fkey foreign key (tenant_id, shown_certificate_id)
        references client_certificate (tenant_id, id);
create index integration_client_certificate_idx on integration (tenant_id, shown_certificate_id)
    where shown_certificate_id is not null;

do $$
declare name text;
begin
    foreach name in array array['client_certificate', 'client_certificate_use'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy own_tenant on %I to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id())', name);
        execute format('create policy system on %I for select to tollgate_system using (true)', name);
        execute format('grant select, insert, update, delete on %I to tollgate_app', name);
        execute format('grant select on %I to tollgate_system', name);
    end loop;
end $$;
