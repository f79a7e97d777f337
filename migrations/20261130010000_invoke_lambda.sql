-- How an integration calls AWS, or what speaks like it: {secretId, endpointUrl, invocationType}. A secret stays while one
-- names it.
alter table integration
    add column aws jsonb,
    add column secret_id uuid generated always as ((aws ->> 'secretId')::uuid) stored,
    add constraint integration_secret_fkey foreign key (tenant_id, secret_id) references secret (tenant_id, id);
create index integration_secret_idx on integration (tenant_id, secret_id) where secret_id is not null;
