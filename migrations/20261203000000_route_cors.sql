-- A route may say for itself which pages may read its answers, in the place of its Api.
alter table route add column cors_configuration jsonb;
