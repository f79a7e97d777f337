-- How a throttle is counted, and what holds while Redis is away; null: as each node is set. Those of routes and clients
-- say so themselves, in route_throttles and client_throttles: {…, mode, outage}.
alter table stage
    add column throttle_mode text
        constraint stage_throttle_mode_check check (throttle_mode in ('LEASED', 'EXACT', 'LOCAL')),
    add column throttle_outage text
        constraint stage_throttle_outage_check
        check (throttle_outage in ('LOCAL_FALLBACK', 'FAIL_OPEN', 'FAIL_CLOSED'));
alter table usage_plan
    add column throttle_mode text
        constraint usage_plan_throttle_mode_check check (throttle_mode in ('LEASED', 'EXACT', 'LOCAL')),
    add column throttle_outage text
        constraint usage_plan_throttle_outage_check
        check (throttle_outage in ('LOCAL_FALLBACK', 'FAIL_OPEN', 'FAIL_CLOSED'));
