-- What a key was granted beside its quota on a plan, the period that it was granted in and ends with, and when.
alter table usage_plan_key
    add column quota_extra_calls bigint not null default 0
        constraint usage_plan_key_quota_extra_calls_check check (quota_extra_calls between 0 and 1000000000000000),
    add column quota_extra_from timestamptz,
    add column quota_extra_until timestamptz,
    add column quota_extended_at timestamptz,
    add constraint usage_plan_key_quota_extra_period_check
        check (quota_extra_calls = 0 or quota_extra_from < quota_extra_until and quota_extended_at is not null);
