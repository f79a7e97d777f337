-- Usage lies in partitions: minutes by day, hours by month, days by year (UTC). They are made before their time comes, and
-- those of minutes are dropped when they are no longer kept. What came before the first of them lies in the default.

-- The service's roles own no table, so making and dropping run as the owner, for these tables alone.
create function usage_partition_unit(parent text) returns text
    language sql immutable
    as $$ select case parent when 'usage_minute' then 'day' when 'usage_hour' then 'month' when 'usage_day' then 'year' end $$;

-- Where the partitions begin that are missing, of those that begin after `since` and before `until`.
create function missing_usage_partitions(parent text, since timestamptz, until timestamptz) returns setof timestamptz
    language sql stable set search_path = public, pg_temp
    as $$
        select starts at time zone 'UTC'
        from (select usage_partition_unit(parent) as unit) u, generate_series(
            date_trunc(unit, since at time zone 'UTC') + ('1 ' || unit)::interval, until at time zone 'UTC',
            ('1 ' || unit)::interval) starts
        where starts < until at time zone 'UTC' and not exists (
            select from pg_inherits where inhparent = parent::regclass
                and inhrelid = to_regclass(parent || '_' || to_char(starts, 'YYYYMMDD')))
    $$;

-- A partition is made in three transactions, so that nobody waits while the default is searched for what would lie in
-- it. First the default is forbidden to take any of it from now on, then it is searched, beside who reads and writes, then
-- the partition is attached, for which the database believes what was found. Each step may be done again.
create function make_usage_partition(parent text, starts timestamptz, step text) returns boolean
    language plpgsql security definer set search_path = public, pg_temp set lock_timeout = '2s'
    as $$
        declare
            unit text := usage_partition_unit(parent);
            begins timestamp := starts at time zone 'UTC';
            ends timestamp := begins + ('1 ' || unit)::interval;
            name text := parent || '_' || to_char(begins, 'YYYYMMDD');
            rest text := parent || '_default';
            fence text := 'none_of_' || name;
            fenced boolean;
        begin
            if unit is null or begins <> date_trunc(unit, begins) then
                raise exception 'no such partition' using errcode = 'invalid_parameter_value';
            end if;
            if not pg_try_advisory_xact_lock(7310017310013)
                or exists (select from pg_inherits where inhrelid = to_regclass(name)) then
                return false; -- another replica is at it, or made it meanwhile
            end if;
            select convalidated into fenced from pg_constraint where conrelid = rest::regclass and conname = fence;
            if step = 'fence' then
                if to_regclass(name) is null then
                    execute format('create %s %I (like %I including constraints)', 'table', name, parent);
                    execute format('alter table %I enable row level security', name);
                    execute format('alter table %I force row level security', name);
                end if;
                if fenced is null then
                    execute format('alter table %I add constraint %I check (not (%I >= %L and %I < %L)) not valid',
                        rest, fence, substr(parent, 7), begins at time zone 'UTC', substr(parent, 7), ends at time zone 'UTC');
                end if;
                return true;
            elsif step = 'search' then
                if fenced is null then
                    return false;
                end if;
                begin
                    execute format('alter table %I validate constraint %I', rest, fence);
                exception when check_violation then
                    -- Its rows stay where they are.
                    execute format('alter table %I drop constraint %I', rest, fence);
                    execute format('drop table %I', name);
                    return false;
                end;
                return true;
            elsif step = 'attach' and fenced then
                execute format('alter table %I attach partition %I for values from (%L) to (%L)', parent, name,
                    begins at time zone 'UTC', ends at time zone 'UTC');
                execute format('alter table %I drop constraint %I', rest, fence);
                return true;
            end if;
            return false;
        end
    $$;

-- Undoes what was begun and not ended of partitions that begin before `until`: their time comes, and the default must take
-- it. Answers how many.
create function give_up_usage_partitions(until timestamptz) returns integer
    language plpgsql security definer set search_path = public, pg_temp set lock_timeout = '2s'
    as $$
        declare
            rest text;
            fence text;
            given_up integer := 0;
        begin
            perform pg_advisory_xact_lock(7310017310013);
            for rest, fence in
                select conrelid::regclass::text, conname from pg_constraint
                where conname ~ '^none_of_usage_(minute|hour|day)_\d{8}$'
                    and to_date(right(conname, 8), 'YYYYMMDD') < until at time zone 'UTC'
                order by 2
            loop
                execute format('alter table %I drop constraint %I', rest, fence);
                execute format('drop table if exists %I', substr(fence, 9));
                given_up := given_up + 1;
            end loop;
            return given_up;
        end
    $$;

-- Drops the partitions that end at `before` or earlier; answers how many.
create function drop_usage_partitions(parent text, before timestamptz) returns integer
    language plpgsql security definer set search_path = public, pg_temp set lock_timeout = '2s'
    as $$
        declare
            unit text := usage_partition_unit(parent);
            name text;
            dropped integer := 0;
        begin
            -- Hours are what bills and statements are made of.
            if unit is null or parent <> 'usage_minute' then
                raise exception 'these are kept' using errcode = 'invalid_parameter_value';
            end if;
            perform pg_advisory_xact_lock(7310017310013);
            for name in
                select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
                where i.inhparent = parent::regclass and c.relname ~ ('^' || parent || '_\d{8}$')
                    and to_date(right(c.relname, 8), 'YYYYMMDD') + ('1 ' || unit)::interval <= before at time zone 'UTC'
                order by 1
            loop
                execute format('drop table %I', name);
                dropped := dropped + 1;
            end loop;
            return dropped;
        end
    $$;

-- Up to when partitions of minutes are made; null where there is none.
create function usage_partitions_until() returns timestamptz
    language sql stable set search_path = public, pg_temp
    as $$
        select max((to_date(right(c.relname, 8), 'YYYYMMDD') + interval '1 day') at time zone 'UTC')
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'usage_minute'::regclass and c.relname ~ '^usage_minute_\d{8}$'
    $$;

revoke execute on function make_usage_partition(text, timestamptz, text), give_up_usage_partitions(timestamptz), drop_usage_partitions(text, timestamptz) from public;
grant execute on function make_usage_partition(text, timestamptz, text), give_up_usage_partitions(timestamptz), drop_usage_partitions(text, timestamptz) to tollgate_system;
