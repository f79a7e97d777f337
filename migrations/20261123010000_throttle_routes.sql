-- How often each route of a stage may be called, by all callers together: [{routeKey, rateLimit, burstLimit}].
alter table stage add column route_throttles jsonb not null default '[]';
