-- What the operator sees of the fleet: who may join it by which token, and which replicas serve people.
alter table join_token
    add column id uuid not null unique default gen_random_uuid(),
    add column name text not null default '' check (char_length(name) <= 128),
    add column created_by uuid,                -- a user; null where the machine's administrator made it
    add column uses integer not null default 0,
    add column last_used_at timestamptz;

create table replica (
    id uuid primary key,                       -- of one process, from its start to its end
    name text not null,                        -- the machine's
    software_version text not null,
    started_at timestamptz not null,
    last_seen_at timestamptz not null
);

alter table replica enable row level security;
alter table replica force row level security;
create policy system on replica to tollgate_system using (true) with check (true);
grant select, insert, update, delete on replica to tollgate_system;

create index node_created_idx on node (created_at, id);
