-- How many requests of a stage, of its routes and of a plan's keys may be in progress at once. Those of routes say so
-- themselves, in route_concurrency_limits: {routeKey, maxInFlight, enforcement}.
alter table stage
    add column max_in_flight integer
        constraint stage_max_in_flight_check check (max_in_flight between 1 and 1000000),
    add column concurrency_enforcement text not null default 'HARD'
        constraint stage_concurrency_enforcement_check check (concurrency_enforcement in ('HARD', 'SHADOW')),
    add column route_concurrency_limits jsonb not null default '[]'
        constraint stage_route_concurrency_limits_check check (jsonb_typeof(route_concurrency_limits) = 'array');
alter table usage_plan
    add column max_in_flight integer
        constraint usage_plan_max_in_flight_check check (max_in_flight between 1 and 1000000),
    add column concurrency_enforcement text not null default 'HARD'
        constraint usage_plan_concurrency_enforcement_check check (concurrency_enforcement in ('HARD', 'SHADOW'));
