-- Which periods a quota is counted in, and whether it refuses. What a key had used before its first period stands in
-- quota_offset.
alter table usage_plan
    add column quota_time_zone text not null default 'UTC' check (char_length(quota_time_zone) between 1 and 64),
    add column quota_starts_at timestamptz,        -- of an anniversary; null: the calendar's periods
    add column quota_enforcement text not null default 'HARD'
        constraint usage_plan_quota_enforcement_check check (quota_enforcement in ('HARD', 'SOFT')),
    add constraint usage_plan_quota_offset_check check (quota_offset >= 0);
