-- The audit log becomes a chain for each tenant, and one for the installation: each link holds the SHA-256 of its
-- entry and of the link before, so that whatever is changed, taken out or moved afterwards is found.
--
-- The database links an entry by itself, as the last step of the transaction that wrote it: no writer can forget to,
-- the previous release included, and the chain's row is locked for no longer than the commit takes. The services'
-- roles may read links and write none.

create table audit_chain (
    id uuid primary key,                       -- the tenant's; all zeros for the installation's own
    tenant_id uuid references tenant (id),
    sequence bigint not null default 0,        -- of the newest link; 0: none
    hash bytea not null default decode(repeat('00', 32), 'hex') check (octet_length(hash) = 32),
    sealed_sequence bigint not null default 0, -- up to where `seal` vouches
    seal bytea                                 -- Ed25519 over the chain, that sequence and its hash
);
create index audit_chain_unsealed_idx on audit_chain (id) where sequence > sealed_sequence;

create table audit_link (
    chain uuid not null references audit_chain (id),
    sequence bigint not null,                  -- from 1, without gaps
    tenant_id uuid references tenant (id),
    entry_id uuid not null constraint audit_link_entry_key unique references audit_entry (id),
    previous_hash bytea not null,              -- 32 zeros for the first
    hash bytea not null,                       -- SHA-256 of previous_hash and audit_entry_text in UTF-8
    primary key (chain, sequence)
);

-- Every field of an entry and its place, as PostgreSQL prints jsonb: one text for one entry.
create function audit_entry_text(entry audit_entry, sequence bigint) returns text
    language sql stable parallel safe
    as $$
        select jsonb_build_object(
            'sequence', sequence, 'id', entry.id, 'tenantId', entry.tenant_id, 'userId', entry.user_id,
            'action', entry.action, 'noun', entry.noun, 'nounId', entry.noun_id,
            'before', entry.before, 'after', entry.after,
            'requestId', entry.request_id, 'address', entry.address,
            'createdAt', to_char(entry.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        )::text
    $$;

create function link_audit_entry(entry audit_entry) returns void
    language plpgsql set search_path = public, pg_temp
    as $$
        declare
            own uuid := coalesce(entry.tenant_id, '00000000-0000-0000-0000-000000000000');
            place bigint;
            before bytea;
            after bytea;
        begin
            insert into audit_chain (id, tenant_id) values (own, entry.tenant_id) on conflict do nothing;
            select sequence + 1, hash into place, before from audit_chain where id = own for no key update;
            after := sha256(before || convert_to(audit_entry_text(entry, place), 'UTF8'));
            insert into audit_link (chain, sequence, tenant_id, entry_id, previous_hash, hash)
                values (own, place, entry.tenant_id, entry.id, before, after);
            update audit_chain set sequence = place, hash = after where id = own;
        end
    $$;

create function chain_audit_entry() returns trigger
    language plpgsql security definer set search_path = public, pg_temp
    as $$
        begin
            perform link_audit_entry(new);
            return null;
        end
    $$;

create function refuse_audit_change() returns trigger
    language plpgsql
    as $$
        begin
            raise exception 'the audit log is added to, never changed' using errcode = 'insufficient_privilege';
        end
    $$;

revoke execute on function link_audit_entry(audit_entry), chain_audit_entry() from public;

alter table audit_chain enable row level security;
alter table audit_chain force row level security;
alter table audit_link enable row level security;
alter table audit_link force row level security;
create policy own_tenant on audit_chain for select to tollgate_app using (tenant_id = current_tenant_id());
create policy own_tenant on audit_link for select to tollgate_app using (tenant_id = current_tenant_id());
create policy system on audit_chain to tollgate_system using (true) with check (true);
create policy system on audit_link for select to tollgate_system using (true);
-- The functions above run as the owner, whom FORCE holds back like everyone.
create policy links on audit_entry for select to tollgate_owner using (true);
create policy links on audit_chain to tollgate_owner using (true) with check (true);
create policy links on audit_link to tollgate_owner using (true) with check (true);
grant select on audit_chain, audit_link to tollgate_app, tollgate_system;
grant update (sealed_sequence, seal) on audit_chain to tollgate_system;

-- What is there already comes first, in the order of its ids. (One row of a chain is not moved thousands of times
-- in one transaction: each time would look through all its versions.)
do $$
declare
    entry audit_entry;
    own uuid;
    place bigint;
    last bytea;
begin
    for own in select distinct coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid) from audit_entry loop
        place := 0;
        last := decode(repeat('00', 32), 'hex');
        insert into audit_chain (id, tenant_id) values (own, nullif(own, '00000000-0000-0000-0000-000000000000'));
        for entry in select * from audit_entry
            where tenant_id is not distinct from nullif(own, '00000000-0000-0000-0000-000000000000') order by id
        loop
            place := place + 1;
            insert into audit_link (chain, sequence, tenant_id, entry_id, previous_hash, hash)
                values (own, place, entry.tenant_id, entry.id, last,
                        sha256(last || convert_to(audit_entry_text(entry, place), 'UTF8')))
                returning hash into last;
        end loop;
        update audit_chain set sequence = place, hash = last where id = own;
    end loop;
end $$;

create constraint trigger chained after insert on audit_entry
    deferrable initially deferred for each row execute function chain_audit_entry();
create trigger unchanged before update or delete on audit_entry for each row execute function refuse_audit_change();
create trigger unchanged before update or delete on audit_link for each row execute function refuse_audit_change();
create trigger kept before truncate on audit_entry for each statement execute function refuse_audit_change();
create trigger kept before truncate on audit_link for each statement execute function refuse_audit_change();
create trigger kept before delete or truncate on audit_chain for each statement execute function refuse_audit_change();

-- Lists are by time, the newest first, of one chain; then by what they are filtered by.
create index audit_entry_chain_idx on audit_entry
    (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid), created_at, id);
create index audit_entry_noun_idx on audit_entry
    (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid), noun, noun_id, created_at, id);
create index audit_entry_user_idx on audit_entry
    (coalesce(tenant_id, '00000000-0000-0000-0000-000000000000'::uuid), user_id, created_at, id);

alter table download_token drop constraint download_token_document_check;
alter table download_token add constraint download_token_document_check
    check (document in ('usage_csv', 'audit_ndjson', 'tenant_export'));
alter table download_token alter column tenant_id drop not null; -- null: a document of the installation
