-- Usage by day, summed from the hours: what a question over months reads.
create table usage_day (
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
    day timestamptz not null,                  -- its midnight in UTC
    requests bigint not null,
    billed_requests bigint not null,
    bytes_in bigint not null,
    bytes_out bigint not null,
    billed_bytes_out bigint not null,
    duration_ms bigint not null,
    primary key (tenant_id, day, api_id, stage, route, api_key_id, usage_plan_id, consumer_id, status_class, cache, cell_id)
) partition by range (day);
create table usage_day_default partition of usage_day default;

-- A roll-up takes off the list only what did not change since it looked, so it holds nobody up while it sums. Each change
-- has a number that no other has, so that what was taken off and is due again is not what it was.
create sequence usage_due_change;

-- Days whose hours changed since they were rolled up, and their last change.
create table usage_day_due (
    tenant_id uuid not null,
    day timestamptz not null,
    change bigint not null default nextval('usage_due_change'),
    primary key (tenant_id, day)
);
create index usage_day_due_order on usage_day_due (day, tenant_id);
alter table usage_hour_due add column change bigint not null default nextval('usage_due_change');
create index usage_hour_due_order on usage_hour_due (hour, tenant_id);
grant usage on sequence usage_due_change to tollgate_system;

create function number_change_of_due() returns trigger
    language plpgsql set search_path = public, pg_temp
    as $$
        begin
            new.change := nextval('usage_due_change');
            return new;
        end
    $$;
create trigger numbered before update on usage_hour_due for each row execute function number_change_of_due();
create trigger numbered before update on usage_day_due for each row execute function number_change_of_due();

-- All that was there is to be rolled up: from day to day by the primary key, for hours are many. The fence keeps out
-- whoever owns the table too, so it stands open for this.
alter table usage_hour no force row level security;
insert into usage_day_due (tenant_id, day)
    with recursive known as (
        (select tenant_id, date_trunc('day', hour, 'UTC') as day from usage_hour order by tenant_id, hour limit 1)
        union all
        select next.tenant_id, next.day from known cross join lateral (
            select h.tenant_id, date_trunc('day', h.hour, 'UTC') as day from usage_hour h
            where (h.tenant_id, h.hour) >= (known.tenant_id, known.day + interval '24 hours')
            order by h.tenant_id, h.hour limit 1
        ) next
    )
    select tenant_id, day from known join tenant on tenant.id = tenant_id where erased_at is null;
alter table usage_hour force row level security;

do $$
declare name text;
begin
    foreach name in array array['usage_day', 'usage_day_default', 'usage_day_due'] loop
        execute format('alter table %I enable row level security', name);
        execute format('alter table %I force row level security', name);
        execute format('create policy system on %I to tollgate_system using (true) with check (true)', name);
        execute format('grant select, insert, update, delete on %I to tollgate_system', name);
    end loop;
    -- What is due is read with the sums: a question never takes a sum that is behind.
    foreach name in array array['usage_day', 'usage_day_due', 'usage_hour_due'] loop
        execute format('create policy own_tenant on %I for select to tollgate_app using (tenant_id = current_tenant_id())', name);
        execute format('grant select on %I to tollgate_app', name);
    end loop;
end $$;

-- Whoever changes an hour makes its day due, a replica of the release before too.
create function note_usage_days_due() returns trigger
    language plpgsql set search_path = public, pg_temp
    as $$
        begin
            insert into usage_day_due (tenant_id, day)
                select distinct tenant_id, date_trunc('day', hour, 'UTC') from changed order by 1, 2
                on conflict (tenant_id, day) do update set day = excluded.day;
            return null;
        end
    $$;
create trigger inserted after insert on usage_hour referencing new table as changed
    for each statement execute function note_usage_days_due();
create trigger updated after update on usage_hour referencing new table as changed
    for each statement execute function note_usage_days_due();
