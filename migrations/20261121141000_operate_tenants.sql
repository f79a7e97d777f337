-- What the operator does to a tenant: suspends it with a reason, closes it, and erases it a week later.
alter table tenant
    add column suspended_at timestamptz,
    add column suspended_reason text check (char_length(suspended_reason) between 1 and 1024),
    add column closed_at timestamptz,          -- erased a week after
    add column erased_at timestamptz;          -- nothing is left but this row, the ledger by hour, and the prices
create index tenant_closed_idx on tenant (closed_at) where closed_at is not null and erased_at is null;
create index tenant_created_idx on tenant (created_at, id);

-- A log leaves with its tenant, and in no other way: only for a tenant that was closed a week ago.
create or replace function refuse_audit_change() returns trigger
    language plpgsql
    as $$
        begin
            if tg_op = 'DELETE' and tg_level = 'ROW' then
                if exists (select from tenant where id = old.tenant_id and status = 'closed'
                               and closed_at < now() - interval '7 days') then
                    return old;
                end if;
            end if;
            raise exception 'the audit log is added to, never changed' using errcode = 'insufficient_privilege';
        end
    $$;

drop trigger kept on audit_chain;
create trigger kept before truncate on audit_chain for each statement execute function refuse_audit_change();
create trigger unchanged before delete on audit_chain for each row execute function refuse_audit_change();

create function erase_audit_log(erased uuid) returns void
    language plpgsql security definer set search_path = public, pg_temp
    as $$
        begin
            delete from audit_link where tenant_id = erased;
            delete from audit_entry where tenant_id = erased;
            delete from audit_chain where tenant_id = erased;
        end
    $$;
revoke execute on function erase_audit_log(uuid) from public;
grant execute on function erase_audit_log(uuid) to tollgate_system;
create policy erased on audit_entry for delete to tollgate_owner using (true);
create policy erased on tenant for select to tollgate_owner using (true);
grant delete on user_account to tollgate_system;
