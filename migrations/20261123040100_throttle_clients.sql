-- How often each client of a stage may call: [{name, key, headerName, routeKey, rateLimit, burstLimit, enforcement}].
alter table stage add column client_throttles jsonb not null default '[]';
