-- A key's value before the present one, where the key is good from and sent in, and when it was last used.
alter table api_key
    add previous_digest bytea,
    add previous_hint text,
    add overlap_ends_at timestamptz,                  -- until then the value before the present one works too
    add client_networks text[] not null default '{}', -- CIDR; empty: from everywhere
    add origins text[] not null default '{}',         -- scheme://host[:port]; empty: any, or none
    add constraint api_key_previous_whole check (
        (previous_digest is null) = (previous_hint is null) and (previous_digest is null) = (overlap_ends_at is null)
    ),
    add constraint api_key_client_networks_check check (cardinality(client_networks) <= 50),
    add constraint api_key_origins_check check (cardinality(origins) <= 50);
create unique index api_key_previous_digest_key on api_key (tenant_id, previous_digest) where previous_digest is not null;

-- Beside the key, so that being used neither waits for its change nor counts as one. The row of a key that was deleted
-- meanwhile means nothing: ids are never given twice.
create table api_key_use (
    tenant_id uuid not null references tenant (id),
    api_key_id text not null,
    last_used_at timestamptz not null,
    primary key (tenant_id, api_key_id)
);
alter table api_key_use enable row level security;
alter table api_key_use force row level security;
create policy own_tenant on api_key_use to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id());
create policy system on api_key_use to tollgate_system using (true) with check (true);
grant select, delete on api_key_use to tollgate_app;
grant select, insert, update, delete on api_key_use to tollgate_system;

-- Where callers of an Api put their key; the first that a call has decides.
alter table api
    add api_key_locations text[] not null default '{"$request.header.x-api-key"}',
    add constraint api_key_locations_check check (cardinality(api_key_locations) between 1 and 5);
