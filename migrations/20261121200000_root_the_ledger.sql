-- Hours of the ledger that cannot change any more are sealed: each tenant's rows of an hour are the leaves of a Merkle
-- tree, and its root is signed, so that a tenant can show later what its usage was, row by row.

-- How far the ledger is sealed. One row.
create table usage_seal (
    id boolean primary key default true check (id),
    closed_until timestamptz,                  -- intake adds nothing to hours before this; null: none is closed yet
    rooted_until timestamptz                   -- hours before this have their roots
);
insert into usage_seal default values;

-- An hour without rows has no line here.
create table usage_root (
    tenant_id uuid not null references tenant (id),
    hour timestamptz not null,
    rows bigint not null check (rows > 0),
    root bytea not null check (octet_length(root) = 32),
    signature bytea not null check (octet_length(signature) = 64), -- Ed25519, by a key that is not in the database
    sealed_at timestamptz not null,
    primary key (tenant_id, hour)
);

-- What intake asks first: until its transaction ends, no hour is closed. The lock is waited for in a statement of its
-- own, so that what is read after it is what was committed before it was given.
create function usage_closed_until() returns timestamptz
    language plpgsql volatile set search_path = public, pg_temp
    as $$
        begin
            perform pg_advisory_xact_lock_shared(7310017310012);
            return (select closed_until from usage_seal);
        end
    $$;

-- Closes the hours before `until`, but none that is still to be rolled up. It waits for the intake that is under way
-- and holds up what comes for no longer than this transaction.
create function close_usage_hours(until timestamptz) returns void
    language plpgsql volatile set search_path = public, pg_temp
    as $$
        begin
            perform pg_advisory_xact_lock(7310017310012);
            update usage_seal set closed_until = least(until, (select min(hour) from usage_hour_due))
                where closed_until is null
                    or closed_until < least(until, (select min(hour) from usage_hour_due));
        end
    $$;

create function refuse_root_change() returns trigger
    language plpgsql
    as $$
        begin
            raise exception 'a sealed hour is never changed' using errcode = 'insufficient_privilege';
        end
    $$;
create trigger unchanged before update on usage_root for each row execute function refuse_root_change();
create trigger kept before truncate on usage_root for each statement execute function refuse_root_change();

revoke execute on function usage_closed_until(), close_usage_hours(timestamptz) from public;
grant execute on function usage_closed_until(), close_usage_hours(timestamptz) to tollgate_system;

alter table usage_seal enable row level security;
alter table usage_seal force row level security;
alter table usage_root enable row level security;
alter table usage_root force row level security;
create policy system on usage_seal to tollgate_system using (true) with check (true);
create policy system on usage_root to tollgate_system using (true) with check (true);
create policy own_tenant on usage_root for select to tollgate_app using (tenant_id = current_tenant_id());
-- How far the ledger is sealed is the same for every tenant.
create policy every_tenant on usage_seal for select to tollgate_app using (current_tenant_id() is not null);
grant select, update on usage_seal to tollgate_system;
grant select, insert, delete on usage_root to tollgate_system;
grant select on usage_seal, usage_root to tollgate_app;
