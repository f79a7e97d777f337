-- A key of the caller's own for one change: whoever sends it again gets the first answer, and nothing is done twice.
create table idempotency_key (
    tenant_id uuid references tenant (id) on delete cascade,  -- null: the operator's
    user_id uuid not null references user_account (id) on delete cascade,
    key text not null check (key ~ '^[!-~]{1,255}$'),
    fingerprint bytea not null,                -- SHA-256 of the request
    attempt uuid not null,                     -- the try that holds the key
    request_id text not null,                  -- of that try
    claimed_at timestamptz not null,
    effect_at timestamptz,                     -- set in the transaction of the change itself
    answer bytea,                              -- wrapped by the tenant's data key, since it may show a secret
    constraint idempotency_key_once unique nulls not distinct (tenant_id, user_id, key)
);
create index idempotency_key_claimed_idx on idempotency_key (claimed_at);

alter table idempotency_key enable row level security;
alter table idempotency_key force row level security;
create policy own_tenant on idempotency_key to tollgate_app using (tenant_id = current_tenant_id()) with check (tenant_id = current_tenant_id());
create policy system on idempotency_key to tollgate_system using (true) with check (true);
grant select, insert, update, delete on idempotency_key to tollgate_app, tollgate_system;
