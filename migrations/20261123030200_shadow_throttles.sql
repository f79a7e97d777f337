-- Whether a throttle refuses calls beyond it. Those of routes say so themselves, in route_throttles: {…, enforcement}.
alter table stage
    add column throttle_enforcement text not null default 'HARD'
        constraint stage_throttle_enforcement_check check (throttle_enforcement in ('HARD', 'SHADOW'));
alter table usage_plan
    add column throttle_enforcement text not null default 'HARD'
        constraint usage_plan_throttle_enforcement_check check (throttle_enforcement in ('HARD', 'SHADOW'));
